"""The launcher of a training's ranks on one machine: the stage itself is rank 0, starts the others and ends with them.

So signals, exit code, log and the watchdog over `dvc` are those of a stage in one process. torchrun may start all
ranks instead: it sets the variables that `Place.here` reads.

PyTorch's own launchers (2.13) were tried with two ranks of `pretrain` on a CPU. `torch.distributed.run` and
`launch_agent` save at SIGTERM and, with our watchdog in the ranks, leave no orphan. But

- a killed rank leaves 19 to 41 lines with a traceback in place of one, and under torchrun SIGTERM and Ctrl-C do too;
- the agent's store listens on every network interface, even where the rendezvous is a file; here nothing listens but
  gloo, on the loopback interface;
- the agent is one process more: 155 MB, and the first checkpoint 3 s later.

`elastic.multiprocessing.start_processes` has no store, but replaces the stage's signal handlers, prints two lines more
at every failure, and would spare some fifteen of the lines below.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.training.ranks import Place, ProcessLost

PATIENCE = 5.0
"""Seconds that a process is given to end by itself."""

_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


@contextmanager
def started(command: list[str], size: int) -> Iterator[Place]:
    """Start the other ranks of a training of `size` ranks with a command; yield the place of this one, rank 0.

    The others end with the block.

    Raises:
        InputError: in the place of a `ProcessLost` in the block, with what is known of the lost rank. Where the block
            does not notice the loss, this process is ended.
    """
    if size == 1:
        yield Place()
        return
    # The ranks of one machine need no network; without this, they look for it by the machine's name.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", _LOOPBACK)
    os.environ.setdefault("NCCL_SOCKET_IFNAME", _LOOPBACK)
    folder = Path(tempfile.mkdtemp(prefix="gpt-processes-"))
    others = _Others(folder)
    try:
        places = [Place(rank, size, rank, size, str(folder / "rendezvous")) for rank in range(size)]
        for place in places[1:]:
            others.start(command, place)
        others.watch()
        yield places[0]
    except ProcessLost as error:
        raise InputError(others.fault(PATIENCE) or str(error)) from None
    finally:
        others.end()


class _Others:
    """Ranks 1 and above; their output goes to a folder, and is shown if one of them fails."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._over = threading.Event()

    def start(self, command: list[str], place: Place) -> None:
        with self._log(place.rank).open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    command, env=os.environ | place.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            )

    def watch(self) -> None:
        """End this process when another rank is gone and the main thread keeps waiting for it.

        A process that waits for a message on a CPU learns that the sender is gone; one that waits on a GPU does not.
        """

        def look() -> None:
            while not self._over.wait(0.5):
                if self._failed() and not self._over.wait(2 * PATIENCE):
                    print(f"error: {self.fault(0)}", file=sys.stderr, flush=True)
                    self._kill()
                    shutil.rmtree(self._folder, ignore_errors=True)
                    os._exit(1)

        threading.Thread(target=look, name="ranks", daemon=True).start()

    def fault(self, patience: float) -> str | None:
        """Return a sentence on the rank that failed first, as far as that can be told; None if none fails."""
        until = time.monotonic() + patience
        while not (failed := self._failed()):
            if time.monotonic() > until:
                return None
            time.sleep(0.05)
        # Each of the rest prints only that it has lost one.
        rank, code = min(failed.items(), key=lambda item: (item[1] > 0, "lost another process" in self._said(item[0])))
        said = self._said(rank)
        if "Traceback" in said:
            sys.stderr.write(said)
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        last = f", saying {said.splitlines()[-1]!r}" if code > 0 and said else ""
        return (
            f"expected {len(self._processes) + 1} processes to the end, found that process {rank} {how}{last}; run the "
            "same command again to resume from the last checkpoint"
        )

    def end(self) -> None:
        """Wait until all have ended, and kill those that do not: rank 0 has saved what there is to save."""
        self._over.set()
        until = time.monotonic() + PATIENCE
        for process in self._processes:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                break
        self._kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def _failed(self) -> dict[int, int]:
        codes = {rank: process.poll() for rank, process in enumerate(self._processes, 1)}
        return {rank: code for rank, code in codes.items() if code}

    def _log(self, rank: int) -> Path:
        return self._folder / f"{rank}.log"

    def _said(self, rank: int) -> str:
        return self._log(rank).read_text(encoding="utf-8", errors="replace").strip()
