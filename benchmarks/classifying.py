"""Fine-tuning a classifier as in chapter 6 at full size: five epochs of updates, evaluations and accuracies."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from benchmarks.instructing import Work
from benchmarks.pretraining import CPU, largest_difference
from benchmarks.row import Row
from gpt_from_scratch.data.messages.loaders import message_loaders
from gpt_from_scratch.experiments.timing import in_turn
from gpt_from_scratch.model import GPT2_SIZES, GPTConfig, GPTModel
from gpt_from_scratch.model.heads import set_classification_head, train_only
from gpt_from_scratch.training.frozen_prefix import keep_frozen_prefix
from gpt_from_scratch.training.optimizer import build_optimizer
from gpt_from_scratch.training.process_group import Evaluator
from gpt_from_scratch.training.tasks import Classification, mean_loss

SHAPE = replace(GPT2_SIZES["124M"], kernels="fused")
TRAINING, VALIDATION = 1045, 149
"""Messages in the book's training and validation sets."""

TWENTIETHS = (2, 7, 8, 10, 11, 13, 16, 19, 23, 28, 32, 35, 38, 40, 42, 45, 47, 49, 51, 56, 120)
"""Tokens of the messages in the book's training set: the shortest, the quantiles at each 5 %, the longest."""

BATCH, EPOCHS, EVAL_EVERY, EVAL_BATCHES, MEASURED = 8, 5, 50, 5, 5
STEPS = EPOCHS * (TRAINING // BATCH)
EVALUATIONS = -(-STEPS // EVAL_EVERY) + EPOCHS
"""The accuracies after an epoch go over as many batches as an evaluation does."""

SAMPLE = MEASURED * BATCH
"""Messages of each set that are measured with, all of them in the updates and in the evaluation."""

LR, WEIGHT_DECAY, PAD = 5e-5, 0.1, 50256


class RandomMessages(Dataset[tuple[Tensor, Tensor]]):
    """Random token ids, as long as the book's messages are, with random labels."""

    def __init__(self, vocab_size: int, seed: int, *, padded: bool) -> None:
        generator = torch.Generator().manual_seed(seed)
        places = torch.linspace(0, len(TWENTIETHS) - 1, SAMPLE)[torch.randperm(SAMPLE, generator=generator)].tolist()
        known = [*TWENTIETHS, TWENTIETHS[-1]]
        lengths = [round(known[int(p)] + p % 1 * (known[int(p) + 1] - known[int(p)])) for p in places]
        pad = min(PAD, vocab_size - 1)
        ids = [torch.randint(vocab_size - 1, (length,), generator=generator) for length in lengths]
        self.ids = [F.pad(message, (0, TWENTIETHS[-1] - len(message)), value=pad) for message in ids] if padded else ids
        self.lengths = torch.tensor(lengths)
        self.labels = torch.randint(2, (SAMPLE,), generator=generator)

    def __len__(self) -> int:
        return SAMPLE

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.ids[index], self.labels[index]


class Ours:
    """This project's way.

    Attributes:
        keep: computes what the frozen blocks make of the sample.
        times: how many such samples both sets make.
        training: updates and evaluations with what was kept.
        untrained: losses of the validation batches before any update.
    """

    def __init__(self, model: GPTModel, sets: tuple[RandomMessages, RandomMessages]) -> None:
        self.keep: Callable[[], object] = lambda: keep_frozen_prefix(model, sets, room=float("inf"))
        self.times = (TRAINING + VALIDATION) / (2 * SAMPLE)
        kept, first_block = keep_frozen_prefix(model, sets, room=float("inf"))
        loaders = message_loaders(*kept, BATCH, padded=False)
        task = Classification(first_block)
        with torch.no_grad():
            self.untrained = [task.loss(model, batch, CPU).item() for batch in loaders[1]]
        self.training = Work(
            loaders[0],
            build_optimizer(model, LR, WEIGHT_DECAY),
            lambda *batch: task.loss(model, batch, CPU),
            lambda: [mean_loss(task, model, loader, Evaluator(CPU, EVAL_BATCHES)) for loader in loaders],
            MEASURED,
        )


def reference(model: nn.Module, sets: tuple[RandomMessages, RandomMessages]) -> Work:
    """Return the work as chapter 6's functions do it, as published."""
    from llms_from_scratch.ch06 import calc_loss_batch, evaluate_model

    loaders = (DataLoader(sets[0], BATCH, shuffle=True, drop_last=True), DataLoader(sets[1], BATCH))
    return Work(
        loaders[0],
        torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY),
        lambda inputs, labels: calc_loss_batch(inputs, labels, model, CPU),
        lambda: evaluate_model(model, *loaders, CPU, EVAL_BATCHES),
        MEASURED,
    )


@torch.no_grad()
def reference_at_last_real(model: nn.Module, padded: RandomMessages) -> list[float]:
    """Return the losses of the batches if the model decided at the last token that is no padding."""
    losses, start = [], 0
    for inputs, labels in DataLoader(padded, BATCH):
        last = padded.lengths[start : start + BATCH] - 1
        losses.append(F.cross_entropy(model(inputs)[torch.arange(len(last)), last], labels).item())
        start += BATCH
    return losses


def classifier(shape: GPTConfig) -> GPTModel:
    """Return a model with random weights of which head, final norm and last block are trained."""
    torch.manual_seed(123)
    model = GPTModel(shape)
    set_classification_head(model, 2)
    train_only(model, "last_block")
    return model


def rows(shape: GPTConfig = SHAPE) -> Iterator[Row]:
    """Yield a row for the book's classifier, and one for that which decides at the last real token."""
    from llms_from_scratch.ch04 import GPTModel as ReferenceModel

    padded, real = (
        tuple(RandomMessages(shape.vocab_size, seed, padded=side) for seed in (1, 2)) for side in (True, False)
    )
    theirs = ReferenceModel(vars(shape))
    models = classifier(shape), classifier(shape)
    theirs.out_head = copy.deepcopy(models[0].out_head)
    theirs.load_state_dict(models[0].state_dict(), strict=False)
    for name, parameter in models[0].named_parameters():
        theirs.get_parameter(name).requires_grad = parameter.requires_grad
    peer = f"llms_from_scratch {version('llms_from_scratch')}"
    at_last_real = reference_at_last_real(theirs, padded[1])

    ours = {"last": Ours(models[0], padded), "last_real": Ours(models[1], real)}
    works = {**{name: way.training for name, way in ours.items()}, peer: reference(theirs, padded)}
    updates = in_turn({name: work.updates for name, work in works.items()}, repeats=2)
    evaluations = in_turn({name: work.evaluation for name, work in works.items()}, repeats=1, warmup=0)
    kept = in_turn({name: way.keep for name, way in ours.items()}, warmup=0)
    times = {name: updates[name] / MEASURED * STEPS + evaluations[name] * EVALUATIONS for name in works}

    agreements = {
        "last": "the losses of {} updates and evaluations agree to {:.0e} (relative)",
        "last_real": "the losses of {} batches agree to {:.0e} (relative) with the peer's logits at that token",
    }
    compared = {
        "last": {"ours": works["last"].losses, peer: works[peer].losses},
        "last_real": {"ours": ours["last_real"].untrained, peer: at_last_real},
    }
    how = (
        f"{SAMPLE} messages of each set through the frozen blocks, {MEASURED} updates and one evaluation measured and "
        f"counted {ours['last'].times:.1f}, {STEPS // MEASURED} and {EVALUATIONS} times; "
    )
    work = (
        f"classifier, 124M, last block, {TRAINING} messages, {EPOCHS} epochs, batch {BATCH} x {TWENTIETHS[-1]} tokens"
    )
    for name, at_least, addition in (("last", 4.0, ""), ("last_real", 12.0, ", its last real token decides")):
        frozen = kept[name] * ours[name].times
        difference = largest_difference(compared[name])
        yield Row(
            f"{work}, evaluation included{addition}",
            times[name] + frozen,
            {peer: times[peer]},
            how + agreements[name].format(len(compared[name]["ours"]), difference),
            at_least=at_least,
            figures={
                "seconds_frozen_blocks": frozen,
                "seconds_update": updates[name] / MEASURED,
                "seconds_evaluation": evaluations[name],
            },
        )


if __name__ == "__main__":
    for row in rows():
        print(row, f"ratio {row.ratio:.2f}", flush=True)
