"""What of the pipeline's present state goes into MLflow's model registry; `gpt register`, and the end of `evaluate`.

Like the summary run, a version is made from what lies there and only once: DVC's run cache brings a model back without
running any stage.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import read_json, sha256
from gpt_from_scratch.params.sections import Params, load_params
from gpt_from_scratch.pipeline.dvc import cache_folder, file_hashes, folder_hash, locked_outs
from gpt_from_scratch.pipeline.stage import read_declared
from gpt_from_scratch.tracking import registry
from gpt_from_scratch.tracking.facts import git_tags, state_of
from gpt_from_scratch.tracking.registry import Candidate, Measured
from gpt_from_scratch.tracking.server import Tracking, connect, one_line
from gpt_from_scratch.tracking.signatures import CLASSIFIER, INSTRUCTOR, WRITER, Served
from gpt_from_scratch.tracking.summary import out_of_date, pipeline_state

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Registered:
    """A model of the pipeline, as the registry has it.

    Attributes:
        purpose: what it is for.
        out: its folder in the project.
        stage: the stage that trains it.
        section: of the parameters.
        metric: place of its headline figure in `metrics/evaluation.json`.
        higher_is_better: or else lower.
        served: how it is served.
        measured_with: what decides the sequences that the figure is measured on, of the parameters and of the raw data.
        limits: what it cannot do.
    """

    purpose: str
    out: str
    stage: str
    section: str
    metric: str
    higher_is_better: bool
    served: Served
    measured_with: Callable[[Params], Mapping[str, Any]]
    raw: tuple[str, ...]
    limits: str


MODELS = {
    "spam-classifier": Registered(
        purpose="Tells texts of several classes apart, spam from ham by default: GPT-2 with a classification head "
        "(chapter 6 of the book).",
        out="models/classifier",
        stage="finetune_classify",
        section="classify",
        metric="classifier/test/accuracy",
        higher_is_better=True,
        served=CLASSIFIER,
        measured_with=lambda params: {
            **params.split_spam.model_dump(mode="json"),
            "data": dict(params.classify.data),
        },
        raw=("SMSSpamCollection",),
        limits="Texts of the kind it was trained on, English by default; a longer text is cut, and the answer says so.",
    ),
    "instruction-gpt": Registered(
        purpose="Follows instructions: GPT-2 fine-tuned on instructions with their answers (chapter 7 of the book).",
        out="models/instruct",
        stage="finetune_instruct",
        section="instruct",
        metric="instructions/response_loss",
        higher_is_better=False,
        served=INSTRUCTOR,
        measured_with=lambda params: {
            "fractions": [params.instruct.train_fraction, params.instruct.test_fraction],
            "max_length": params.instruct.max_length,
            "weights": params.evaluate.weights,
        },
        raw=("instruction-data.json", "bpe/encoder.json", "bpe/vocab.bpe"),
        limits="Small for its task: it learns the form of an answer, and states what is wrong as surely as what is "
        "right.",
    ),
    "pretrained-gpt": Registered(
        purpose="Continues texts: a GPT pretrained from random weights (chapter 5 of the book).",
        out="models/pretrain",
        stage="pretrain",
        section="pretrain",
        metric="language_model/validation_loss",
        higher_is_better=False,
        served=WRITER,
        measured_with=lambda params: {
            "corpus": params.pretrain.corpus.model_dump(mode="json"),
            "train_fraction": params.pretrain.train_fraction,
            "weights": params.evaluate.weights,
        },
        raw=("text.txt", "bpe/encoder.json", "bpe/vocab.bpe"),
        limits="Trained on one short text, it knows little else and may repeat it word for word.",
    ),
}


def register_models(root: Path, *, promote: bool = False) -> list[str]:
    """Register the three models as they are now, unless that was done before; return a line on each.

    What is wrong with the tracking is warned of and never raised: the next call makes up for it.

    Args:
        promote: make them the champions whatever their figures.

    Raises:
        InputError: when params.yaml or a metrics file is not valid.
    """
    if not (root / "metrics/evaluation.json").is_file():
        log.info("MLflow: no model registered: metrics/evaluation.json is not there yet")
        return []
    params = load_params(root / "params.yaml")
    if reason := out_of_date(root, params.model_dump(mode="json")):
        log.warning("MLflow: no model registered: %s; run dvc repro first", reason)
        return []
    measured = {name: _measured(root, params, model) for name, model in MODELS.items()}
    try:
        tracking = connect(root)
        with registry.exclusive_registry(root, tracking.uri):
            return [_register(tracking, root, params, name, measured[name], promote) for name in MODELS]
    except Exception as error:
        log.warning("MLflow: models could not be registered; the next dvc repro tries again: %s", one_line(error))
        return []


def _register(tracking: Tracking, root: Path, params: Params, name: str, measured: Measured, promote: bool) -> str:
    model = MODELS[name]
    folder, locked = root / model.out, locked_outs(root).get(model.out)
    is_there = (folder / registry.WEIGHTS).is_file()
    hashes: dict[str, str] = {}
    if locked is None and is_there:
        hashes = file_hashes(folder)
        locked = folder_hash(hashes)
    version = locked and registry.find_version(tracking, name, _state(name, locked, measured))
    made = ""
    if not version:
        if not is_there:
            return f"{name}: not registered: {model.out} is not there; dvc pull or dvc repro brings it"
        hashes = hashes or file_hashes(folder)
        if folder_hash(hashes) != locked:
            return f"{name}: not registered: {model.out} is not what dvc.lock says; dvc checkout or dvc repro mends it"
        candidate = _candidate(tracking, root, params, name, hashes, measured)
        version, disk = registry.register(tracking, root, candidate, cache_folder(root))
        made = f" registered ({disk})"
    if promote:
        registry.promote(tracking, version)
        decision = registry.MADE
    else:
        decision = registry.decide(tracking, version, measured)
    return f"{name}: version {version.version}{made or ' is this state'}; {decision}"


def _candidate(
    tracking: Tracking, root: Path, params: Params, name: str, hashes: Mapping[str, str], measured: Measured
) -> Candidate:
    from gpt_from_scratch.weights.config_file import load_facts

    model, locked = MODELS[name], folder_hash(dict(hashes))
    run_id = _run_of(tracking, root, model.stage, "attributes.status = 'FINISHED'")
    facts = load_facts(root / model.out)
    base = getattr(getattr(params, model.section), "base", None)
    base_stage = None if base is None else "pretrain" if base == "pretrain" else "download_gpt2"
    state = pipeline_state(root)[0]
    lineage = {
        **registry.measured_tags(measured),
        **{key: str(value) for key, value in facts.items()},
        **git_tags(root),
        "dvc_md5": locked,
        "pipeline_state": state,
        "training_run": run_id,
        "evaluation_run": _run_of(tracking, root, "evaluate"),
        "base": base,
        "base_run": base_stage and _run_of(tracking, root, base_stage),
    }
    tags = {key: value for key, value in lineage.items() if value is not None}
    return Candidate(
        name,
        model.purpose,
        _description(root, name, params, measured, facts, tags),
        root / model.out,
        hashes,
        _state(name, locked, measured),
        model.served,
        measured,
        tags,
        run_id or _first_run(tracking, f"tags.pipeline_state = '{state}'"),
    )


def _measured(root: Path, params: Params, model: Registered) -> Measured:
    evaluation = read_json(root / "metrics/evaluation.json")
    value: Any = evaluation
    for part in model.metric.split("/"):
        value = value.get(part) if isinstance(value, Mapping) else None
    if not isinstance(value, int | float):
        raise InputError(f"{root}/metrics/evaluation.json: {model.metric}: expected a number, found {value!r}")
    sources = read_json(root / "data/raw/sources.json")["sha256"] if (root / "data/raw/sources.json").is_file() else {}
    trained = read_json(root / "metrics" / f"{model.stage}.json")
    own = {
        "classify": None if params.classify.data.is_book else root / params.classify.data.path,
        "instruct": None if params.instruct.is_book else root / params.instruct.data,
    }.get(model.section)
    test = [
        model.measured_with(params),
        [sources.get(file) for file in model.raw],
        trained.get("corpus_tokens"),
        sha256(own) if own and own.is_file() else None,
    ]
    circumstances = {
        "profile": params.profile,
        "data": str(trained.get("data", evaluation["data"])),
        "measured_on": hashlib.sha256(json.dumps(test, sort_keys=True).encode()).hexdigest()[:12],
    }
    return Measured(model.metric, float(value), model.higher_is_better, circumstances)


def _state(name: str, locked: str, measured: Measured) -> str:
    """Return what makes a model another one: its files, or how and as what it was measured."""
    content = [name, locked, measured.name, measured.value, measured.circumstances]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _run_of(tracking: Tracking, root: Path, stage: str, condition: str = "") -> str | None:
    """Return the run in which a stage did what lies there; None when this store has none, as after `dvc pull`."""
    with contextlib.chdir(root):
        declared = read_declared(root, stage)
    state = state_of(declared.keys, declared.deps)
    wanted = f"tags.stage = '{stage}' and tags.state = '{state}'" + (condition and f" and {condition}")
    return _first_run(tracking, wanted)


def _first_run(tracking: Tracking, wanted: str) -> str | None:
    found = tracking.client.search_runs([tracking.experiment_id], wanted, max_results=1)
    return found[0].info.run_id if found else None


def _description(
    root: Path, name: str, params: Params, measured: Measured, facts: Mapping[str, Any], tags: Mapping[str, str]
) -> str:
    """Return what a person wants to know of a version before using it; the model card of a registered model."""
    from gpt_from_scratch.weights.config_file import load_config

    model = MODELS[name]
    cfg = load_config(root / model.out)
    example = json.dumps({"dataframe_split": {"columns": list(model.served.example), "data": _rows(model)}})
    made = f"run {tags['training_run']}" if "training_run" in tags else "another store's run (DVC brought the model)"
    return "\n".join(
        (
            model.purpose,
            "",
            f"- **{measured.name}**: {measured.value:.4f}",
            f"- **Data**: {measured.circumstances['data']}, profile {params.profile}; "
            + ", ".join(f"{key}: {value}" for key, value in facts.items()),
            f"- **Shape**: {cfg.n_layers} layers, {cfg.emb_dim} wide, {cfg.n_heads} heads, {cfg.vocab_size} tokens, "
            f"context {cfg.context_length}" + _classes(root / model.out, cfg),
            f"- **Trained by**: {made}, commit {tags.get('git_commit', 'unknown')[:12]}",
            f"- **Limits**: {model.limits}",
            f"- **Licence**: the code's is MIT. {_LICENCES.get(str(facts.get('data')), _OWN_DATA)}",
            "",
            "```",
            f"mlflow models serve -m models:/{name}@{registry.ALIAS} --env-manager local --port 5002",
            f"curl http://127.0.0.1:5002/invocations -H 'Content-Type: application/json' -d '{example}'",
            "```",
        )
    )


def _classes(folder: Path, cfg: Any) -> str:
    """Return the classes of a classifier, to be put behind its shape."""
    from gpt_from_scratch.weights.classifier import load_info

    if not (folder / "classifier.json").is_file():
        return ""
    return f"; classes {', '.join(load_info(folder, cfg).labels)}"


_LICENCES = {
    "sample": "The data are this project's own, CC0 1.0.",
    "upstream": "The data and base weights have their own: The Verdict, public domain; SMS Spam Collection, CC BY 4.0; "
    "the instructions, Apache 2.0; OpenAI's GPT-2, MIT (modified).",
}
_OWN_DATA = "What the data allow is not known here."


def _rows(model: Registered) -> list[list[str]]:
    return [list(row) for row in zip(*model.served.example.values(), strict=True)]
