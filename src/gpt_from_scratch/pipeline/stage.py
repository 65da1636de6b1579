"""The frame of every stage: parameters, the tracked run, and errors in one line."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from pathspec import GitIgnoreSpec

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.local_addresses import bypass_proxies
from gpt_from_scratch.files.nested import at
from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.params.sections import Params, load_params
from gpt_from_scratch.pipeline.dvc import stages_in
from gpt_from_scratch.pipeline.project import corpora_folder
from gpt_from_scratch.pipeline.signals import listen
from gpt_from_scratch.pipeline.start import end_of_imports, in_group
from gpt_from_scratch.pipeline.watchdog import end_with_parent
from gpt_from_scratch.tracking.run import track_stage
from gpt_from_scratch.training.ranks import Place
from gpt_from_scratch.training.workspace import Workspace

log = logging.getLogger(__name__)

_TEMPLATE = re.compile(r"\$\{([\w.]+)\}")


class Terminal:
    """A terminal that may be closed: what it takes no longer is dropped, so that the stage can save and end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Print a text."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Print what waits."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@dataclass(frozen=True)
class Declared:
    """The inputs that decide a stage's results, as dvc.yaml declares them.

    Attributes:
        root: the project's folder.
        params: all parameters.
        keys: those that the stage depends on, by section.
        deps: the files that it depends on; of a folder all but those that .dvcignore names.
    """

    root: Path
    params: Params
    keys: dict[str, Any]
    deps: list[Path]

    def state(self, *, without: str | None = None) -> str:
        """Return a hash of the parameters, but for those of one section, and of the files' names and content."""
        keys = {section: values for section, values in self.keys.items() if section != without}
        state = hashlib.sha256(json.dumps(keys, sort_keys=True, default=str).encode())
        for path in self.deps:
            state.update(f"{path.relative_to(self.root)}\0{sha256(path)}\n".encode())
        return state.hexdigest()


def run_stage(name: str, root: Path, body: Callable[[Workspace], object], *, later: bool = False) -> None:
    """Run a stage without a training.

    With `later` its run reaches MLflow with the next stage's; see `track_stage`.
    """
    with stage_process(name):
        if (size := Place.here().size) > 1:
            raise InputError(f"expected one process, found {size}: only trainings take several")
        declared = read_declared(root, name)
        about = {"state": declared.state(), "later": later}
        with track_stage(root, name, declared.keys, declared.params.profile, **about) as run:
            body(Workspace(root, declared.params, run, corpora_folder(root), end_with_parent))


@contextmanager
def stage_process(name: str) -> Iterator[None]:
    """Make this process a stage's: listen to signals, and say how long it took."""
    end_of_imports()
    _quiet_environment()
    place = Place.here()
    level = logging.INFO if place.first else logging.ERROR  # rank 0 prints what the other ranks would print
    if sys.stderr.isatty():
        sys.stderr = Terminal(sys.stderr)
    logging.basicConfig(level=level, format=f"{in_group(name)}: %(message)s", stream=sys.stderr)
    listen()
    if place.rendezvous:
        end_with_parent(at_once=True)
    elif not {"DVC_STAGE", "TORCHELASTIC_RUN_ID"}.isdisjoint(os.environ):
        end_with_parent()
    began = time.monotonic()
    yield
    if place.first:
        print(f"{name}: done in {time.monotonic() - began:.0f} s", file=sys.stderr)


def read_declared(root: Path, name: str) -> Declared:
    """Return what decides a stage's results.

    Raises:
        InputError: when params.yaml is not valid.
    """
    params = load_params(Path("params.yaml"))
    stage = stages_in(root / "dvc.yaml")[name]
    values = params.model_dump(mode="json")
    deps = [root / _TEMPLATE.sub(lambda match: str(at(values, match[1])), dep) for dep in stage.get("deps", [])]
    keys: dict[str, Any] = {}
    for key in stage.get("params", []):
        section, _, field = key.partition(".")
        if field:
            keys.setdefault(section, {})[field] = values[section][field]
        else:
            keys[section] = values[section]
    return Declared(root, params, keys, [file for dep in deps for file in _files(root, dep)])


def _files(root: Path, dep: Path) -> list[Path]:
    """Return a dep's files, those that DVC hashes; nothing where it is missing."""
    if not dep.is_dir():
        return [dep] if dep.exists() else []
    patterns = root / ".dvcignore"
    ignored = GitIgnoreSpec.from_lines(patterns.read_text(encoding="utf-8").splitlines() if patterns.exists() else [])
    files = (path for path in sorted(dep.rglob("*")) if path.is_file())
    return [path for path in files if not ignored.match_file(path.relative_to(root))]


def _quiet_environment() -> None:
    """Switch off what the libraries would send or print on their own, and proxies to this machine itself."""
    bypass_proxies()
    for variable, value in {
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "MPLBACKEND": "Agg",
    }.items():
        os.environ.setdefault(variable, value)
