"""The pipeline with stages side by side: DVC runs one after the other, and lets several of its processes do more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from threading import Thread
from types import FrameType

from gpt_from_scratch.params.sections import Runtime
from gpt_from_scratch.pipeline.dvc import run_dvc, stale_stages, start_dvc
from gpt_from_scratch.pipeline.signals import uninterrupted
from gpt_from_scratch.training.ranks import usable_cores

GPU_NODES = ("nvidia0", "kfd", "dxg")
"""Files in /dev that the drivers of NVIDIA, AMD and WSL make."""

STAGE_BYTES = 2 * 1024**3
"""Memory that a stage may take on a CPU, twice what those of the profile quick do."""

ADVICE = ("To track the changes", "git add ", "To enable auto staging", "dvc config core.autostage", "Use `dvc push`")


def stages_at_once(runtime: Runtime) -> int:
    """Return how many stages have cores and memory of their own here; 1 where they might share the memory of a GPU."""
    import psutil

    if runtime.device != "cpu" and (
        runtime.device != "auto" or sys.platform == "darwin" or any(Path("/dev", name).exists() for name in GPU_NODES)
    ):
        return 1
    cores = usable_cores()
    for_memory = psutil.virtual_memory().available // STAGE_BYTES
    return max(1, min(cores // (runtime.threads * runtime.processes or cores), for_memory))


def repro(root: Path, at_once: int) -> int:
    """Bring the pipeline up to date, with up to `at_once` stages side by side; return the exit code of `dvc`.

    When a stage fails, those beside it end first, and no other begins. Ctrl-Z pauses them all. For the main thread.

    Raises:
        KeyboardInterrupt, SystemExit: after Ctrl-C or SIGTERM, when every stage has saved its training and ended.
    """
    signal.signal(signal.SIGTSTP, _pause)
    waits_for = stale_stages(root) if at_once > 1 else {}
    independent = any(a not in waits_for[b] and b not in waits_for[a] for a, b in combinations(waits_for, 2))
    return (_run_side_by_side(root, at_once, waits_for) if independent else 0) or run_dvc(root, ["repro"])


def _pause(number: int, frame: FrameType | None) -> None:
    """Stop the stages, whose sessions are their own, and this process; go on when it is continued."""
    import psutil

    del number, frame
    sessions = [child.pid for child in psutil.Process().children()]
    for order in (signal.SIGSTOP, signal.SIGCONT):
        for session in sessions:
            with suppress(ProcessLookupError):
                os.killpg(session, order)
        if order == signal.SIGSTOP:
            os.kill(os.getpid(), signal.SIGSTOP)


def _run_side_by_side(root: Path, at_once: int, waits_for: dict[str, set[str]]) -> int:
    """Run stages, each when those that it waits for are done; one that waits for all others is left to its caller."""
    left = [name for name in waits_for if len(waits_for[name]) < len(waits_for) - 1]
    running: dict[str, _Stage] = {}
    done: set[str] = set()
    failed = 0
    try:
        while running or (left and not failed):
            with uninterrupted():  # no stage is started and not listed, no lock of `subprocess` stays taken
                for name in [name for name in left if waits_for[name] <= done and not failed]:
                    if len(running) < at_once:
                        left.remove(name)
                        taken = {stage.line for stage in running.values()}
                        running[name] = _Stage(root, name, min(set(range(at_once)) - taken))
                for name in [name for name, stage in running.items() if stage.ended]:
                    failed = running.pop(name).wait() or failed
                    done.add(name)
            time.sleep(0.05)
    except BaseException:
        for stage in running.values():
            stage.interrupt()
        for stage in running.values():
            stage.wait()
        raise
    return failed


class _Stage:
    """A `dvc repro` of one stage; `line` is that of its progress bar on the terminal."""

    def __init__(self, root: Path, name: str, line: int) -> None:
        self.line = line
        self._process = start_dvc(
            root, ["--wait-for-lock", "repro", "-s", name], {"TQDM_POSITION": str(line)}, stdout=subprocess.PIPE
        )
        self._printing = Thread(target=self._print, daemon=True)
        self._printing.start()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self) -> int:
        """Return its exit code when it has ended and all that it said is printed."""
        code = self._process.wait()
        self._printing.join(5)  # longer only if it has left a process behind, which holds its output open
        return code

    def interrupt(self) -> None:
        """Pass Ctrl-C on."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGINT)

    def _print(self) -> None:
        assert self._process.stdout is not None
        back = "\r" if sys.stderr.isatty() else ""  # DVC's own bars leave the cursor at the end of an empty line
        for line in self._process.stdout:
            text = line.decode("utf-8", "replace").strip()
            if text and not text.startswith(ADVICE):
                with suppress(OSError):  # nobody reads any more: the stage must not wait for it
                    print(back + text, flush=True)
