"""Pictures: there, and the same bytes again."""

from __future__ import annotations

import pytest

from gpt_from_scratch.evaluation.figures import confusion_figure, loss_figure

ROWS = [{"step": step, "train_loss": 5.0 - step, "validation_loss": 5.5 - step / 2} for step in range(4)]
CONFUSION = {"ham_as_ham": 70, "ham_as_spam": 2, "spam_as_ham": 5, "spam_as_spam": 67}


LABELS = ("ham", "spam")


@pytest.mark.parametrize(("draw", "content"), [(loss_figure, [ROWS]), (confusion_figure, [CONFUSION, LABELS])])
def test_a_figure_is_the_same_png_every_time(tmp_path, draw, content):
    paths = [tmp_path / "new" / name for name in ("a.png", "b.png")]
    for path in paths:
        draw(*content, path, "title")
    first, second = (path.read_bytes() for path in paths)
    assert first.startswith(b"\x89PNG")
    assert first == second
    assert b"Software" not in first  # matplotlib's version would change the bytes


def test_the_figure_shows_what_it_is_given(tmp_path):
    for number, counts in enumerate((CONFUSION, {**CONFUSION, "ham_as_ham": 7})):
        confusion_figure(counts, LABELS, tmp_path / f"{number}.png", "title")
    assert (tmp_path / "0.png").read_bytes() != (tmp_path / "1.png").read_bytes()
