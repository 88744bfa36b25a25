"""What a configuration in a file may describe: models, layers and what they hold, of classes that are known, without code.

A configuration is looked through whole before anything is made of it. Keras would import any module that it names, take
Python code out of it, call any function of TensorFlow, and read any file as a vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from keras_compress._keras import OPERATOR_LAYERS, Functional, TensorFlowOpLayer, TFOpLambda, keras
from keras_compress.errors import UntrustedFileError, short_repr
from keras_compress.safe_mode.described_classes import described_class, described_function, is_described_spec
from keras_compress.safe_mode.tensorflow_functions import is_harmless_function
from keras_compress.safe_mode.tensorflow_operations import HARMLESS_OPERATIONS

__all__ = ["WAY_OUT", "refuse_function", "refuse_programs_in"]

#: What can be done about a file that is refused.
WAY_OUT = "If you trust who made it, pass trust=True (on the command line, pass --trust)."
#: Names in the place of a class that stand for values.
_VALUES = ("__tensor__", "__numpy__", "__bytes__")
#: What Keras calls of ragged and sparse tensors.
_OF_RAGGED_CLASS = frozenset(
    f"from_{part}"
    for part in (
        *(
            "value_rowids",
            "row_splits",
            "row_lengths",
            "row_starts",
            "row_limits",
            "uniform_row_length",
            "tensor",
            "sparse",
        ),
        *("nested_value_rowids", "nested_row_splits", "nested_row_lengths"),
    )
)
_OF_TENSORS = frozenset(
    [
        "values",
        "flat_values",
        "row_splits",
        "nested_row_splits",
        "indices",
        "dense_shape",
        "value_rowids",
        "nested_value_rowids",
        "nrows",
        "row_starts",
        "row_limits",
        "row_lengths",
        "nested_row_lengths",
        "bounding_shape",
        "with_values",
        "with_flat_values",
        "with_row_splits_dtype",
        "merge_dims",
        "to_tensor",
        "to_sparse",
    ]
)
_MODELS = (Functional, keras.Sequential, keras.Model)


def refuse_programs_in(
    description: Any, what: str, custom_objects: Mapping[str, Any] | None = None, *, old: bool = False
) -> None:
    """Refuse a configuration of Keras that does more than describe a model.

    Args:
        description: nested dicts and lists, as JSON holds them.
        what: what holds it, for the message, as ``"'model.keras'"``.
        custom_objects: classes and functions by name that are known besides those registered.
        old: it is in the format of ``.h5`` files and SavedModels, which knows classes by their names alone. A name that is not
            known is no program there: nothing is imported. Default False.

    Raises:
        UntrustedFileError: it names code, a class that is not known, a function with side effects, or a file.
    """
    try:
        for name, entry in _entries(description, ""):
            problem = _problem(entry, custom_objects, old)
            if problem:
                where = f"layer '{name}' {problem}" if name else problem
                raise UntrustedFileError(f"{what} is more than a model: {where}. {WAY_OUT}")
    except RecursionError:
        raise UntrustedFileError(f"{what} is no model: its configuration is nested too deeply.") from None


def refuse_function(name: Any, what: str) -> None:
    """Refuse a function of TensorFlow that is not known to compute and do nothing else.

    Args:
        name: its public name, as a layer of a file has it.
        what: what calls it, for the message.

    Raises:
        UntrustedFileError: it is none of these.
    """
    problem = _problem_of_function(name)
    if problem:
        raise UntrustedFileError(f"{what} is more than a model: it {problem}. {WAY_OUT}")


def _entries(value: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every description with the name of the layer that it is or that holds it."""
    if isinstance(value, dict):
        if "class_name" in value:
            config = value.get("config")
            own = value.get("name") or (config.get("name") if isinstance(config, dict) else None)
            name = own if isinstance(own, str) and own else name
            yield name, value
        for item in value.values():
            yield from _entries(item, name)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _entries(item, name)


def _problem(entry: dict[str, Any], custom_objects: Mapping[str, Any] | None, old: bool) -> str:
    """Return what is wrong with one description, without those inside of it; empty if nothing is."""
    name = entry["class_name"]
    if name == "__lambda__":
        return "holds Python code"
    if name == "__typespec__":
        return "" if is_described_spec(entry) else f"names the class {short_repr(entry.get('spec_name'))} for an input"
    if (isinstance(name, str) and name in _VALUES) or "config" not in entry:
        return ""
    if name == "function" and not old:
        known = described_function(entry, custom_objects) is not None
        return "" if known else f"names the function {_full_name(entry, entry['config'])}, which is not registered"
    found = described_class(entry, custom_objects, old=old)
    if found is None and old:
        return ""
    if found is None:
        return (
            f"is of class {_full_name(entry, name)}, which is neither registered nor one that Keras keeps in files. Register it with "
            "keras.saving.register_keras_serializable, or import its module first (--import)"
        )
    config = entry["config"]
    if not isinstance(config, dict) or not isinstance(found, type):
        return ""
    return _problem_of_settings(found, config) or _problem_of_calls(found, config)


def _problem_of_settings(found: type, config: dict[str, Any]) -> str:
    """Return what is wrong with the settings of a layer of a class."""
    if issubclass(found, keras.layers.Lambda):
        kinds = [config.get(key) for key in ("function_type", "output_shape_type", "mask_type")]
        return "holds Python code" if "lambda" in kinds else ""
    if issubclass(found, OPERATOR_LAYERS):
        return _problem_of_operator(found, config)
    if issubclass(found, TensorFlowOpLayer):
        operation = _operation(config.get("node_def"))
        return "" if operation in HARMLESS_OPERATIONS else f"holds the operation {short_repr(operation)}"
    if isinstance(config.get("vocabulary"), str):
        return f"reads the file {short_repr(config['vocabulary'])} as its vocabulary"
    return ""


def _problem_of_operator(found: type, config: dict[str, Any]) -> str:
    if issubclass(found, TFOpLambda):
        return _problem_of_function(config.get("function"))
    if "cls_symbol" in config:
        called = config["cls_symbol"], config.get("method_name")
        known = called[0] == "RaggedTensor" and called[1] in _OF_RAGGED_CLASS
        return "" if known else f"calls {short_repr(called[1])} of {short_repr(called[0])}"
    attribute = config.get("attr_name")
    known = isinstance(attribute, str) and attribute in _OF_TENSORS
    return "" if known else f"takes {short_repr(attribute)} of its input"


def _problem_of_function(name: Any) -> str:
    if isinstance(name, str) and is_harmless_function(name):
        return ""
    return f"calls {short_repr(name)}, which is not known as a function that only computes"


def _problem_of_calls(found: type, config: dict[str, Any]) -> str:
    """Return which operator of a model is called on constants alone, as Keras never writes it: it would run at once."""
    entries = config.get("layers")
    if not issubclass(found, _MODELS) or not isinstance(entries, list):
        return ""
    entries = [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("inbound_nodes"), list)]
    names = {entry["name"] for entry in entries if isinstance(entry.get("name"), str)}
    for entry in entries:
        operator = isinstance(entry.get("class_name"), str) and entry["class_name"] in _OPERATORS
        if operator and not all(_reads_from(call, names) for call in entry["inbound_nodes"]):
            return f"calls {short_repr(entry.get('name'))} on constants"
    return ""


_OPERATORS = frozenset(cls.__name__ for cls in OPERATOR_LAYERS)


def _reads_from(structure: Any, layers: set[str]) -> bool:
    """Return whether the arguments of a call hold the output of a layer."""
    if isinstance(structure, dict):
        return any(_reads_from(item, layers) for item in structure.values())
    if not isinstance(structure, list):
        return False
    place = len(structure) > 2 and isinstance(structure[0], str) and structure[0] in layers
    return place or any(_reads_from(item, layers) for item in structure)


def _operation(node: Any) -> str | None:
    """Return the kind of a TensorFlow operation that is serialized in a configuration."""
    try:
        if isinstance(node, dict):
            return node["op"]
        return tf.compat.v1.NodeDef.FromString(node if isinstance(node, bytes) else node.encode("utf-8")).op
    except Exception:  # whatever is wrong with it, it is no operation
        return None


def _full_name(entry: Mapping[str, Any], name: Any) -> str:
    return short_repr(".".join(str(part) for part in (entry.get("module"), name) if part))
