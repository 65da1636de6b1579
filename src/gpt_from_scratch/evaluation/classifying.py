"""Classifying texts with a classifier as its folder describes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from tiktoken import Encoding
from torch import Tensor

from gpt_from_scratch.data.messages import Messages
from gpt_from_scratch.evaluation.classification import probabilities
from gpt_from_scratch.model import GPTModel
from gpt_from_scratch.weights.classifier import ClassifierInfo


def text_ids(tokenizer: Encoding, info: ClassifierInfo, texts: Sequence[str]) -> Tensor | list[Tensor]:
    """Return texts as the classifier was trained to see them: `[texts, max_length]`, or unpadded a list of `[tokens]`.

    Args:
        texts: none of them empty.
    """
    frame = pd.DataFrame({"Text": list(texts), "Label": 0})
    padded = info.deciding_token == "last"
    return Messages(frame, tokenizer, pad_id=info.pad_id, max_length=info.max_length, padded=padded).token_ids


def classify(
    model: GPTModel, tokenizer: Encoding, info: ClassifierInfo, texts: Sequence[str], batch_size: int = 16
) -> np.ndarray:
    """Return the probability of every label, `[texts, labels]`."""
    return probabilities(model, text_ids(tokenizer, info, texts), batch_size)
