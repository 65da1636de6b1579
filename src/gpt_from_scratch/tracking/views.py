"""Ready views of the runs in MLflow's UI: the states of the pipeline, and the curves of each training.

MLflow keeps a view that is shared by its address in a tag of the experiment, and lists it under *Views*.
"""

from __future__ import annotations

import base64
import json
import sys
import webbrowser
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.figures import HEADLINES, JUDGED
from gpt_from_scratch.pipeline.project import project_home
from gpt_from_scratch.pipeline.server_process import serving
from gpt_from_scratch.report.charts import TRAININGS
from gpt_from_scratch.tracking.delivery import deliver_left
from gpt_from_scratch.tracking.server import Tracking, connect_to_read, is_server, silence, without_password

if TYPE_CHECKING:
    from mlflow.entities import Run

TAG = "mlflow.sharedViewState."
MOST_RUNS, MOST_PARAMS = 200, 12
STATES = "states"


def write_views(tracking: Tracking) -> None:
    """Write the views as the runs are now: the parameters in which states differ are columns of theirs."""
    states = tracking.client.search_runs([tracking.experiment_id], "tags.kind = 'summary'", max_results=MOST_RUNS)
    columns = {f"metrics.`{name}`": 20 + 7 * len(name) for name in _headlines(states)}
    columns |= {f"params.`{name}`": 150 for name in changed_params(states)}
    columns |= {"tags.`dvc_experiment`": 130}
    _write(tracking, STATES, "States", "tags.kind = 'summary'", columns)
    for stage in TRAININGS:
        name = f"Curves of {stage}"
        _write(tracking, stage, name, f"tags.stage = '{stage}'", {"metrics.`best_validation_loss`": 150})


def view_path(experiment_id: str, key: str = STATES) -> str:
    """Return the path at which a server of MLflow shows a view."""
    mode = "" if key == STATES else "&compareRunsMode=CHART"
    return f"/#/experiments/{experiment_id}/runs?workflowType=machine_learning{mode}&viewStateShareKey={key}"


def changed_params(states: Sequence[Run]) -> list[str]:
    """Return the parameters in which states differ, those of the newest differences first, at most twelve."""
    values: defaultdict[str, list[str | None]] = defaultdict(list)
    for name in dict.fromkeys(name for state in states for name in state.data.params):
        values[name] = [state.data.params.get(name) for state in states]
    changed = {name: found for name, found in values.items() if len(set(found)) > 1}
    # A change is as new as the newest state before which the value was another one.
    newest = {name: next(n for n, value in enumerate(found) if value != found[0]) for name, found in changed.items()}
    return sorted(changed, key=lambda name: newest[name])[:MOST_PARAMS]


def _headlines(states: Sequence[Run]) -> list[str]:
    known = dict.fromkeys(name for state in states for name in state.data.metrics)
    # One for each model comes first.
    return [*HEADLINES[::2], *HEADLINES[1::2], *(name for name in known if JUDGED.fullmatch(name))]


def _write(tracking: Tracking, key: str, name: str, query: str, columns: Mapping[str, int]) -> None:
    state = {
        "searchFilter": query,
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": list(columns),
        "columnOrder": list(columns),
        "columnWidths": columns,
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode("ascii")
    # MLflow lists views by these times; with one that never changes, an unchanged view is not written again.
    view: dict[str, Any] = {"name": name, "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"}
    tag, text = TAG + key, json.dumps(view)
    if tracking.client.get_experiment(tracking.experiment_id).tags.get(tag) != text:
        tracking.client.set_experiment_tag(tracking.experiment_id, tag, text)


def show_runs(root: Path, port: int, *, in_browser: bool) -> None:
    """Print the addresses of the views, and serve MLflow's UI at them until this process is interrupted.

    Where the runs are on a server, only the addresses are printed: it is there already.

    Raises:
        InputError: when the runs cannot be read, the port is taken, or the server ends by itself.
    """
    tracking = connect_to_read(root)
    deliver_left(tracking, root)  # the data stages leave their runs to the next stage
    if is_server(tracking.uri):
        write_views(tracking)
        _announce(without_password(tracking.uri).rstrip("/"), tracking.experiment_id, in_browser=in_browser)
        return
    address, log = f"http://127.0.0.1:{port}", project_home(root) / ".cache" / "mlflow-ui.log"
    # One worker starts in half the time of MLflow's four, and one person needs no more.
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--backend-store-uri", tracking.uri]
    with serving([sys.executable, "-m", "mlflow", "ui", *options], port, log, lambda: silence(address)) as process:
        write_views(tracking)
        _announce(address, tracking.experiment_id, in_browser=in_browser)
        print("Ctrl-C ends the server.", flush=True)
        with suppress(KeyboardInterrupt):
            raise InputError(f"the server has ended with code {process.wait()}; {log} has all that it printed")


def _announce(address: str, experiment_id: str, *, in_browser: bool) -> None:
    print(f"Compare states:   {address}{view_path(experiment_id)}")
    print(f"Training curves:  {address}{view_path(experiment_id, next(iter(TRAININGS)))}", flush=True)
    if in_browser:
        webbrowser.open(f"{address}{view_path(experiment_id)}")
