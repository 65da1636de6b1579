"""Stage `fetch_data`: the raw data, from this project's sample or from their hosts → `data/raw`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # the source tree that this file lies in, also in a copy of the project

from gpt_from_scratch.pipeline.start import start

if __name__ == "__main__":
    with start("fetch_data", ROOT):
        from gpt_from_scratch.pipeline.data_stages import fetch_data
        from gpt_from_scratch.pipeline.stage import run_stage

        run_stage("fetch_data", ROOT, fetch_data, later=True)
