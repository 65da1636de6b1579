"""`params.yaml` as typed objects, checked once.

Every number that a user may change is one field, here or in `trainings`, with its default and its description, which
is the comment in the file; `python -m gpt_from_scratch.params` writes the comments.
Importing this module loads no torch: what must be set before a numerical library loads can be read first.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.files.reading import read_text
from gpt_from_scratch.params.plain_yaml import parse_yaml
from gpt_from_scratch.params.trainings import Classify, Instruct, Pretrain, TinyModel
from gpt_from_scratch.params.types import (
    Base,
    BasePath,
    Count,
    CountOrZero,
    Endpoint,
    Flag,
    Fraction,
    JudgeName,
    NewToken,
    Number,
    Positive,
    Section,
    Seed,
    Share,
    Size,
    Text,
    param,
)

LARGEST_FILE = 2**18
"""Bytes of a parameter file; ours have some 2,000."""

MOST_COMPLAINTS = 5


class Runtime(Section):
    """Machine, processes and reproducibility."""

    FIRST: ClassVar = ("device", "threads", "processes", "offline", "portable")

    device: Literal["auto", "cpu", "cuda", "mps"] = param("auto", "auto: CUDA, else MPS, else CPU (with a warning)")
    threads: Annotated[int, Field(ge=0, strict=True)] = param(
        0, "CPU threads of each process; 0: all cores; another number may change the last bits"
    )
    processes: Annotated[int, Field(ge=1, le=1024, strict=True)] = param(
        1, "processes on this machine that share each batch; on CUDA each takes a GPU"
    )
    sharding: Literal["none", "full"] = param(
        "none", "full: weights, gradients and optimizer state are split over the processes"
    )
    deterministic: Flag = param(True, "run only algorithms that give the same bits again")
    portable: Flag = param(False, "instruction set of every x86-64 processor (AVX2): equal bits on all; slower")
    offline: Flag = param(False, "open no connection: use what was fetched before, or a mirror's folder")
    checkpoint_seconds: Positive = param(
        300.0, "seconds of training between two checkpoints: the most that a crash costs"
    )


class FetchData(Section):
    """Raw data."""

    source: Literal["sample", "upstream"] = param(
        "upstream", "sample: this project's own texts in data/sample; upstream: the book's"
    )


class SplitSpam(Section):
    """Split of the messages into training, validation and test set."""

    recipe: Literal["book", "clean"] = param(
        "book", "book: the book's rows; clean: no normalised duplicate across splits"
    )
    train: Fraction = param(0.7, "fraction for training")
    validation: Fraction = param(0.1, "fraction for validation; the rest is the test set")
    balance: Flag = param(True, "sample every class down to the smallest one")
    seed: Seed = param(123, "seed of sampling and shuffling")

    @model_validator(mode="after")
    def _leaves_a_test_set(self) -> SplitSpam:
        if self.train + self.validation >= 1.0:
            raise ValueError("train + validation must leave something for the test set")
        return self


class DownloadGpt2(Section):
    """Weights of GPT-2, which the fine-tunings start from."""

    FIRST: ClassVar = ("source", "sizes", "path")

    source: Literal["openai", "huggingface", "synthetic", "path"] = param(
        "openai", "synthetic: random weights; path: a folder"
    )
    sizes: list[Size] = param(
        ["124M"],
        "besides the bases: 124M, 355M, 774M, 1558M, tiny (synthetic only), custom (source path)",
        min_length=1,
    )
    path: BasePath = param("", "for source path: a folder under data/bases/ in Hugging Face's layout, the size custom")
    add_tokens: list[NewToken] = param(
        [], "tokens added to every model, such as <|user|>; each begins as the mean of the others"
    )
    seed: Seed = param(123, "seed of the synthetic weights")
    tiny: TinyModel = TinyModel()


class JudgeParams(Section):
    """A larger model that scores answers, behind an endpoint that speaks OpenAI's chat completions."""

    name: JudgeName = param("llama3", "name in the results")
    url: Endpoint = param("http://localhost:11434/v1", "address up to /chat/completions; default: Ollama's")
    model: Annotated[str, Field(min_length=1, max_length=200)] = param("llama3", "name at the endpoint")
    seed: Seed = param(123, "seed of the scores, at temperature 0")


class Evaluate(Section):
    """Final evaluation of the three models."""

    FIRST: ClassVar = ("judges", "response_tokens", "sample_prompts", "sample_tokens", "temperature", "top_k")

    batch_size: Count = param(8, "sequences per batch")
    sample_prompts: list[Text] = param(
        ["Every effort moves you"], "beginnings of the language model's samples", min_length=1
    )
    sample_tokens: Count = param(50, "tokens per sample")
    temperature: Annotated[Number, Field(ge=0.01)] = param(1.4, "temperature of the random sample")
    top_k: Count = param(25, "most likely tokens that the random sample chooses among")
    seed: Seed = param(123, "seed of the random sample")
    top_p: Share = param(1.0, "random sample among the fewest tokens of this total probability; 1: all")
    min_p: Share = param(0.0, "random sample among tokens at least this times as likely as the best; 0: all")
    repetition_penalty: Annotated[Number, Field(ge=0.01, le=100.0)] = param(
        1.0, "above 1: tokens that the random sample has, prompt included, become less likely"
    )
    stop: list[Text] = param([], "texts that end the random sample and are left out, beside the end-of-text token")
    response_tokens: Count = param(256, "most tokens of an answer to a test instruction")
    answers_at_once: Count = param(32, "answers generated side by side; GPT-2 124M takes 74 KB for every token of each")
    benchmarks: list[Literal["lambada", "hellaswag", "wikitext"]] = param(
        [], "zero-shot benchmarks: lambada, hellaswag, wikitext; files: see data/benchmarks/README.md"
    )
    benchmark_model: Base = param("pretrain", "model that they measure: pretrain, or gpt2/<size> of download_gpt2")
    benchmark_limit: CountOrZero = param(0, "first items of each that are measured; 0: all")
    benchmark_stride: CountOrZero = param(
        0, "tokens between windows of wikitext: fewer give a lower perplexity; 0: the whole context"
    )
    weights: Literal["fp32", "int8"] = param("fp32", "int8: weights rounded to 8 bits, faster; with runtime.device cpu")
    judges: list[JudgeParams] = param(
        [], "models that score answers, 0 to 100: [{name, url, model, seed}]; key in GPT_JUDGE_KEY"
    )

    @model_validator(mode="after")
    def _judges_have_names_of_their_own(self) -> Evaluate:
        names = [judge.name for judge in self.judges]
        if len(names) > len(set(names)):
            raise ValueError(f"judges: expected a name of its own for each, found {', '.join(names)}")
        return self


class Params(Section):
    """All of params.yaml. What is left out is as in the profile book."""

    profile: Annotated[str, Field(pattern=r"^[a-z0-9_-]+$", max_length=64)] = param(
        "book", "name that the runs are filed under"
    )
    runtime: Runtime = Runtime()
    fetch_data: FetchData = FetchData()
    split_spam: SplitSpam = SplitSpam()
    download_gpt2: DownloadGpt2 = DownloadGpt2()
    pretrain: Pretrain = Pretrain()
    classify: Classify = Classify()
    instruct: Instruct = Instruct()
    evaluate: Evaluate = Evaluate()

    @model_validator(mode="after")
    def _sections_fit_together(self) -> Params:
        download, sizes = self.download_gpt2, self.gpt2_sizes
        if download.source in ("openai", "huggingface") and "tiny" in sizes:
            raise ValueError(
                "download_gpt2.source: the size 'tiny' exists as a synthetic model only; choose another size or source"
            )
        if download.source != "path" and "custom" in sizes:
            raise ValueError("download_gpt2.source: the size 'custom' is a folder of your own; set source to path")
        if download.source == "path" and not download.path:
            raise ValueError("download_gpt2.path: expected a folder under data/bases/ (source is path), found none")
        if download.source == "path" and (others := [size for size in sizes if size != "custom"]):
            raise ValueError(
                f"download_gpt2.source: path gives the size custom alone, found {shown(others[0])}; set "
                "download_gpt2.sizes to [custom], and classify.base and instruct.base to gpt2/custom or pretrain"
            )
        for name, section in (("classify", self.classify), ("instruct", self.instruct)):
            if section.trainable == "lora" and section.initial_weights == "random":
                raise ValueError(
                    f"{name}.trainable: lora leaves the weights as they are, and random ones are kept nowhere; "
                    f"set {name}.initial_weights to base"
                )
        compiled = [name for name in ("pretrain", "classify", "instruct") if getattr(self, name).compile]
        if compiled and self.runtime.portable:
            raise ValueError(
                f"{compiled[0]}.compile: compiled code uses the instruction set of this processor; "
                "set runtime.portable to false, or this to false"
            )
        size = self.evaluate.benchmark_model.removeprefix("gpt2/")
        if size not in ("pretrain", *sizes):
            raise ValueError(
                f"evaluate.benchmark_model: expected pretrain or a size that download_gpt2 provides, found {size}; "
                "add it to download_gpt2.sizes"
            )
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
    return _checked(Path(path), read_text(Path(path), LARGEST_FILE))


@lru_cache(maxsize=8)
def _checked(path: Path, text: str) -> Params:
    content = parse_yaml(text, path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected sections with parameters, found {type(content).__name__}")
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        complaints = [f"{path}: {_explain(item)}" for item in error.errors()]
        more = [f"and {len(complaints) - MOST_COMPLAINTS} more"] if len(complaints) > MOST_COMPLAINTS else []
        raise InputError("; ".join(complaints[:MOST_COMPLAINTS] + more)) from None


def _explain(item: Any) -> str:
    key = ".".join(_key(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{key}: unknown parameter, found {shown(item['input'])}"
    message = item["msg"].removeprefix("Value error, ")
    if isinstance(item["input"], BaseModel | dict):
        return f"{key}: {message}" if key else message
    return f"{key}: {message[0].lower()}{message[1:]}, found {shown(item['input'])}"


def _key(part: str | int) -> str:
    return part if isinstance(part, str) and part.isidentifier() and len(part) < 100 else shown(part)
