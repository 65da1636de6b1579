"""The processes that do one training together, and what they tell each other.

All of them draw every batch, alike, and each takes its rows. So the loaders, the order of the batches and the place
that a training has reached do not depend on how many processes there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeVar

import torch
from torch import distributed

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.pipeline import signals
from gpt_from_scratch.pipeline.launcher import Place, ProcessLost

if TYPE_CHECKING:
    from gpt_from_scratch.params.sections import Runtime
    from gpt_from_scratch.training.tasks import Batch

Sharding = Literal["none", "full"]
Item = TypeVar("Item")


class Group:
    """The processes of one training, of which this is one. A group of one asks nobody and changes nothing.

    Args:
        place: which one this is.
        sharding: whether each holds all weights, or all together hold them once; see `Spread`.
    """

    def __init__(self, place: Place, sharding: Sharding = "none") -> None:
        self.rank, self.size, self.local_size = place.rank, place.size, place.local_size
        self.first, self.sharding = place.first, sharding

    def gather(self, *values: float) -> list[tuple[float, ...]]:
        """Return what each process hands in, by rank; each hands in equally many values.

        Raises:
            KeyboardInterrupt, SystemExit: in all of them, when one was told to end inside of `together`.
        """
        if self.size == 1:
            return [values]
        told = torch.tensor([signals.waiting(), *values], dtype=torch.float64)
        heard = [torch.empty_like(told) for _ in range(self.size)]
        distributed.all_gather(heard, told)
        rows = [row.tolist() for row in heard]
        if asked := int(max(row[0] for row in rows)):
            # torchrun and terminals send several: a later one must not keep this process from saving with the others.
            signals.ignore()
            signals.end(asked)
        return [tuple(row[1:]) for row in rows]

    def sum(self, value: float) -> float:
        """Return the sum of what the processes hand in."""
        return sum(row[0] for row in self.gather(value))

    def tell(self, text: str) -> str:
        """Return the first process's text."""
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
        """Return this process's rows of a batch; the processes' numbers of rows differ by one at most."""
        if self.size == 1:
            return batch
        number = len(batch[1])
        own = slice(number * self.rank // self.size, number * (self.rank + 1) // self.size)
        return tuple(part[own] for part in batch)

    def each(self, items: Iterable[Item], measure: Callable[[Item], tuple[float, ...]]) -> list[tuple[float, ...]]:
        """Return what is measured of each item, in order; every process does some of them, and knows all results."""
        items, results = iter(items), []
        while share := list(islice(items, self.size)):
            # Who has no item of its own repeats another's: the weights may be such that all have to compute.
            results += self.gather(*measure(share[self.rank % len(share)]))[: len(share)]
        return results

    def together(self) -> AbstractContextManager[None]:
        """Let requests to end wait, inside the block, until all processes hear of them at the next `gather`."""
        return nullcontext() if self.size == 1 else self._together()

    @contextmanager
    def _together(self) -> Iterator[None]:
        with signals.uninterrupted():
            yield
            if not self.first:
                signals.ignore()  # its part is done

    def own_random(self, device: torch.device, number: int) -> AbstractContextManager[None]:
        """Let PyTorch draw other numbers in each process inside the block, and none of those that it draws outside.

        Else the rows of different processes would meet the same dropout.

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
"""A training in one process."""


@contextmanager
def joined(place: Place, runtime: Runtime) -> Iterator[Group]:
    """Meet the other processes of a training, and give the group.

    They speak gloo on CPUs, and on GPUs NCCL, where each takes the one of its local rank.

    Raises:
        InputError: when there are fewer GPUs than processes, or the device is one that several cannot share.
        ProcessLost: when another process is gone.
    """
    if place.size == 1:
        yield ALONE
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
            init_method=f"file://{place.meeting}" if place.meeting else "env://",
            rank=place.rank,
            world_size=place.size,
        )
        yield Group(place, runtime.sharding)
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            raise ProcessLost(f"process {place.rank} of {place.size} has lost another process") from error
        raise
    distributed.destroy_process_group()
