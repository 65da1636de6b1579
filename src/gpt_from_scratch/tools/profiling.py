"""`gpt profile`: PyTorch's profiler over a few updates of a training, or over the generation of answers.

The stage's own recipe runs on its own parameters and inputs, and is stopped before it writes anything.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from gpt_from_scratch.data.instructions.prompts import style_of
from gpt_from_scratch.data.instructions.reading import read_parts
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.generation.answering import answers
from gpt_from_scratch.params.sections import Params, load_params
from gpt_from_scratch.recipes.classify import classify
from gpt_from_scratch.recipes.instruct import instruct
from gpt_from_scratch.recipes.pretrain import pretrain
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.training.environment import prepare
from gpt_from_scratch.training.loop import Record
from gpt_from_scratch.training.tracker import Tracker
from gpt_from_scratch.training.workspace import Workspace
from gpt_from_scratch.weights.huggingface import load_facts, load_model

TRAININGS = {
    "pretrain": ("pretrain", pretrain),
    "finetune_classify": ("classify", classify),
    "finetune_instruct": ("instruct", instruct),
}
"""The stages with a training: the section of their parameters, and the recipe."""

WARM_UP = 2
"""Updates before the profiler starts: the first ones allocate, and compile where that is asked for."""

OPERATORS_SHOWN = 25


@dataclass(frozen=True)
class Profile:
    """The results of a profile.

    Attributes:
        trace: a file for chrome://tracing or ui.perfetto.dev.
        table: the costliest operators, as text; in a file beside the trace too.
        steps: number of profiled updates, or tokens a row.
        seconds: their time, with the profiler's own.
    """

    trace: Path
    table: str
    steps: int
    seconds: float


def profile_stage(root: Path, name: str, steps: int, out: Path) -> Profile:
    """Run a few steps of a stage under PyTorch's profiler; write `trace.json` and `operators.txt` into `out`.

    Args:
        root: the project's folder; nothing in it is written, in particular no output of a stage, checkpoint or run.
        name: a stage with a training, or `evaluate`, of which the answers to a batch of test instructions are made.
        steps: updates, or tokens of each answer.

    Raises:
        InputError: for another stage, a training that has too few updates, or inputs that are not there yet.
    """
    if name not in (*TRAININGS, "evaluate"):
        raise InputError(f"stage: expected one that computes ({', '.join(TRAININGS)} or evaluate), found {name!r}")
    params = load_params(root / "params.yaml")
    watch = _Watch(steps)
    try:
        if name == "evaluate":
            _write_answers(root, params, watch)
        else:
            _train(root, name, params, watch)
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: file not found; an earlier stage writes it: dvc repro {name}") from None
    out.mkdir(parents=True, exist_ok=True)
    watch.profiler.export_chrome_trace(str(out / "trace.json"))
    order = "self_device_time_total" if torch.cuda.is_initialized() else "self_cpu_time_total"
    table = watch.profiler.key_averages().table(sort_by=order, row_limit=OPERATORS_SHOWN, max_name_column_width=45)
    (out / "operators.txt").write_text(table, encoding="utf-8")
    return Profile(out / "trace.json", table, watch.steps, watch.seconds)


class _Enough(Exception):
    """The profile has what it needs."""


class _Watch(Tracker):
    """A tracker that starts and stops the profiler, and ends the training with it."""

    def __init__(self, steps: int) -> None:
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
        self.profiler = profile(activities=activities)
        self.steps, self.seconds = 0, 0.0
        self.wanted = steps
        self.last_epoch: int | None = None  # at whose end to stop, before the recipe writes its model

    def log(self, record: Record) -> None:
        """Take note of a record of the training loop."""
        if record.name == "grad_norm":  # an update's last record
            if record.step + 1 == WARM_UP:
                self.start()
            self.steps = record.step + 1 - WARM_UP
            if self.steps == self.wanted:
                self.stop()
                raise _Enough
        elif record.name == "epoch" and record.epoch == self.last_epoch:
            if self.steps < 1:
                raise InputError(f"training: expected more than {WARM_UP} updates to profile, found {record.step + 1}")
            self.stop()
            raise _Enough

    def start(self) -> None:
        """Start the profiler."""
        self.profiler.start()
        self._began = time.perf_counter()

    def stop(self) -> None:
        """Stop the profiler."""
        self.seconds = time.perf_counter() - self._began
        self.profiler.stop()


def _train(root: Path, name: str, params: Params, watch: _Watch) -> None:
    key, recipe = TRAININGS[name]
    section = getattr(params, key)
    # To profile updates, not the evaluations between them.
    seldom = {"eval_every": 2**31 - 1, "eval_batches": 1, "max_steps": 0, "patience": 0}
    params = params.model_copy(update={key: section.model_copy(update=seldom)})
    watch.last_epoch = section.epochs
    with contextlib.suppress(_Enough):
        recipe(Workspace(root, params, watch))


def _write_answers(root: Path, params: Params, watch: _Watch) -> None:
    device = prepare(params.runtime)
    folder = root / "models" / "instruct"
    model, tokenizer, style = load_model(folder, device=device), load_tokenizer(folder), style_of(load_facts(folder))
    test = read_parts(root / "data" / "raw", params.instruct)[1]
    batch = test[: params.evaluate.batch_size]
    answers(model, tokenizer, batch, WARM_UP, len(batch), style=style)
    watch.start()
    answers(model, tokenizer, batch, watch.wanted, len(batch), style=style)
    watch.stop()
    watch.steps = watch.wanted
