"""`params.yaml` as typed objects, checked once.

Every number that a user may change has one field here, whose description says what it does and in which unit.
Importing this module loads no torch: what must be set before a numerical library loads can be read first.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.plain_yaml import parse_yaml
from gpt_from_scratch.reading import read_text

LARGEST_FILE = 2**18
"""Bytes of a parameter file; ours have some 2,000."""

MOST_COMPLAINTS = 5

_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def _number(value: Any) -> Any:
    """Read `3e-4`, which YAML 1.1 takes for text because it has no point, as the number that was meant."""
    if isinstance(value, bool):
        raise ValueError("Input should be a number")
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Fraction = Annotated[Number, Field(gt=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1, lt=2**31, strict=True)]
Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
Size = Annotated[str, Field(pattern=r"^(124M|355M|774M|1558M|tiny|custom)$")]
Base = Annotated[str, Field(pattern=r"^(pretrain|gpt2/(124M|355M|774M|1558M|tiny|custom))$")]


_NAME_PART = r"\w[\w .()+,=@-]*"
_GLOB_PART = r"[\w*?\[][\w .()+,=@*?!\[\]-]*"
DataPath = Annotated[str, Field(pattern=rf"^data(/{_NAME_PART})+$", max_length=300)]
BasePath = Annotated[str, Field(pattern=rf"^(data/bases(/{_NAME_PART})+)?$", max_length=300)]
DataGlob = Annotated[str, Field(pattern=rf"^{_GLOB_PART}(/{_GLOB_PART})*$", max_length=300)]
Column = Annotated[str, Field(min_length=1, max_length=200)]
JudgeName = Annotated[str, Field(pattern=r"^\w[\w-]*$", max_length=64)]
# A name and password in it would end up in params.yaml, dvc.lock and MLflow.
Endpoint = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$", max_length=300)]
BOOK_TEXT = "data/raw/text.txt"
"""The text that `fetch_data` provides, the book's."""
BOOK_MESSAGES = "data/raw/SMSSpamCollection"
"""The labelled messages that `fetch_data` provides, the book's."""
BOOK_INSTRUCTIONS = "data/raw/instruction-data.json"
"""The instructions that `fetch_data` provides, the book's."""


class Section(BaseModel):
    """A part of params.yaml: complete, without unknown keys, and read-only."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


class ModelShape(Section):
    """The shape of a model to be trained; the vocabulary's size comes from the tokenizer."""

    context_length: Count = Field(description="longest sequence, tokens")
    emb_dim: Count = Field(description="width of the token vectors")
    n_heads: Count = Field(description="attention heads; divides emb_dim")
    n_layers: Count = Field(description="transformer blocks")

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> ModelShape:
        if self.emb_dim % self.n_heads:
            raise ValueError(f"emb_dim must be divisible by n_heads, found {self.emb_dim} and {self.n_heads}")
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


class PretrainModel(ModelShape):
    """The model of chapter 5."""

    drop_rate: Annotated[Number, Field(ge=0.0, lt=1.0)] = Field(description="dropout probability")
    qkv_bias: bool = Field(strict=True, description="bias in the query, key and value projections")
    tie_weights: bool = Field(strict=True, description="share the embedding's matrix with the output head")
    kernels: Literal["explicit", "fused"] = Field(description="the book's arithmetic, or PyTorch's kernels for it")


class Optimizer(Section):
    """AdamW."""

    lr: Annotated[Number, Field(gt=0.0)] = Field(description="(peak) learning rate")
    weight_decay: Annotated[Number, Field(ge=0.0)] = Field(description="decoupled weight decay")


class ScheduleParams(Section):
    """The learning rate over time and gradient clipping (appendix D)."""

    kind: Literal["constant", "cosine"] = Field(description="constant, or linear warm-up and cosine decay")
    warmup_fraction: Annotated[Number, Field(ge=0.0, lt=1.0)] = Field(description="part of all steps that warms up")
    initial_lr: Annotated[Number, Field(ge=0.0)] = Field(description="learning rate at step 0 of the warm-up")
    min_lr: Annotated[Number, Field(ge=0.0)] = Field(description="learning rate at the end of the decay")
    max_grad_norm: Annotated[Number, Field(gt=0.0)] | None = Field(
        description="gradients are clipped to this norm after the warm-up; null: not at all"
    )


class Training(Section):
    """What the three trainings have in common."""

    seed: Seed = Field(description="seed of initial weights, shuffling and dropout")
    batch_size: Count = Field(description="sequences per pass through the model")
    accumulation_steps: Count = Field(
        description="passes whose gradients make one update: batch_size x accumulation_steps sequences, in less memory"
    )
    epochs: Count = Field(description="passes over the training set")
    eval_every: Count = Field(description="steps between two evaluations")
    eval_batches: Count = Field(description="batches per evaluation, of each set")
    precision: Literal["fp32", "bf16"] = Field(
        description="bf16: matrix products with 8 bits of precision, weights and updates in fp32; for GPUs"
    )
    compile: bool = Field(
        strict=True,
        description="compile the losses (torch.compile), a minute at the start; other random numbers for dropout",
    )
    optimizer: Optimizer
    schedule: ScheduleParams


class Lora(Section):
    """Low-rank updates (appendix E), of `trainable: lora`."""

    rank: Count = Field(description="rank of every layer's update")
    alpha: Annotated[Number, Field(gt=0.0)] = Field(
        description="strength: an update counts alpha / rank; alpha x rank does what alpha does where that is left out"
    )


class Sample(Section):
    """The text written after every epoch."""

    prompt: Annotated[str, Field(min_length=1)] = Field(description="how the text begins")
    tokens: Count = Field(description="tokens to add, greedily")


class Corpus(Section):
    """What chapter 5's model is trained on: the book's text, or texts of any size, tokenised once by all cores."""

    path: DataPath = Field(
        description=f"a UTF-8 text under data/, or a folder of them; {BOOK_TEXT}: the book's, from fetch_data"
    )
    files: list[DataGlob] = Field(
        min_length=1, description="where path is a folder: the files, folders and globs in it that are read"
    )
    strip_gutenberg: bool = Field(
        strict=True, description="leave out Project Gutenberg's header and footer, where a file has them"
    )

    @model_validator(mode="after")
    def _leaves_the_books_text_as_it_is(self) -> Corpus:
        if self.is_book and self.strip_gutenberg:
            raise ValueError(f"strip_gutenberg is for other texts than {BOOK_TEXT}, which stays as it is")
        return self

    @property
    def is_book(self) -> bool:
        """Whether it is the text that `fetch_data` provides."""
        return self.path == BOOK_TEXT


class Pretrain(Training):
    """Pretraining from scratch (chapter 5)."""

    corpus: Corpus
    train_fraction: Fraction = Field(
        description="first part that is trained on, of the book's text by character, else by token; the rest validates"
    )
    stride: Count = Field(description="tokens from the start of one training sequence to the next")
    model: PretrainModel
    sample: Sample


class Finetune(Training):
    """What the two fine-tunings have in common."""

    base: Base = Field(description="model to start from, a folder under models/: gpt2/<size>, or pretrain")
    initial_weights: Literal["base", "random"] = Field(
        description="random: take only the shape of the base and begin with random weights"
    )
    drop_rate: Annotated[Number, Field(ge=0.0, lt=1.0)] = Field(description="dropout probability while fine-tuning")
    kernels: Literal["explicit", "fused"] = Field(description="the book's arithmetic, or PyTorch's kernels for it")
    lora: Lora


class LabelledData(Section):
    """What the classifier is trained on: the book's messages, or labelled texts with any number of classes."""

    path: DataPath = Field(
        description=f"a .csv or .tsv file under data/ with a line of column names; {BOOK_MESSAGES}: the book's messages"
    )
    text: Column | None = Field(description="column of the texts; null for the book's messages, which have no names")
    label: Column | None = Field(description="column of their labels; null for the book's messages")

    @model_validator(mode="after")
    def _names_what_there_is(self) -> LabelledData:
        names = [name for name in (self.text, self.label) if name is not None]
        if self.is_book and names:
            raise ValueError(f"{BOOK_MESSAGES} has no named columns: expected null for text and label, found {names}")
        if not self.is_book and not self.path.endswith((".csv", ".tsv")):
            raise ValueError(f"path: expected a .csv or .tsv file, or {BOOK_MESSAGES}, found {shown(self.path)}")
        if not self.is_book and len(set(names)) < 2:
            raise ValueError(f"expected two columns of {self.path} under text and label, found {names}")
        return self

    @property
    def is_book(self) -> bool:
        """Whether it is what `fetch_data` provides."""
        return self.path == BOOK_MESSAGES


class Classify(Finetune):
    """Fine-tuning as a classifier (chapter 6)."""

    data: LabelledData
    class_weights: Literal["none", "balanced"] = Field(
        description="balanced: a class counts the more in the loss, the rarer it is among the training texts"
    )
    trainable: Literal["last_layer", "last_block", "last_two_blocks", "all", "lora"] = Field(
        description="what is trained: the head; head, final norm and last block; the last two blocks with them; all; "
        "or low-rank updates of all layers, the head's included, the weights themselves frozen"
    )
    deciding_token: Literal["last", "last_real", "first", "mean"] = Field(
        description="token that the class is decided at: the last of the padded message, the message's own last, or "
        "the first; mean: the mean of what the head says at every token of the padded message"
    )
    max_length: Count | None = Field(
        description="tokens that messages are padded or cut to; null: as many as the longest training message has"
    )
    causal: bool = Field(
        strict=True,
        description="no token sees a later one; false: every token sees the whole message, its padding included",
    )
    ignore_index: Annotated[int, Field(ge=-(2**31), lt=2**31, strict=True)] = Field(
        description="number of a class that is not learnt (PyTorch's cross_entropy); one that is no class, such as "
        "-100 or the companion's 50256, changes nothing"
    )
    frozen_gb: Annotated[Number, Field(ge=0.0)] = Field(
        description="most GB of memory for what the frozen layers make of all messages, computed once; else every time"
    )


class Preferences(Section):
    """Preference tuning by DPO (the companion's ch07/04)."""

    data: DataPath = Field(
        description="a JSON list under data/ with instruction, input, chosen and rejected; split by the same fractions"
    )
    beta: Annotated[Number, Field(gt=0.0)] = Field(
        description="weight of the rewards: the smaller, the further the model may go from the one it starts from"
    )


class Instruct(Finetune):
    """Fine-tuning to follow instructions (chapter 7)."""

    data: DataPath = Field(
        description="a JSON list under data/ with instruction, input and output: the book's, Alpaca's, your own"
    )
    prompt_style: Literal["alpaca", "phi3"] = Field(
        description="how an instruction is written for the model: the book's main style, or exercise 7.1's"
    )
    mask_instruction: bool = Field(
        strict=True, description="learn the responses alone, and not the instructions before them (exercise 7.2)"
    )
    objective: Literal["answers", "preferences"] = Field(
        description="answers: learn to give those of data; preferences: learn which of two is better (DPO)"
    )
    preferences: Preferences
    trainable: Literal["all", "lora"] = Field(
        description="what is trained: all, or low-rank updates of all layers, the weights themselves frozen"
    )
    train_fraction: Fraction = Field(description="first part of the entries, for training")
    test_fraction: Fraction = Field(description="the part after it, for the test; what remains validates")
    max_length: Count = Field(description="longest sequence, tokens; longer ones are cut and counted")
    group_by_length: bool = Field(
        strict=True, description="make training batches of about equally long sequences: faster, other batches"
    )
    sample_tokens: Count = Field(description="most tokens of the answer written after every epoch")

    @model_validator(mode="after")
    def _leaves_a_validation_set(self) -> Instruct:
        if self.train_fraction + self.test_fraction >= 1.0:
            raise ValueError("train_fraction + test_fraction must leave something for validation")
        return self


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
