"""Every call of dvc, and DVC's own records: hashes in dvc.lock, and its copy of each file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import yaml

from gpt_from_scratch.errors import InputError, reason
from gpt_from_scratch.pipeline.git import head

LOCK = "dvc.lock"
OF_A_RUN = re.compile(r"^DVC_(ROOT|STAGE|EXP_.*)$")
"""Variables that DVC sets for a stage, and that would confuse a `dvc` started below it."""
_TELLING = re.compile(r"error|failed|unexpected|exception", re.I)


def check_experiments(root: Path) -> None:
    """Check what DVC's experiments in a copy of the project need: a commit, and a cache with a path in ASCII.

    Raises:
        InputError: with the cure; DVC itself would end with an error about a codec.
    """
    head(root)
    cache = cache_folder(root)
    if cache is not None and not str(cache).isascii():
        raise InputError(
            f"DVC's cache: expected a path in ASCII, which DVC's experiments need, found {cache}; "
            f"move it: dvc cache dir --local /var/tmp/dvc-cache-{os.getuid()}"
        )


def run_dvc(
    root: Path,
    arguments: Sequence[str],
    log: Path | None = None,
    *,
    without: Collection[str] = (),
    own_session: bool = True,
) -> int:
    """Run `dvc` and return its exit code.

    Args:
        log: the file that its output is written to, from the start; without one it goes where this process' goes.
        without: further environment variables that it does not get.
        own_session: pass Ctrl-C on from here, once, whether a terminal sent it or not; only in the main thread.

    Raises:
        KeyboardInterrupt, SystemExit: after Ctrl-C or SIGTERM, when `dvc` has ended; the stage that ran has saved its
            training by then.
    """
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.nullcontext() if log is None else log.open("wb") as file:
        errors = None if file is None else subprocess.STDOUT
        child = start_dvc(root, arguments, without=without, stdout=file, stderr=errors, start_new_session=own_session)
        try:
            return child.wait()
        except BaseException:
            if own_session:
                os.killpg(child.pid, signal.SIGINT)
            child.wait()
            raise


def start_dvc(
    root: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    without: Collection[str] = (),
    start_new_session: bool = True,
    stdout: IO[bytes] | int | None = None,
    stderr: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start `dvc`, with more environment variables and `without` others; the rest as for `Popen`."""
    inherited = {name: value for name, value in _environment().items() if name not in without}
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=root,
        env=inherited | dict(environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=start_new_session,
    )


def stale_stages(root: Path) -> dict[str, set[str]]:
    """Return the stages that changed or depend on a changed one, each with those of them that it depends on.

    They come in the order of dvc.yaml. Left out are those of another dvc.yaml that `dvc repro` does not run, and those
    that it runs each time, with what depends on these. Nothing where DVC cannot say: `dvc repro` explains why.
    """
    import networkx
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with contextlib.chdir(root), Repo() as repo:  # DVC names stages as seen from the present folder
            graph, changed = repo.index.graph, repo.status()
            before = {  # an edge leads to what a stage depends on
                stage.addressing: {other.addressing for other in networkx.descendants(graph, stage)}
                for stage in repo.index.stages
            }
            own = {stage.addressing for stage in repo.index.stages if stage.relpath == "dvc.yaml"}
    except DvcException:
        return {}
    run = own.union(*(before[name] for name in own))
    always = {name for name, reasons in changed.items() if "always changed" in reasons}
    affected = {name: {name} | others for name, others in before.items() if name in run}
    stale = {name for name, ones in affected.items() if ones & changed.keys() and not ones & always}
    return {name: others & stale for name, others in before.items() if name in stale}


def ran_with(root: Path, stage: str, path: str) -> bool:
    """Return whether a stage last ran with a file or folder as it is now; True where DVC cannot say or is not there."""
    if find_spec("dvc") is None:
        return True
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with contextlib.chdir(root), Repo() as repo:
            found = repo.status([stage])
    except DvcException:
        return True
    changed = [one["changed deps"] for one in found.get(stage, []) if "changed deps" in one]
    return all(path not in deps for deps in changed)


def dvc_output(root: Path, *arguments: str, seconds: float | None = None) -> str:
    """Return what `dvc` prints, without the last line end.

    Raises:
        InputError: when it fails, or takes longer than `seconds`.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=root,
            env=_environment(),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"dvc {' '.join(arguments[:2])}: {reason(error)}") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it failed without a message"]
        telling = [line for line in lines if _TELLING.search(line)] or lines  # the last line may ask for a visit
        raise InputError(f"dvc {' '.join(arguments[:2])}: {reason(Exception(telling[-1]))}")
    return done.stdout.rstrip()


def complaint(log: Path) -> str:
    """Return the line of a log of `dvc` that best explains its failure: a stage's own error if there is one."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", log.read_text(encoding="utf-8", errors="replace"))]
    lines = [line for line in lines if line]
    stages = [line for line in lines if re.match(r"\w+: error: ", line)]
    telling = stages[:1] or [line for line in lines if _TELLING.search(line)] or lines or ["it said nothing"]
    return reason(Exception(telling[-1]))


def stages_in(path: Path) -> dict[str, Any]:
    """Return the stages of a dvc.yaml or dvc.lock by name; the C library reads them ten times as fast as Python."""
    content = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(path.read_text(encoding="utf-8")).get_single_data()
    return (isinstance(content, dict) and content.get("stages")) or {}


def locked_stages(root: Path) -> dict[str, Any]:
    """Return the stages of dvc.lock by name; nothing where there is no lock file."""
    return stages_in(root / LOCK) if (root / LOCK).is_file() else {}


def locked_outs(root: Path) -> dict[str, str]:
    """Return DVC's hash of every output that dvc.lock names."""
    outs = [out for stage in locked_stages(root).values() for out in stage.get("outs", [])]
    return {out["path"]: out["md5"] for out in outs if "md5" in out}


def locked_params(root: Path) -> dict[str, Any]:
    """Return the parameters that the stages last ran with, by key; the trainings' own before those of `evaluate`."""
    stages = locked_stages(root)
    # The entry of the stage that is running now is written only after its end.
    names = [name for name in stages if name != os.environ.get("DVC_STAGE")]
    found: dict[str, Any] = {}
    for name in sorted(names, key=lambda name: name != "evaluate"):
        found |= stages[name].get("params", {}).get("params.yaml", {})
    return found


def being_written(path: Path) -> bool:
    """Return whether a stage that runs now writes this path, by the lock in which DVC notes it."""
    import psutil

    path = path.resolve()
    for root in path.parents:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            noted = json.loads((root / ".dvc/tmp/rwlock").read_text(encoding="utf-8"))["write"]
            outputs = [out for out, writer in noted.items() if psutil.pid_exists(writer["pid"])]
            return any(path.is_relative_to(out) for out in outputs)
    return False


def file_hash(path: Path) -> str:
    """Return the MD5 of a file, DVC's hash of it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def folder_hash(folder: Path) -> str:
    """Return DVC's hash of a folder, the one of its files' paths and hashes."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    content = json.dumps([{"md5": file_hash(files[name]), "relpath": name} for name in sorted(files)])
    return f"{hashlib.md5(content.encode(), usedforsecurity=False).hexdigest()}.dir"


@cache
def cache_folder(root: Path) -> Path | None:
    """Return where DVC keeps its copies; None where DVC does not say."""
    try:
        folder = dvc_output(root, "cache", "dir", seconds=60.0)
    except InputError:
        return None
    return Path(folder) if folder else None


def cached_file(cache: Path | None, md5: str, size: int) -> Path | None:
    """Return DVC's own copy of a file with this hash; None where it has none of that size."""
    if cache is None:
        return None
    path = cache / "files" / "md5" / md5[:2] / md5[2:]
    return path if path.is_file() and path.stat().st_size == size else None


def _environment() -> dict[str, str]:
    """Return the environment for `dvc`: its `python` is this one, and no run around it is seen."""
    kept = {name: value for name, value in os.environ.items() if not OF_A_RUN.match(name)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return kept | {"PATH": path, "DVC_NO_ANALYTICS": "1"}
