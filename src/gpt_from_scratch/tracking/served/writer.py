"""The pretrained model (chapter 5) as MLflow serves it: prompts in, their continuations out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from gpt_from_scratch.generation.stream import stream_text
from gpt_from_scratch.generation.text import check_room, encode
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.tracking.served.requests import check_rows, guarded, sampling_of, texts
from gpt_from_scratch.weights.huggingface import load_model


class Writer(PythonModel):
    """Returns for a column `prompt` the column `text`: the prompt and its continuation."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the model folder among the artifacts."""
        folder = Path(context.artifacts["model"])
        self._model, self._tokenizer = load_model(folder), load_tokenizer(folder)

    @guarded
    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Continue every row by itself; the parameters are those of `SAMPLING_DEFAULTS`."""
        del context
        model, tokenizer, (tokens, sampling) = self._model, self._tokenizer, sampling_of(params)
        prompts = texts(model_input, "prompt")
        encoded = [encode(tokenizer, prompt) for prompt in prompts]
        check_rows(lambda ids: check_room(ids, tokens, model.config.context_length), encoded)
        written = ("".join(stream_text(model, tokenizer, ids, tokens, sampling)) for ids in encoded)
        return pd.DataFrame({"text": [prompt + new for prompt, new in zip(prompts, written, strict=True)]})


set_model(Writer())
