"""The common start of the stage scripts: one line, and no traceback, where the environment is not the project's."""

from __future__ import annotations

import subprocess
import sys

import pytest

STAGES = ["fetch_data", "split_spam", "download_gpt2", "pretrain", "finetune_classify", "finetune_instruct", "evaluate"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_python_without_the_packages(root, stage):
    script = root / "stages" / f"{stage}.py"
    answer = subprocess.run([sys.executable, "-S", str(script)], capture_output=True, text=True)
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert line.startswith(f"{stage}: error: ")
    assert all(word in line for word in ("is not installed", "activate", "make repro", "dvc checkout"))


def test_an_older_python(root):
    code = (
        f"import sys; sys.path.insert(0, {str(root / 'src')!r}); sys.version_info = (3, 10, 1)\n"
        "from pathlib import Path\nfrom gpt_from_scratch.pipeline.start import start\n"
        "with start('pretrain', Path('.')): print('not reached')"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "expected Python 3.11" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_our_own_missing_module_is_a_fault_and_shown_as_one(root):
    code = (
        f"import sys; sys.path.insert(0, {str(root / 'src')!r})\n"
        "from pathlib import Path\nfrom gpt_from_scratch.pipeline.start import start\n"
        f"with start('pretrain', Path({str(root)!r})): import gpt_from_scratch.nothing"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Traceback" in answer.stderr


def test_ctrl_c_while_the_packages_are_imported(root):
    code = (
        f"import sys; sys.path.insert(0, {str(root / 'src')!r})\n"
        "from pathlib import Path\nfrom gpt_from_scratch.pipeline.start import start\n"
        f"with start('pretrain', Path({str(root)!r})): raise KeyboardInterrupt"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (130, "")
