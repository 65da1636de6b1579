"""Stage `split_spam`: labelled messages for training, validation and test (chapter 6) → `data/spam`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # the source tree that this file lies in, also in a copy of the project

from gpt_from_scratch.pipeline.start import start

if __name__ == "__main__":
    with start("split_spam", ROOT):
        from gpt_from_scratch.pipeline.data_stages import split_messages
        from gpt_from_scratch.pipeline.stage import run_stage

        run_stage("split_spam", ROOT, split_messages, later=True)
