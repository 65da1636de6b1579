"""What `gpt doctor` finds."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys

import pytest
import torch

from gpt_from_scratch.params.pins import PINS
from gpt_from_scratch.pipeline.fingerprint import fingerprint, short
from gpt_from_scratch.pipeline.interrupted import checkpoint_folder
from gpt_from_scratch.tools import doctor
from gpt_from_scratch.tracking.run_file import RunFile
from gpt_from_scratch.training.checkpoint import Checkpoints
from tests.params_file import set_params


@pytest.fixture
def project(root, tmp_path, monkeypatch):
    shutil.copytree(root / "profiles", tmp_path / "profiles")
    shutil.copy(root / "profiles/quick.yaml", tmp_path / "params.yaml")
    shutil.copy(root / "requirements.lock", tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for name in ("git_output", "dvc_output"):
        monkeypatch.setattr(doctor, name, lambda *_, **__: "")
    return tmp_path


def lines(project, kind=None, **options):
    return [str(one) for one in doctor.examine(project, **options) if kind in (None, one.kind)]


def test_a_sound_project(project):
    assert lines(project, "broken") == []
    assert lines(project, "differs") == []
    text = "\n".join(lines(project))
    assert "threads 1" in text
    assert "GB of disk free" in text
    assert "GB of memory free" in text
    assert "hosts not asked: offline" in text


STAGE = """
import sys
from pathlib import Path
from gpt_from_scratch.params.pins import pin_instructions
from gpt_from_scratch.params.sections import load_params
pin_instructions(load_params("params.yaml").runtime)
from gpt_from_scratch.pipeline.fingerprint import fingerprint, short
from gpt_from_scratch.training.environment import prepare
prepare(load_params("params.yaml").runtime)
print(short(fingerprint(Path.cwd())))
"""


def test_it_is_the_fingerprint_that_a_stage_records(root, project):
    (project / "dvc.yaml").write_text("stages: {}\n")
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    environment = {key: value for key, value in os.environ.items() if key not in PINS}
    environment["PYTHONPATH"] = str(root / "src")
    doctor_says, stage_says = (
        subprocess.run(
            [sys.executable, "-c", *arguments], cwd=project, env=environment, capture_output=True, text=True, check=True
        ).stdout
        for arguments in (("from gpt_from_scratch.cli import app; app()", "doctor", "--offline"), (STAGE,))
    )
    assert f"fingerprint {stage_says.strip()}:" in doctor_says


def test_a_device_that_is_not_there_is_broken(project):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    set_params(project / "params.yaml", {"runtime.device": "cuda"})
    (line,) = lines(project, "broken")
    assert "runtime.device: 'cuda' cannot be used on this machine" in line


def test_a_folder_without_git_is_broken(project, monkeypatch):
    monkeypatch.setattr(doctor, "git_output", lambda *_: None)
    assert [line for line in lines(project, "broken") if "no git checkout" in line and "git init" in line]


def test_no_lock_file(project):
    (project / "requirements.lock").unlink()
    assert any("requirements.lock: file not found" in line for line in lines(project, "differs"))


def test_parameters_that_are_not_valid(project):
    (project / "params.yaml").write_text("profile: of my own\n")
    (line,) = lines(project)
    assert line.startswith("✗ ")
    assert "→ correct it" in line


def test_parameters_that_dvc_may_ask_for(project):
    path = project / "params.yaml"
    path.write_text("profile: quick\nfetch_data: {source: sample}\nruntime: {offline: true}\n")
    (line,) = (line for line in lines(project, "differs") if "leaves out" in line)
    assert "params.yaml leaves out runtime.device, runtime.threads, runtime.processes and more → DVC wants" in line


def test_what_makes_results_differ(project):
    path = project / "params.yaml"
    text = path.read_text()
    for old, new in (
        ("portable: true", "portable: false"),
        ("threads: 1", "threads: 0"),
        ("device: cpu", "device: auto"),
    ):
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    (project / "requirements.lock").write_text("torch==0.1\nnot-installed==1.0\n")
    found = "\n".join(lines(project, "differs"))
    for part in ("no unchanged profile", "portable is false", "threads is 0", "device is auto", "instead of 0.1"):
        assert part in found
    assert "not-installed" not in found


def test_leftovers(project):
    Checkpoints(checkpoint_folder(project, "pretrain", "abc")).save(3, {"weights": {"w": torch.zeros(1)}}, {})
    run = RunFile.create(
        project, {"uri": "http://127.0.0.1:1", "name": "x", "start": 0, "tags": {}, "checkpoints": None}
    )
    run.append("end", status="FINISHED", time=1)
    run.close()
    found = "\n".join(lines(project, "note"))
    assert "interrupted training pretrain/abc  after step 3" in found
    assert "1 runs wait for the tracking server" in found


def test_little_disk(project, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10**8}))
    assert "0.1 GB of disk free, 0.3 are needed" in "\n".join(lines(project, "differs"))


def test_little_memory(project, monkeypatch):
    shutil.copy(project / "profiles/book.yaml", project / "params.yaml")
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 4e9}))
    found = [line for line in lines(project, "differs", offline=True) if "memory" in line]
    assert ["4 GB of memory free, pretrain needs 5.5" in line for line in found] == [True, False]
    assert "finetune_instruct needs 5.3: 3.0 for the model, 2.3 for a batch → a smaller batch_size" in found[1]
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 2.5e9}))
    found = [line for line in lines(project, "differs", offline=True) if "memory" in line]
    assert [line.endswith("→ a smaller model") for line in found] == [True, True]


def test_on_a_gpu_the_trainings_need_its_memory(project, monkeypatch):
    monkeypatch.setattr(doctor, "prepare", lambda _: torch.device("cuda"))
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (int(1.09e9), int(80e9)))
    found = [line for line in lines(project) if "memory free" in line]
    assert found[0].endswith("GB of memory free, needed: download_gpt2 1.0")
    assert "1 GB of GPU memory free, needed: finetune_classify 1.1, finetune_instruct 1.1" in found[1]
    assert "1 GB of GPU memory free, pretrain needs 1.1" in found[2]


def test_where_portable_has_no_effect(project, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    (line,) = lines(project, "differs")
    assert "runtime.portable has no effect on aarch64" in line


@pytest.mark.parametrize("profile", ["book", "quick"])
def test_offline_opens_no_connection(project, monkeypatch, profile):
    shutil.copy(project / f"profiles/{profile}.yaml", project / "params.yaml")
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("a connection"))
    lines(project, offline=True)


def test_hosts_that_do_not_answer_are_named(project, monkeypatch):
    shutil.copy(project / "profiles/book.yaml", project / "params.yaml")

    def connect(address, timeout):
        if "openai" in address[0]:
            raise OSError("no route to host")
        return socket.socket()

    monkeypatch.setattr(socket, "create_connection", connect)
    found = lines(project)
    assert any(line.startswith("✓ raw.githubusercontent.com answers") for line in found)
    (away,) = [line for line in found if "does not answer" in line]
    assert "openaipublic.blob.core.windows.net does not answer (no route to host)" in away
    assert "GPT_MIRROR" in away


def test_the_fingerprint_changes_with_what_decides_the_bits(root, monkeypatch):
    facts = fingerprint(root)
    assert facts["torch"].startswith("2.")
    assert short(facts) == short(dict(reversed(facts.items())))
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    assert short(fingerprint(root)) != short(facts)


def test_the_fingerprint_names_the_c_library_and_the_processor(root, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Some Maker's CPU @ 2 GHz\nflags\t\t: fpu\n")
    monkeypatch.setattr("gpt_from_scratch.pipeline.fingerprint.PROCESSOR", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.libc_ver", lambda: ("glibc", "2.99"))
    facts = fingerprint(root)
    assert (facts["libc"], facts["cpu"]) == ("glibc 2.99", "Some Maker's CPU @ 2 GHz")
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    monkeypatch.setattr("platform.processor", lambda: "")
    (tmp_path / "cpuinfo").unlink()
    facts = fingerprint(root)
    assert facts.keys().isdisjoint({"libc", "cpu"})


def test_only_runs_and_checkpoints_take_the_fingerprint(root):
    """Whoever uses it elsewhere decides here whether it can get into an output, equal between machines."""
    users = {
        str(path.relative_to(root)): set(re.findall(r"\b(fingerprint|environment_facts)\(", path.read_text("utf-8")))
        for folder in ("src", "stages")
        for path in (root / folder).rglob("*.py")
        if path.name != "fingerprint.py"
    }
    assert {name: found for name, found in users.items() if found} == {
        "src/gpt_from_scratch/tools/doctor.py": {"fingerprint"},
        "src/gpt_from_scratch/pipeline/training_stage.py": {"fingerprint", "environment_facts"},
        "src/gpt_from_scratch/pipeline/publish.py": {"environment_facts"},
    }
