"""The stages without a model to train: the core's work, and the tracker's notes of it."""

from __future__ import annotations

from pathlib import Path

from gpt_from_scratch.pipeline.project import downloads
from gpt_from_scratch.training.workspace import Workspace


def fetch_data(work: Workspace) -> None:
    """Fetch the raw data into `data/raw`."""
    from gpt_from_scratch.data.fetch.raw_data import fetch_raw_data

    source, offline = work.params.fetch_data.source, work.params.runtime.offline
    for name, sha256 in fetch_raw_data(source, work.root, downloads(work.root, offline=offline)).items():
        work.tracker.dataset(name, Path(name).name, sha256, "raw data")
    work.tracker.tags({"data": source})


def split_messages(work: Workspace) -> None:
    """Split the labelled messages into `data/spam`."""
    from gpt_from_scratch.data.messages.split import split_spam
    from gpt_from_scratch.files.nested import flatten

    sources, statistics = split_spam(work.params.split_spam, work.params.classify.data, work.root)
    for source in sources:
        work.use_dataset(source, "split")
    work.tracker.metrics({key.replace("/", "_", 1): n for key, n in flatten(statistics["splits"], "/").items()})
    for name in ("split_spam", "tables/labels"):
        work.tracker.artifact(work.metrics / f"{name}.json")


def download_gpt2(work: Workspace) -> None:
    """Write the pretrained models into `models/gpt2`."""
    from gpt_from_scratch.weights.bases import provide_bases

    provide_bases(work.params, work.root, downloads(work.root, offline=work.params.runtime.offline))
