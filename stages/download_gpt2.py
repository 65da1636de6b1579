"""Stage `download_gpt2`: OpenAI's weights, synthetic ones in their format (chapter 5), a folder → `models/gpt2`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # the source tree that this file lies in, also in a copy of the project

from gpt_from_scratch.pipeline.start import start

if __name__ == "__main__":
    with start("download_gpt2", ROOT):
        from gpt_from_scratch.pipeline.data_stages import download_gpt2
        from gpt_from_scratch.pipeline.stage import run_stage

        run_stage("download_gpt2", ROOT, download_gpt2, later=True)
