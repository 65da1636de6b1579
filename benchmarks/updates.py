"""Updates of the project's training loop, one at a time, and the operations that they take."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from gpt_from_scratch.model import GPTConfig, GPTModel
from gpt_from_scratch.training.loop import LoopSettings, train
from gpt_from_scratch.training.optimizer import build_optimizer
from gpt_from_scratch.training.precision import Precision, accelerated
from gpt_from_scratch.training.tasks import LanguageModelling


class OurUpdates:
    """Every call makes one update of the project's training loop on the same batch and returns its loss."""

    def __init__(
        self,
        cfg: GPTConfig,
        batch: tuple[Tensor, Tensor],
        device: torch.device,
        precision: Precision = "fp32",
        compiled: bool = False,
    ) -> None:
        model = random_model(cfg).to(device)
        loader = DataLoader(TensorDataset(*batch), batch_size=len(batch[0]))
        self._records = train(
            model,
            accelerated(LanguageModelling(), precision, compiled),
            (loader, loader),
            build_optimizer(model, 1e-4, 0.1),
            LoopSettings(epochs=2**31, eval_every=2**31, eval_batches=1),
        )

    def __call__(self) -> float:
        """Make an update."""
        loss = next(record.value for record in self._records if record.name == "loss")
        next(record for record in self._records if record.name == "grad_norm")
        return loss


def random_model(cfg: GPTConfig) -> GPTModel:
    """Return a model with random weights whose embeddings spread as GPT-2's did at first, so that losses are usual."""
    torch.manual_seed(123)
    model = GPTModel(cfg)
    for embedding in (model.tok_emb, model.pos_emb):
        nn.init.normal_(embedding.weight, std=0.02)
    return model


def training_flops(cfg: GPTConfig) -> float:
    """Return the floating-point operations of forward and backward pass per token, as nanoGPT counts them.

    Six for every weight but those of the positions, and 12 · layers · width · context for attention.
    """
    weights = sum(p.numel() for p in _on_meta(cfg).parameters()) - cfg.context_length * cfg.emb_dim
    return 6 * weights + 12 * cfg.n_layers * cfg.emb_dim * cfg.context_length


def _on_meta(cfg: GPTConfig) -> GPTModel:
    with torch.device("meta"):
        return GPTModel(cfg)
