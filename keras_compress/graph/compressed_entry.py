"""CompressedEntry: a wrapped layer as Keras' configuration and the snapshot's arrays write it down.

No other module spells these keys. A wrapped layer is one entry of class ``CompressedLayer`` that holds the entry of its
layer and a list of ``[weight, operation]``; its arrays are those of the layer under ``layer.`` and those of each
operation under ``weight_ops.<i>.``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from keras_compress._keras import deserialize, serialize
from keras_compress.graph.identity import operation_class
from keras_compress.graph.variables import named_variables
from keras_compress.layers import CompressedLayer, WeightOp
from keras_compress.layers.compressed_layer import REGISTERED_NAME

__all__ = [
    "CompressedEntry",
    "Operation",
    "described",
    "inner_entry",
    "inner_variable",
    "is_compressed_entry",
    "is_operation_variable",
    "live_operation",
    "weight_operations",
    "wrapper_description",
]

_LAYER = "layer."
_OPERATIONS = "weight_ops."
#: What describes a layer by itself, wherever it stands.
_IDENTITY = ("module", "class_name", "config", "registered_name")


@dataclass(frozen=True)
class Operation:
    """An operation on a weight.

    Attributes:
        weight: dotted path of the weight in its layer.
        description: the operation as Keras serializes it.
        arrays: its variables by name; none if it has not been built yet.
    """

    weight: str
    description: dict[str, Any]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def operation_class(self) -> type[WeightOp]:
        """The class of the operation."""
        found = operation_class(self.description)
        if found is None:
            raise TypeError(f"{self.description.get('registered_name')!r} is no registered operation")
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of the operation by name."""
        return self.description["config"]

    def live(self, shape: tuple[int, ...]) -> WeightOp:
        """Return the operation built for a weight of ``shape``, with its numbers."""
        return live_operation(self.description, shape, self.arrays)


@dataclass(frozen=True)
class CompressedEntry:
    """A wrapped layer.

    Attributes:
        layer: the entry of the layer inside, without its place in the graph.
        arrays: the variables of the layer inside by dotted path.
        operations: in the order in which they are applied.
    """

    layer: dict[str, Any]
    arrays: Mapping[str, np.ndarray]
    operations: tuple[Operation, ...]

    @classmethod
    def of(cls, entry: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> CompressedEntry | None:
        """Return the wrapped layer that an entry of a model's configuration holds, or None if it is not wrapped.

        Args:
            entry: the entry.
            arrays: the arrays of the snapshot for this entry.
        """
        if not is_compressed_entry(entry):
            return None
        operations = tuple(
            Operation(weight, description, _under(f"{_OPERATIONS}{index}.", arrays))
            for index, (weight, description) in enumerate(weight_operations(entry))
        )
        return cls(entry["config"]["layer"], _under(_LAYER, arrays), operations)

    @classmethod
    def wrapping(
        cls, entry: dict[str, Any], arrays: Mapping[str, np.ndarray], operations: Iterable[Operation]
    ) -> CompressedEntry:
        """Return a layer that is not wrapped yet, wrapped by operations."""
        return cls({key: entry[key] for key in _IDENTITY if key in entry}, arrays, tuple(operations))

    def mapped_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of the layer inside, its weights as the operations map them."""
        arrays = dict(self.arrays)
        for operation in self.operations:
            weight = arrays[operation.weight]
            mapped = operation.live(weight.shape)(weight.astype(np.float32))
            arrays[operation.weight] = mapped.numpy().astype(weight.dtype)
        return arrays

    def carried_out(self) -> CompressedEntry:
        """Return the layer with its operations carried out once and for all: without operations."""
        return replace(self, arrays=self.mapped_arrays(), operations=())

    def write_to(self, entry: dict[str, Any]) -> dict[str, np.ndarray]:
        """Make an entry of a configuration, in place, that of this wrapped layer; return its arrays.

        Without operations the layer stands by itself. Name and place in the graph stay.
        """
        if not self.operations:
            entry.update({key: self.layer[key] for key in _IDENTITY if key in self.layer})
            return dict(self.arrays)
        config = {
            "name": self.layer["config"]["name"],
            "trainable": self.layer["config"].get("trainable", True),
            "layer": self.layer,
            "operations": [[operation.weight, operation.description] for operation in self.operations],
        }
        entry.update(wrapper_description(config))
        written = {_LAYER + name: array for name, array in self.arrays.items()}
        for index, operation in enumerate(self.operations):
            written.update({f"{_OPERATIONS}{index}.{name}": array for name, array in operation.arrays.items()})
        return written


def wrapper_description(config: dict[str, Any]) -> dict[str, Any]:
    """Return what an entry says of a wrapped layer with a configuration, without a place in the graph."""
    return {
        "module": CompressedLayer.__module__,
        "class_name": CompressedLayer.__name__,
        "config": config,
        "registered_name": REGISTERED_NAME,
    }


def is_compressed_entry(entry: dict[str, Any]) -> bool:
    """Return whether an entry is that of a wrapped layer."""
    return entry.get("registered_name") == REGISTERED_NAME


def inner_entry(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of the layer inside a wrapped one, and any other entry as it is."""
    return entry["config"]["layer"] if is_compressed_entry(entry) else entry


def weight_operations(entry: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the dotted path of the weight and the serialized operation, for each operation of a wrapped layer."""
    return [(weight, description) for weight, description in entry["config"]["operations"]]


def inner_variable(name: str) -> str | None:
    """Return the name that a variable of a wrapped layer has in the layer inside; None if it belongs to an operation.

    Example:
        >>> inner_variable("layer.cell.kernel"), inner_variable("weight_ops.0.scale")
        ('cell.kernel', None)
    """
    return name.removeprefix(_LAYER) if name.startswith(_LAYER) else None


def is_operation_variable(name: str) -> bool:
    """Return whether a variable of a wrapped layer, by its name, belongs to an operation and not to the layer inside."""
    return name.startswith(_OPERATIONS)


def live_operation(description: dict[str, Any], shape: tuple[int, ...], arrays: Mapping[str, np.ndarray]) -> WeightOp:
    """Return a serialized operation, built for a tensor of ``shape``, with its numbers.

    Args:
        description: the operation as Keras serializes it.
        shape: of the tensor that it maps.
        arrays: its variables by name.
    """
    op = deserialize({key: description[key] for key in _IDENTITY if key in description})
    op.build(shape)
    for name, variable in named_variables(op).items():
        variable.assign(arrays[name])
    return op


def described(layer: Any) -> dict[str, Any]:
    """Return what an entry says of a layer, without a place in the graph."""
    return {key: value for key, value in serialize(layer).items() if key in _IDENTITY}


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
