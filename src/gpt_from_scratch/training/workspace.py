"""A project's folder with its parameters, and everything that a recipe is handed from outside the core."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gpt_from_scratch.files.writing import read_json, sha256
from gpt_from_scratch.training.callback import Callback
from gpt_from_scratch.training.tracker import Tracker

if TYPE_CHECKING:
    from gpt_from_scratch.params.sections import Params
    from gpt_from_scratch.training.process_group import Group
    from gpt_from_scratch.training.resuming import Saver

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workspace:
    """The input and the output of a recipe. With `root` and `params` alone it runs in a notebook.

    Attributes:
        root: the project's folder, or a copy of it.
        params: all parameters.
        tracker: takes losses, samples and files.
        corpora: folder that keeps large corpora as token ids; `.cache/corpora` of the project if None.
        on_fork: called in every process that a recipe forks, to end it with this one.
        saver: saves a training and resumes it; None: nothing is saved.
        ranks: the ranks that train together; None: this process alone.
        progress: shows a training's progress.
    """

    root: Path
    params: Params
    tracker: Tracker = field(default_factory=Tracker)
    corpora: Path | None = None
    on_fork: Callable[[], object] = lambda: None
    saver: Saver | None = None
    ranks: Group | None = None
    progress: Callback = field(default_factory=Callback)

    @property
    def group(self) -> Group:
        """The ranks that train together."""
        from gpt_from_scratch.training.process_group import ALONE  # a stage without a training loads no PyTorch

        return self.ranks or ALONE

    @property
    def raw(self) -> Path:
        """Folder of the fetched data."""
        return self.root / "data" / "raw"

    @property
    def messages(self) -> Path:
        """Folder of the labelled messages' splits."""
        return self.root / "data" / "spam"

    @property
    def models(self) -> Path:
        """Folder of the model folders."""
        return self.root / "models"

    @property
    def metrics(self) -> Path:
        """Folder of the metrics files."""
        return self.root / "metrics"

    @property
    def corpora_folder(self) -> Path:
        """Folder that keeps large corpora as token ids."""
        return self.corpora or self.root / ".cache" / "corpora"

    def data_facts(self, section: Literal["pretrain", "classify", "instruct"]) -> dict[str, str]:
        """Return which data a training uses: `{"data": "sample"}` or `upstream`, or the path of the user's own."""
        corpus, messages, instruct = self.params.pretrain.corpus, self.params.classify.data, self.params.instruct
        is_book, path = {
            "pretrain": (corpus.is_book, corpus.path),
            "classify": (messages.is_book, messages.path),
            "instruct": (instruct.is_book, instruct.data),
        }[section]
        return {"data": read_json(self.raw / "sources.json")["data"] if is_book else path}

    def use_dataset(self, path: Path, context: str) -> None:
        """Note a file as an input of the run, by its hash."""
        self.tracker.dataset(path.name, path.relative_to(self.root), sha256(path), context)


def warn_cut(number: int, total: int, what: str, length: int) -> None:
    """Warn that `number` of `total` sequences were cut to `length` tokens, if any were."""
    if number:
        log.warning("%d of %d %s cut to %d tokens", number, total, what, length)
