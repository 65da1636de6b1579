"""The three trainings of the book and their evaluation, on random tokens of the sizes of the book's data.

For machines without DVC, MLflow and pandas: the project's own loaders, trainings and decoding, with the numbers of
profiles/book.yaml. What the tokens are makes no difference to the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from benchmarks.row import Row
from gpt_from_scratch.data.instructions.loaders import instruction_loaders
from gpt_from_scratch.data.messages.loaders import message_loaders
from gpt_from_scratch.data.text.corpus import TokenWindows
from gpt_from_scratch.data.text.loaders import text_loaders
from gpt_from_scratch.evaluation.language import language_metrics, token_loss
from gpt_from_scratch.experiments.timing import wait
from gpt_from_scratch.generation import generate
from gpt_from_scratch.generation.classifying import probabilities
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.model.config import GPT2_SIZES
from gpt_from_scratch.model.heads import set_classification_head, train_only
from gpt_from_scratch.training.fit import fit
from gpt_from_scratch.training.journal import Samples
from gpt_from_scratch.training.tasks import Classification, LanguageModelling
from gpt_from_scratch.weights.classifier import ClassifierInfo

TRAININGS: dict[str, dict[str, Any]] = {
    "pretrain": {"batch_size": 2, "epochs": 10, "eval_every": 5, "lr": 4e-4},
    "classify": {"batch_size": 8, "epochs": 5, "eval_every": 50, "lr": 5e-5},
    "instruct": {"batch_size": 8, "epochs": 2, "eval_every": 5, "lr": 5e-5},
}
"""What profiles/book.yaml says about the three trainings."""


@dataclass(frozen=True)
class BookSizes:
    """The sizes of the book's data and models.

    Attributes:
        pretrained: the model that is trained from scratch.
        base: the model that the fine-tunings start from.
        text: tokens of the text's training and validation parts.
        messages: messages of training, validation and test set.
        message_tokens: tokens of the longest message, to which all are padded.
        entries: instructions of training, test and validation part.
        shortest, longest: tokens of an instruction with its answer.
        sample, answer: tokens of the sample after an epoch, and of an answer.
    """

    pretrained: GPTConfig
    base: GPTConfig
    text: tuple[int, int]
    messages: tuple[int, int, int]
    message_tokens: int
    entries: tuple[int, int, int]
    shortest: int
    longest: int
    sample: int
    answer: int


BOOK = BookSizes(
    pretrained=GPTConfig(context_length=256, drop_rate=0.1, kernels="fused"),
    base=replace(GPT2_SIZES["124M"], kernels="fused"),
    text=(4612, 534),
    messages=(1045, 149, 300),
    message_tokens=120,
    entries=(935, 110, 55),
    shortest=35,
    longest=112,
    sample=50,
    answer=256,
)


class _Sequences(Dataset[list[int]]):
    """Random token ids of random lengths, in the place of instructions."""

    def __init__(self, number: int, sizes: BookSizes) -> None:
        self.max_length = sizes.base.context_length
        lengths = torch.randint(sizes.shortest, sizes.longest + 1, (number,)).tolist()
        self.ids = [_tokens(sizes.base, length).tolist() for length in lengths]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> list[int]:
        return self.ids[index]


def _tokens(cfg: GPTConfig, *shape: int) -> Tensor:
    """Return random token ids of a small vocabulary, so that there is something to learn, and not the padding's."""
    return torch.randint(min(1000, cfg.vocab_size - 1), shape)


class BookRun:
    """One pass through everything, timed part by part."""

    def __init__(self, sizes: BookSizes, device: torch.device) -> None:
        self._sizes, self._device = sizes, device

    def row(self, at_most: float | None) -> Row:
        """Run all parts and return what they took."""
        parts: dict[str, Callable[[], float]] = {
            "pretraining": self._pretrain,
            "classification": self._classify,
            "instructions": self._instruct,
        }
        seconds, losses = {}, {}
        for name, part in parts.items():
            torch.manual_seed(123)
            began = time.perf_counter()
            losses[f"last training loss of {name}"] = part()
            wait(self._device)
            seconds[f"seconds of {name}"] = time.perf_counter() - began
            print(f"  {name}: {seconds[f'seconds of {name}']:.1f} s", flush=True)
        return Row(
            work="the book's three trainings and their evaluation in bf16, random weights",
            ours=sum(seconds.values()),
            peers={},
            agreement="random tokens: no losses to compare with",
            at_most=at_most,
            figures=seconds | losses,
        )

    def _pretrain(self) -> float:
        sizes = self._sizes
        model = GPTModel(sizes.pretrained).to(self._device)
        ids = [_tokens(sizes.pretrained, number).tolist() for number in sizes.text]
        context = sizes.pretrained.context_length
        loss = self._train(
            "pretrain", model, LanguageModelling(), text_loaders(*ids, context, context, 2), sizes.sample
        )
        windows = [DataLoader(TokenWindows(part, context, context), batch_size=8) for part in ids]
        language_metrics(model.eval(), *windows)
        return loss

    def _classify(self) -> float:
        sizes = self._sizes
        model = GPTModel(sizes.base)
        ids = [_tokens(sizes.base, number, sizes.message_tokens) for number in sizes.messages]
        sets = [TensorDataset(part, part[:, -1] % 2) for part in ids]
        set_classification_head(model, 2)
        train_only(model, "last_block")
        model.to(self._device)
        loss = self._train("classify", model, Classification(), message_loaders(sets[0], sets[1], 8))
        model.eval()
        info = ClassifierInfo(("ham", "spam"), sizes.message_tokens, sizes.base.vocab_size - 1)
        for part in ids:
            probabilities(model, info, part.tolist(), batch_size=8)
        return loss

    def _instruct(self) -> float:
        sizes = self._sizes
        model = GPTModel(sizes.base).to(self._device)
        pad = sizes.base.vocab_size - 1
        parts = [_Sequences(number, sizes) for number in sizes.entries]
        loaders = instruction_loaders(parts[0], parts[2], 8, pad)
        loss = self._train("instruct", model, LanguageModelling(), loaders, sizes.sample)
        model.eval()
        prompts = sorted(parts[1].ids, key=len)
        # Without an end of text every answer is as long as it may be, which real ones are not.
        for start in range(0, len(prompts), 8):
            generate(model, prompts[start : start + 8], sizes.answer)
        token_loss(model, instruction_loaders(parts[0], parts[1], 8, pad)[1])
        return loss

    def _train(
        self,
        name: str,
        model: GPTModel,
        task: Any,
        loaders: tuple[DataLoader[tuple[Tensor, Tensor]], DataLoader[tuple[Tensor, Tensor]]],
        sample: int = 0,
    ) -> float:
        own = TRAININGS[name]
        params: Any = SimpleNamespace(
            **{key: own[key] for key in ("batch_size", "epochs", "eval_every")},
            seed=123,
            accumulation_steps=1,
            eval_batches=5,
            precision="bf16",
            compile=False,  # a minute of compiling is longer than these trainings
            optimizer=SimpleNamespace(lr=own["lr"], weight_decay=0.1),
            schedule=SimpleNamespace(kind="constant", max_grad_norm=None),
        )
        samples = [Samples(lambda: str(generate(model, [[1, 2, 3, 4]], sample)))] if sample else []
        journal = fit(model, task, loaders, params, samples, initial_batches=5)
        return journal.metrics()["final"]["train_loss"]
