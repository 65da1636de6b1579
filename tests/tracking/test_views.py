"""The ready views of MLflow's UI: what they hold; tests/tracking/test_ui.py opens them in a browser."""

from __future__ import annotations

import base64
import json
import zlib
from types import SimpleNamespace
from typing import Any

from gpt_from_scratch.tracking import views
from gpt_from_scratch.tracking.server import connect


def state(**params: Any) -> Any:
    return SimpleNamespace(data=SimpleNamespace(params={key: str(value) for key, value in params.items()}, metrics={}))


def test_the_newest_change_comes_first_and_what_never_changed_is_no_column() -> None:
    states = [state(lr=3, epochs=2, seed=1), state(lr=3, epochs=1, seed=1), state(lr=1, epochs=1, seed=1)]
    assert views.changed_params(states) == ["epochs", "lr"]
    assert views.changed_params(states[:1]) == views.changed_params([]) == []
    assert views.changed_params([state(new=1), state()]) == ["new"]
    assert len(views.changed_params([state(**{f"k{n}": m for n in range(30)}) for m in range(2)])) == views.MOST_PARAMS


def test_a_view_is_written_once_and_again_when_the_states_differ(copied) -> None:
    tracking = connect(copied("viewed"))

    def selected() -> list[str]:
        tags = tracking.client.get_experiment(tracking.experiment_id).tags
        packed = json.loads(tags[f"{views.TAG}{views.STATES}"])["state"]
        assert packed.startswith("deflate;")
        return json.loads(zlib.decompress(base64.b64decode(packed.removeprefix("deflate;"))))["selectedColumns"]

    views.write_views(tracking)
    assert selected()[:2] == ["metrics.`language_model/validation_loss`", "metrics.`classifier/test/accuracy`"]
    assert selected()[-1] == "tags.`dvc_experiment`"
    assert not [name for name in selected() if name.startswith("params.")]
    for lr in ("0.1", "0.2"):
        run = tracking.client.create_run(tracking.experiment_id, tags={"kind": "summary"})
        tracking.client.log_param(run.info.run_id, "pretrain.optimizer.lr", lr)
    views.write_views(tracking)
    assert "params.`pretrain.optimizer.lr`" in selected()
    written = tracking.client.get_experiment(tracking.experiment_id).tags
    views.write_views(tracking)
    assert tracking.client.get_experiment(tracking.experiment_id).tags == written
    assert all(len(value) < 5000 for value in written.values())  # MLflow's limit
