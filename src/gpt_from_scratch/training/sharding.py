"""A model on several ranks: all weights on each of them, or each weight once, in parts on all of them."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gpt_from_scratch.training.process_group import Group


class Spread:
    """A model as the ranks of a group train it.

    With `sharding: none` each rank has it, and PyTorch's `DistributedDataParallel` averages the gradients. With `full`
    each holds a part of every weight, gradient and moment of the optimizer, and gathers a block while it computes that
    block alone (FSDP2, `fully_shard`).

    Args:
        model: the same on each rank. With `full` it is trained as a sharded copy: meanwhile rank 0 keeps the model in
            the CPU's memory, and the other ranks free it.

    Attributes:
        trained: has the parameters that are trained: `model`, or its sharded copy.
        called: gives outputs from inputs in a training: `trained`, or what exchanges its gradients.
        sharded: whether `trained` is a copy.
    """

    def __init__(self, model: nn.Module, group: Group) -> None:
        self._model, self._group = model, group
        self.sharded = group.size > 1 and group.sharding == "full"
        self.trained = self.called = model
        if self.sharded:
            self.trained = self.called = _sharded_copy(model, group.size)
            model.to("cpu" if group.first else "meta")
        elif group.size > 1:
            devices = [torch.cuda.current_device()] if next(model.parameters()).is_cuda else None
            self.called = DistributedDataParallel(model, devices, gradient_as_bucket_view=True)

    def gather(self) -> None:
        """Copy the trained weights back into rank 0's model, in evaluation mode; all ranks take part."""
        if not self.sharded:
            return
        own = dict(self._model.named_parameters())
        for name, parameter in self.trained.named_parameters():
            values = whole(parameter.detach())
            if self._group.first:
                own[name].detach().copy_(values)
        self._model.eval()


def _sharded_copy(model: nn.Module, size: int) -> nn.Module:
    # Here, since it takes a second.
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(next(model.parameters()).device.type, (size,))
    copied = copy.deepcopy(model)
    for block in copied.trf_blocks:
        fully_shard(block, mesh=mesh)
    return fully_shard(copied, mesh=mesh)


def exchanging(model: nn.Module, wanted: bool) -> AbstractContextManager[None]:
    """Choose whether the backward pass in the block exchanges gradients, or keeps them for a later one that does.

    Args:
        model: `Spread.called`.
    """
    if isinstance(model, DistributedDataParallel) and not wanted:
        return model.no_sync()
    if hasattr(model, "set_requires_gradient_sync"):
        model.set_requires_gradient_sync(wanted)
    return nullcontext()


def whole(tensor: Tensor) -> Tensor:
    """Return a sharded tensor whole, in the CPU's memory, in which all ranks take part; another as it is."""
    return tensor.full_tensor().cpu() if hasattr(tensor, "full_tensor") else tensor


def part(tensor: Tensor, like: Tensor) -> Tensor:
    """Return this rank's part of a whole tensor that is to be sharded as `like`; all of it if that is not."""
    if not hasattr(like, "device_mesh"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
