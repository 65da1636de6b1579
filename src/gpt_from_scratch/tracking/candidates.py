"""The models that the pipeline's present state offers to MLflow's registry: figures, lineage and descriptions."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.answers import answer_scores
from gpt_from_scratch.evaluation.confidence import marks
from gpt_from_scratch.evaluation.figures import accuracy_text, figure_text, label
from gpt_from_scratch.evaluation.measured import MEASURED, current_evaluation
from gpt_from_scratch.files.curves import read_rows
from gpt_from_scratch.files.nested import at
from gpt_from_scratch.files.writing import read_json
from gpt_from_scratch.params.sections import Params
from gpt_from_scratch.pipeline.dvc import folder_hash, locked_outs
from gpt_from_scratch.pipeline.stage import read_declared
from gpt_from_scratch.tracking.facts import STATE, git_tags
from gpt_from_scratch.tracking.server import Tracking
from gpt_from_scratch.tracking.signatures import CLASSIFIER, INSTRUCTOR, WRITER, Served
from gpt_from_scratch.tracking.summary import pipeline_state

WEIGHTS = "model.safetensors"
CIRCUMSTANCES = "measured_on"
"""Tag of a version with the circumstances of its figure."""
MOST_MARKS = 100_000
"""Letters of a tag's value in MLflow."""


@dataclass(frozen=True)
class Registered:
    """A model of the pipeline that belongs into the registry.

    Attributes:
        purpose: description of all its versions.
        out: its folder in the project.
        stage, section: the stage that trains it, and that stage's parameters.
        metric: the figure of `metrics/evaluation.json` that decides which version is the champion.
        compared: what of `Candidate.circumstances` must be alike beside the test set.
        limits: its limitations, for the description.
    """

    purpose: str
    out: str
    stage: str
    section: str
    metric: str
    higher_is_better: bool
    served: Served
    compared: tuple[str, ...]
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
        compared=(),
        limits="Texts of the kind and language it was trained on; a longer text is cut, and the answer says so.",
    ),
    "instruction-gpt": Registered(
        purpose="Follows instructions: GPT-2 fine-tuned on instructions with their answers (chapter 7 of the book).",
        out="models/instruct",
        stage="finetune_instruct",
        section="instruct",
        metric="instructions/response_bits_per_byte",
        higher_is_better=False,
        served=INSTRUCTOR,
        compared=("weights",),
        limits="Small for its task: it learns the form of an answer, and states what is wrong as surely as what is "
        "right.",
    ),
    "pretrained-gpt": Registered(
        purpose="Continues texts: a GPT pretrained from random weights (chapter 5 of the book).",
        out="models/pretrain",
        stage="pretrain",
        section="pretrain",
        metric="language_model/validation_bits_per_byte",
        higher_is_better=False,
        served=WRITER,
        compared=("weights",),
        limits="It knows little but the text it was trained on, and may repeat it word for word.",
    ),
}

_LICENCES = {
    "sample": "The data are this project's own, CC0 1.0.",
    "upstream": "The data and base weights have their own: The Verdict, public domain; SMS Spam Collection, CC BY 4.0; "
    "the instructions, Apache 2.0; OpenAI's GPT-2, MIT (modified).",
}


@dataclass(frozen=True)
class Candidate:
    """A model of the project at `root` as it is now, with the figure that decides whether it becomes the champion.

    Attributes:
        name: in the registry.
        value: of the figure.
        circumstances: must be alike for two values to be compared: the test set, and the precision of the weights.
        origin: further facts for people: the profile, and the data of the training.
        md5: DVC's hash of the model's folder; None where there is neither a lock file nor a model.
        scores: for the paired test with another version: a classifier's `marks` on the test set, or an instruction
            model's ROUGE-L of each answer, where it answered all; else nothing.
    """

    name: str
    model: Registered
    root: Path
    value: float
    circumstances: Mapping[str, str]
    origin: Mapping[str, str]
    md5: str | None
    scores: str = ""

    @property
    def folder(self) -> Path:
        """The model's folder."""
        return self.root / self.model.out

    @property
    def state(self) -> str:
        """Hash of what makes it another version: its files, and its figure with the circumstances."""
        content = [self.name, self.md5, self.model.metric, self.value, self.circumstances]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def hindrance(self) -> str | None:
        """Return why it cannot be registered; None if nothing prevents it."""
        if not (self.folder / WEIGHTS).is_file():
            return f"{self.model.out} is missing; dvc pull or dvc repro restores it"
        if folder_hash(self.folder) != self.md5:
            return f"{self.model.out} differs from dvc.lock; dvc checkout or dvc repro restores it"
        if self.folder.name in current_evaluation(self.root)[1]:
            return f"{self.model.out} is not what evaluate measured; dvc repro evaluates it"
        return None

    def tags(self) -> dict[str, str]:
        """Return the tags of a version: the figure, which is compared with a later version's, and its origin."""
        figure = {"metric": self.model.metric, "metric_value": repr(self.value)}
        return {**figure, CIRCUMSTANCES: json.dumps(self.circumstances), **self.origin}

    def lineage(self, tracking: Tracking, params: Params) -> dict[str, str]:
        """Return everything that is known of a version's origin."""
        from gpt_from_scratch.weights.config_file import load_facts

        base = getattr(getattr(params, self.model.section), "base", None)
        base_stage = None if base is None else "pretrain" if base == "pretrain" else "download_gpt2"
        found = {
            **self.tags(),
            **{key: str(value) for key, value in load_facts(self.folder).items()},
            **git_tags(self.root),
            "dvc_md5": self.md5,
            "model_state": self.state,
            "pipeline_state": pipeline_state(self.root)[0],
            "training_run": _run_of(tracking, self.root, self.model.stage, " and attributes.status = 'FINISHED'"),
            "evaluation_run": _run_of(tracking, self.root, "evaluate"),
            "base": base,
            "base_run": base_stage and _run_of(tracking, self.root, base_stage),
        }
        return {key: value for key, value in found.items() if value is not None}

    def description(self, alias: str, tags: Mapping[str, str]) -> str:
        """Return the Markdown text on a version that a person reads before using it; `tags` are its lineage."""
        from gpt_from_scratch.weights.classifier import load_info
        from gpt_from_scratch.weights.config_file import load_config, load_facts

        model, cfg, facts = self.model, load_config(self.folder), load_facts(self.folder)
        classes = ""
        if (self.folder / "classifier.json").is_file():
            classes = f"; classes {', '.join(load_info(self.folder, cfg).labels)}"
        rows = [list(row) for row in zip(*model.served.example.values(), strict=True)]
        request = json.dumps({"dataframe_split": {"columns": list(model.served.example), "data": rows}})
        run = f"run {tags['training_run']}" if "training_run" in tags else "another store's run (DVC brought the model)"
        return f"""{model.purpose}

- **{label(model.metric)}**: {
            accuracy_text(self.scores)
            if self.scores and model.served is CLASSIFIER
            else figure_text(self.value, model.metric)
        }
- **Data**: {self.origin["data"]}, profile {self.origin["profile"]}; {
            ", ".join(f"{key}: {value}" for key, value in facts.items())
        }
- **Shape**: {cfg.n_layers} layers, {cfg.emb_dim} wide, {cfg.n_heads} heads, {cfg.vocab_size} tokens, context {
            cfg.context_length
        }{classes}
- **Trained by**: {run}, commit {tags.get("mlflow.source.git.commit", "unknown")[:12]}
- **Limits**: {model.limits}
- **Licence**: the code's is MIT. {_LICENCES.get(str(facts.get("data")), "What the data allow is not known here.")}

```
mlflow models serve -m models:/{self.name}@{alias} --env-manager local --port 5002
curl http://127.0.0.1:5002/invocations -H 'Content-Type: application/json' -d '{request}'
```"""


def pipeline_candidates(root: Path, params: Params) -> list[Candidate]:
    """Return the models of the pipeline's present state.

    Raises:
        InputError: when a metrics file is not valid.
    """
    return [_candidate(root, params, name, model) for name, model in MODELS.items()]


def _candidate(root: Path, params: Params, name: str, model: Registered) -> Candidate:
    evaluation = read_json(root / "metrics/evaluation.json")
    value, trained = at(evaluation, model.metric, "/"), read_json(root / "metrics" / f"{model.stage}.json")
    if not isinstance(value, int | float):
        found = f"{model.metric}: expected a number, found {value!r}; run dvc repro"
        raise InputError(f"{root}/metrics/evaluation.json: {found}")
    noted = read_json(path).get(Path(model.out).name, {}) if (path := root / "metrics" / MEASURED).is_file() else {}
    known = {"test_set": noted.get("test_set", "not noted")[:12], "weights": params.evaluate.weights}
    circumstances = {key: known[key] for key in ("test_set", *model.compared)}
    origin = {"profile": params.profile, "data": str(trained.get("data", evaluation["data"]))}
    md5, folder = locked_outs(root).get(model.out), root / model.out
    if md5 is None and (folder / WEIGHTS).is_file():
        md5 = folder_hash(folder)
    scores = ""
    if model.served is CLASSIFIER:
        scores = marks(read_rows(root / "metrics/plots/confusion.csv"))
    elif model.served is INSTRUCTOR and not at(evaluation, "instructions.prompts_too_long"):
        scores = _rouge_of_answers(root / "metrics/responses.json")
    scores = scores if len(scores) <= MOST_MARKS else ""
    return Candidate(name, model, root, float(value), circumstances, origin, md5, scores)


def _rouge_of_answers(path: Path) -> str:

    rows = read_json(path) if path.is_file() else []
    scores = answer_scores(rows, [row["model_response"] for row in rows])
    return " ".join(f"{score:.4f}" for score in scores["rouge_l"])


def _run_of(tracking: Tracking, root: Path, stage: str, condition: str = "") -> str | None:
    """Return the run in which a stage made its present outputs; None when this store has none, as after `dvc pull`."""
    with contextlib.chdir(root):
        declared = read_declared(root, stage)
    return tracking.find_run(f"tags.stage = '{stage}' and tags.`{STATE}` = '{declared.state()}'{condition}")
