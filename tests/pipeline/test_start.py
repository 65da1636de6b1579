"""The common start of the stage scripts: one line, and no traceback, where the environment is not the project's."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from stage_project import copy_project

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


def test_a_mistake_in_the_parameters_is_told_before_pytorch_is_loaded(root, tmp_path):
    (tmp_path / "params.yaml").write_text("pretrain: {epoch: 1}\n")
    code = (
        f"import sys; sys.path.insert(0, {str(root / 'src')!r})\n"
        "from pathlib import Path\nfrom gpt_from_scratch.pipeline.start import start\n"
        f"try:\n    with start('pretrain', Path({str(tmp_path)!r})): print('not reached')\n"
        "finally: print('torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (answer.returncode, answer.stdout) == (1, "False\n")
    assert answer.stderr == "pretrain: error: params.yaml: pretrain.epoch: unknown parameter, found 1\n"


def test_imports_are_not_searched_for_garbage_and_what_follows_is(root):
    code = (
        f"import gc, sys; sys.path.insert(0, {str(root / 'src')!r})\n"
        "from pathlib import Path\nfrom gpt_from_scratch.pipeline.start import end_of_imports, start\n"
        f"with start('pretrain', Path({str(root)!r})):\n"
        "    print(gc.isenabled()); end_of_imports(); print(gc.isenabled(), gc.get_freeze_count() > 0)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\nTrue True\n"


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="this system does not tell what a process has loaded")
@pytest.mark.parametrize("library", ["_pickle", "multiarray_umath", "libtorch_cpu"])
def test_ctrl_c_while_the_packages_are_imported(tmp_path, library):
    """Ctrl-C comes while a library is loaded, when Python's own handler would end in a traceback."""
    copy_project(tmp_path, "stages", "src", "params.yaml", "dvc.yaml")
    command = [sys.executable, "stages/pretrain.py"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while process.poll() is None and library not in Path(f"/proc/{process.pid}/maps").read_text():
        pass
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 130)
    assert said == ("", "")
