"""A server as a process of its own that ends with this one, its output in a log file."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.pipeline.signals import listen

STARTING_SECONDS = 120.0
ENDING_SECONDS = 5.0


@contextmanager
def serving(
    command: Sequence[str], port: int, log: Path, silence: Callable[[], str | None]
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server and yield its process once it answers; end it, and what it has started, in the end.

    Args:
        silence: returns why the server does not answer, or None.

    Raises:
        InputError: when the port is taken, or the server ends or stays silent instead of answering.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(
                f"port {port}: expected a free one, found {error.strerror.lower()}; choose another: "
                f"--port {port + 1} (make ui PORT={port + 1})"
            ) from None
    listen()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + STARTING_SECONDS
        while reason := silence():
            if process.poll() is not None or time.monotonic() > deadline:
                last = (log.read_text(encoding="utf-8", errors="replace").strip() or reason).splitlines()[-1]
                raise InputError(f"the server did not start: {last} ({log} has all that it printed)")
            time.sleep(0.1)
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):  # the second for its workers too, which may outlive it
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(ENDING_SECONDS)
