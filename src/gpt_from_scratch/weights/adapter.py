"""LoRA adapters as folders that Hugging Face's `peft` reads (appendix E).

A folder holds `adapter_config.json` and `adapter_model.safetensors`. GPT-2 has query, key and value in one layer,
`c_attn`, so their three updates of rank r become one of rank 3r: A's rows one below the other, B's blocks along the
diagonal, and three times the alpha, which leaves alpha / rank as it is.

`peft` computes a language model with its adapter as this project does. Before the two are merged by `peft`, the output
head has to be untied from the embedding: the head's update would be added to both.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from gpt_from_scratch.files.writing import share, write_json
from gpt_from_scratch.model.gpt import GPTModel
from gpt_from_scratch.model.lora import LinearWithLoRA, LoRALayer
from gpt_from_scratch.weights.layout import gpt2_tensors

PREFIX = "base_model.model."
"""What `peft` puts before the names of the model that it wraps."""


def save_adapter(model: GPTModel, folder: Path, base: str, *, classifier: bool = False) -> None:
    """Write a model's updates into a folder, which is made; the same updates give the same bytes.

    Args:
        model: every linear layer is a `LinearWithLoRA`, as `train_lora` makes them.
        base: folder of the model that the updates are for.
        classifier: for `transformers.GPT2Model`, which has no head: the head goes whole, its update merged, into
            `head.safetensors` as `score.weight` and `score.bias`.
    """
    folder.mkdir(parents=True)
    body = PREFIX if classifier else f"{PREFIX}transformer."
    updates = {f"{body}{name}": layers for name, layers in _projections(model)}
    if not classifier:
        updates[f"{PREFIX}lm_head"] = [model.out_head.lora]
    tensors = {}
    for name, layers in updates.items():
        tensors[f"{name}.lora_A.weight"] = torch.cat([layer.A.detach().T for layer in layers])
        tensors[f"{name}.lora_B.weight"] = torch.block_diag(*(layer.B.detach().T for layer in layers))
    _write(folder / "adapter_model.safetensors", tensors)
    if classifier:
        head = {"score.weight": model.out_head.merged_weight(), "score.bias": model.out_head.linear.bias.detach()}
        _write(folder / "head.safetensors", head)
    rank, alpha = model.out_head.lora.rank, model.out_head.lora.alpha
    write_json(
        folder / "adapter_config.json",
        {
            "peft_type": "LORA",
            "task_type": "FEATURE_EXTRACTION" if classifier else "CAUSAL_LM",
            "base_model_name_or_path": base,
            "inference_mode": True,
            "r": rank,
            "lora_alpha": alpha,
            "rank_pattern": {"c_attn": 3 * rank},
            "alpha_pattern": {"c_attn": 3 * alpha},
            "target_modules": sorted({name.rpartition(".")[2] for name in updates}),
            "fan_in_fan_out": True,  # GPT-2's projections are kept as [inputs, outputs]
            "lora_dropout": 0.0,
            "bias": "none",
        },
    )


def _projections(model: GPTModel) -> Iterator[tuple[str, list[LoRALayer]]]:
    """Yield the layers of a GPT-2's blocks under Hugging Face's names, each with the updates that it gathers."""
    modules = {name: module for name, module in model.named_modules() if isinstance(module, LinearWithLoRA)}
    for tensor in gpt2_tensors(model.config):
        if tensor.transposed:
            layers = [modules[name.removesuffix(".weight")].lora for name in tensor.parameters]
            yield tensor.huggingface.removesuffix(".weight"), layers


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    stored = {name: tensor.to("cpu", torch.float32).contiguous() for name, tensor in tensors.items()}
    save_file(stored, path, metadata={"format": "pt"})
    share(path)  # safetensors lets nobody but the owner read it
