"""The requirements of a variant that are not met here."""

from __future__ import annotations

from pathlib import Path

from gpt_from_scratch.experiments.settings import Planned
from gpt_from_scratch.pipeline.git import git_output


def missing(root: Path, planned: Planned, full: bool) -> str | None:
    """Return why a variant cannot run here, or is not worth it; None where nothing speaks against it."""
    needs, params = planned.variant.needs, planned.params
    if needs.file and not _is_tracked(root, needs.file):
        there = "which DVC does not know" if (root / needs.file).exists() else "which nobody fetches"
        return f"needs {needs.file}, {there}: put it there, then dvc add {needs.file} and git add {needs.file}.dvc"
    if full:
        return None
    in_small = needs.size is not None and needs.size not in params.gpt2_sizes
    if not in_small and needs.size not in (None, "124M") and params.download_gpt2.source == "synthetic":
        return f"needs {needs.size}, which is large, and with synthetic weights shows nothing; --full runs it"
    if needs.gpu and not in_small and not _has_gpu():
        return "needs a GPU: on this CPU it takes hours; --full runs it"
    return None


def _is_tracked(root: Path, file: str) -> bool:
    """Return whether an experiment's copy of the project gets the file: from git, or from DVC."""
    return bool(git_output(root, "ls-files", "--", file, f"{file}.dvc"))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()
