"""The spam classifier (chapter 6) as MLflow serves it: texts in, labels and probabilities out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from gpt_from_scratch.data.messages.messages import Messages
from gpt_from_scratch.evaluation.classification import probabilities
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.tracking.served.requests import texts
from gpt_from_scratch.weights.classifier import load_classifier

BATCH_SIZE = 16


class Classifier(PythonModel):
    """Answers a column `text` with `label`, `probability_<label>` of every label, and `cut`.

    A text with more tokens than the longest of the training is cut to as many, as in the evaluation; `cut` says so.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights that lie beside this file."""
        folder = Path(context.artifacts["model"])
        self._model, self._info = load_classifier(folder)
        self._tokenizer = load_tokenizer(folder)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Classify every row."""
        del context, params
        info, written = self._info, texts(list(model_input["text"]), "text")
        frame = pd.DataFrame({"Text": written, "Label": 0})
        padded = info.deciding_token != "last_real"
        messages = Messages(frame, self._tokenizer, pad_id=info.pad_id, max_length=info.max_length, padded=padded)
        found = probabilities(self._model, messages.token_ids, BATCH_SIZE, info.deciding_token)
        lengths = [len(self._tokenizer.encode(text, disallowed_special=())) for text in written]
        return pd.DataFrame(
            {
                "label": [info.labels[best] for best in found.argmax(axis=1)],
                **{f"probability_{label}": found[:, place] for place, label in enumerate(info.labels)},
                "cut": [length > info.max_length for length in lengths],
            }
        )


set_model(Classifier())
