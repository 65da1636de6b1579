"""The Dockerfile and the dev container: what they name is there. Building them takes an engine and a network."""

from __future__ import annotations

import json
import re
from pathlib import Path


def test_the_dockerfile_copies_what_is_there_and_makes_what_can_be_made(root: Path) -> None:
    text = (root / "Dockerfile").read_text(encoding="utf-8")
    copied = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY")]
    sources = [name for names in copied for name in names if not name.startswith("--")]
    assert {"Makefile", "pyproject.toml", "requirements.lock", "."} <= set(sources)
    assert [name for name in sources if not (root / name).exists()] == []
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(encoding="utf-8"), re.M))
    made = re.findall(r"^RUN make (\S+)", text, re.M) + re.findall(r'^CMD \["make", "([a-z-]+)"\]', text, re.M)
    assert made == ["install", "repro"]
    assert set(made) <= targets
    version = re.search(r"^ARG PYTHON=3\.(\d+)", text, re.M)
    assert 11 <= int(version[1]) <= 13


def test_what_pip_builds_the_package_from_is_copied_before_it(root: Path) -> None:
    before = (root / "Dockerfile").read_text(encoding="utf-8").split("RUN make install")[0]
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    needed = [re.search(r'^readme = "(.+)"', project, re.M)[1], re.search(r'^path = "(.+)"', project, re.M)[1]]
    assert [name for name in needed if name not in before] == []


def test_the_dev_container_uses_it(root: Path) -> None:
    content = json.loads((root / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    assert (root / ".devcontainer" / content["build"]["dockerfile"]).resolve() == root / "Dockerfile"
    assert f"useradd --create-home --uid 1000 {content['remoteUser']}" in (root / "Dockerfile").read_text("utf-8")
    assert content["postCreateCommand"] == "make install"


def test_nothing_secret_or_large_goes_into_the_image(root: Path) -> None:
    ignored = set((root / ".dockerignore").read_text(encoding="utf-8").splitlines())
    never = {".dvc/config.local", ".venv", ".dvc/cache", "mlartifacts", "mlflow.db*"}
    assert never <= ignored
