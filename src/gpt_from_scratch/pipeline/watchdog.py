"""Ending with the `dvc` that started this process: alone it would write into outputs that the next one deletes."""

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
    """Send this process SIGTERM when the process that started it is gone; shells in between are looked through.

    Args:
        at_once: end it without a word instead, whatever it waits for: it has nothing to save.
    """
    links = _links()

    def watch() -> None:
        while all(_parent(child) == parent for child, parent in links):
            time.sleep(SECONDS)
        if at_once:
            os._exit(1)
        log.warning("the process that started this one is gone: ending")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


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
