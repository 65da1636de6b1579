"""A thread that ends this process when its parent, `dvc`, dies: alone it would write into outputs that DVC deletes."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psutil import Process

log = logging.getLogger(__name__)

SECONDS = 1.0
_SHELLS = ("sh", "bash", "dash", "zsh", "ksh", "fish")


def end_with_parent(at_once: bool = False) -> None:
    """Send this process SIGTERM when its parent is gone; shells in between do not count as parents.

    With `at_once`, exit silently instead, whatever the process waits for: it has nothing to save.
    """
    links = _links()

    def watch() -> None:
        while _unbroken(links):
            time.sleep(SECONDS)
        if at_once:
            os._exit(1)
        log.warning("the parent process is gone: ending")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="watchdog", daemon=True).start()


def _links() -> list[tuple[Process, int]]:
    """Return the pairs of process and parent's id from this process up to the first parent that is no shell."""
    import psutil

    child, links = psutil.Process(), []
    with contextlib.suppress(psutil.Error):
        while not links or child.name().lstrip("-") in _SHELLS:
            links.append((child, child.ppid()))
            child = psutil.Process(child.ppid())
    return links


def _unbroken(links: list[tuple[Process, int]]) -> bool:
    import psutil

    try:
        return all(child.ppid() == parent for child, parent in links)
    except psutil.Error:  # a shell in between has ended
        return False
