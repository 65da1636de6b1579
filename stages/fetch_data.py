"""Stage `fetch_data`: the raw data, from this project's sample or from their hosts → `data/raw`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # the source tree that this file lies in, also in a copy of the project

import shutil

from gpt_from_scratch.data.fetch.download import fetch
from gpt_from_scratch.data.fetch.sources import SAMPLE, UPSTREAM
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import new_folder, sha256, write_json
from gpt_from_scratch.pipeline.stage import Stage, run_stage


def fetch_data(stage: Stage) -> None:
    """Put every file in its place and note what it is."""
    source = stage.params.fetch_data.source
    hashes = {}
    with new_folder(stage.raw) as raw:
        for place in SAMPLE:
            destination = raw / place
            destination.parent.mkdir(exist_ok=True)
            if source == "sample":
                copy_sample(stage.root / "data" / "sample" / SAMPLE[place], destination)
            else:
                copy_upstream(stage, place, destination)
            hashes[place] = sha256(destination)
            stage.run.dataset(place, destination.name, hashes[place], "raw data")
        write_json(raw / "sources.json", {"data": source, "sha256": hashes})
    stage.run.tags({"data": source})


def copy_sample(path: Path, destination: Path) -> None:
    """Copy a file of the project."""
    if not path.is_file():
        raise InputError(f"{path}: file not found, though it is part of the project; git checkout brings it back")
    shutil.copyfile(path, destination)


def copy_upstream(stage: Stage, place: str, destination: Path) -> None:
    """Fetch a file of the book into the downloads, where an interrupted one goes on the next time, and copy it."""
    kept = stage.downloads / "data" / place
    fetch(UPSTREAM[place], kept, stage.mirror, offline=stage.params.runtime.offline)
    shutil.copyfile(kept, destination)


if __name__ == "__main__":
    run_stage("fetch_data", ROOT, fetch_data)
