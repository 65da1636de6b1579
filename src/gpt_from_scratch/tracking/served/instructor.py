"""The instruction model (chapter 7) as MLflow serves it: instructions in, answers out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from gpt_from_scratch.data.instructions.entries import Entry, format_prompt
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.tracking.served.requests import continuations, sampling_of, texts
from gpt_from_scratch.weights.huggingface import load_model


class Instructor(PythonModel):
    """Answers the columns `instruction` and, where there is one, `input` with `answer`.

    The prompt ends before the response's header, as in the book: the model writes that itself, and it is taken out.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights that lie beside this file."""
        folder = Path(context.artifacts["model"])
        self._model, self._tokenizer = load_model(folder), load_tokenizer(folder)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Answer every row; the parameters are those of `SAMPLING_DEFAULTS`."""
        del context
        instructions = texts(list(model_input["instruction"]), "instruction")
        inputs = [""] * len(instructions)
        if "input" in model_input:
            inputs = texts(list(model_input["input"]), "input", may_be_empty=True)
        prompts = [
            format_prompt(Entry(instruction=instruction, input=given, output=""))
            for instruction, given in zip(instructions, inputs, strict=True)
        ]
        written = continuations(self._model, self._tokenizer, prompts, *sampling_of(params))
        return pd.DataFrame({"answer": [new.replace("### Response:", "").strip() for new in written]})


set_model(Instructor())
