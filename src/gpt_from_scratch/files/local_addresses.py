"""This machine's own addresses, which no proxy can reach."""

from __future__ import annotations

import os

LOCAL = ("localhost", "127.0.0.1", "::1")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def bypass_proxies() -> None:
    """Let connections to this machine pass by the proxies that the environment names; its other exceptions stay.

    requests, httpx and urllib look there whenever they connect.
    """
    names = {name.lower() for name, value in os.environ.items() if value}
    if names.isdisjoint(_PROXIES):
        return
    for name in ("no_proxy", "NO_PROXY"):  # some read one, some the other
        known = os.environ.get(name) or os.environ.get(name.swapcase()) or ""
        hosts = [host.strip() for host in known.split(",") if host.strip()]
        os.environ[name] = ",".join([*hosts, *(host for host in LOCAL if host not in hosts)])
