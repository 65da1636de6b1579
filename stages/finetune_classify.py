"""Stage `finetune_classify`: a GPT becomes a classifier of messages (chapter 6) → `models/classifier`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # the source tree that this file lies in, also in a copy of the project

from gpt_from_scratch.pipeline.start import start

if __name__ == "__main__":
    with start("finetune_classify", ROOT):
        from gpt_from_scratch.pipeline.training_stage import run_training
        from gpt_from_scratch.recipes.classify import classify

        run_training("finetune_classify", ROOT, classify, unit="examples")
