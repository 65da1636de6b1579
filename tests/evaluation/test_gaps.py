"""What stands at the edges: empty sets, no room for a response."""

from __future__ import annotations

import numpy as np
import pytest

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.classification import classification_metrics
from gpt_from_scratch.evaluation.instructions import response_metrics

ENTRY = {"instruction": "Name a bird.", "input": "", "output": "A wren."}


def test_a_set_without_messages_has_no_figures():
    assert classification_metrics(np.array([], int), np.empty((0, 2)), ("ham", "spam")) == {
        "messages": 0,
        "accuracy": None,
    }


def test_no_room_for_any_response_is_one_clear_error(random_model, tokenizer):
    with pytest.raises(InputError, match=r"instruct\.max_length: expected room .* found 5 tokens"):
        response_metrics(random_model(), tokenizer, [ENTRY], 5, 1)
    with pytest.raises(InputError, match=r"instruct\.data: expected text in one of the 1 test answers"):
        response_metrics(random_model(), tokenizer, [{**ENTRY, "output": ""}], 256, 1)
