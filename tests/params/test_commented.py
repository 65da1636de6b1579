"""The committed parameter files: complete, commented from the code, and kept so by DVC."""

from __future__ import annotations

import difflib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from gpt_from_scratch.params.commented import SELDOM, commented, left_out, write_comments
from gpt_from_scratch.params.profiles import use_profile
from gpt_from_scratch.params.sections import Evaluate, Params, load_params
from gpt_from_scratch.params.types import Count, Section

PROFILES = ("quick", "book", "shakespeare", "gpt2")


def keys(content: Any, prefix: str = "") -> list[str]:
    """Return the joined keys of nested mappings, sections before their fields."""
    found = []
    for name, value in content.items():
        found.append(prefix + name)
        found += keys(value, f"{prefix}{name}.") if isinstance(value, dict) else []
    return found


def sections(section: Section) -> list[Section]:
    inner = [value for _, value in section if isinstance(value, Section)]
    return [section, *(below for one in inner for below in sections(one))]


@pytest.fixture(params=PROFILES)
def profile(request, root, tmp_path) -> Path:
    return Path(shutil.copy(root / "profiles" / f"{request.param}.yaml", tmp_path))


def test_the_committed_comments_are_those_of_the_code(profile):
    before = profile.read_text(encoding="utf-8")
    write_comments(profile)
    cure = "write them with: python -m gpt_from_scratch.params profiles/*.yaml && cp profiles/quick.yaml params.yaml"
    assert profile.read_text(encoding="utf-8") == before, cure


def test_params_yaml_is_the_profile_quick(root):
    if load_params(root / "params.yaml") != load_params(root / "profiles/quick.yaml"):
        pytest.skip("params.yaml was edited, or is another profile")
    assert (root / "params.yaml").read_bytes() == (root / "profiles/quick.yaml").read_bytes()


def test_every_field_stands_in_the_file(profile):
    """`dvc exp run -S` refuses a key that is not there."""
    found = keys(yaml.safe_load(profile.read_text(encoding="utf-8")))
    assert sorted(found) == sorted(keys(Params().model_dump()))


def test_every_key_has_a_comment_on_its_line_and_none_is_null(profile):
    lines = profile.read_text(encoding="utf-8").splitlines()
    of_keys = [line for line in lines if line and not line.lstrip().startswith(("#", "- "))]
    assert [line for line in of_keys if not line.partition("  # ")[2]] == []
    assert [line for line in lines if len(line) > 120] == []
    assert all(value is not None for value in yaml.safe_load("\n".join(lines)).values())
    assert not any(line.partition("#")[0].rstrip().endswith(("null", "~")) for line in lines)


def test_what_people_turn_stands_first_in_each_section():
    for section in sections(Params()):
        assert len(section.FIRST) <= 14
        assert set(section.FIRST) <= set(type(section).model_fields)
        lines = [line.strip().partition(":")[0] for line in commented(section) if not line.startswith(" ")]
        shown = [line for line in lines if line and not line.startswith(("-", "#"))]
        assert shown[: len(section.FIRST)] == list(section.FIRST)
        assert lines.count(SELDOM.removesuffix(":")) == bool(section.FIRST)


@pytest.mark.parametrize(
    ("change", "removed", "added"),
    [
        ("pretrain.optimizer.lr=3e-4", [r"lr: 0\.\d+"], ["lr: 0.0003"]),
        ("classify.max_length=40", ["max_length: .*"], ["max_length: 40"]),
        ("pretrain.schedule.max_grad_norm=none", [r"max_grad_norm: 1\.0"], ["max_grad_norm: none"]),
        ("download_gpt2.sizes=[tiny,124M]", [], ["- 124M"]),
        ("evaluate.judges=[{name: a}]", [r"judges: \[\]"], ["judges:", "- name: a"]),
        ("profile=quick", [], []),
    ],
)
def test_dvc_changes_the_line_that_it_is_asked_to_and_no_other(root, tmp_path, change, removed, added):
    path = Path(shutil.copy(root / "profiles/quick.yaml", tmp_path / "params.yaml"))
    before = path.read_text(encoding="utf-8").splitlines()
    apply_overrides(path, [change])
    diff = list(difflib.unified_diff(before, path.read_text(encoding="utf-8").splitlines(), n=0, lineterm=""))[2:]
    for sign, expected in (("-", removed), ("+", added)):
        lines = [line[1:] for line in diff if line.startswith(sign)]
        assert len(lines) == len(expected)
        for line, pattern in zip(lines, expected, strict=True):
            assert re.fullmatch(pattern, line.partition("#")[0].strip())
    comments = {line.partition("# ")[2] for line in before if "# " in line}
    assert {
        line.partition("# ")[2] for line in path.read_text(encoding="utf-8").splitlines() if "# " in line
    } == comments


def test_a_profile_is_used_as_it_is(root, tmp_path):
    shutil.copytree(root / "profiles", tmp_path / "profiles")
    use_profile(tmp_path, "book")
    assert (tmp_path / "params.yaml").read_bytes() == (root / "profiles/book.yaml").read_bytes()


def test_a_short_file_is_completed(root, tmp_path):
    command = [sys.executable, "-m", "gpt_from_scratch.params", tmp_path / "mine.yaml"]
    how = {"capture_output": True, "text": True, "env": {"PYTHONPATH": str(root / "src")}}
    path = tmp_path / "mine.yaml"
    path.write_text("# My own.\n# Two lines.\npretrain: {epochs: 3}  # lost\nprofile: mine\n", encoding="utf-8")
    before = load_params(path)
    assert left_out(path)[:2] == ["runtime", "fetch_data"]
    assert {"pretrain.seed", "pretrain.optimizer", "evaluate"} < set(left_out(path))
    answer = subprocess.run(command, **how)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["# My own.", "# Two lines."]
    assert lines[2].startswith("profile: mine  ")
    assert load_params(path) == before
    assert left_out(path) == []
    path.write_text("pretrain: {epochs: 0}", encoding="utf-8")
    answer = subprocess.run(command, **how)
    assert answer.returncode == 1
    assert answer.stderr.startswith(f"error: {path}: pretrain.epochs: ")


TEXT = st.text(st.characters(codec="utf-8"), min_size=1)


@given(
    st.lists(TEXT, min_size=1), st.lists(TEXT.filter(lambda text: len(text) < 100), max_size=2), st.floats(0.01, 1e9)
)
def test_any_value_is_read_as_it_was_written(prompts, models, temperature):
    judges = [{"name": f"j{number}", "model": model} for number, model in enumerate(models)]
    section = Evaluate(sample_prompts=prompts, judges=judges, temperature=temperature)
    assert Evaluate.model_validate(yaml.safe_load("\n".join(commented(section)))) == section


def test_a_parameter_is_added_in_one_line():
    class Evaluation(Evaluate):
        patience: Count = Field(3, description="evaluations without progress before the end")

    line = "patience: 3                   # evaluations without progress before the end"
    assert line in list(commented(Evaluation()))
    assert [line for line in commented(Evaluation()) if line not in list(commented(Evaluate()))] == [line]
    assert Evaluation.model_validate({}).patience == 3
