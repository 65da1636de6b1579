"""The pretrained model (chapter 5) as MLflow serves it: the beginnings of texts in, their continuations out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.tracking.served.requests import continuations, sampling_of, texts
from gpt_from_scratch.weights.huggingface import load_model


class Writer(PythonModel):
    """Answers a column `prompt` with `text`: the prompt and what follows it."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights that lie beside this file."""
        folder = Path(context.artifacts["model"])
        self._model, self._tokenizer = load_model(folder), load_tokenizer(folder)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Continue every row; the parameters are those of `SAMPLING_DEFAULTS`."""
        del context
        prompts = texts(list(model_input["prompt"]), "prompt")
        written = continuations(self._model, self._tokenizer, prompts, *sampling_of(params))
        return pd.DataFrame({"text": [prompt + new for prompt, new in zip(prompts, written, strict=True)]})


set_model(Writer())
