"""dvc.yaml against the stages that it describes."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
import yaml
from import_closure import import_closure
from stage_project import copy_project

from gpt_from_scratch.params.sections import load_params

STARTS = {
    "fetch_data": "data/fetch/raw_data.py",
    "split_spam": "data/messages/split.py",
    "download_gpt2": "weights/bases.py",
    "pretrain": "recipes/pretrain.py",
    "finetune_classify": "recipes/classify.py",
    "finetune_instruct": "recipes/instruct.py",
    "evaluate": "recipes/evaluate.py",
}
"""The seven stages, each with the module of the core that does its work."""
STAGES = list(STARTS)


@pytest.fixture(scope="module")
def pipeline(root):
    return yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))


def test_the_seven_stages(pipeline):
    assert list(pipeline["stages"]) == STAGES
    for name, stage in pipeline["stages"].items():
        assert stage["cmd"] == f"python3 stages/{name}.py"
        assert stage["desc"]


@pytest.mark.parametrize("name", STAGES)
def test_deps_are_the_recipe_and_the_folders_that_it_uses(pipeline, root, name):
    deps = [dep for dep in pipeline["stages"][name]["deps"] if dep.startswith(("src/", "stages/"))]
    package = root / "src/gpt_from_scratch"
    start = package / STARTS[name]
    used = {start, *(file for file in import_closure(start, root / "src") if file.name != "__init__.py")}
    inner = {str(file.relative_to(root)) for file in used}
    covering = {dep: {name for name in inner if name == dep or name.startswith(f"{dep}/")} for dep in deps}
    assert deps[0] == f"stages/{name}.py"
    assert not inner - set().union(*covering.values()), "used, but no dep"
    unused = {dep for dep in deps[1:] if not covering[dep]} - {"src/gpt_from_scratch/data/fetch"}  # handed in
    assert not unused, "a dep, but not used"
    assert all((root / dep).is_dir() for dep in deps[1:] if not dep.endswith(("errors.py", STARTS[name])))


def test_the_init_files_that_no_dep_holds_are_docstrings(root):
    package = root / "src/gpt_from_scratch"
    for file in (package / "__init__.py", package / "data/__init__.py", package / "recipes/__init__.py"):
        body = ast.parse(file.read_text(encoding="utf-8")).body
        assert all(isinstance(node, ast.Expr | ast.Assign) for node in body), file


@pytest.mark.parametrize("name", STAGES)
def test_params_exist(pipeline, root, name):
    values = load_params(root / "profiles/quick.yaml").model_dump()
    for key in pipeline["stages"][name].get("params", []):
        part = values
        for step in key.split("."):
            part = part[step]


def test_pretraining_does_not_touch_what_starts_from_gpt2(pipeline):
    for name in ("finetune_classify", "finetune_instruct"):
        stage = pipeline["stages"][name]
        assert not any("pretrain" in key for key in stage["params"])
        assert not any("models/pretrain" in dep for dep in stage["deps"])
        assert any(dep.startswith("models/${") for dep in stage["deps"])


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_imports_the_source_that_it_lies_beside(root, tmp_path, name):
    copy_project(tmp_path, "stages", "src")
    code = (
        f"import runpy, sys; runpy.run_path('stages/{name}.py', run_name='not_main'); "
        "print(sys.modules['gpt_from_scratch'].__file__)"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == str(tmp_path / "src/gpt_from_scratch/__init__.py")


def test_readme_shows_the_graph_that_dvc_prints(root):
    if not (root / ".git").exists():
        pytest.skip("dvc dag needs a git checkout")
    graph = subprocess.run(
        [sys.executable, "-m", "dvc", "dag", "--mermaid"], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    edges = {line.strip() for line in graph.splitlines() if line.strip()}
    shown = (root / "README.md").read_text(encoding="utf-8")
    block = shown.split("```mermaid\n", 1)[1].split("```", 1)[0]
    assert {line.strip() for line in block.splitlines() if line.strip()} == edges
