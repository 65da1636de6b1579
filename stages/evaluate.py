"""Stage `evaluate`: the figures of the three models → `metrics/evaluation.json`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # the source tree that this file lies in, also in a copy of the project

from gpt_from_scratch.pipeline.start import start

if __name__ == "__main__":
    with start("evaluate", ROOT):
        from gpt_from_scratch.pipeline.publish import evaluate_and_publish
        from gpt_from_scratch.pipeline.stage import run_stage

        run_stage("evaluate", ROOT, evaluate_and_publish)
