"""What one run has to tell MLflow: kept until it is delivered, in memory or in a file that a later start delivers."""

from __future__ import annotations

import base64
import json
import logging
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gpt_from_scratch.files.writing import write_text
from gpt_from_scratch.tracking.server import Tracking, one_line

log = logging.getLogger(__name__)

# MLflow's own limits of one request.
POINTS_PER_BATCH = 1000
PARAMS_PER_BATCH = 100
DIGEST_LENGTH = 36

LARGEST_KEPT_FILE = 8 * 2**20  # bytes; a plot is kept for later, a model is not
_FILES = ("text", "table", "artifact")
_REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")

Point = tuple[str, float, int, int]  # name, value, time in ms, step
Message = dict[str, Any]


@dataclass
class Outbox:
    """The undelivered part of a run.

    Attributes:
        uri: tracking address, without a password.
        name, start, tags: what the run is created with; `start` in ms.
        run_id: MLflow's, None until the run is created.
        messages: params, tags, texts, ...
        points: figures.
        status, end: how and when (ms) the run ended; None while it goes on.
    """

    uri: str
    name: str
    start: int
    tags: dict[str, str]
    run_id: str | None = None
    messages: list[Message] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    status: str | None = None
    end: int | None = None

    def deliver(self, tracking: Tracking) -> None:
        """Send everything. What was sent is forgotten at once, so that a delivery that failed can be repeated.

        What the server refuses as not valid is dropped with a warning, or it would stand in the way for ever. Files
        come last: their store is another one, whose failure keeps no figures back.
        """
        from mlflow.entities import Metric

        client = tracking.client
        if self.run_id is None:
            run = client.create_run(tracking.experiment_id, self.start, self.tags, self.name)
            self.run_id = run.info.run_id
        self._deliver_messages(tracking, files=False)
        while self.points:
            batch = self.points[:POINTS_PER_BATCH]
            self._deliver(tracking, "metrics", {"metrics": [Metric(*point) for point in batch]})
            del self.points[: len(batch)]
        if self.status is not None:
            client.set_terminated(self.run_id, self.status, self.end)
        self._deliver_messages(tracking, files=True)

    def save(self, path: Path) -> None:
        """Write all that is undelivered, one JSON object a line."""
        header = asdict(self) | {"messages": [], "points": []}
        lines = [header, *(_with_content(message) for message in self.messages)]
        for first in range(0, len(self.points), POINTS_PER_BATCH):
            lines.append({"kind": "points", "points": self.points[first : first + POINTS_PER_BATCH]})
        write_text(path, "".join(json.dumps(line, default=str) + "\n" for line in lines if line is not None))

    @classmethod
    def load(cls, path: Path) -> Outbox:
        """Read what `save` wrote."""
        header, *messages = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
        points = [tuple(point) for message in messages if message["kind"] == "points" for point in message["points"]]
        return cls(**header | {"messages": [m for m in messages if m["kind"] != "points"], "points": points})

    def _deliver_messages(self, tracking: Tracking, *, files: bool) -> None:
        for message in [message for message in self.messages if (message["kind"] in _FILES) is files]:
            self._deliver(tracking, message["kind"], message)
            self.messages.remove(message)

    def _deliver(self, tracking: Tracking, kind: str, message: Message) -> None:
        from mlflow.exceptions import MlflowException

        try:
            _SENDERS[kind](tracking.client, self.run_id, message)
        except (MlflowException, FileNotFoundError, ValueError, TypeError) as error:
            if isinstance(error, MlflowException) and error.error_code not in _REFUSALS:
                raise
            log.warning("MLflow: dropped %s of run %s: %s", kind, self.name, one_line(error))


def _send_metrics(client: Any, run_id: str, message: Message) -> None:
    client.log_batch(run_id, metrics=message["metrics"])


def _send_params(client: Any, run_id: str, message: Message) -> None:
    from mlflow.entities import Param

    params = [Param(key, value) for key, value in message["params"].items()]
    for first in range(0, len(params), PARAMS_PER_BATCH):
        client.log_batch(run_id, params=params[first : first + PARAMS_PER_BATCH])


def _send_tags(client: Any, run_id: str, message: Message) -> None:
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in message["tags"].items()])


def _send_text(client: Any, run_id: str, message: Message) -> None:
    client.log_text(run_id, message["text"], message["file"])


def _send_table(client: Any, run_id: str, message: Message) -> None:
    import pandas

    client.log_table(run_id, pandas.DataFrame(message["rows"], dtype=object), message["file"])


def _send_dataset(client: Any, run_id: str, message: Message) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=message["name"],
        digest=message["sha256"][:DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": message["path"]}),
        profile=json.dumps({"sha256": message["sha256"]}),
    )
    client.log_inputs(run_id, datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", message["context"])])])


def _send_artifact(client: Any, run_id: str, message: Message) -> None:
    if "content" not in message:
        client.log_artifact(run_id, message["path"], message["folder"])
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(message["path"]).name
        path.write_bytes(base64.b64decode(message["content"]))
        client.log_artifact(run_id, str(path), message["folder"])


_SENDERS = {
    "metrics": _send_metrics,
    "params": _send_params,
    "tags": _send_tags,
    "text": _send_text,
    "table": _send_table,
    "dataset": _send_dataset,
    "artifact": _send_artifact,
}


def _with_content(message: Message) -> Message | None:
    """Put a small file into its message: by the time of the delivery, its path may hold another one."""
    if message["kind"] != "artifact" or "content" in message:
        return message
    path = Path(message["path"])
    if not path.is_file() or path.stat().st_size > LARGEST_KEPT_FILE:
        log.warning("MLflow: %s is not kept for later: not a file of at most %d bytes", path, LARGEST_KEPT_FILE)
        return None
    return message | {"content": base64.b64encode(path.read_bytes()).decode("ascii")}
