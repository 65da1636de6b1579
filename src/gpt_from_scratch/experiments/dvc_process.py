"""`dvc` as a child process: what it says goes to a log file, and Ctrl-C reaches it and is waited for."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gpt_from_scratch.errors import InputError, reason

OF_A_RUN = re.compile(r"^DVC_(ROOT|STAGE|EXP_.*)$")
"""What DVC sets for a stage and would confuse a `dvc` started below it."""
_TELLING = re.compile(r"error|failed|unexpected|exception", re.I)


def environment() -> dict[str, str]:
    """Return the environment for `dvc`: its `python` is this one, and no run that goes on around it is seen."""
    kept = {name: value for name, value in os.environ.items() if not OF_A_RUN.match(name)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return kept | {"PATH": path, "DVC_NO_ANALYTICS": "1"}


def dvc(root: Path, arguments: Sequence[str], log: Path, extra: Mapping[str, str] | None = None) -> int:
    """Run `dvc` and return its exit code.

    Args:
        log: takes what it says, and is written anew.
        extra: further environment variables.

    Raises:
        KeyboardInterrupt, SystemExit: after Ctrl-C or SIGTERM, when `dvc` has ended; the stage that ran has saved its
            training by then.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        # In a session of its own Ctrl-C reaches it only from here: once, whether it came from a terminal or not.
        child = subprocess.Popen(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=root,
            env={**environment(), **(extra or {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return child.wait()
        except BaseException:
            os.killpg(child.pid, signal.SIGINT)
            child.wait()
            raise


def answer(root: Path, arguments: Sequence[str]) -> str:
    """Return what `dvc` prints.

    Raises:
        InputError: when it fails, with what it says.
    """
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=root, env=environment(), capture_output=True, text=True
    )
    if done.returncode:
        raise InputError(f"dvc {' '.join(arguments[:2])}: {reason(Exception(done.stderr))}")
    return done.stdout


def complaint(log: Path) -> str:
    """Return the line of a log that says best why `dvc` failed."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", log.read_text(encoding="utf-8", errors="replace"))]
    lines = [line for line in lines if line]
    stages = [line for line in lines if re.match(r"\w+: error: ", line)]
    telling = stages or [line for line in lines if _TELLING.search(line)] or lines or ["it said nothing"]
    return reason(Exception(telling[-1] if not stages else stages[0]))
