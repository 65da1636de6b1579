"""Versions in MLflow's registry: made once for each state, the better one is the champion, nothing pickled in them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from served_project import make_model, write_evaluation

from gpt_from_scratch.files.writing import write_csv, write_json
from gpt_from_scratch.pipeline import dvc as dvc_outs
from gpt_from_scratch.tracking import candidates, registry
from gpt_from_scratch.tracking.candidates import MODELS
from gpt_from_scratch.tracking.registry import register_models
from gpt_from_scratch.tracking.run import track_stage
from gpt_from_scratch.tracking.server import connect


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch) -> None:
    monkeypatch.setattr(registry, "cache_folder", lambda root: None)  # no DVC here, and asking it takes a second


@pytest.fixture
def built(monkeypatch) -> list[Any]:
    """What versions would be built from; they are made without files, to save time."""
    calls: list[Any] = []
    monkeypatch.setattr(registry, "_build", lambda *given: calls.append(given) or Counter(copied=given[2].mkdir() or 0))
    return calls


@pytest.fixture
def versions(pipeline) -> Callable[[str], list[Any]]:
    def find(name: str = "spam-classifier") -> list[Any]:
        found = connect(pipeline).client.search_model_versions(f"name = '{name}'")
        return sorted(found, key=lambda version: int(version.version))

    return find


def champion(pipeline: Path, name: str = "spam-classifier") -> str:
    return str(connect(pipeline).client.get_model_version_by_alias(name, "champion").version)


def version_folder(pipeline: Path, version: Any) -> Path:
    folder = Path(version.source.removeprefix("file://"))
    assert folder.is_relative_to(pipeline / "mlartifacts/models")
    return folder


def test_the_names_and_folders_are_those_of_dvc(root) -> None:
    artifacts = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["artifacts"]
    assert {name: artifact["path"] for name, artifact in artifacts.items()} == {n: m.out for n, m in MODELS.items()}


def test_three_versions_with_their_lineage_and_nothing_pickled(pipeline, versions, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.chdir(pipeline)
        declared = candidates.read_declared(pipeline, "finetune_classify")
    state = declared.state()
    with track_stage(pipeline, "finetune_classify", {}, "quick", state=state) as run:
        pass
    with track_stage(pipeline, "finetune_classify", {}, "quick", state="another") as another:
        pass

    lines = register_models(pipeline)
    assert [line.split(": version 1 registered (")[0] for line in lines] == list(MODELS)
    assert all(line.endswith("); made champion") and " MB " in line for line in lines)

    (version,) = versions()
    assert version.run_id == run.run_id != another.run_id
    expected = {"training_run": run.run_id, "profile": "quick", "data": "sample"}
    expected |= {"metric": "classifier/test/accuracy", "metric_value": "0.9"}
    assert expected.items() <= version.tags.items()
    assert len([name for name in version.tags if not name.startswith("mlflow.")]) <= 8
    lineage = json.loads((version_folder(pipeline, version) / "lineage.json").read_text())
    assert {**expected, "base": "gpt2/tiny", "pretrained": "none"}.items() <= lineage.items()
    assert {"model_state", "pipeline_state", "dvc_md5"} <= lineage.keys()
    for said in (
        "90.0 %",
        "classes ham, spam",
        "CC0",
        "Licence",
        "Limits",
        run.run_id,
        "mlflow models serve -m models:/spam-classifier@champion",
    ):
        assert said in version.description

    weights = {}
    for name, model in MODELS.items():
        folder = version_folder(pipeline, versions(name)[0])
        files = [path for path in folder.rglob("*") if path.is_file()]
        source = folder / "code/gpt_from_scratch"  # whatever the package holds
        own = {path.suffix for path in files if not path.is_relative_to(source)}
        assert own <= {"", ".json", ".yaml", ".txt", ".py", ".safetensors"}
        for path in files:
            # A pickle of protocol 2 to 5, or the archive that PyTorch puts one into.
            assert not path.read_bytes().startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04"))
        described = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
        assert "python_model" not in described["flavors"]["python_function"]
        assert described["signature"]["inputs"] and described["saved_input_example_info"]
        assert described["model_size_bytes"] > (pipeline / model.out / "model.safetensors").stat().st_size
        weights[name] = (folder / "artifacts/model/model.safetensors").read_bytes()
        assert weights[name] == (pipeline / model.out / "model.safetensors").read_bytes()
        assert (folder / "code/gpt_from_scratch/model/gpt.py").is_file()
    assert len(set(weights.values())) == 3

    again = register_models(pipeline)
    assert again == [f"{name}: version 1 is this state; is the champion" for name in MODELS]
    assert len(versions()) == 1


def test_only_a_better_figure_measured_alike_moves_the_alias(pipeline, versions, one, built) -> None:
    write_evaluation(pipeline, accuracy=0.9)
    register_models(pipeline)
    write_evaluation(pipeline, accuracy=0.8)
    (line,) = register_models(pipeline)
    assert line.endswith("not made champion: classification test accuracy 80.0 % is not higher than version 1's 90.0 %")
    assert champion(pipeline) == "1"
    write_evaluation(pipeline, accuracy=0.95)
    assert register_models(pipeline)[0].endswith("made champion")
    assert champion(pipeline) == "3"

    # What a user moves by hand stays.
    connect(pipeline).client.set_registered_model_alias("spam-classifier", "champion", "2")
    assert register_models(pipeline) == ["spam-classifier: version 3 is this state; the champion is version 2 by now"]
    assert champion(pipeline) == "2"

    params = pipeline / "params.yaml"
    params.write_text(params.read_text().replace("profile: quick", "profile: mine"))  # a name changes no figure
    write_evaluation(pipeline, accuracy=0.97)
    assert register_models(pipeline)[0].endswith("made champion")
    write_evaluation(pipeline, accuracy=1.0, test_set="easier texts")
    (line,) = register_models(pipeline)
    assert re.search(r"not made champion: version 4 was measured otherwise \(test set \w{12}, here \w{12}\)$", line)
    assert champion(pipeline) == "4"
    assert register_models(pipeline, promote=True)[0].endswith("made champion")
    assert champion(pipeline) == str(versions()[-1].version) == "5"
    assert len(built) == 5


@pytest.mark.usefixtures("one", "built")
def test_a_difference_within_noise_is_said_and_the_higher_accuracy_still_wins(pipeline, versions):
    def evaluated(right: int, wrong: int) -> str:
        rows = [{"actual": "ham", "predicted": word} for word in ["ham"] * right + ["spam"] * wrong]
        write_csv(pipeline / "metrics/plots/confusion.csv", rows)
        write_evaluation(pipeline, accuracy=right / (right + wrong))
        return register_models(pipeline)[0]

    assert evaluated(90, 10).endswith("); made champion")
    within = "made champion; the difference to version 1 is within noise (McNemar's exact test: p = 0.25; "
    within += "of 100 items, 3 only now right, 0 only before)"
    assert evaluated(93, 7).endswith(f"); {within}")
    assert versions()[1].tags["champion_decision"] == within
    assert "90.0 % (95 % interval 82.6–94.5 %)" in versions()[0].description
    (again,) = register_models(pipeline)
    assert again.endswith("version 2 is this state; is the champion")
    assert "version 2's 93.0 %; the difference to version 2 is beyond noise" in evaluated(80, 20)
    assert champion(pipeline) == "2"
    assert evaluated(24, 1).endswith("); made champion")  # other items: no paired test


def test_models_with_other_tokenizers_are_compared_by_bits_per_byte(pipeline, monkeypatch, built) -> None:
    monkeypatch.setattr(candidates, "MODELS", {name: MODELS[name] for name in ("instruction-gpt", "pretrained-gpt")})
    register_models(pipeline)
    for merges in (pipeline / f"models/{name}/merges.txt" for name in ("pretrain", "instruct")):
        merges.write_text(merges.read_text().replace("#version: 0.2", "#version: 0.3"))
    write_evaluation(pipeline, response_loss=0.5, loss=0.5)
    assert all(line.endswith("made champion") for line in register_models(pipeline))


def test_answers_of_two_instruction_models_are_compared_in_pairs(pipeline, monkeypatch, built) -> None:
    monkeypatch.setattr(candidates, "MODELS", {"instruction-gpt": MODELS["instruction-gpt"]})

    def evaluated(loss: float, right: int, entries: int = 20) -> str:
        rows = [{"output": "a wren", "model_response": "a wren" if n < right else "an owl"} for n in range(entries)]
        write_json(pipeline / "metrics/responses.json", rows)
        write_evaluation(pipeline, response_loss=loss)
        return " ".join(register_models(pipeline)).partition("); ")[2]

    said = "made champion; ROUGE-L's difference to version {} is {} noise (paired sign-flip test: p = {}; 20 answers)"
    assert (evaluated(2.0, 5), evaluated(1.9, 8)) == ("made champion", said.format(1, "within", "0.25"))
    assert evaluated(1.8, 20) == said.format(2, "beyond", "0.00049")
    assert evaluated(1.7, 20) == evaluated(1.6, 20, 21) == "made champion"  # the same answers; other entries


def test_a_champion_by_another_figure_stays(pipeline, monkeypatch, built) -> None:
    """As one by the validation loss, by which language models were compared before bits per byte."""
    earlier = replace(MODELS["pretrained-gpt"], metric="language_model/validation_loss")
    for model in (earlier, MODELS["pretrained-gpt"]):
        monkeypatch.setattr(candidates, "MODELS", {"pretrained-gpt": model})
        (line,) = register_models(pipeline)
    assert line.endswith(
        "not made champion: version 1 was measured otherwise (metric language_model/validation_loss, here "
        "language_model/validation_bits_per_byte)"
    )


def test_what_evaluate_measured_is_registered_and_nothing_else(pipeline, one, root) -> None:
    shutil.rmtree(pipeline / "models/classifier")
    make_model(pipeline / "models/classifier", root / "data/sample/bpe", seed=8)
    (line,) = register_models(pipeline)
    assert line.endswith("not registered: models/classifier is not what evaluate measured; dvc repro evaluates it")


def test_lower_is_better_for_a_loss(pipeline, monkeypatch, built) -> None:
    monkeypatch.setattr(candidates, "MODELS", {name: MODELS[name] for name in ("instruction-gpt", "pretrained-gpt")})
    register_models(pipeline)
    write_evaluation(pipeline, response_loss=1.9, loss=5.1)
    answers, text = register_models(pipeline)
    assert answers.endswith("made champion")
    assert text.endswith("pretraining validation bits per byte 1.700 is not lower than version 1's 1.667")


def test_another_model_is_another_version(pipeline, versions, one, root) -> None:
    register_models(pipeline)
    shutil.rmtree(pipeline / "models/classifier")
    make_model(pipeline / "models/classifier", root / "data/sample/bpe", seed=7)
    write_evaluation(pipeline)
    register_models(pipeline)
    first, second = (version_folder(pipeline, version) / "artifacts/model/model.safetensors" for version in versions())
    assert first.read_bytes() != second.read_bytes() == (pipeline / "models/classifier/model.safetensors").read_bytes()


def test_a_model_that_is_not_what_was_measured_is_not_registered(pipeline, versions, one, caplog) -> None:
    out = {"path": "models/classifier", "md5": dvc_outs.folder_hash(pipeline / "models/classifier")}
    lock = pipeline / "dvc.lock"
    lock.write_text(yaml.safe_dump({"stages": {"finetune_classify": {"outs": [out | {"md5": "0" * 32 + ".dir"}]}}}))
    assert "differs from dvc.lock" in register_models(pipeline)[0]
    lock.write_text(yaml.safe_dump({"stages": {"finetune_classify": {"outs": [out]}}}))
    assert "version 1 registered" in register_models(pipeline)[0]
    shutil.rmtree(pipeline / "models/classifier")
    assert "version 1 is this state" in register_models(pipeline)[0]
    write_evaluation(pipeline, accuracy=0.7)
    assert "models/classifier is missing" in register_models(pipeline)[0]
    lock.write_text(yaml.safe_dump({"stages": {"a": {"params": {"params.yaml": {"classify.seed": 5}}}}}))
    with caplog.at_level(logging.WARNING):
        assert register_models(pipeline) == []
    assert "classify.seed in params.yaml is not what" in caplog.text


def test_weights_are_linked_to_dvcs_copy_and_never_to_the_workspace(pipeline, versions, one, monkeypatch) -> None:
    weights = pipeline / "models/classifier/model.safetensors"
    before = weights.read_bytes()
    md5 = hashlib.md5(before).hexdigest()
    kept = pipeline / "cache/files/md5" / md5[:2] / md5[2:]
    kept.parent.mkdir(parents=True)
    kept.write_bytes(before)
    kept.chmod(0o444)
    monkeypatch.setattr(registry, "cache_folder", lambda root: pipeline / "cache")
    (line,) = register_models(pipeline)
    registered = version_folder(pipeline, versions()[0]) / "artifacts/model/model.safetensors"
    if "ref-linked" not in line:
        assert f"{len(before) / 1e6:.1f} MB hard-linked" in line
        assert registered.samefile(kept)
    assert not registered.samefile(weights)
    with weights.open("r+b") as file:  # in place, as a careless program would
        file.write(bytes(100))
    kept.unlink()  # as `dvc gc` does
    assert registered.read_bytes() == before


@pytest.mark.slow
def test_what_dvc_does_to_its_outs_leaves_a_version_alone(pipeline, versions, one, monkeypatch, root) -> None:
    def dvc(*arguments: str) -> None:
        command = [sys.executable, "-m", "dvc", *arguments, "--quiet"]
        subprocess.run(command, cwd=pipeline, check=True, env=os.environ | {"DVC_NO_ANALYTICS": "1"})

    monkeypatch.setattr(registry, "cache_folder", dvc_outs.cache_folder)
    weights = pipeline / "models/classifier/model.safetensors"
    before = weights.read_bytes()
    (pipeline / "dvc.yaml").rename(pipeline / "aside.yaml")
    dvc("init", "--no-scm")
    dvc("add", "models/classifier")
    (pipeline / "aside.yaml").rename(pipeline / "dvc.yaml")
    (line,) = register_models(pipeline)
    assert "-linked" in line  # to DVC's cache, or shared with the workspace by the file system
    registered = version_folder(pipeline, versions()[0]) / "artifacts/model/model.safetensors"
    (pipeline / "dvc.yaml").rename(pipeline / "aside.yaml")
    weights.chmod(0o644)
    with weights.open("r+b") as file:
        file.write(bytes(100))
    assert registered.read_bytes() == before
    dvc("checkout", "--force", "models/classifier.dvc")
    assert registered.read_bytes() == weights.read_bytes() == before
    shutil.rmtree(weights.parent)
    make_model(weights.parent, root / "data/sample/bpe", seed=9)
    dvc("add", "models/classifier")
    assert registered.read_bytes() == before != weights.read_bytes()
    dvc("gc", "--workspace", "--force")
    shutil.rmtree(pipeline / ".dvc/cache")
    assert registered.read_bytes() == before


def test_an_attempt_that_was_cut_short_is_made_again(pipeline, versions, one, monkeypatch, caplog) -> None:
    register = registry.register
    with monkeypatch.context() as patch:
        patch.setattr(registry, "_build", lambda *given: 1 / 0)
        assert register_models(pipeline) == []
    assert "models could not be registered" in caplog.text
    with monkeypatch.context() as patch:
        patch.setattr(registry, "decide", lambda *given: 1 / 0)
        assert register_models(pipeline) == []
    assert register is registry.register
    assert register_models(pipeline) == ["spam-classifier: version 1 is this state; made champion"]
    assert champion(pipeline) == "1"
    assert len(versions()) == 1
    tracking = connect(pipeline)
    assert len(tracking.client.search_logged_models([tracking.experiment_id])) == 1
    assert not list((pipeline / "mlartifacts/models").glob(".registering-*"))


@pytest.mark.slow
def test_on_a_server_too_a_version_is_made_and_loads(pipeline, one, mlflow_server, monkeypatch, tmp_path) -> None:
    """Also where the run that trained the model is not on the server, as after `dvc pull`."""
    import mlflow

    mlflow_server()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.address)
    (made,) = register_models(pipeline)
    assert "version 1 registered (" in made and made.endswith("MB sent to the server); made champion")
    (again,) = register_models(pipeline)
    assert again == "spam-classifier: version 1 is this state; is the champion"
    version = connect(pipeline).client.get_model_version_by_alias("spam-classifier", "champion")
    assert version.source.startswith("mlflow-artifacts:")
    assert version.run_id in (None, "")
    folder = mlflow.artifacts.download_artifacts(version.source, dst_path=str(tmp_path / "loaded"))
    weights = "artifacts/model/model.safetensors"
    ours = (pipeline / "models/classifier/model.safetensors").read_bytes()
    assert (Path(folder) / weights).read_bytes() == ours


def test_a_server_that_is_away_costs_only_the_versions(pipeline, monkeypatch, caplog) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert register_models(pipeline) == []
    assert "models could not be registered; gpt register tries again" in caplog.text
