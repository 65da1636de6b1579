"""`params.yaml` as typed objects, checked once.

Every number that a user may change has one field, here or in `training_params`, whose description says what it does
and in which unit.
Importing this module loads no torch: what must be set before a numerical library loads can be read first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.files.reading import read_text
from gpt_from_scratch.params.plain_yaml import parse_yaml
from gpt_from_scratch.params.trainings import Classify, Finetune, Instruct, ModelShape, Pretrain, Training
from gpt_from_scratch.params.types import (
    BOOK_INSTRUCTIONS,
    BOOK_MESSAGES,
    BOOK_TEXT,
    BasePath,
    Count,
    Endpoint,
    Fraction,
    JudgeName,
    Number,
    Section,
    Seed,
    Size,
)

__all__ = [
    "BOOK_INSTRUCTIONS",
    "BOOK_MESSAGES",
    "BOOK_TEXT",
    "Classify",
    "Finetune",
    "Instruct",
    "Number",
    "Params",
    "Pretrain",
    "Runtime",
    "SplitSpam",
    "Training",
    "load_params",
]

LARGEST_FILE = 2**18
"""Bytes of a parameter file; ours have some 2,000."""

MOST_COMPLAINTS = 5


class Runtime(Section):
    """What every stage runs on."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(description="auto: CUDA, else MPS, else CPU (with a warning)")
    threads: int = Field(
        ge=0, strict=True, description="CPU threads of each process; part of what decides the bits; 0: all cores"
    )
    processes: Annotated[int, Field(ge=1, le=1024, strict=True)] = Field(
        description="processes on this machine that share each batch of a training; on CUDA each takes a GPU"
    )
    sharding: Literal["none", "full"] = Field(
        description="none: each process holds the whole training; full: weights, gradients and averages in shares"
    )
    deterministic: bool = Field(strict=True, description="run only algorithms that give the same bits again")
    portable: bool = Field(
        strict=True,
        description="use instructions that every x86-64 processor has, so that all give equal bits; slower",
    )
    offline: bool = Field(
        strict=True, description="open no connection: use what was fetched before, or a mirror's folder"
    )
    checkpoint_seconds: Annotated[Number, Field(gt=0.0)] = Field(
        description="seconds of training between two checkpoints to resume from: the most work that a crash can cost"
    )


class FetchData(Section):
    """Where the raw data come from."""

    source: Literal["sample", "upstream"] = Field(
        description="sample: this project's own texts in data/sample; upstream: the book's data from their hosts"
    )


class SplitSpam(Section):
    """How the messages become training, validation and test sets."""

    recipe: Literal["book", "clean"] = Field(
        description="book: row for row the book's sets; clean: no message, folded, stands on two sides"
    )
    train: Fraction = Field(description="fraction for training")
    validation: Fraction = Field(description="fraction for validation; the rest is the test set")
    balance: bool = Field(strict=True, description="sample every class down to the smallest one")
    seed: Seed = Field(description="seed of the sampling and the shuffling")

    @model_validator(mode="after")
    def _leaves_a_test_set(self) -> SplitSpam:
        if self.train + self.validation >= 1.0:
            raise ValueError("train + validation must leave something for the test set")
        return self


class DownloadGpt2(Section):
    """The weights of GPT-2 that the fine-tunings start from: OpenAI's, synthetic ones, or a folder's."""

    source: Literal["openai", "huggingface", "synthetic", "path"] = Field(
        description="openai: TensorFlow checkpoints; huggingface: safetensors; synthetic: random weights, same format; "
        "path: a model folder of your own"
    )
    path: BasePath = Field(
        description="where source is path: a folder under data/bases/ in Hugging Face's layout, for the size custom"
    )
    sizes: list[Size] = Field(
        min_length=1,
        description="models to provide, besides those a fine-tuning starts from; tiny is synthetic only, and custom is "
        "what source path gives",
    )
    seed: Seed = Field(description="seed of the synthetic weights")
    tiny: ModelShape = Field(description="shape of the synthetic model called tiny")


class Judge(Section):
    """A larger model that scores answers, behind an endpoint that speaks OpenAI's chat completions."""

    name: JudgeName = Field(description="what the results call it")
    url: Endpoint = Field(description="where it answers, up to /chat/completions; Ollama: http://localhost:11434/v1")
    model: Annotated[str, Field(min_length=1, max_length=200)] = Field(description="the model's name there")
    seed: Seed = Field(description="seed of its answers, at temperature 0")


class Evaluate(Section):
    """The final evaluation."""

    batch_size: Count = Field(description="sequences per batch")
    sample_prompts: list[Annotated[str, Field(min_length=1)]] = Field(
        min_length=1, description="beginnings of the language model's samples"
    )
    sample_tokens: Count = Field(description="tokens per sample")
    temperature: Annotated[Number, Field(ge=0.01)] = Field(description="temperature of the drawn sample")
    top_k: Count = Field(description="most likely tokens that the drawn sample chooses among")
    seed: Seed = Field(description="seed of the drawn sample")
    response_tokens: Count = Field(description="most tokens of an answer to a test instruction")
    answers_at_once: Count = Field(
        description="answers that are written side by side; GPT-2 124M keeps 74 KB for every token of each"
    )
    weights: Literal["fp32", "int8"] = Field(
        description="weights that the language model and the instruction model are measured with and write with; "
        "int8: rounded to 8 bits, faster; on the CPU, with runtime.device cpu"
    )
    judges: list[Judge] = Field(
        description="models that score the answers from 0 to 100; the environment's GPT_JUDGE_KEY is their key"
    )

    @model_validator(mode="after")
    def _judges_have_names_of_their_own(self) -> Evaluate:
        names = [judge.name for judge in self.judges]
        if len(names) > len(set(names)):
            raise ValueError(f"judges: expected a name of its own for each, found {', '.join(names)}")
        return self


class Params(Section):
    """All of params.yaml."""

    profile: Annotated[str, Field(pattern=r"^[a-z0-9_-]+$", max_length=64)] = Field(
        description="name that the runs are filed under"
    )
    runtime: Runtime
    fetch_data: FetchData
    split_spam: SplitSpam
    download_gpt2: DownloadGpt2
    pretrain: Pretrain
    classify: Classify
    instruct: Instruct
    evaluate: Evaluate

    @model_validator(mode="after")
    def _tiny_is_synthetic(self) -> Params:
        if self.download_gpt2.source in ("openai", "huggingface") and "tiny" in self.gpt2_sizes:
            raise ValueError(
                "download_gpt2.source: the size 'tiny' exists as a synthetic model only; choose another size or source"
            )
        return self

    @model_validator(mode="after")
    def _custom_is_a_folder(self) -> Params:
        download, custom = self.download_gpt2, "custom" in self.gpt2_sizes
        if download.source != "path" and custom:
            raise ValueError("download_gpt2.source: the size 'custom' is a folder of your own; set source to path")
        if download.source == "path" and not download.path:
            raise ValueError("download_gpt2.path: expected a folder under data/bases/ (source is path), found none")
        if download.source == "path" and self.gpt2_sizes != ["custom"]:
            others = [size for size in self.gpt2_sizes if size != "custom"]
            raise ValueError(
                f"download_gpt2.source: path gives the size custom alone, found {shown(others[0])}; set "
                "download_gpt2.sizes to [custom], and classify.base and instruct.base to gpt2/custom or pretrain"
            )
        return self

    @model_validator(mode="after")
    def _updates_are_of_known_weights(self) -> Params:
        for name in ("classify", "instruct"):
            section = getattr(self, name)
            if section.trainable == "lora" and section.initial_weights == "random":
                raise ValueError(
                    f"{name}.trainable: lora leaves the weights as they are, and random ones are kept nowhere; "
                    f"set {name}.initial_weights to base"
                )
        return self

    @model_validator(mode="after")
    def _compiled_code_is_not_portable(self) -> Params:
        compiled = [name for name in ("pretrain", "classify", "instruct") if getattr(self, name).compile]
        if compiled and self.runtime.portable:
            raise ValueError(
                f"{compiled[0]}.compile: compiled code uses this processor's own instructions; "
                "set runtime.portable to false, or this to false"
            )
        return self

    @model_validator(mode="after")
    def _judges_need_a_connection(self) -> Params:
        if self.evaluate.judges and self.runtime.offline:
            raise ValueError("evaluate.judges: judges are asked over a connection; set runtime.offline to false, or []")
        return self

    @property
    def gpt2_sizes(self) -> list[str]:
        """The sizes that `download_gpt2` provides: those asked for and those that a fine-tuning starts from."""
        bases = [section.base.removeprefix("gpt2/") for section in (self.classify, self.instruct)]
        return list(dict.fromkeys([*self.download_gpt2.sizes, *(base for base in bases if base != "pretrain")]))


def load_params(path: Path | str = "params.yaml") -> Params:
    """Read and check a parameter file.

    Raises:
        InputError: naming the file, the key, what was expected and what was found.
    """
    path = Path(path)
    content = parse_yaml(read_text(path, LARGEST_FILE), path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected sections with parameters, found {type(content).__name__}")
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        complaints = [f"{path}: {_explain(item)}" for item in error.errors()]
        more = [f"and {len(complaints) - MOST_COMPLAINTS} more"] if len(complaints) > MOST_COMPLAINTS else []
        raise InputError("; ".join(complaints[:MOST_COMPLAINTS] + more)) from None


def _explain(item: Any) -> str:
    key = ".".join(_key(part) for part in item["loc"]) or "(whole file)"
    if item["type"] == "extra_forbidden":
        return f"{key}: unknown parameter, found {shown(item['input'])}"
    if item["type"] == "missing":
        return f"{key}: missing parameter"
    message = item["msg"].removeprefix("Value error, ")
    if isinstance(item["input"], BaseModel | dict):
        return f"{key}: {message}"
    return f"{key}: {message[0].lower()}{message[1:]}, found {shown(item['input'])}"


def _key(part: str | int) -> str:
    return part if isinstance(part, str) and part.isidentifier() and len(part) < 100 else shown(part)
