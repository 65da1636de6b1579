"""The interface through which a recipe reports losses, inputs, samples and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt_from_scratch.training.callback import Callback


class Tracker(Callback):
    """A tracker that notes nothing: for a notebook, a test, and every rank but 0. MLflow's run is a subclass."""

    def dataset(self, name: str, path: Path | str, sha256: str, context: str) -> None:
        """Note an input by its hash; `context` says what it is used for."""

    def metrics(self, metrics: Mapping[str, float]) -> None:
        """Take figures by name."""

    def tags(self, tags: Mapping[str, Any]) -> None:
        """Take facts by name."""

    def environment(self, facts: Mapping[str, str]) -> None:
        """Take the facts of the machine and its libraries that decide the last bits."""

    def table(self, rows: Sequence[Mapping[str, Any]], artifact_file: str) -> None:
        """Add rows to a table, an artifact."""

    def text(self, text: str, artifact_file: str) -> None:
        """Take a text as an artifact."""

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Take a file as an artifact."""
