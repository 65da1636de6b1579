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
from gpt_from_scratch.tracking.served.requests import check_rows, guarded, sampling_of, texts
from gpt_from_scratch.weights.huggingface import load_facts, load_model

CURE = "shorten it, or set max_new_tokens lower"


class Instructor(PythonModel):
    """Returns for the columns `instruction` and, where there is one, `input` the column `answer`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the model folder among the artifacts, and its prompt style."""
        folder = Path(context.artifacts["model"])
        self._model, self._tokenizer = load_model(folder), load_tokenizer(folder)
        self._style = style_of(load_facts(folder))

    @guarded
    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Answer every row by itself; the parameters are those of `SAMPLING_DEFAULTS`."""
        del context
        instructions = texts(model_input, "instruction")
        tokens, sampling = sampling_of(params)
        inputs = texts(model_input, "input", may_be_empty=True)
        questions = [Question(instruction=task, input=given) for task, given in zip(instructions, inputs, strict=True)]
        model, tokenizer, style = self._model, self._tokenizer, self._style
        check_rows(lambda question: check_question(model, tokenizer, question, tokens, style, cure=CURE), questions)
        streams = (stream_answer(model, tokenizer, question, tokens, style, sampling) for question in questions)
        return pd.DataFrame({"answer": ["".join(stream) for stream in streams]})


set_model(Instructor())
