"""Tags, params and figures that every run has: commit, machine, memory, and the names under which MLflow shows them."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import platform
import re
import resource
import socket
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gpt_from_scratch.files.nested import flatten
from gpt_from_scratch.pipeline.git import git_output

# Changes of the pipeline's own outputs are no changes of the code.
_WRITTEN_BY_THE_PIPELINE = ("dvc.lock", "metrics")

STATE, PIPELINE_STATE, MODEL_STATE, FILE, MARKS = (
    f"mlflow.gpt_from_scratch.{name}" for name in ("state", "pipeline_state", "model_state", "file", "marks")
)
"""Tags for the program, by which runs and versions are found again; MLflow's pages hide what begins with `mlflow.`."""

ENVIRONMENT = "environment.json"
"""The run's file on machine, process, libraries and state."""

_OF_THE_UPDATES = ("lr", "grad_norm", "epoch")


def git_tags(root: Path) -> dict[str, str]:
    """Return the commit, and whether tracked files differ from it; nothing without git or outside of a checkout."""
    commit = git_output(root, "rev-parse", "HEAD")
    if commit is None:
        return {}
    excluded = [f":(exclude){name}" for name in _WRITTEN_BY_THE_PIPELINE]
    changes = git_output(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *excluded)
    # MLflow's own pages show the version under this name.
    return {"mlflow.source.git.commit": commit, "git_dirty": str(bool(changes)).lower()}


def run_tags(root: Path) -> dict[str, str]:
    """Return the tags of a new run: the commit, the user, and the DVC experiment if it belongs to one."""
    experiment = {"dvc_experiment": name} if (name := os.environ.get("DVC_EXP_NAME")) else {}
    return {**git_tags(root), "mlflow.user": _user(), **experiment}


def machine_facts() -> dict[str, str]:
    """Return facts on the machine and the process that the run is made on."""
    facts = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "pid": str(os.getpid()),
    }
    with contextlib.suppress(PackageNotFoundError):
        facts["torch"] = version("torch")
    return facts


def memory_metrics() -> dict[str, float]:
    """Return the peak memory of this process so far in MB, and of the GPU if one was used."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    metrics = {"peak_memory_mb": peak / (2**20 if sys.platform == "darwin" else 2**10)}
    if cuda := used_cuda():
        metrics["peak_gpu_memory_mb"] = cuda.max_memory_allocated() / 2**20
    return metrics


def used_cuda() -> Any:
    """Return `torch.cuda` if this process has used it; None otherwise, without importing torch."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized() else None


def chart(name: str) -> str:
    """Return a training's figure as `group/name`.

    MLflow draws a section of charts for each group, in alphabetical order: `loss`, `score`, `speed`, `training`. Below
    them stand the figures without a group, those of the whole run.
    """
    if "/" in name:
        return name
    group = "training" if name in _OF_THE_UPDATES else "loss" if name.endswith("loss") else "score"
    return f"{group}/{legal(name)}"


def legal(key: str) -> str:
    """Return a key in the letters and length that MLflow allows in names of metrics, params and tags."""
    return re.sub(r"[^\w\-. /]", "_", key)[:250]


def as_param(value: Any, longest: int = 500) -> str:
    """Return a value as the text of an MLflow param."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def compact(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table's row with its `text` without the `prompt` at its beginning, and no blank lines in any text."""
    texts = {key: value for key, value in row.items() if isinstance(value, str)}
    if "prompt" in texts and "text" in texts:
        texts["text"] = texts["text"].removeprefix(texts["prompt"])
    return {**row, **{key: re.sub(r"\n\s*\n+", "\n", value).strip() for key, value in texts.items()}}


def as_params(values: Mapping[str, Any]) -> dict[str, str]:
    """Return nested values as MLflow params, keys joined by dots."""
    return {legal(key): as_param(value) for key, value in flatten(values).items()}


def ending(error: BaseException | None) -> str:
    """Return MLflow's word for how a stage ended; an exit with 128 + n comes from a handler of signal n."""
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return "FINISHED"
    by_signal = isinstance(error, SystemExit) and isinstance(error.code, int) and error.code >= 128
    return "KILLED" if by_signal or isinstance(error, KeyboardInterrupt) else "FAILED"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        return "unknown"
