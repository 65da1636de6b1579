"""The end of `make repro`, in a copy of this project's results."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.tools import conclusion


@pytest.fixture
def project(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The committed figures, without models."""
    for name in ("experiments", "profiles", "metrics"):
        shutil.copytree(root / name, tmp_path / name)
    for name in ("params.yaml", "dvc.yaml", "dvc.lock"):
        shutil.copy(root / name, tmp_path / name)
    monkeypatch.setattr(conclusion, "write_summary", lambda root, strict: None)
    monkeypatch.setattr(conclusion, "register_models", lambda root, strict: ["spam-classifier: version 1 registered"])
    monkeypatch.setattr(conclusion, "attach_report", lambda root, report: None)
    return tmp_path


def test_it_ends_with_time_figures_and_what_to_do_next(project: Path) -> None:
    text = "\n".join(conclusion.conclude(project, 83.7))
    assert "The pipeline with the profile quick took 1 min 23 s" in text
    for said in (
        "version 1 registered",
        "classification test accuracy",
        "95.1 %",
        "quick is not comparable with the book (gpt results --book)",
        "source .venv/bin/activate",
        "gpt app",
        "dvc exp run -S pretrain.optimizer.lr=",
        "make ui",
    ):
        assert said in text, said
    assert len(text.splitlines()) < 25
    assert (project / "report.html").is_file()


def test_where_mlflow_cannot_be_written_to_the_figures_are_shown_all_the_same(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(root: Path, strict: bool) -> None:
        raise InputError("MLflow: away")

    monkeypatch.setattr(conclusion, "write_summary", away)
    shown = []
    with pytest.raises(InputError, match="MLflow: away"):
        for line in conclusion.conclude(project, 5.0):
            shown.append(line)
    assert "95.1 %" in "\n".join(shown)
    assert "took 5 s" in "\n".join(shown)
