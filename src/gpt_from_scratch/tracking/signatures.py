"""Signatures of the served models, by which MLflow checks requests, and an example request to each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

SERVED = Path(__file__).parent / "served"


@dataclass(frozen=True)
class Served:
    """A kind of served model: its model from code, a model folder's signature, and the columns of a request."""

    script: Path
    signature: Callable[[Path], ModelSignature]
    example: dict[str, list[str]]


def _classifier(folder: Path) -> ModelSignature:
    from gpt_from_scratch.weights.classifier import load_info
    from gpt_from_scratch.weights.config_file import load_config

    labels = load_info(folder, load_config(folder)).labels
    probabilities = [(f"probability_{label}", "double") for label in labels]
    return _signature([("text", True)], [("label", "string"), *probabilities, ("cut", "boolean")], sampled=False)


def _signature(
    inputs: Sequence[tuple[str, bool]], outputs: Sequence[tuple[str, str]], *, sampled: bool
) -> ModelSignature:
    """Return a signature of text columns, required or not, and of the columns that come back."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    from gpt_from_scratch.tracking.served.requests import SAMPLING_DEFAULTS

    params: Any = None
    if sampled:
        kinds = {int: ("long", None), float: ("double", None), list: ("string", (-1,))}
        specs = [(name, value, *kinds[type(value)]) for name, value in SAMPLING_DEFAULTS.items()]
        params = ParamSchema([ParamSpec(name, kind, value, shape) for name, value, kind, shape in specs])
    return ModelSignature(
        Schema([ColSpec("string", name, required=required) for name, required in inputs]),
        Schema([ColSpec(kind, name) for name, kind in outputs]),
        params,
    )


CLASSIFIER = Served(
    SERVED / "classifier.py",
    _classifier,
    {"text": ["You won a free prize! Reply WIN to claim it before midnight.", "Shall we meet at seven?"]},
)
WRITER = Served(
    SERVED / "writer.py",
    lambda _: _signature([("prompt", True)], [("text", "string")], sampled=True),
    {"prompt": ["Every effort moves you"]},
)
INSTRUCTOR = Served(
    SERVED / "instructor.py",
    lambda _: _signature([("instruction", True), ("input", False)], [("answer", "string")], sampled=True),
    {"instruction": ["Rewrite the sentence in the passive voice."], "input": ["The keeper lights the lamp."]},
)
