"""GPT-2's tensors as files hold them, and where each belongs in a `GPTModel`: one table for every format.

OpenAI's checkpoints and Hugging Face's folders hold the same tensors under two spellings of one name. Both keep a
projection as `[inputs, outputs]`, the transpose of PyTorch's `Linear`, and query, key and value side by side in one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.model.config import GPTConfig
from gpt_from_scratch.model.gpt import GPTModel

_LARGEST = torch.finfo(torch.float32).max


@dataclass(frozen=True)
class GPT2Tensor:
    """One tensor of a GPT-2 file.

    Attributes:
        openai: name in a TensorFlow checkpoint.
        huggingface: name in a safetensors file, without the prefix `transformer.`.
        shape: as stored; TensorFlow's projections have a leading 1 besides.
        parameters: the parameters of a `GPTModel` that it holds side by side along its last dimension; none for
            the bias of queries, keys and values in a model that has no such bias (stored as zeros).
        transposed: whether those parameters are stored transposed.
    """

    openai: str
    huggingface: str
    shape: tuple[int, ...]
    parameters: tuple[str, ...]
    transposed: bool = False

    @property
    def openai_shape(self) -> tuple[int, ...]:
        """The shape in a TensorFlow checkpoint, where a projection is a convolution of width 1."""
        return (1, *self.shape) if self.transposed else self.shape

    def from_parameters(self, parameters: dict[str, Tensor]) -> Tensor:
        """Return the tensor to be stored, contiguous and on the CPU."""
        if not self.parameters:
            return torch.zeros(self.shape)
        parts = [parameters[name].detach() for name in self.parameters]
        parts = [part.T for part in parts] if self.transposed else parts
        stored = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
        return stored.to("cpu", torch.float32).contiguous()

    def into_parameters(self, stored: Tensor, parameters: dict[str, Tensor], *, adopt: bool = False) -> None:
        """Copy the stored tensor into the parameters it holds, in place, as float32.

        With `adopt`, a float32 tensor stored just as its parameter is becomes the parameter's memory instead.
        """
        if adopt and len(self.parameters) == 1 and not self.transposed:
            parameters[self.parameters[0]].data = stored
        elif self.parameters:
            for name, part in zip(self.parameters, stored.chunk(len(self.parameters), dim=-1), strict=True):
                parameters[name].data.copy_(part.T if self.transposed else part)


def gpt2_tensors(cfg: GPTConfig) -> Iterator[GPT2Tensor]:
    """Yield the tensors of a GPT-2 of this shape; an output head of its own is not among them."""
    width = cfg.emb_dim
    yield GPT2Tensor("model/wte", "wte.weight", (cfg.vocab_size, width), ("tok_emb.weight",))
    yield GPT2Tensor("model/wpe", "wpe.weight", (cfg.context_length, width), ("pos_emb.weight",))
    for layer in range(cfg.n_layers):
        theirs, ours = (f"model/h{layer}", f"h.{layer}"), f"trf_blocks.{layer}"
        qkv = tuple(f"{ours}.att.{name}" for name in ("W_query", "W_key", "W_value"))
        yield from _norm(theirs, "ln_1", f"{ours}.norm1", width)
        yield from _projection(theirs, "attn/c_attn", qkv, (width, 3 * width), bias=cfg.qkv_bias)
        yield from _projection(theirs, "attn/c_proj", (f"{ours}.att.out_proj",), (width, width))
        yield from _norm(theirs, "ln_2", f"{ours}.norm2", width)
        yield from _projection(theirs, "mlp/c_fc", (f"{ours}.ff.layers.0",), (width, 4 * width))
        yield from _projection(theirs, "mlp/c_proj", (f"{ours}.ff.layers.2",), (4 * width, width))
    yield GPT2Tensor("model/ln_f/g", "ln_f.weight", (width,), ("final_norm.scale",))
    yield GPT2Tensor("model/ln_f/b", "ln_f.bias", (width,), ("final_norm.shift",))


def parameter_count(cfg: GPTConfig, n_outputs: int | None = None) -> int:
    """Return the number of a language model's parameters, a shared matrix once; `n_outputs` as in `empty_model`."""
    head = 0 if cfg.tie_weights else cfg.vocab_size * cfg.emb_dim
    if n_outputs is not None:
        head = (cfg.emb_dim + 1) * n_outputs
    return head + sum(math.prod(tensor.shape) for tensor in gpt2_tensors(cfg) if tensor.parameters)


def empty_model(cfg: GPTConfig, device: torch.device | str = "cpu", n_outputs: int | None = None) -> GPTModel:
    """Build a model whose weights are allocated but not drawn: no time, no random numbers, no second copy.

    Args:
        n_outputs: outputs of a classifier's head with a bias (chapter 6) in place of the language model's head.
    """
    with torch.device(device), _NoInitialWeights():
        model = GPTModel(cfg)
        if n_outputs is not None:
            model.out_head = nn.Linear(cfg.emb_dim, n_outputs)
    return model


def named_parameters(model: GPTModel) -> dict[str, Tensor]:
    """Return all of a model's parameters by name, tied ones under both names."""
    return dict(model.named_parameters(remove_duplicate=False))


def fill_model(model: GPTModel, tensors: Iterable[tuple[GPT2Tensor, Tensor]], *, adopt: bool = False) -> None:
    """Put stored tensors, which come one at a time, into a model; `adopt` as in `GPT2Tensor.into_parameters`."""
    parameters = named_parameters(model)
    for tensor, stored in tensors:
        tensor.into_parameters(stored, parameters, adopt=adopt)


def check_finite(values: Tensor, place: str) -> Tensor:
    """Return a tensor whose values all are numbers that float32 can hold.

    Args:
        place: file and tensor, for messages.

    Raises:
        InputError: when one is not.
    """
    low, high = (extreme.item() for extreme in values.aminmax())
    if not -_LARGEST <= low <= high <= _LARGEST:  # not true of NaN either
        raise InputError(f"{place}: expected finite values, found some from {low} to {high}")
    return values


def _norm(theirs: tuple[str, str], name: str, ours: str, width: int) -> Iterator[GPT2Tensor]:
    openai, huggingface = (f"{theirs[0]}/{name}", f"{theirs[1]}.{name}")
    yield GPT2Tensor(f"{openai}/g", f"{huggingface}.weight", (width,), (f"{ours}.scale",))
    yield GPT2Tensor(f"{openai}/b", f"{huggingface}.bias", (width,), (f"{ours}.shift",))


def _projection(
    theirs: tuple[str, str], name: str, ours: tuple[str, ...], shape: tuple[int, int], bias: bool = True
) -> Iterator[GPT2Tensor]:
    openai, huggingface = (f"{theirs[0]}/{name}", f"{theirs[1]}.{name.replace('/', '.')}")
    weights = tuple(f"{module}.weight" for module in ours)
    biases = tuple(f"{module}.bias" for module in ours) if bias else ()
    yield GPT2Tensor(f"{openai}/w", f"{huggingface}.weight", shape, weights, transposed=True)
    yield GPT2Tensor(f"{openai}/b", f"{huggingface}.bias", shape[1:], biases)


class _NoInitialWeights(TorchFunctionMode):
    """Makes the functions of `torch.nn.init` do nothing.

    PyTorch's `meta` device does the same, but loads its compiler for it: a second and 80 MB.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
