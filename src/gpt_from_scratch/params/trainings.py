"""The sections of params.yaml that describe the three trainings."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from gpt_from_scratch.errors import shown
from gpt_from_scratch.params.optimization import Optimizer, PretrainOptimizer, ScheduleParams
from gpt_from_scratch.params.types import (
    BOOK_INSTRUCTIONS,
    BOOK_MESSAGES,
    BOOK_TEXT,
    Base,
    Column,
    Count,
    CountOrZero,
    DataGlob,
    DataPath,
    DropRate,
    EncodingName,
    Flag,
    Fraction,
    NotNegative,
    Positive,
    Section,
    Seed,
    Text,
    VocabSize,
    Word,
    param,
)

# Fields whose default differs from one section to another: the description stands once, here.
ContextLength = Annotated[Count, Field(description="longest sequence, tokens")]
Width = Annotated[Count, Field(description="width of the token vectors")]
Heads = Annotated[Count, Field(description="attention heads; divides emb_dim")]
Layers = Annotated[Count, Field(description="transformer blocks")]
BatchSize = Annotated[Count, Field(description="sequences per pass through the model")]
Epochs = Annotated[Count, Field(description="passes over the training set")]
EvalEvery = Annotated[Count, Field(description="steps between two evaluations")]
OtherDropRate = Annotated[DropRate | None, Word("same")]
Kernels = Annotated[
    Literal["explicit", "fused"],
    Field(description="explicit: the book's arithmetic; fused: PyTorch's kernels for it"),
]


class ModelShape(Section):
    """Shape of a model; the vocabulary's size comes from the tokenizer."""

    context_length: ContextLength = 256
    emb_dim: Width = 768
    n_heads: Heads = 12
    n_layers: Layers = 12

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> ModelShape:
        if self.emb_dim % self.n_heads:
            raise ValueError(f"emb_dim must be divisible by n_heads, found {self.emb_dim} and {self.n_heads}")
        return self


class TinyModel(ModelShape):
    """Shape of the synthetic model called tiny."""

    context_length: ContextLength = 128
    emb_dim: Width = 96
    n_heads: Heads = 4
    n_layers: Layers = 3


class PretrainModel(ModelShape):
    """The model (chapter 4); the vocabulary's size comes from the tokenizer."""

    FIRST: ClassVar = ("context_length", "emb_dim", "n_heads", "n_layers", "drop_rate")

    drop_rate: DropRate = param(0.1, "dropout probability")
    drop_rate_emb: OtherDropRate = param(None, "dropout after the embeddings; same: drop_rate")
    drop_rate_attn: OtherDropRate = param(None, "dropout on attention weights; same: drop_rate")
    drop_rate_shortcut: OtherDropRate = param(None, "dropout on both residual branches; same: drop_rate")
    qkv_bias: Flag = param(False, "bias in the query, key and value projections")
    tie_weights: Flag = param(False, "share the embedding's matrix with the output head; needs init: gpt2 to learn")
    init: Literal["book", "gpt2"] = param(
        "book", "book: PyTorch's own initial weights; gpt2: normal ones of deviation 0.02"
    )
    kernels: Kernels = "explicit"

    @property
    def architecture(self) -> dict[str, Any]:
        """The fields that are a `GPTConfig`'s."""
        return {key: value for key, value in self if key != "init"}


class Training(Section):
    """A training: the fields that all three have."""

    seed: Seed = param(123, "seed of initial weights, shuffling and dropout")
    batch_size: BatchSize = 8
    accumulation_steps: Count = param(1, "passes per update: batch_size x accumulation_steps sequences, in less memory")
    epochs: Epochs = 5
    max_steps: CountOrZero = param(0, "updates of the training, over as many epochs as that takes; 0: as epochs says")
    eval_every: EvalEvery = 5
    eval_batches: Count = param(5, "batches per evaluation, of each split")
    keep: Literal["last", "best"] = param(
        "last", "best: the weights with the lowest validation loss of all evaluations"
    )
    patience: CountOrZero = param(0, "evaluations without a lower validation loss that end the training; 0: none do")
    precision: Literal["fp32", "bf16"] = param(
        "fp32", "bf16: matrix products with 8 bits of precision, weights in fp32; for GPUs"
    )
    compile: Flag = param(False, "compile the losses (torch.compile): a minute at the start, another dropout")
    optimizer: Optimizer = Optimizer()
    schedule: ScheduleParams = ScheduleParams()


class Lora(Section):
    """Low-rank updates (appendix E), for trainable: lora."""

    rank: Count = param(16, "rank of every layer's update")
    alpha: Positive = param(
        16.0, "scaling is alpha / rank; for unscaled LoRA (the companion's before 9/2026): alpha x rank"
    )


class Sample(Section):
    """Text generated after every epoch."""

    prompt: Text = param("Every effort moves you", "beginning of the text")
    tokens: Count = param(50, "tokens to add, greedily")


class Corpus(Section):
    """Text to train on: the book's, or texts of any size, tokenised once by all cores."""

    path: DataPath = param(BOOK_TEXT, f"UTF-8 text under data/, or a folder of them; {BOOK_TEXT}: the book's")
    files: list[DataGlob] = param(
        ["**/*.txt"], "where path is a folder: files, folders and globs in it to read", min_length=1
    )
    strip_gutenberg: Flag = param(False, "leave out Project Gutenberg's header and footer, where a file has them")

    @model_validator(mode="after")
    def _leaves_the_books_text_as_it_is(self) -> Corpus:
        if self.is_book and self.strip_gutenberg:
            raise ValueError(f"strip_gutenberg is for other texts than {BOOK_TEXT}, which stays as it is")
        return self

    @property
    def is_book(self) -> bool:
        """Return whether it is the text that `fetch_data` provides."""
        return self.path == BOOK_TEXT


class Pretrain(Training):
    """Pretraining from scratch (chapter 5)."""

    FIRST: ClassVar = (
        *("corpus", "tokenizer", "vocab_size", "model", "epochs", "batch_size", "optimizer", "schedule", "sample"),
        "seed",
    )

    batch_size: BatchSize = 2
    epochs: Epochs = 10
    optimizer: PretrainOptimizer = PretrainOptimizer()
    corpus: Corpus = Corpus()
    tokenizer: Literal["gpt2", "corpus"] = param(
        "gpt2", "gpt2: GPT-2's, or the sample's; corpus: trained on the training part"
    )
    vocab_size: VocabSize = param(1024, "tokens of tokenizer: corpus, with <|endoftext|>; 257: one for each byte")
    train_fraction: Fraction = param(
        0.9, "first part, for training: by character (the book's), byte (tokenizer: corpus) or token"
    )
    stride: Count = param(256, "tokens from the start of one training sequence to the next")
    model: PretrainModel = PretrainModel()
    sample: Sample = Sample()


class Finetune(Training):
    """A fine-tuning: the fields that both have."""

    base: Base = param("gpt2/124M", "model to start from, a folder under models/: gpt2/<size>, or pretrain")
    initial_weights: Literal["base", "random"] = param(
        "base", "random: take only the shape of the base, with new weights"
    )
    drop_rate: DropRate = param(0.0, "dropout probability while fine-tuning")
    kernels: Kernels = "fused"
    lora: Lora = Lora()


class LabelledData(Section):
    """Labelled texts: the book's messages, or your own with any number of classes."""

    path: DataPath = param(
        BOOK_MESSAGES, "the book's; or a .csv or .tsv under data/, or a folder with train.csv, test.csv"
    )
    text: Annotated[Column | None, Word("none")] = param(
        None, "column of the texts; none: the book's messages, which have no column names"
    )
    label: Annotated[Column | None, Word("none")] = param(None, "column of their labels; none: the book's messages")
    header: Flag = param(True, "the first line names the columns; false: text and label are their numbers, from 1")
    encoding: EncodingName = param("utf-8", "of the files: utf-8, latin-1, cp1252, utf-16 or another that Python knows")

    @model_validator(mode="after")
    def _names_what_there_is(self) -> LabelledData:
        names = [name for name in (self.text, self.label) if name is not None]
        if self.is_book and names:
            raise ValueError(f"{BOOK_MESSAGES} has no named columns: expected none for text and label, found {names}")
        if not self.is_book and PurePath(self.path).suffix.lower() not in ("", ".csv", ".tsv"):
            raise ValueError(f"path: expected a .csv or .tsv file, or {BOOK_MESSAGES}, found {shown(self.path)}")
        if not self.is_book and len(set(names)) < 2:
            raise ValueError(f"expected two columns of {self.path} under text and label, found {names}")
        if self.is_book and not (self.header and self.encoding == "utf-8"):
            raise ValueError(f"header and encoding are for other files than {BOOK_MESSAGES}")
        if not self.header and not all(re.fullmatch("[1-9][0-9]*", name) for name in names):
            raise ValueError(f"header: false: expected numbers of columns under text and label, found {names}")
        try:
            "a".encode(self.encoding)
        except (LookupError, ValueError):
            raise ValueError(f"encoding: expected one that Python knows, found {shown(self.encoding)}") from None
        return self

    @property
    def is_book(self) -> bool:
        """Return whether these are the messages that `fetch_data` provides."""
        return self.path == BOOK_MESSAGES


class Classify(Finetune):
    """Fine-tuning as a classifier (chapter 6)."""

    FIRST: ClassVar = (
        *("data", "base", "trainable", "lora", "epochs", "batch_size", "optimizer", "schedule"),
        *("max_length", "deciding_token", "class_weights", "seed"),
    )

    eval_every: EvalEvery = 50
    data: LabelledData = LabelledData()
    class_weights: Literal["none", "balanced"] = param(
        "none", "balanced: weight in the loss inversely proportional to class frequency"
    )
    trainable: Literal["last_layer", "last_block", "last_two_blocks", "all", "lora"] = param(
        "last_block", "last_layer: the head alone"
    )
    deciding_token: Literal["last", "last_real", "first", "mean"] = param(
        "last", "position whose logits are classified"
    )
    max_length: Annotated[Count | None, Word("longest")] = param(
        None, "tokens that messages are padded or cut to; longest: as the longest training message"
    )
    causal: Flag = param(True, "no token sees a later one; false: each sees the whole message with its padding")
    frozen_gb: NotNegative = param(
        4.0, "memory limit, GB, for cached activations of the frozen blocks; else computed each time"
    )


class PreferenceParams(Section):
    """Preference tuning by DPO (the companion's ch07/04), for objective: preferences."""

    beta: Positive = param(0.1, "weight of the rewards; a smaller one lets the model move further from its base")


class Instruct(Finetune):
    """Fine-tuning to follow instructions (chapter 7)."""

    FIRST: ClassVar = (
        *("data", "objective", "preferences", "prompt_style", "mask_instruction", "base", "trainable", "lora"),
        *("epochs", "batch_size", "optimizer", "schedule", "max_length", "seed"),
    )

    epochs: Epochs = 2
    data: DataPath = param(
        BOOK_INSTRUCTIONS, "JSON list or lines: instruction, input, output; messages; or chosen, rejected"
    )
    prompt_style: Literal["alpaca", "phi3"] = param("alpaca", "form of the prompt: the book's, or exercise 7.1's")
    mask_instruction: Flag = param(False, "learn the responses alone (exercise 7.2)")
    objective: Literal["answers", "preferences"] = param(
        "answers", "preferences: learn which of two answers is better (DPO)"
    )
    preferences: PreferenceParams = PreferenceParams()
    trainable: Literal["all", "lora"] = param("all", "lora: low-rank updates of all layers, the weights frozen")
    train_fraction: Fraction = param(0.85, "first part of the entries, for training")
    test_fraction: Fraction = param(0.1, "next part, for the test; the rest validates")
    max_length: Count = param(1024, "longest sequence, tokens; longer ones are cut and counted")
    group_by_length: Flag = param(False, "training batches of about equally long sequences: faster, but other batches")
    sample_tokens: Count = param(35, "most tokens of the answer generated after every epoch")

    @property
    def is_book(self) -> bool:
        """Return whether `data` names the book's instructions."""
        return self.data == BOOK_INSTRUCTIONS

    @model_validator(mode="after")
    def _can_be_learned_and_validated(self) -> Instruct:
        if self.train_fraction + self.test_fraction >= 1.0:
            raise ValueError("train_fraction + test_fraction must leave something for validation")
        if self.objective == "preferences" and self.is_book:
            raise ValueError(
                f"objective preferences learns from pairs (chosen, rejected), found data {self.data}, which has "
                "answers: set instruct.data too, to data/sample/preference-data.json or a file of your own"
            )
        return self
