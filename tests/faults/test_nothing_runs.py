"""Nothing that comes in can run: the linter's rule, and what it cannot see."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator

import pytest

FOLDERS = ("src", "stages", "benchmarks", "notebooks")
READER = "src/gpt_from_scratch/weights/pth.py"
REGISTRY = "src/gpt_from_scratch/tracking/registry.py"


@pytest.fixture(scope="module")
def sources(root) -> dict[str, str]:
    """The text of every Python file of the project but its tests."""
    paths = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py"))]
    return {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in paths}


def called(text: str) -> Iterator[tuple[str, ast.Call]]:
    """Yield the name of everything that is called, as it is written."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def weights_only(call: ast.Call) -> bool:
    return any(
        word.arg == "weights_only" and isinstance(word.value, ast.Constant) and word.value.value is True
        for word in call.keywords
    )


def test_tensors_are_unpickled_at_one_place_and_there_alone(sources) -> None:
    loads = {
        (name, weights_only(call))
        for name, text in sources.items()
        for function, call in called(text)
        if function in ("torch.load", "load") or function.endswith((".serialization.load", "Unpickler"))
    }
    assert loads == {(READER, True)}


def test_exceptions_to_the_rule(sources) -> None:
    excepted = [name for name, text in sources.items() if "noqa: TID251" in text or "noqa: S30" in text]
    assert sorted(excepted) == [REGISTRY, READER]
    assert sources[READER].count("noqa") == sources[REGISTRY].count("noqa") == 1
    # A model from code is given as the path of its file; any other object would be pickled.
    (call,) = [call for function, call in called(sources[REGISTRY]) if function == "mlflow.pyfunc.save_model"]
    (given,) = [word.value for word in call.keywords if word.arg == "python_model"]
    assert ast.unparse(given) == "str(candidate.model.served.script)"


def test_no_archive_is_unpacked_as_a_whole(sources) -> None:
    """The linter does not know which objects are archives."""
    assert [name for name, text in sources.items() for function, _ in called(text) if "extractall" in function] == []


def test_no_text_is_run(sources) -> None:
    runners = ("eval", "exec", "compile", "__import__", "os.system", "os.popen")
    assert [name for name, text in sources.items() for function, _ in called(text) if function in runners] == []
    with_shell = [name for name, text in sources.items() for _, call in called(text) if "shell" in words(call)]
    assert with_shell == []


def words(call: ast.Call) -> list[str | None]:
    return [word.arg for word in call.keywords]


VIOLATIONS = {
    "import mlflow\n\nmlflow.pyfunc.save_model('x', python_model=object())": "mlflow.pyfunc.save_model",
    "import pickle": "pickle",
    "from pickle import loads": "pickle",
    "import cloudpickle": "cloudpickle",
    "import dill": "dill",
    "import shelve": "shelve",
    "import marshal": "marshal",
    "from joblib import load": "joblib",
    "import torch\n\ntorch.load('x', weights_only=True)": "torch.load",
    "import torch as t\n\nt.load('x')": "torch.load",
    "from torch import load": "torch.load",
    "from torch.serialization import load": "torch.serialization",
    "import torch\n\ntorch.hub.load('x', 'y')": "torch.hub",
    "import numpy as np\n\nnp.load('x', allow_pickle=True)": "numpy.load",
    "import pandas as pd\n\npd.read_pickle('x')": "pandas.read_pickle",
    "import mlflow\n\nmlflow.pytorch.log_model(None)": "mlflow.pytorch",
    "import mlflow.sklearn": "mlflow.sklearn",
    "import mlflow\n\nmlflow.pyfunc.load_model('x')": "mlflow.pyfunc.load_model",
    "import yaml\n\nyaml.load('x', Loader=yaml.UnsafeLoader)": "yaml.load",
    "from yaml import unsafe_load": "yaml.unsafe_load",
    "import tarfile": "tarfile",
    "import shutil\n\nshutil.unpack_archive('x')": "shutil.unpack_archive",
}


def test_the_linter_finds_what_is_planted(root, tmp_path) -> None:
    for number, text in enumerate(VIOLATIONS):
        (tmp_path / f"planted_{number}.py").write_text(f"{text}\n")
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--config", str(root / "pyproject.toml")]
    command += ["--output-format", "concise", str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    for number, banned in enumerate(VIOLATIONS.values()):
        complaints = [line for line in found if f"planted_{number}.py" in line]
        assert any(f"TID251 `{banned}` is banned" in line for line in complaints), (banned, complaints)


def test_the_projects_own_files_keep_the_rule(root) -> None:
    folders = [str(root / folder) for folder in FOLDERS if (root / folder).is_dir()]
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "TID251,S301,S302,S506", *folders]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert answer.returncode == 0, answer.stdout


def test_the_installed_torch_is_past_the_known_ways_around(root) -> None:
    """`weights_only` was bypassed before 2.6 and again before 2.10."""
    import torch

    assert tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 10)
