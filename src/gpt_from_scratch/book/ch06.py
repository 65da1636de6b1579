"""Chapter 6: telling spam from other messages."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from tiktoken import Encoding
from torch import Tensor, nn
from torch.optim import Optimizer

from gpt_from_scratch.book.curves import Numbers, plot_two_curves
from gpt_from_scratch.book.download import save
from gpt_from_scratch.book.narration import Device, Loader, column, narrate
from gpt_from_scratch.data.fetch.verify import unpack_member
from gpt_from_scratch.data.messages.messages import Messages
from gpt_from_scratch.data.messages.spam import balanced, shuffled_cut
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.training.journal import Journal
from gpt_from_scratch.training.loop import LoopSettings, train
from gpt_from_scratch.training.process_group import Evaluator
from gpt_from_scratch.training.tasks import Classification, accuracy, mean_loss

SEED = 123
"""Seed of the chapter's sampling and shuffling."""

LARGEST_COLLECTION = 64 * 2**20
"""Bytes of an archive of messages, and of the file in it; the book's has some 480,000 unpacked."""


def download_and_unzip_spam_data(
    url: str, zip_path: str | Path, extracted_path: str | Path, data_file_path: str | Path
) -> None:
    """Download the SMS Spam Collection and put its one data file at `data_file_path`, unless that is there.

    Args:
        zip_path: where the archive is kept.
        extracted_path: folder that is made for the extracted file.

    Raises:
        OSError: when the download fails (`urllib.error.URLError`, or a timeout) or has more than
            `LARGEST_COLLECTION` bytes.
        InputError: when what was downloaded is no such archive, or the file in it is larger than that.
    """
    destination = Path(data_file_path)
    if destination.exists():
        print(f"{destination} is there already")
        return
    save(url, zip_path, limit=LARGEST_COLLECTION)
    unpacked = Path(extracted_path) / "SMSSpamCollection"
    unpacked.parent.mkdir(parents=True, exist_ok=True)
    try:
        unpack_member(Path(zip_path), unpacked.name, unpacked, LARGEST_COLLECTION)
    except ValueError as error:
        unpacked.unlink(missing_ok=True)
        raise InputError(f"{zip_path}: {error}") from None
    unpacked.replace(destination)
    print(f"Downloaded to {destination}")


def create_balanced_dataset(df: pd.DataFrame) -> pd.DataFrame:
    """Return as many messages labelled ham, sampled, as there are labelled spam, and then all spam.

    Args:
        df: columns `Label` and `Text`.
    """
    return balanced(df, SEED)


def random_split(
    df: pd.DataFrame, train_frac: float, validation_frac: float
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Shuffle rows and cut them into training, validation and test."""
    return shuffled_cut(df, train_frac, validation_frac, SEED)


class SpamDataset(Messages):
    """The messages of a CSV file, columns `Label` (0, 1) and `Text`, padded to one length.

    Args:
        csv_file: path or open file. A message such as `NA` stays a message.
        max_length: tokens per message, longer ones are cut; the longest message's if None.

    Attributes:
        data: the file as a data frame.
        encoded_texts: token ids of every message, padded.
        max_length: tokens per message.
    """

    def __init__(
        self, csv_file: str | Path, tokenizer: Encoding, max_length: int | None = None, pad_token_id: int = 50256
    ) -> None:
        self.data = pd.read_csv(csv_file, keep_default_na=False, dtype={"Text": str})
        super().__init__(self.data, tokenizer, pad_id=pad_token_id, max_length=max_length)
        self.encoded_texts = self.token_ids.tolist()


def calc_accuracy_loader(
    data_loader: Loader, model: nn.Module, device: Device, num_batches: int | None = None
) -> float:
    """Return the fraction classified rightly in the first `num_batches` batches, all if None; NaN without any.

    Leaves the model in evaluation mode.
    """
    model.eval()
    return accuracy(Classification(), model, data_loader, Evaluator(device, num_batches))


def calc_loss_batch(input_batch: Tensor, target_batch: Tensor, model: nn.Module, device: Device) -> Tensor:
    """Return the mean loss of one batch, a scalar in nats: inputs `[batch, tokens]`, labels `[batch]`."""
    return Classification().loss(model, (input_batch, target_batch), device)


def calc_loss_loader(data_loader: Loader, model: nn.Module, device: Device, num_batches: int | None = None) -> float:
    """Return the mean loss of the first `num_batches` batches, all if None; NaN without any."""
    return mean_loss(Classification(), model, data_loader, Evaluator(device, num_batches))


def evaluate_model(
    model: nn.Module, train_loader: Loader, val_loader: Loader, device: Device, eval_iter: int | None
) -> tuple[float, float]:
    """Return both losses over `eval_iter` batches without dropout, and leave the model in training mode."""
    model.eval()
    train_loss = calc_loss_loader(train_loader, model, device, num_batches=eval_iter)
    val_loss = calc_loss_loader(val_loader, model, device, num_batches=eval_iter)
    model.train()
    return train_loss, val_loss


def train_classifier_simple(
    model: nn.Module,
    train_loader: Loader,
    val_loader: Loader,
    optimizer: Optimizer,
    device: Device,
    num_epochs: int,
    eval_freq: int,
    eval_iter: int | None,
) -> tuple[list[float], list[float], list[float], list[float], int]:
    """Train a classifier, printing the losses every `eval_freq` updates and the accuracies after every epoch.

    Returns:
        Training and validation losses at every evaluation, training and validation accuracies (fractions of 1) after
        every epoch, and the number of examples seen.
    """
    records = train(
        model,
        Classification(),
        (train_loader, val_loader),
        optimizer,
        LoopSettings(num_epochs, eval_freq, eval_iter),
    )
    journal = narrate(records, _print_accuracies)
    return (
        column(journal.rows, "train_loss"),
        column(journal.rows, "validation_loss"),
        column(journal.scores, "train_accuracy"),
        column(journal.scores, "validation_accuracy"),
        journal.metrics()["seen"],
    )


def _print_accuracies(journal: Journal) -> None:
    scores = journal.scores[-1]
    print(
        f"Training accuracy: {scores['train_accuracy']:.2%} | Validation accuracy: {scores['validation_accuracy']:.2%}"
    )


def plot_values(
    epochs_seen: Numbers, examples_seen: Numbers, train_values: Numbers, val_values: Numbers, label: str = "loss"
) -> None:
    """Plot training and validation values over epochs and examples; saved as `{label}-plot.pdf`."""
    plot_two_curves(epochs_seen, examples_seen, train_values, val_values, label=label, seen_label="Examples seen")


def classify_review(
    text: str,
    model: nn.Module,
    tokenizer: Encoding,
    device: Device,
    max_length: int | None = None,
    pad_token_id: int = 50256,
) -> str:
    """Return `spam` or `not spam`, decided at the last position; puts the model into evaluation mode.

    Args:
        max_length: length in tokens that the text is cut or padded to, best that of the training messages; the
            model's context length bounds it and stands in for None (on which `llms_from_scratch` 1.0.19 fails).
    """
    model.eval()
    context_length = model.pos_emb.weight.shape[0]
    length = context_length if max_length is None else min(max_length, context_length)
    token_ids = tokenizer.encode(text, disallowed_special=())[:length]
    padded = token_ids + [pad_token_id] * (length - len(token_ids))
    with torch.no_grad():
        logits = Classification().logits(model, torch.tensor([padded], device=device))
    return "spam" if logits.argmax(dim=-1).item() == 1 else "not spam"
