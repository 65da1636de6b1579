"""The sections of params.yaml that describe the three trainings."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

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
    DropRate,
    Flag,
    Fraction,
    NotNegative,
    Number,
    Positive,
    Section,
    Seed,
    Text,
    Word,
)

# Fields whose default differs from one section to another: the description stands once, here.
ContextLength = Annotated[Count, Field(description="longest sequence, tokens")]
Width = Annotated[Count, Field(description="width of the token vectors")]
Heads = Annotated[Count, Field(description="attention heads; divides emb_dim")]
Layers = Annotated[Count, Field(description="transformer blocks")]
LearningRate = Annotated[Positive, Field(description="learning rate, or its peak")]
BatchSize = Annotated[Count, Field(description="sequences per pass through the model")]
Epochs = Annotated[Count, Field(description="passes over the training set")]
EvalEvery = Annotated[Count, Field(description="steps between two evaluations")]
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

    drop_rate: DropRate = Field(0.1, description="dropout probability")
    drop_rate_emb: Annotated[DropRate | None, Word("same")] = Field(
        None, description="dropout after the embeddings; same: drop_rate"
    )
    drop_rate_attn: Annotated[DropRate | None, Word("same")] = Field(
        None, description="dropout on attention weights; same: drop_rate"
    )
    drop_rate_shortcut: Annotated[DropRate | None, Word("same")] = Field(
        None, description="dropout on both residual branches; same: drop_rate"
    )
    qkv_bias: Flag = Field(False, description="bias in the query, key and value projections")
    tie_weights: Flag = Field(False, description="share the embedding's matrix with the output head")
    kernels: Kernels = "explicit"


class Optimizer(Section):
    """AdamW."""

    lr: LearningRate = 5e-5
    weight_decay: NotNegative = Field(0.1, description="decoupled weight decay")


class PretrainOptimizer(Optimizer):
    """AdamW."""

    lr: LearningRate = 4e-4


class ScheduleParams(Section):
    """Learning rate over time, and gradient clipping (appendix D)."""

    kind: Literal["constant", "cosine"] = Field("constant", description="cosine: linear warm-up, then cosine decay")
    warmup_fraction: Annotated[Number, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="fraction of all steps that warm up"
    )
    initial_lr: NotNegative = Field(0.0, description="learning rate at step 0 of the warm-up")
    min_lr: NotNegative = Field(0.0, description="learning rate at the end of the decay")
    max_grad_norm: Annotated[Positive | None, Word("none")] = Field(
        None, description="gradients are clipped to this norm after the warm-up; none: not at all"
    )


class Training(Section):
    """A training: the fields that all three have."""

    seed: Seed = Field(123, description="seed of initial weights, shuffling and dropout")
    batch_size: BatchSize = 8
    accumulation_steps: Count = Field(
        1, description="passes per update: batch_size x accumulation_steps sequences, in less memory"
    )
    epochs: Epochs = 5
    eval_every: EvalEvery = 5
    eval_batches: Count = Field(5, description="batches per evaluation, of each split")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="bf16: matrix products with 8 bits of precision, weights in fp32; for GPUs"
    )
    compile: Flag = Field(
        False, description="compile the losses (torch.compile): a minute at the start, another dropout"
    )
    optimizer: Optimizer = Optimizer()
    schedule: ScheduleParams = ScheduleParams()


class Lora(Section):
    """Low-rank updates (appendix E), for trainable: lora."""

    rank: Count = Field(16, description="rank of every layer's update")
    alpha: Positive = Field(
        16.0, description="scaling is alpha / rank; for unscaled LoRA (the companion's before 9/2026): alpha x rank"
    )


class Sample(Section):
    """Text generated after every epoch."""

    prompt: Text = Field("Every effort moves you", description="beginning of the text")
    tokens: Count = Field(50, description="tokens to add, greedily")


class Corpus(Section):
    """Text to train on: the book's, or texts of any size, tokenised once by all cores."""

    path: DataPath = Field(
        BOOK_TEXT, description=f"UTF-8 text under data/, or a folder of them; {BOOK_TEXT}: the book's"
    )
    files: list[DataGlob] = Field(
        ["**/*.txt"],
        min_length=1,
        description="where path is a folder: files, folders and globs in it to read",
    )
    strip_gutenberg: Flag = Field(
        False, description="leave out Project Gutenberg's header and footer, where a file has them"
    )

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

    FIRST: ClassVar = ("corpus", "model", "epochs", "batch_size", "optimizer", "schedule", "sample", "seed")

    batch_size: BatchSize = 2
    epochs: Epochs = 10
    optimizer: PretrainOptimizer = PretrainOptimizer()
    corpus: Corpus = Corpus()
    train_fraction: Fraction = Field(
        0.9, description="first part, for training: of the book's text by character, else by token"
    )
    stride: Count = Field(256, description="tokens from the start of one training sequence to the next")
    model: PretrainModel = PretrainModel()
    sample: Sample = Sample()


class Finetune(Training):
    """A fine-tuning: the fields that both have."""

    base: Base = Field("gpt2/124M", description="model to start from, a folder under models/: gpt2/<size>, or pretrain")
    initial_weights: Literal["base", "random"] = Field(
        "base", description="random: take only the shape of the base, with new weights"
    )
    drop_rate: DropRate = Field(0.0, description="dropout probability while fine-tuning")
    kernels: Kernels = "fused"
    lora: Lora = Lora()


class LabelledData(Section):
    """Labelled texts: the book's messages, or your own with any number of classes."""

    path: DataPath = Field(
        BOOK_MESSAGES, description=f"{BOOK_MESSAGES} (the book's), or a .csv or .tsv file under data/"
    )
    text: Annotated[Column | None, Word("none")] = Field(
        None, description="column of the texts; none: the book's messages, which have no column names"
    )
    label: Annotated[Column | None, Word("none")] = Field(
        None, description="column of their labels; none: the book's messages"
    )

    @model_validator(mode="after")
    def _names_what_there_is(self) -> LabelledData:
        names = [name for name in (self.text, self.label) if name is not None]
        if self.is_book and names:
            raise ValueError(f"{BOOK_MESSAGES} has no named columns: expected none for text and label, found {names}")
        if not self.is_book and not self.path.endswith((".csv", ".tsv")):
            raise ValueError(f"path: expected a .csv or .tsv file, or {BOOK_MESSAGES}, found {shown(self.path)}")
        if not self.is_book and len(set(names)) < 2:
            raise ValueError(f"expected two columns of {self.path} under text and label, found {names}")
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
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: weight in the loss inversely proportional to class frequency"
    )
    trainable: Literal["last_layer", "last_block", "last_two_blocks", "all", "lora"] = Field(
        "last_block", description="last_layer: the head alone"
    )
    deciding_token: Literal["last", "last_real", "first", "mean"] = Field(
        "last", description="position whose logits are classified"
    )
    max_length: Annotated[Count | None, Word("longest")] = Field(
        None, description="tokens that messages are padded or cut to; longest: as the longest training message"
    )
    causal: Flag = Field(
        True, description="no token sees a later one; false: each sees the whole message with its padding"
    )
    frozen_gb: NotNegative = Field(
        4.0, description="memory limit, GB, for cached activations of the frozen blocks; else computed each time"
    )


class PreferenceParams(Section):
    """Preference tuning by DPO (the companion's ch07/04), for objective: preferences."""

    beta: Positive = Field(
        0.1, description="weight of the rewards; a smaller one lets the model move further from its base"
    )


class Instruct(Finetune):
    """Fine-tuning to follow instructions (chapter 7)."""

    FIRST: ClassVar = (
        *("data", "objective", "preferences", "prompt_style", "mask_instruction", "base", "trainable", "lora"),
        *("epochs", "batch_size", "optimizer", "schedule", "max_length", "seed"),
    )

    epochs: Epochs = 2
    data: DataPath = Field(
        BOOK_INSTRUCTIONS,
        description="JSON list: instruction, input, and output; or chosen, rejected for preferences",
    )
    prompt_style: Literal["alpaca", "phi3"] = Field(
        "alpaca", description="form of the prompt: the book's, or exercise 7.1's"
    )
    mask_instruction: Flag = Field(False, description="learn the responses alone (exercise 7.2)")
    objective: Literal["answers", "preferences"] = Field(
        "answers", description="preferences: learn which of two answers is better (DPO)"
    )
    preferences: PreferenceParams = PreferenceParams()
    trainable: Literal["all", "lora"] = Field(
        "all", description="lora: low-rank updates of all layers, the weights frozen"
    )
    train_fraction: Fraction = Field(0.85, description="first part of the entries, for training")
    test_fraction: Fraction = Field(0.1, description="next part, for the test; the rest validates")
    max_length: Count = Field(1024, description="longest sequence, tokens; longer ones are cut and counted")
    group_by_length: Flag = Field(
        False, description="training batches of about equally long sequences: faster, but other batches"
    )
    sample_tokens: Count = Field(35, description="most tokens of the answer generated after every epoch")

    @property
    def is_book(self) -> bool:
        """Return whether `data` names the book's instructions."""
        return self.data == BOOK_INSTRUCTIONS

    @model_validator(mode="after")
    def _leaves_a_validation_set(self) -> Instruct:
        if self.train_fraction + self.test_fraction >= 1.0:
            raise ValueError("train_fraction + test_fraction must leave something for validation")
        return self

    @model_validator(mode="after")
    def _has_preferences_to_learn(self) -> Instruct:
        if self.objective == "preferences" and self.is_book:
            raise ValueError(
                f"objective preferences learns from pairs (chosen, rejected), found data {self.data}, which has "
                "answers: set instruct.data too, to data/sample/preference-data.json or a file of your own"
            )
        return self
