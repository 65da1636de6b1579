"""DVC's queue of experiments: start its workers, and wait until all experiments have ended."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import write_text
from gpt_from_scratch.pipeline.dvc import complaint, dvc_output, run_dvc

SECONDS = 5.0
_TASK = re.compile(r"^[0-9a-f]{7}\s+(?P<name>\S+)\s.*\s(?P<state>Queued|Running|Success|Failed)\s*$", re.M)


def run_queue(
    root: Path,
    names: Sequence[str],
    jobs: int,
    log_of: Callable[[str], Path],
    say: Callable[[str], object],
    seconds: float = SECONDS,
) -> dict[str, str]:
    """Start workers, and wait until the named experiments have ended.

    Args:
        log_of: the file that takes what a failed one said.
        seconds: between two looks at the queue.

    Returns:
        For each name why it failed, or nothing where it is done.

    Raises:
        InputError: when no worker can be started.
        KeyboardInterrupt: after Ctrl-C: those that run are ended, and those that wait are taken out of the queue.
    """
    if not names:
        return {}
    seen: dict[str, str] = {}
    try:
        # Not by a pipe: its workers would hold it open, and to read it would be to wait for their end.
        log = log_of("queue")
        if run_dvc(root, ["queue", "start", "--jobs", str(jobs)], log):
            raise InputError(f"dvc queue start: {complaint(log)}")
        while True:
            states = queue_states(root)
            for name in names:
                state = states.get(name, "Success")  # what is done may have been removed by somebody
                if seen.get(name) != state and state != "Queued":
                    seen[name] = state
                    done = sum(value in ("Success", "Failed") for value in seen.values())
                    say(f"[{done}/{len(names)}] {name}: {state.lower()}")
            if all(seen.get(name) in ("Success", "Failed") for name in names):
                break
            time.sleep(seconds)
    except BaseException:
        _give_up(root, names)
        raise
    return {name: _clear(root, name, seen[name], log_of(name)) for name in names}


def queue_states(root: Path) -> dict[str, str]:
    """Return the state of every experiment in the queue: Queued, Running, Success or Failed."""
    return {task["name"]: task["state"] for task in _TASK.finditer(dvc_output(root, "queue", "status"))}


def _clear(root: Path, name: str, state: str, log: Path) -> str:
    """Take a task out of the queue's list, and return why it failed, if it did."""
    why = ""
    if state == "Failed":
        with suppress(InputError):  # a task that never began has no log
            write_text(log, dvc_output(root, "queue", "logs", name))
        why = complaint(log)
    with suppress(InputError):
        dvc_output(root, "queue", "remove", name)
    return why


def _give_up(root: Path, names: Sequence[str]) -> None:
    states = {name: state for name, state in queue_states(root).items() if name in names}
    waiting = [name for name, state in states.items() if state == "Queued"]
    running = [name for name, state in states.items() if state == "Running"]
    for command, concerned in (("remove", waiting), ("kill", running)):
        if concerned:
            with suppress(InputError):
                dvc_output(root, "queue", command, *concerned)
    with suppress(InputError):
        dvc_output(root, "queue", "stop")
