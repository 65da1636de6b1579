"""The recipes of the book's three trainings and their evaluation, on random words of the sizes of the book's data.

For machines without DVC and MLflow: the core's own recipes in a folder of made-up data, with the parameters of
profiles/book.yaml. The content of the words makes no difference to the time.
"""

from __future__ import annotations

import csv
import json
import random
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from string import ascii_letters
from typing import Any

import torch

from benchmarks.row import Row
from gpt_from_scratch.data.instructions.prompts import format_prompt, response_header
from gpt_from_scratch.data.messages.messages import read_split
from gpt_from_scratch.data.raw.sources import UPSTREAM
from gpt_from_scratch.experiments.settings import merged, raw_params
from gpt_from_scratch.experiments.timing import wait
from gpt_from_scratch.files.writing import read_json, sha256, write_json, write_text
from gpt_from_scratch.generation.classifying import classify as classify_texts
from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.model.config import GPT2_SIZES
from gpt_from_scratch.recipes.classify import classify
from gpt_from_scratch.recipes.evaluate import evaluate_instructions, evaluate_language
from gpt_from_scratch.recipes.instruct import instruct
from gpt_from_scratch.recipes.pretrain import pretrain
from gpt_from_scratch.tokenizer.bpe import END_OF_TEXT, byte_symbols, load_tokenizer
from gpt_from_scratch.tokenizer.train import save_bpe, train_bpe
from gpt_from_scratch.training.workspace import Workspace
from gpt_from_scratch.weights.classifier import load_classifier
from gpt_from_scratch.weights.huggingface import save_model

PROFILE = Path(__file__).resolve().parents[1] / "profiles/book.yaml"
TEMPLATE = format_prompt({"instruction": "", "input": ""}) + response_header()


@dataclass(frozen=True)
class BookSizes:
    """The sizes of the book's data and of the model that the fine-tunings start from.

    Attributes:
        merges: of the tokenizer; with 256 bytes and the end of text, GPT-2's make a vocabulary of 50,257.
        base: shape of that model; the vocabulary is the tokenizer's.
        text: tokens of the text.
        messages: messages of the training, validation and test split.
        message_tokens: tokens of the longest message, to which all are padded.
        entries: instructions.
        shortest, longest: tokens of an instruction with its answer.
        changes: parameters that differ from profiles/book.yaml, by key.
    """

    merges: int = 50_000
    base: GPTConfig = GPT2_SIZES["124M"]
    text: int = 5146
    messages: tuple[int, int, int] = (1045, 149, 300)
    message_tokens: int = 120
    entries: int = 1100
    shortest: int = 35
    longest: int = 112
    changes: Mapping[str, Any] = field(
        default_factory=lambda: {
            "pretrain.model.kernels": "fused",
            **{f"{name}.precision": "bf16" for name in ("pretrain", "classify", "instruct")},
        }
    )


BOOK = BookSizes()


class BookRun:
    """One pass through everything, timed part by part."""

    def __init__(self, sizes: BookSizes, device: torch.device) -> None:
        self._sizes, self._device = sizes, device

    def row(self, at_most: float | None) -> Row:
        """Run all parts and return their times."""
        parts: dict[str, tuple[str, Callable[[Workspace], None]]] = {
            "pretraining": ("pretrain", self._pretrain),
            "classification": ("finetune_classify", self._classify),
            "instructions": ("finetune_instruct", self._instruct),
        }
        deterministic = torch.are_deterministic_algorithms_enabled()
        seconds, losses = {}, {}
        with tempfile.TemporaryDirectory() as folder:
            changes = {**self._sizes.changes, "runtime.device": self._device.type}
            work = Workspace(Path(folder), merged(raw_params(PROFILE), changes, "the book's run"))
            write_inputs(work, self._sizes)
            for name, (metrics, part) in parts.items():
                began = time.perf_counter()
                part(work)
                wait(self._device)
                seconds[f"seconds of {name}"] = time.perf_counter() - began
                losses[f"last training loss of {name}"] = read_json(work.metrics / f"{metrics}.json")["final"][
                    "train_loss"
                ]
                print(f"  {name}: {seconds[f'seconds of {name}']:.1f} s", flush=True)
        torch.use_deterministic_algorithms(deterministic)
        return Row(
            work="the book's three trainings and their evaluation in bf16, random weights",
            ours=sum(seconds.values()),
            peers={},
            agreement="random words: no losses to compare with",
            at_most=at_most,
            figures=seconds | losses,
        )

    def _pretrain(self, work: Workspace) -> None:
        pretrain(work)
        evaluate_language(work, self._device)

    def _classify(self, work: Workspace) -> None:
        classify(work)
        # The evaluation's figures and its baseline need scikit-learn; the model's own part is this.
        model, info = load_classifier(work.models / "classifier", device=self._device)
        tokenizer = load_tokenizer(work.models / "classifier")
        for path in sorted(work.messages.glob("*.csv")):
            texts = read_split(path, len(info.labels))["Text"]
            classify_texts(model, info, tokenizer, texts, batch_size=work.params.evaluate.batch_size)

    def _instruct(self, work: Workspace) -> None:
        instruct(work)
        evaluate_instructions(work, self._device)


def write_inputs(work: Workspace, sizes: BookSizes) -> None:
    """Write random inputs of the recipes: tokenizer, text, messages, instructions, and the model to start from."""
    draw = random.Random(123)
    bpe = work.raw / "bpe"
    save_bpe(*made_up_bpe(sizes.merges), bpe)
    tokenizer = load_tokenizer(bpe)
    write_text(work.raw / "text.txt", words(draw, sizes.text))
    for split, number in zip(("train", "validation", "test"), sizes.messages, strict=True):
        path = work.messages / f"{split}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        texts = [words(draw, sizes.message_tokens if n == 0 else draw.randint(2, 60)) for n in range(number)]
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(
                [("Label", "Text"), *((int(text[-1].isupper()), text) for text in texts)]
            )
    template = len(tokenizer.encode(TEMPLATE))
    entries = []
    for _ in range(sizes.entries):
        rest = max(2, draw.randint(sizes.shortest, sizes.longest) - template)
        question = words(draw, max(1, rest // 3))
        entries.append({"instruction": question, "input": "", "output": words(draw, rest - max(1, rest // 3))})
    write_text(work.raw / "instruction-data.json", json.dumps(entries))
    write_text(work.raw / "SMSSpamCollection", "ham\tnot read here\n")
    hashes = {place: sha256(path) for place in UPSTREAM if (path := work.raw / place).is_file()}
    write_json(work.raw / "sources.json", {"data": "sample", "sha256": hashes})
    torch.manual_seed(123)
    folder = work.models / work.params.classify.base
    folder.mkdir(parents=True)
    save_model(GPTModel(replace(sizes.base, vocab_size=tokenizer.n_vocab)), folder, bpe, {"pretrained": "synthetic"})


def words(draw: random.Random, number: int) -> str:
    """Return random words of one letter and one token each: few different ones, so that there is something to learn."""
    return " ".join(draw.choices(ascii_letters, k=number))


def made_up_bpe(number: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return vocabulary and so many merges: the words of the prompt's template, then pairs of bytes."""
    vocabulary, merges = train_bpe(2 * TEMPLATE, 330)
    del vocabulary[END_OF_TEXT]
    symbols = sorted(byte_symbols().values(), key=lambda symbol: symbol != "Ġ")  # first of all a space and a letter
    for pair in product(symbols, repeat=2):
        if len(merges) < number and "".join(pair) not in vocabulary:
            vocabulary["".join(pair)] = len(vocabulary)
            merges.append(pair)
    return {**vocabulary, END_OF_TEXT: len(vocabulary)}, merges
