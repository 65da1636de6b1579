"""Stage `pretrain`: a GPT from random weights on the corpus (chapter 5) → `models/pretrain`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # the source tree that this file lies in, also in a copy of the project

from gpt_from_scratch.pipeline.start import start

if __name__ == "__main__":
    with start("pretrain", ROOT):
        from gpt_from_scratch.pipeline.training_stage import run_training
        from gpt_from_scratch.recipes.pretrain import pretrain

        run_training("pretrain", ROOT, pretrain)
