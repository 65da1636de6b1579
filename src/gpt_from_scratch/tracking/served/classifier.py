"""The spam classifier (chapter 6) as MLflow serves it: texts in, labels and probabilities out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from gpt_from_scratch.generation.classifying import classify
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.tracking.served.requests import guarded, texts
from gpt_from_scratch.weights.classifier import load_classifier


class Classifier(PythonModel):
    """Returns for a column `text` the columns `label`, `probability_<label>` of every label, and `cut` (too long)."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the model folder among the artifacts."""
        folder = Path(context.artifacts["model"])
        self._model, self._info = load_classifier(folder)
        self._tokenizer = load_tokenizer(folder)

    @guarded
    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Classify every row."""
        del context, params
        found = classify(self._model, self._info, self._tokenizer, texts(model_input, "text"))
        columns = {f"probability_{name}": found.probabilities[:, place] for place, name in enumerate(found.names)}
        return pd.DataFrame({"label": found.labels, **columns, "cut": found.cut})


set_model(Classifier())
