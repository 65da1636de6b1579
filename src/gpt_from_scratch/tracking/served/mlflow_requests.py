"""Corrections of MLflow's scoring server: requests before a model sees them, and errors on their way to the client.

Applied when a served model is loaded, once in a process.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.types import DataType
from mlflow.utils import proto_json_utils


def put_right() -> None:
    """Keep null what it is, rows with and without a key side by side, and stack traces on the server."""
    # MLflow casts columns of texts in `instances` and `inputs` to NumPy's strings, which makes null the word None. As
    # objects they stay what they are, and MLflow's other formats treat them so anyway.
    DataType.string._numpy_type = np.dtype(object)
    if not hasattr(proto_json_utils.parse_instances_data, "__wrapped__"):
        proto_json_utils.parse_instances_data = _with_all_keys(proto_json_utils.parse_instances_data)
    if not hasattr(MlflowException.serialize_as_json, "__wrapped__"):
        MlflowException.serialize_as_json = _without_trace(MlflowException.serialize_as_json)


def _with_all_keys(parse: Any) -> Any:
    @functools.wraps(parse)
    def parsed(data: Mapping[str, Any], *arguments: Any, **options: Any) -> Any:
        rows = data.get("instances")
        if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
            columns = dict.fromkeys(key for row in rows for key in row)
            data = {**data, "instances": [{**columns, **row} for row in rows]}
        return parse(data, *arguments, **options)

    return parsed


def _without_trace(serialize: Any) -> Any:
    @functools.wraps(serialize)
    def serialized(error: MlflowException) -> str:
        content = json.loads(serialize(error))
        content.pop("stack_trace", None)
        return json.dumps(content)

    return serialized
