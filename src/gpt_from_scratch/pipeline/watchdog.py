"""A thread that ends this process when its parent, `dvc`, dies: alone it would write into outputs that DVC deletes."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time

log = logging.getLogger(__name__)

SECONDS = 1.0
_SHELLS = ("sh", "bash", "dash", "zsh", "ksh", "fish")


def end_with_parent(at_once: bool = False) -> None:
    """Send this process SIGTERM when its parent is gone; shells in between do not count as parents.

    Args:
        at_once: exit silently instead, whatever the process waits for: it has nothing to save.
    """
    links = _links()

    def watch() -> None:
        while all(_parent(child) == parent for child, parent in links):
            time.sleep(SECONDS)
        if at_once:
            os._exit(1)
        log.warning("the parent process is gone: ending")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="watchdog", daemon=True).start()


def _links() -> list[tuple[int, int]]:
    """Return the pairs of child and parent from this process up to the first that is no shell."""
    import psutil

    child, links = os.getpid(), []
    while (parent := _parent(child)) is not None:
        links.append((child, parent))
        try:
            if psutil.Process(parent).name().lstrip("-") not in _SHELLS:
                break
        except psutil.Error:
            break
        child = parent
    return links


def _parent(pid: int) -> int | None:
    import psutil

    if pid == os.getpid():
        return os.getppid()
    try:
        return psutil.Process(pid).ppid()
    except psutil.Error:
        return None
