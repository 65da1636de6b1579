"""The sections of params.yaml that describe the three trainings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gpt_from_scratch.errors import shown
from gpt_from_scratch.params.types import (
    BOOK_INSTRUCTIONS,
    BOOK_MESSAGES,
    BOOK_TEXT,
    Base,
    Column,
    Count,
    DataGlob,
    DataPath,
    Fraction,
    Number,
    Section,
    Seed,
)

DropRate = Annotated[Number, Field(ge=0.0, lt=1.0)]


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


class PretrainModel(ModelShape):
    """The model of chapter 5."""

    drop_rate: DropRate = Field(description="dropout probability")
    drop_rate_emb: DropRate | None = Field(None, description="that behind the embeddings; null: drop_rate")
    drop_rate_attn: DropRate | None = Field(None, description="that on attention weights; null: drop_rate")
    drop_rate_shortcut: DropRate | None = Field(None, description="that on both residual branches; null: drop_rate")
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
    drop_rate: DropRate = Field(description="dropout probability while fine-tuning")
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

    @property
    def is_book(self) -> bool:
        """Whether `data` names the book's instructions."""
        return self.data == BOOK_INSTRUCTIONS

    @model_validator(mode="after")
    def _leaves_a_validation_set(self) -> Instruct:
        if self.train_fraction + self.test_fraction >= 1.0:
            raise ValueError("train_fraction + test_fraction must leave something for validation")
        return self
