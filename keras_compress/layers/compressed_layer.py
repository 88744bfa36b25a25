"""CompressedLayer: the only wrapper. It calls a layer with some of its weights replaced by compressed ones.

Which weights, and how they are compressed, is given to it as a list of weight operations; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from keras_compress._keras import (
    accepts,
    by_known_name,
    deserialize,
    in_safe_mode,
    keras,
    knows_one_name,
    register,
    serialize,
    without_autograph,
)
from keras_compress._threads import WEIGHTS
from keras_compress._tracing import inferring_shapes
from keras_compress.errors import short_repr
from keras_compress.layers.float_computation import computes_in_float
from keras_compress.layers.weight_op import IntegerWeight, WeightOp
from keras_compress.safe_mode import refuse_programs_in

__all__ = ["REGISTERED_NAME", "CompressedLayer", "weight_owner"]

#: The name under which Keras finds the class in a file.
REGISTERED_NAME = "keras_compress>CompressedLayer"


#: The variables whose places hold compressed tensors at present, by owner and attribute, and how many calls use each.
#: Read and written under ``WEIGHTS`` only.
_REPLACED: dict[tuple[int, str], tuple[Any, int]] = {}


def weight_owner(layer: Any, path: str) -> tuple[Any, str]:
    """Return the object that holds the weight at a dotted path, and the name of its attribute.

    Args:
        layer: a Keras layer.
        path: as ``"kernel"``, ``"cell.kernel"`` or ``"cells.0.kernel"``.

    Raises:
        AttributeError: a layer on the path does not exist.

    Example:
        >>> owner, attribute = weight_owner(keras.layers.LSTM(2), "cell.kernel")
        >>> type(owner).__name__, attribute
        ('LSTMCell', 'kernel')
    """
    *parents, attribute = path.split(".")
    for parent in parents:
        layer = layer[int(parent)] if parent.isdigit() else getattr(layer, parent)
    return layer, attribute


@without_autograph
@register
class CompressedLayer(keras.layers.Wrapper):
    """A Keras layer whose weights pass through weight operations before use.

    Forward: ``y = layer(x)`` with every weight ``w`` that has operations replaced by ``op_n(... op_1(w))``, in the
    order of their :class:`~keras_compress.layers.weight_op.Stage`. The float weight stays the trained variable;
    gradients reach it through the operations. The wrapper has the name of its layer, so edges of a graph stay valid,
    and offers the attributes of its layer (``kernel``, ``bias``, ``units``, …) as its own.

    Args:
        layer: the layer to compress.
        operations: pairs ``(path, op)``: a dotted path to the weight, such as ``"kernel"`` or ``"cell.kernel"``, and
            the :class:`~keras_compress.layers.weight_op.WeightOp` that maps it.

    Example:
        >>> from keras_compress.layers import SymmetricFakeQuantize
        >>> quantizer = SymmetricFakeQuantize(num_bits=8, narrow_range=True, channel_axes=(-1,))
        >>> dense = CompressedLayer(keras.layers.Dense(3), [("kernel", quantizer)])
        >>> dense(tf.ones((2, 5))).shape
        TensorShape([2, 3])
    """

    def __init__(self, layer: keras.layers.Layer, operations: Sequence[tuple[str, WeightOp]], **kwargs):
        kwargs.setdefault("name", layer.name)
        kwargs.setdefault("trainable", layer.trainable)
        kwargs["dtype"] = "float32"
        kwargs["autocast"] = False
        super().__init__(layer, **kwargs)
        ordered = sorted(operations, key=lambda pair: pair[1].stage)
        self.weight_paths = tuple(path for path, _ in ordered)
        self.weight_ops = [op for _, op in ordered]
        self.supports_masking = layer.supports_masking
        self._input_shape: Any = None

    @property
    def operations(self) -> list[tuple[str, WeightOp]]:
        """Pairs of weight path and operation, in the order in which they are applied."""
        return list(zip(self.weight_paths, self.weight_ops, strict=True))

    def build(self, input_shape=None):
        self._input_shape = input_shape
        if not self.layer.built:
            self.layer.build(input_shape)
            self.layer.built = True
        self._build_operations()
        self.built = True

    def get_build_config(self) -> dict | None:
        """Return the shape of the input, if there is one input of known rank; else the graph will build the layer."""
        shape = self._input_shape
        if isinstance(shape, (tuple, list)) and all(size is None or isinstance(size, int) for size in shape):
            shape = tf.TensorShape(shape)
        if not isinstance(shape, tf.TensorShape) or shape.rank is None:
            return None
        return {"input_shape": shape.as_list()}

    def build_from_config(self, config: dict) -> None:
        with tf.name_scope(self.name):
            self.build(tf.TensorShape(config["input_shape"]))

    def _build_operations(self) -> bool:
        """Build the operations of the weights that exist; return whether all do.

        Some layers, as attention, make their weights in their first call.
        """
        complete = True
        for path, op in self.operations:
            weight = self._find(path)
            if weight is None:
                complete = False
            elif not op.built:
                with tf.init_scope(), tf.name_scope(op.name):
                    op.build(weight.shape)
        return complete

    def _find(self, path: str) -> Any:
        try:
            owner, attribute = weight_owner(self.layer, path)
        except AttributeError:
            return None
        return getattr(owner, attribute, None)

    def call(self, *args, **kwargs):
        for argument in ("training", "mask"):
            if not accepts(self.layer, argument):
                kwargs.pop(argument, None)
        with WEIGHTS:
            if inferring_shapes() or not self._build_operations():
                outputs = self.layer(*args, **kwargs)
                if self._build_operations() and inferring_shapes():
                    return outputs
            if computes_in_float():
                return self.layer(*args, **kwargs)
            with self._compressed_weights():
                return self.layer(*args, **kwargs)

    @contextmanager
    def _compressed_weights(self) -> Iterator[None]:
        """Put the compressed tensors in the place of the variables, and the variables back afterwards.

        The swap goes past ``setattr``, which would make Keras stop tracking the variable. Other threads wait for the end
        of it; replicas that TensorFlow runs by turns may be inside together, and the last of them puts the variables back.
        """
        tensors: dict[tuple[int, str], Any] = {}
        owners: dict[tuple[int, str], Any] = {}
        for path, op in self.operations:
            owner, attribute = weight_owner(self.layer, path)
            place = id(owner), attribute
            if place not in tensors:
                variable, _ = _REPLACED.get(place, (owner.__dict__[attribute], 0))
                owners[place], tensors[place] = owner, tf.convert_to_tensor(variable)
            tensors[place] = op(tensors[place])
        tensors = {place: tf.cast(tensor, owners[place].compute_dtype) for place, tensor in tensors.items()}
        try:
            for place, owner in owners.items():
                variable, calls = _REPLACED.get(place, (owner.__dict__[place[1]], 0))
                _REPLACED[place] = variable, calls + 1
                owner.__dict__[place[1]] = tensors[place]
            yield
        finally:
            for place, owner in owners.items():
                variable, calls = _REPLACED.pop(place, (None, 0))
                if calls > 1:
                    _REPLACED[place] = variable, calls - 1
                elif calls:
                    owner.__dict__[place[1]] = variable

    def compressed_weight(self, path: str) -> tf.Tensor:
        """Return the weight at ``path`` as the forward pass sees it, in float32."""
        weight = self._float_weight(path)
        for target, op in self.operations:
            if target == path:
                weight = op(weight)
        return weight

    def integer_weight(self, path: str) -> IntegerWeight | None:
        """Return the weight at ``path`` as integers, None where its last operation leaves it in floating point."""
        weight = self._float_weight(path)
        *before, last = [op for target, op in self.operations if target == path]
        for op in before:
            weight = op(weight)
        return last.to_integer(weight.numpy())

    def _float_weight(self, path: str) -> tf.Tensor:
        """Return the weight at ``path`` before its operations, in float32."""
        with WEIGHTS:
            owner, attribute = weight_owner(self.layer, path)
            return tf.cast(tf.convert_to_tensor(getattr(owner, attribute)), tf.float32)

    def compute_output_shape(self, input_shape):
        return self.layer.compute_output_shape(input_shape)

    def compute_mask(self, inputs, mask=None):
        return self.layer.compute_mask(inputs, mask)

    def __getattr__(self, name: str):
        if name.startswith("_") or "layer" not in self.__dict__:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        try:
            return getattr(self.layer, name)
        except AttributeError:
            raise AttributeError(
                f"Neither '{type(self).__name__}' nor the '{type(self.layer).__name__}' inside it has an attribute '{name}'"
            ) from None

    def get_config(self) -> dict:
        return self.config_with(serialize)

    def config_with(self, serialize_layer: Callable[[keras.layers.Layer], dict]) -> dict:
        """Return the configuration, the inner layer serialized by ``serialize_layer``."""
        base = keras.layers.Layer.get_config(self)
        return {
            "name": base["name"],
            "trainable": base["trainable"],
            "layer": serialize_layer(self.layer),
            "operations": [[path, serialize(op)] for path, op in self.operations],
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> CompressedLayer:
        config = dict(config)
        described, operations = config.pop("layer", None), config.pop("operations", None)
        _require_descriptions(described, operations, config.get("name"))
        if in_safe_mode():
            whole = [described, *(operation for _, operation in operations)]
            refuse_programs_in(
                [by_known_name(item) for item in whole],
                f"Layer '{config.get('name')}'",
                custom_objects,
                old=knows_one_name(),
            )
        layer = deserialize(_without_build_config(described), custom_objects)
        made = [(path, deserialize(_without_build_config(operation), custom_objects)) for path, operation in operations]
        if not isinstance(layer, keras.layers.Layer) or not all(
            isinstance(operation, WeightOp) for _, operation in made
        ):
            classes = [type(item).__name__ for item in (layer, *(operation for _, operation in made))]
            raise ValueError(
                f"Layer '{config.get('name')}' is damaged. Expected: a layer, and operations of compression on its weights. Received: "
                f"{classes}."
            )
        return cls(layer, made, **config)


def _require_descriptions(layer: Any, operations: Any, name: Any) -> None:
    """Raise a ValueError unless a configuration holds a description of a layer and a list of operations on its weights."""
    pairs: list[Any] = list(operations) if isinstance(operations, (list, tuple)) and operations else [None]
    named = all(isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs)
    described = [layer, *(pair[1] for pair in pairs)] if named else [None]
    if not all(isinstance(item, dict) and {"class_name", "config"} <= item.keys() for item in described):
        raise ValueError(
            f"Layer '{name}' is damaged. Expected: 'layer', a description of a layer, and 'operations', pairs of the name of a weight "
            f"and a description. Received: layer={short_repr(layer)}, operations={short_repr(operations)}."
        )


def _without_build_config(description: dict) -> dict:
    """Drop the entry that would make Keras build the layer early, outside the name scope of the wrapper."""
    return {key: value for key, value in description.items() if key != "build_config"}
