"""Chapter 5: pretraining, and OpenAI's weights."""

from __future__ import annotations

import torch
from tiktoken import Encoding
from torch import Tensor, nn
from torch.optim import Optimizer

from gpt_from_scratch import generation
from gpt_from_scratch.book.ch04 import generate_text_simple
from gpt_from_scratch.book.curves import Numbers, plot_two_curves
from gpt_from_scratch.book.download import download_file
from gpt_from_scratch.book.gpt_download import (
    assign,
    download_and_load_gpt2,
    load_gpt2_params_from_tf_ckpt,
    load_weights_into_gpt,
)
from gpt_from_scratch.book.narration import Device, Loader, column, narrate
from gpt_from_scratch.training.loop import LoopSettings, train
from gpt_from_scratch.training.process_group import Evaluator
from gpt_from_scratch.training.tasks import LanguageModelling, mean_loss

__all__ = [
    "assign",
    "calc_loss_batch",
    "calc_loss_loader",
    "download_and_load_gpt2",
    "download_file",
    "evaluate_model",
    "generate",
    "generate_and_print_sample",
    "generate_text_simple",
    "load_gpt2_params_from_tf_ckpt",
    "load_weights_into_gpt",
    "plot_losses",
    "text_to_token_ids",
    "token_ids_to_text",
    "train_model_simple",
]


def text_to_token_ids(text: str, tokenizer: Encoding) -> Tensor:
    """Return the token ids of a text, `[1, tokens]`."""
    return torch.tensor(tokenizer.encode(text, allowed_special={"<|endoftext|>"})).unsqueeze(0)


def token_ids_to_text(token_ids: Tensor, tokenizer: Encoding) -> str:
    """Return the text of token ids `[1, tokens]`."""
    return tokenizer.decode(token_ids.squeeze(0).tolist())


def generate(
    model: nn.Module,
    idx: Tensor,
    max_new_tokens: int,
    context_size: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    eos_id: int | None = None,
) -> Tensor:
    """Continue token ids `[batch, tokens]` and return all of them.

    Ends before `eos_id`. With several rows it ends when every row has produced it, and a row that did so before the
    others is filled up with it; `llms_from_scratch` 1.0.19 fails on several rows with `eos_id` or `top_k`.

    Args:
        context_size: most tokens the model sees at once.
        temperature: 0 takes the most likely token; above, one is drawn from PyTorch's global generator.
        top_k: draw among this many most likely tokens only.
    """
    sampling = generation.Sampling(temperature, top_k)
    rows = generation.generate(model, idx, max_new_tokens, sampling, eos_id=eos_id, context_size=context_size)
    longest = max(len(row) for row in rows)
    new = idx.new_tensor([row + [eos_id] * (longest - len(row)) for row in rows])
    return torch.cat([idx, new], dim=1)


def calc_loss_batch(input_batch: Tensor, target_batch: Tensor, model: nn.Module, device: Device) -> Tensor:
    """Return the mean loss of one batch: inputs and targets `[batch, tokens]`, a scalar in nats."""
    return LanguageModelling().loss(model, (input_batch, target_batch), device)


def calc_loss_loader(data_loader: Loader, model: nn.Module, device: Device, num_batches: int | None = None) -> float:
    """Return the mean loss of the first `num_batches` batches, all if None; NaN without any."""
    return mean_loss(LanguageModelling(), model, data_loader, Evaluator(device, num_batches))


def evaluate_model(
    model: nn.Module, train_loader: Loader, val_loader: Loader, device: Device, eval_iter: int | None
) -> tuple[float, float]:
    """Return both losses over `eval_iter` batches without dropout, and leave the model in training mode."""
    model.eval()
    train_loss = calc_loss_loader(train_loader, model, device, num_batches=eval_iter)
    val_loss = calc_loss_loader(val_loader, model, device, num_batches=eval_iter)
    model.train()
    return train_loss, val_loss


def generate_and_print_sample(model: nn.Module, tokenizer: Encoding, device: Device, start_context: str) -> None:
    """Print a greedy continuation of 50 tokens on one line, and leave the model in training mode."""
    model.eval()
    prompt = text_to_token_ids(start_context, tokenizer).to(device)
    token_ids = generate_text_simple(model, prompt, max_new_tokens=50, context_size=model.pos_emb.weight.shape[0])
    print(token_ids_to_text(token_ids, tokenizer).replace("\n", " "))
    model.train()


def train_model_simple(
    model: nn.Module,
    train_loader: Loader,
    val_loader: Loader,
    optimizer: Optimizer,
    device: Device,
    num_epochs: int,
    eval_freq: int,
    eval_iter: int | None,
    start_context: str,
    tokenizer: Encoding,
) -> tuple[list[float], list[float], list[int]]:
    """Train a language model, printing the losses every `eval_freq` updates and a sample after every epoch.

    Returns:
        Training losses, validation losses and tokens seen, one of each per evaluation.
    """
    records = train(
        model,
        LanguageModelling(),
        (train_loader, val_loader),
        optimizer,
        LoopSettings(num_epochs, eval_freq, eval_iter),
    )
    rows = narrate(records, lambda _: generate_and_print_sample(model, tokenizer, device, start_context)).rows
    return column(rows, "train_loss"), column(rows, "validation_loss"), column(rows, "seen")


def plot_losses(epochs_seen: Numbers, tokens_seen: Numbers, train_losses: Numbers, val_losses: Numbers) -> None:
    """Plot both losses over epochs and tokens; saved as `loss-plot.pdf`."""
    plot_two_curves(
        epochs_seen,
        tokens_seen,
        train_losses,
        val_losses,
        label="loss",
        seen_label="Tokens seen",
        whole_epochs=True,
    )
