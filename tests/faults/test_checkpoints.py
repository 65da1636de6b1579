"""Checkpoints after kills, power failures, full disks and damage: always a sound one, never a wrong one."""

from __future__ import annotations

import resource
import shutil

import pytest
import torch
from crash_disk import READINGS, recorded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import new_folder, write_json
from gpt_from_scratch.training.checkpoint import Checkpoints

WRITERS = ("gpt_from_scratch.training.checkpoint.save_file",)


def tensors(step):
    generator = torch.Generator().manual_seed(step)
    return {
        "weights": {"a": torch.rand(40, 10, generator=generator), "b": torch.rand(7, generator=generator)},
        "optimizer": {"0.step": torch.tensor(float(step))},
    }


def save(folder, step):
    Checkpoints(folder, {"threads": 1}).save(step, tensors(step), {"step": step, "rows": [{"loss": 0.1 * step}]})


def assert_whole(found, step):
    assert found.step == step
    assert found.state == {"step": step, "rows": [{"loss": 0.1 * step}]}
    for file, expected in tensors(step).items():
        loaded = found.tensors(file)
        assert loaded.keys() == expected.keys()
        assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items())


@pytest.fixture
def folder(tmp_path):
    """A folder with the checkpoints of the steps 1 and 2."""
    path = tmp_path / "checkpoints"
    for step in (1, 2):
        save(path, step)
    return path


def test_the_newest_two_are_kept(folder):
    save(folder, 3)
    assert sorted(path.name for path in folder.iterdir()) == ["step-000000002", "step-000000003"]
    assert_whole(Checkpoints(folder).newest(), 3)


def test_none_at_the_beginning(tmp_path):
    assert Checkpoints(tmp_path / "nothing").newest() is None
    assert Checkpoints(tmp_path / "nothing").size() == 0


def test_a_crash_at_every_write_and_fsync_and_rename(folder, tmp_path, monkeypatch):
    with recorded(folder, monkeypatch, WRITERS) as states:
        save(folder, 3)
    events = [state.event for state in states]
    assert events.count("before rename") == 1
    assert events.count("after save_file") == 2
    assert events.count("after fsync") >= 6
    seen = set()
    for number, state in enumerate(states):
        for reading in READINGS:
            crashed = tmp_path / f"{number}-{reading}"
            state.restore(reading, crashed)
            found = Checkpoints(crashed).newest()
            assert found is not None, (state.event, reading)
            assert found.step in (2, 3)
            assert_whole(found, found.step)
            seen.add(found.step)
            save(crashed, 4)  # and the training can go on
            assert_whole(Checkpoints(crashed).newest(), 4)
            shutil.rmtree(crashed)
            if number == len(states) - 1:
                assert found.step == 3, reading  # what `save` has returned from outlives a power failure
    assert seen == {2, 3}


def test_a_crash_while_a_new_folder_is_written(tmp_path, monkeypatch):
    home = tmp_path / "models"
    home.mkdir()
    with recorded(home, monkeypatch) as states, new_folder(home / "pretrain") as new:
        write_json(new / "config.json", {"n_layer": 12})
        (new / "vocab.json").write_text("{}")
    for number, state in enumerate(states):
        for reading in READINGS:
            crashed = tmp_path / f"{number}-{reading}"
            state.restore(reading, crashed)
            if (crashed / "pretrain").exists():
                assert sorted(path.name for path in (crashed / "pretrain").iterdir()) == ["config.json", "vocab.json"]
                assert (crashed / "pretrain/vocab.json").read_text() == "{}"
            with new_folder(crashed / "pretrain") as again:
                (again / "x").touch()
            assert [path.name for path in crashed.iterdir()] == ["pretrain"]  # no rest of the crashed one
    assert (home / "pretrain/config.json").is_file()


FILES = ["manifest.json", "optimizer.safetensors", "state.json", "weights.safetensors"]


@given(data=st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_flipped_bit_is_noticed(folder, tmp_path, data):
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    file = copy / "step-000000002" / data.draw(st.sampled_from(FILES))
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content)
    assert_whole(Checkpoints(copy).newest(), 1)
    assert not (copy / "step-000000002").exists()


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cut_or_growth_is_noticed(folder, tmp_path, data):
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    file = copy / "step-000000002" / data.draw(st.sampled_from(FILES))
    content = file.read_bytes()
    keep = data.draw(st.integers(0, len(content) - 1))
    file.write_bytes(data.draw(st.sampled_from([content[:keep], content + b"\0", content + content[: keep + 1]])))
    assert_whole(Checkpoints(copy).newest(), 1)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_noticed(folder, name, caplog):
    (folder / "step-000000002" / name).unlink()
    assert_whole(Checkpoints(folder).newest(), 1)
    assert "a damaged checkpoint is removed" in caplog.text


def test_a_checkpoint_under_another_name_is_not_believed(folder):
    (folder / "step-000000002").rename(folder / "step-000000009")
    assert_whole(Checkpoints(folder).newest(), 1)


def test_all_damaged(folder):
    for path in folder.glob("*/weights.safetensors"):
        path.write_bytes(b"")
    assert Checkpoints(folder).newest() is None


@pytest.mark.parametrize("limit", [0, 10, 100, 500, 1500])
def test_a_full_disk_leaves_what_was_there(folder, limit):
    """The kernel itself refuses to write more than `limit` bytes of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(InputError, match=r"checkpoint of step 3 could not be written \(.*\); those before it are"):
            save(folder, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in folder.iterdir()) == ["step-000000001", "step-000000002"]
    assert_whole(Checkpoints(folder).newest(), 2)
    save(folder, 3)
    assert_whole(Checkpoints(folder).newest(), 3)


@pytest.mark.parametrize("call", ["fsync", "rename", "mkdir"])
def test_a_failing_disk_leaves_what_was_there(folder, monkeypatch, call):
    def fail(*arguments, **options):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch, pytest.raises(InputError, match="Input/output error"):
        patch.setattr(f"os.{call}", fail)
        save(folder, 3)
    assert_whole(Checkpoints(folder).newest(), 2)
