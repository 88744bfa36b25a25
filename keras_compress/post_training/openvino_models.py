"""Models in OpenVINO's representation: NNCF quantizes them, if it is installed, with the same arguments."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from keras_compress.data import Dataset, InputSpec
from keras_compress.errors import CompressionError, ConfigError
from keras_compress.post_training.ignored_scope import scope_of
from keras_compress.post_training.parameters import AdvancedQuantizationParameters
from keras_compress.settings import validated

__all__ = ["is_openvino_model", "quantize_openvino_model"]

#: Parameters that NNCF does not have.
_OWN = {"adaptive_rounding", "batch_norm_adaptation", "type"}


def is_openvino_model(model: Any) -> bool:
    """Whether a model is an ``openvino.Model``; OpenVINO is not imported for the answer."""
    openvino = sys.modules.get("openvino")
    return openvino is not None and isinstance(model, openvino.Model)


def quantize_openvino_model(function: str, model: Any, datasets: Sequence[Any], arguments: Mapping[str, Any]) -> Any:
    """Call the function of NNCF with this name, and the enums and classes of this package as NNCF's own.

    Args:
        function: ``"quantize"`` or ``"quantize_with_accuracy_control"``.
        model: an ``openvino.Model``.
        datasets: the data that come first among the arguments: those to calibrate with, of which samples are taken one
            by one if the model takes batches of any size, and those to validate with.
        arguments: the others, None for NNCF's default.

    Raises:
        CompressionError: NNCF is not installed.
        ConfigError: a parameter is wrong, or NNCF has no such parameter.
    """
    try:
        import nncf
    except ImportError:
        raise CompressionError("Quantizing an openvino.Model needs NNCF: pip install nncf") from None
    calibration, *others = datasets
    data = [_calibration_data(nncf, model, calibration), *(_elements(nncf, other) for other in others)]
    translated = {name: _argument(nncf, name, value) for name, value in arguments.items() if value is not None}
    return getattr(nncf, function)(model, *data, **translated)


class _Again:
    """What a function returns, iterated from its start as often as wanted."""

    def __init__(self, function: Callable[[], Iterator[Any]]):
        self._function = function

    def __iter__(self) -> Iterator[Any]:
        return self._function()


def _calibration_data(nncf: Any, model: Any, data: Any) -> Any:
    """Return data as NNCF's, cut into batches that the model takes."""
    if isinstance(data, nncf.Dataset):
        return data
    dataset = Dataset.of(data)
    specs, size = [], 1
    for tensor in model.inputs:
        shape = tensor.get_partial_shape()
        sizes = [None if axis.is_dynamic else axis.get_length() for axis in shape]
        size = sizes[0] or 1
        specs.append(InputSpec(tensor.get_any_name(), tuple(sizes[1:]), tensor.get_element_type().to_dtype().name))

    def batches() -> Iterator[Any]:
        for batch in dataset.batches(specs, size):
            yield {spec.name: array.astype(spec.dtype) for spec, array in zip(specs, batch.inputs, strict=True)}

    return nncf.Dataset(_Again(batches))


def _elements(nncf: Any, data: Any) -> Any:
    """Return data as NNCF's, element by element."""
    if isinstance(data, nncf.Dataset):
        return data
    if isinstance(data, Iterator) or callable(data):
        data = Dataset(data)
    if isinstance(data, Dataset):
        return nncf.Dataset(_Again(data.get_data), data.transform_func)
    return nncf.Dataset(data)


def _argument(nncf: Any, name: str, value: Any) -> Any:
    """Return a value of this package as NNCF's; NNCF's own values, numbers and functions are returned as they are."""
    enums = {
        "mode": "QuantizationMode",
        "preset": "QuantizationPreset",
        "target_device": "TargetDevice",
        "model_type": "ModelType",
        "drop_type": "DropType",
    }
    if name in enums:
        kind = getattr(nncf, enums[name])
        plain = value.value if isinstance(value, enum.Enum) else value
        try:
            return kind(plain)
        except ValueError:
            allowed = ", ".join(repr(member.value) for member in kind)
            raise ConfigError(f"Wrong value for '{name}'. Expected: {allowed}. Received: {value!r}.") from None
    if name == "ignored_scope" and not isinstance(value, nncf.IgnoredScope):
        value = scope_of(value)
    if name == "advanced_accuracy_restorer_parameters" and isinstance(value, dict):
        return nncf.AdvancedAccuracyRestorerParameters(**value)
    if name.startswith("advanced") and isinstance(value, dict):
        value = validated(AdvancedQuantizationParameters, value, name)
    return _translated(nncf, value, name)


def _translated(nncf: Any, value: Any, where: str) -> Any:
    """Return an object of this package, and what is in it, as NNCF's object of the same class name."""
    if isinstance(value, enum.Enum):
        return _class(nncf, value)(value.value)
    if isinstance(value, tuple):
        return [_translated(nncf, item, where) for item in value]
    if not isinstance(value, BaseModel):
        return value
    given = {key: getattr(value, key) for key in value.model_fields_set}
    own = sorted(_OWN & set(given))
    if own:
        raise ConfigError(
            f"'{where}.{own[0]}' is not for an openvino.Model, which NNCF quantizes. Expected: parameters of NNCF. "
            f"Received: {own[0]}={given[own[0]]!r}. Leave it out, or quantize the Keras model."
        )
    if "validate_scopes" in given:
        given["validate"] = given.pop("validate_scopes")
    return _class(nncf, value)(**{key: _translated(nncf, item, f"{where}.{key}") for key, item in given.items()})


def _class(nncf: Any, value: Any) -> Any:
    """Return NNCF's class with the name of the class of ``value``."""
    homes = (nncf, nncf.quantization.advanced_parameters, nncf.quantization.range_estimator)
    return next(getattr(home, type(value).__name__) for home in homes if hasattr(home, type(value).__name__))
