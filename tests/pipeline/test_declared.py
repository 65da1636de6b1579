"""The hash of a stage's inputs, which names its checkpoints and tags its run."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from stage_project import copy_project

from gpt_from_scratch.pipeline.stage import read_declared
from tests.params_file import set_params

TRAININGS = ["pretrain", "finetune_classify", "finetune_instruct"]
STAGES = ["fetch_data", "split_spam", "download_gpt2", *TRAININGS, "evaluate"]


@pytest.fixture
def project(root, tmp_path, monkeypatch):
    """A copy of the project's code, parameters and sample."""
    copy_project(tmp_path, "src", "stages", "data/sample", "dvc.yaml")
    shutil.copy(root / "profiles/quick.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def states(project, **options):
    return {name: read_declared(project, name).state(**options) for name in STAGES}


def edit(path, text="# another line\n"):
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_it_follows_parameters_names_and_contents(project):
    before = states(project)
    assert states(project) == before
    set_params(project / "params.yaml", {"pretrain.optimizer.lr": 0.75})
    assert states(project)["pretrain"] != before["pretrain"]
    assert states(project)["finetune_classify"] == before["finetune_classify"]
    before = states(project)
    loop = project / "src/gpt_from_scratch/training/loop.py"
    loop.rename(loop.with_name("circle.py"))
    assert all(states(project)[name] != before[name] for name in TRAININGS)


def test_who_edits_the_model_retrains_what_uses_it(project):
    before = states(project)
    edit(project / "src/gpt_from_scratch/model/gpt.py")
    changed = {name for name, state in states(project).items() if state != before[name]}
    assert changed == {"download_gpt2", *TRAININGS, "evaluate"}


@pytest.mark.parametrize(
    "place", ["tracking/run.py", "report/charts.py", "commands/write.py", "pipeline/progress.py", "params/sections.py"]
)
def test_who_edits_the_shell_or_a_description_retrains_nothing(project, place):
    before = states(project)
    edit(project / "src/gpt_from_scratch" / place)
    assert states(project) == before


def test_nor_does_what_python_and_editors_leave_behind(project):
    """DVC ignores the same files."""
    before = states(project)
    folder = project / "src/gpt_from_scratch/training"
    (folder / "__pycache__").mkdir(exist_ok=True)
    names = ("__pycache__/loop.cpython-311.pyc", "loop.py~", ".loop.py.swp", ".#loop.py", "#loop.py#", ".DS_Store")
    for name in names:
        (folder / name).write_text("left behind")
    assert states(project) == before
    code = "from dvc.repo import Repo; import sys; ignore = Repo.init('.', no_scm=True, force=True).dvcignore; "
    code += "print([ignore.is_ignored_file(name) for name in sys.argv[1:]])"
    paths = [str(folder / name) for name in names[1:]]
    answer = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == str([True] * len(paths))
