"""Models in OpenVINO's representation: NNCF quantizes them, if it is installed, with the same arguments."""

from __future__ import annotations

import enum
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from keras_compress.data import Dataset
from keras_compress.errors import CompressionError, ConfigError

__all__ = ["is_openvino_model", "quantize_openvino_model"]


def is_openvino_model(model: Any) -> bool:
    """Whether a model is an ``openvino.Model``; OpenVINO is not imported for the answer."""
    openvino = sys.modules.get("openvino")
    return openvino is not None and isinstance(model, openvino.Model)


def quantize_openvino_model(function: str, model: Any, datasets: Sequence[Any], arguments: Mapping[str, Any]) -> Any:
    """Call the function of NNCF with this name, and the enums and classes of this package as NNCF's own.

    Args:
        function: ``"quantize"`` or ``"quantize_with_accuracy_control"``.
        model: an ``openvino.Model``.
        datasets: the data that come first among the arguments.
        arguments: the others, None for NNCF's default.

    Raises:
        CompressionError: NNCF is not installed.
    """
    try:
        import nncf
    except ImportError:
        raise CompressionError("Quantizing an openvino.Model needs NNCF: pip install nncf") from None
    translated = {name: _of_nncf(nncf, name, value) for name, value in arguments.items() if value is not None}
    return getattr(nncf, function)(model, *(_dataset(nncf, data) for data in datasets), **translated)


def _dataset(nncf: Any, data: Any) -> Any:
    if isinstance(data, Dataset):
        return nncf.Dataset(data.source, data.transform_func)
    return data if isinstance(data, nncf.Dataset) else nncf.Dataset(data)


def _of_nncf(nncf: Any, name: str, value: Any) -> Any:
    """Return a value of this package as NNCF's; its own values, numbers and functions are returned as they are."""
    enums = {
        "preset": nncf.QuantizationPreset,
        "target_device": nncf.TargetDevice,
        "model_type": nncf.ModelType,
        "drop_type": nncf.DropType,
    }
    if name in enums:
        return enums[name](value.value if isinstance(value, enum.Enum) else value)
    if not isinstance(value, BaseModel):
        return (
            nncf.IgnoredScope(names=list(value))
            if name == "ignored_scope" and isinstance(value, (list, tuple))
            else value
        )
    given = {key: getattr(value, key) for key in value.model_fields_set}
    if name == "ignored_scope":
        subgraphs = [nncf.Subgraph(list(part.inputs), list(part.outputs)) for part in given.pop("subgraphs", ())]
        validate = {"validate": given.pop("validate_scopes")} if "validate_scopes" in given else {}
        lists = {key: list(items) for key, items in given.items()}
        return nncf.IgnoredScope(**lists, subgraphs=subgraphs, **validate)
    nested = sorted(key for key, part in given.items() if isinstance(part, (BaseModel, enum.Enum)))
    own = sorted({"adaptive_rounding", "batch_norm_adaptation"} & set(given))
    if nested or own:
        raise ConfigError(
            f"'{name}' for an openvino.Model: {nested + own} are objects of this package. Expected: NNCF's own, or plain "
            f"values. Pass nncf.{type(value).__name__}(…) instead."
        )
    return getattr(nncf, type(value).__name__)(**given)
