"""The ranks that do one training together, and their exchange of values.

All of them draw every batch, alike, and each takes its rows. So the loaders, the order of the batches and the position
of a training do not depend on the number of ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeVar

import torch
from torch import distributed

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.training.batch import Batch
from gpt_from_scratch.training.ranks import NoSignals, Place, ProcessLost, Signals

if TYPE_CHECKING:
    from gpt_from_scratch.params.sections import Runtime

Sharding = Literal["none", "full"]
Item = TypeVar("Item")


class Group:
    """The ranks of one training, seen from one of them. A group of one exchanges nothing.

    Args:
        place: this process's rank.
        sharding: `none`: each rank holds all weights; `full`: all ranks together hold them once; see `Spread`.
        signals: requests to end this process.
    """

    def __init__(self, place: Place, sharding: Sharding = "none", signals: Signals | None = None) -> None:
        self.rank, self.size, self.local_size = place.rank, place.size, place.local_size
        self.first, self.sharding = place.first, sharding
        self.signals = signals or NoSignals()

    def gather(self, *values: float) -> list[tuple[float, ...]]:
        """Return the values of each rank, in the ranks' order; each hands in equally many.

        Raises:
            KeyboardInterrupt, SystemExit: in all ranks, when one was requested to end inside of `together`.
        """
        if self.size == 1:
            return [values]
        own = torch.tensor([self.signals.waiting(), *values], dtype=torch.float64)
        found = [torch.empty_like(own) for _ in range(self.size)]
        distributed.all_gather(found, own)
        rows = [row.tolist() for row in found]
        if requested := int(max(row[0] for row in rows)):
            # torchrun and terminals send several: a later one must not keep this rank from saving with the others.
            self.signals.ignore()
            self.signals.end(requested)
        return [tuple(row[1:]) for row in rows]

    def sum(self, value: float) -> float:
        """Return the sum of the ranks' values."""
        return sum(row[0] for row in self.gather(value))

    def tell(self, text: str) -> str:
        """Return rank 0's text."""
        if self.size == 1:
            return text
        size = torch.tensor(len(text.encode()))
        distributed.broadcast(size, src=0)
        content = torch.zeros(int(size), dtype=torch.uint8)
        if self.first:
            content = torch.tensor(list(text.encode()), dtype=torch.uint8)
        distributed.broadcast(content, src=0)
        return bytes(content.tolist()).decode()

    def rows(self, batch: Batch) -> Batch:
        """Return this rank's rows of a batch; the ranks' numbers of rows differ by one at most."""
        if self.size == 1:
            return batch
        number = len(batch[1])
        own = slice(number * self.rank // self.size, number * (self.rank + 1) // self.size)
        return tuple(part[own] for part in batch)

    def each(self, items: Iterable[Item], measure: Callable[[Item], tuple[float, ...]]) -> list[tuple[float, ...]]:
        """Return `measure` of each item, in order; every rank measures some of them and gets all results."""
        items, results = iter(items), []
        while share := list(islice(items, self.size)):
            # A rank without an item of its own repeats another's: with sharded weights all have to compute.
            results += self.gather(*measure(share[self.rank % len(share)]))[: len(share)]
        return results

    def together(self) -> AbstractContextManager[None]:
        """Delay requests to end, inside the block, until all ranks learn of them at the next `gather`."""
        return nullcontext() if self.size == 1 else self._together()

    @contextmanager
    def _together(self) -> Iterator[None]:
        with self.signals.uninterrupted():
            yield
            if not self.first:
                self.signals.ignore()  # its part is done

    def own_random(self, device: torch.device, number: int) -> AbstractContextManager[None]:
        """Let PyTorch draw other numbers in each rank inside the block, and none of those that it draws outside.

        Else the rows of different ranks would have the same dropout.

        Args:
            number: another one for each block between two draws outside.
        """
        return nullcontext() if self.size == 1 else self._own_random(device, number)

    @contextmanager
    def _own_random(self, device: torch.device, number: int) -> Iterator[None]:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(int(torch.randint(2**62, ())) + number * self.size + self.rank)
            yield


ALONE = Group(Place())
"""The group of a training in one process."""


@dataclass(frozen=True)
class Evaluator:
    """The device, the batches and the ranks that a loss or a score is measured with.

    Attributes:
        device: the model's.
        batches: number of batches of each loader, from its first; all if None.
        group: the ranks that share the batches.
    """

    device: torch.device | str
    batches: int | None = None
    group: Group = ALONE

    @torch.no_grad()
    def each(self, loader: Iterable[Batch], measure: Callable[[Batch], tuple[float, ...]]) -> list[tuple[float, ...]]:
        """Return `measure` of each batch, without gradients; the model's mode is the caller's choice."""
        return self.group.each(islice(loader, self.batches), measure)


@contextmanager
def joined(place: Place, runtime: Runtime, signals: Signals | None = None) -> Iterator[Group]:
    """Join the other ranks of a training, and yield the group.

    They exchange by gloo on CPUs, and by NCCL on GPUs, of which each rank takes the one of its local rank.

    Args:
        signals: requests to end this process.

    Raises:
        InputError: when there are fewer GPUs than ranks, or the device is one that several cannot share.
        ProcessLost: when another rank is gone.
    """
    if place.size == 1:
        yield Group(place, signals=signals)
        return
    gpu = runtime.device in ("auto", "cuda") and torch.cuda.is_available()
    if gpu:
        if (found := torch.cuda.device_count()) < place.local_size:
            raise InputError(f"runtime.processes: expected at most one for each of {found} GPUs, found {place.size}")
        torch.cuda.set_device(place.local_rank)
    elif runtime.device != "cpu" and torch.backends.mps.is_available():
        raise InputError(f"runtime.processes: expected 1 on MPS, found {place.size}; set runtime.device to cpu")
    try:
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if gpu else "gloo",
            init_method=f"file://{place.rendezvous}" if place.rendezvous else "env://",
            rank=place.rank,
            world_size=place.size,
        )
        yield Group(place, runtime.sharding, signals)
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            raise ProcessLost(f"process {place.rank} of {place.size} has lost another process") from error
        raise
    distributed.destroy_process_group()
