"""The book's plot of two curves over epochs, with a second axis above."""

from __future__ import annotations

from collections.abc import Sequence

Numbers = Sequence[float]


def plot_two_curves(
    epochs_seen: Numbers,
    seen: Numbers,
    train_values: Numbers,
    val_values: Numbers,
    *,
    label: str,
    seen_label: str,
    whole_epochs: bool = False,
) -> None:
    """Draw training and validation values, save them as `{label}-plot.pdf` in the working folder and show them.

    Args:
        epochs_seen: epochs at each value, the axis below.
        seen: tokens or examples seen at each value, the axis above.
        label: what the values are.
        seen_label: what `seen` counts.
        whole_epochs: label whole epochs only.
    """
    from matplotlib import pyplot as plt
    from matplotlib.ticker import MaxNLocator

    figure, below = plt.subplots(figsize=(5, 3))
    below.plot(epochs_seen, train_values, label=f"Training {label}")
    below.plot(epochs_seen, val_values, linestyle="-.", label=f"Validation {label}")
    below.set_xlabel("Epochs")
    below.set_ylabel(label.capitalize())
    below.legend()
    if whole_epochs:
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
    above = below.twiny()
    above.plot(seen, train_values, alpha=0)  # unseen: it only gives the upper axis its range
    above.set_xlabel(seen_label)
    figure.tight_layout()
    figure.savefig(f"{label}-plot.pdf")
    plt.show()
