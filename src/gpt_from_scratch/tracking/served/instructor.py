"""The instruction model (chapter 7) as MLflow serves it: instructions in, answers out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from gpt_from_scratch.data.instructions.prompts import Question, style_of
from gpt_from_scratch.generation.answering import check_question, stream_answer
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.tracking.served.requests import Sampling, in_each_row, texts
from gpt_from_scratch.weights.huggingface import load_facts, load_model

CURE = "shorten it, or set max_new_tokens lower"


class Instructor(PythonModel):
    """Returns for the columns `instruction` and, where there is one, `input` the column `answer`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights that lie beside this file, and the prompt style from the folder's facts."""
        folder = Path(context.artifacts["model"])
        self._model, self._tokenizer = load_model(folder), load_tokenizer(folder)
        self._style = style_of(load_facts(folder))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Answer every row; the parameters are those of `Sampling`. No row depends on another."""
        del context
        instructions, sampling = texts(list(model_input["instruction"]), "instruction"), Sampling.of(params)
        inputs = [""] * len(instructions)
        if "input" in model_input:
            inputs = texts(list(model_input["input"]), "input", may_be_empty=True)
        questions = [
            Question(instruction=instruction, input=given)
            for instruction, given in zip(instructions, inputs, strict=True)
        ]
        model, tokenizer, tokens = self._model, self._tokenizer, sampling.max_new_tokens
        in_each_row(
            lambda question: check_question(model, tokenizer, question, tokens, self._style, cure=CURE), questions
        )
        return pd.DataFrame(
            {
                "answer": [
                    "".join(stream_answer(model, tokenizer, question, tokens, self._style, **sampling.options(model)))
                    for question in questions
                ]
            }
        )


set_model(Instructor())
