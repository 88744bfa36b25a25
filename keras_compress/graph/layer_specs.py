"""One table: what each Keras layer does to ranges of values, and which of its weights can be compressed.

The table is all that algorithms know about layer classes. :func:`register_layer_spec` adds a row for a layer of one's own.
Layers around layers (``TimeDistributed``, ``Bidirectional``, ``RNN``) take the rows of what they hold.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from keras_compress._keras import keras
from keras_compress.errors import ConfigError
from keras_compress.graph.identity import is_builtin

__all__ = ["LayerRole", "LayerSpec", "WeightSpec", "operator_role", "register_layer_spec", "spec_of"]


class LayerRole(enum.Enum):
    """How a layer behaves towards quantized activations."""

    COMPUTE = "compute"  #: multiplies its inputs by weights; runs in integers when inputs and weights are quantized
    MERGE = "merge"  #: combines or averages values; runs in integers when all inputs are quantized
    TRANSPARENT = "transparent"  #: moves or selects values; what was on the grid stays on the grid
    CONCAT = "concat"  #: joins tensors, which must share one range
    OTHER = "other"  #: anything else: stays in floating point


@dataclass(frozen=True)
class WeightSpec:
    """A weight that can be compressed.

    Attributes:
        path: dotted path from the layer, as ``"kernel"`` or ``"cell.recurrent_kernel"``.
        channel_axes: axes that index the output channels; each index gets a range of its own.
    """

    path: str
    channel_axes: tuple[int, ...] = (-1,)


@dataclass(frozen=True)
class LayerSpec:
    """A row of the table.

    Attributes:
        role: behaviour towards quantized activations.
        weights: the weights that can be compressed.
    """

    role: LayerRole
    weights: tuple[WeightSpec, ...] = ()


def _rows(role: LayerRole, weights: tuple[WeightSpec, ...], *names: str) -> dict[str, LayerSpec]:
    return dict.fromkeys(names, LayerSpec(role, weights))


def _ranks(*kinds: str) -> Iterator[str]:
    return (f"{kind}{rank}D" for kind in kinds for rank in (1, 2, 3))


_KERNEL = (WeightSpec("kernel"),)
_DEPTHWISE = (WeightSpec("depthwise_kernel", (-2, -1)),)
_RECURRENT = (WeightSpec("kernel"), WeightSpec("recurrent_kernel"))
_CELL = tuple(WeightSpec(f"cell.{spec.path}") for spec in _RECURRENT)
_ATTENTION = (
    *(WeightSpec(f"_{part}_dense.kernel", (-2, -1)) for part in ("query", "key", "value")),
    WeightSpec("_output_dense.kernel"),
)
_RNN_LAYERS = ("SimpleRNN", "LSTM", "GRU", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")

_SPECS: dict[str, LayerSpec] = {
    **_rows(
        LayerRole.COMPUTE, _KERNEL, "Conv1D", "Conv2D", "Conv3D", "Dense", "LocallyConnected1D", "LocallyConnected2D"
    ),
    **_rows(LayerRole.COMPUTE, _DEPTHWISE, "DepthwiseConv1D", "DepthwiseConv2D"),
    **_rows(LayerRole.COMPUTE, (*_DEPTHWISE, WeightSpec("pointwise_kernel")), "SeparableConv1D", "SeparableConv2D"),
    **_rows(LayerRole.COMPUTE, (WeightSpec("kernel", (-2,)),), "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
    **_rows(LayerRole.OTHER, _ATTENTION, "MultiHeadAttention"),
    **_rows(LayerRole.OTHER, (WeightSpec("embeddings", (0,)),), "Embedding"),
    **_rows(LayerRole.OTHER, _CELL, *_RNN_LAYERS),
    **_rows(LayerRole.OTHER, _RECURRENT, "SimpleRNNCell", "LSTMCell", "GRUCell"),
    **_rows(LayerRole.MERGE, (), "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Dot"),
    **_rows(LayerRole.MERGE, (), *_ranks("AveragePooling", "GlobalAveragePooling")),
    **_rows(LayerRole.TRANSPARENT, (), "Flatten", "Reshape", "Permute", "RepeatVector", "Identity", "Dropout"),
    **_rows(LayerRole.TRANSPARENT, (), "AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization"),
    **_rows(LayerRole.TRANSPARENT, (), *_ranks("SpatialDropout", "ZeroPadding", "Cropping", "UpSampling")),
    **_rows(LayerRole.TRANSPARENT, (), *_ranks("MaxPooling", "GlobalMaxPooling")),
    **_rows(LayerRole.CONCAT, (), "Concatenate"),
}

#: TensorFlow functions that Keras wraps into layers of their own, by the name in the configuration.
_OPERATORS: dict[str, LayerRole] = {
    **dict.fromkeys(
        ["math.add", "math.subtract", "math.multiply", "math.maximum", "math.minimum"]
        + [f"__operators__.{name}" for name in ("add", "sub", "mul")],
        LayerRole.MERGE,
    ),
    **dict.fromkeys(["math.reduce_mean", "reduce_mean", "nn.avg_pool", "nn.avg_pool2d"], LayerRole.MERGE),
    **dict.fromkeys(["linalg.matmul", "matmul", "einsum", "__operators__.matmul"], LayerRole.COMPUTE),
    **dict.fromkeys(
        [
            "reshape",
            "transpose",
            "compat.v1.transpose",
            "expand_dims",
            "squeeze",
            "compat.v1.squeeze",
            "identity",
            "slice",
            "strided_slice",
            "tile",
            "gather",
            "reverse",
            "nn.space_to_depth",
            "nn.depth_to_space",
            "nn.max_pool",
            "nn.max_pool2d",
            "math.reduce_max",
            "broadcast_to",
            "stop_gradient",
            "__operators__.getitem",
        ],
        LayerRole.TRANSPARENT,
    ),
    **dict.fromkeys(["concat", "stack"], LayerRole.CONCAT),
}

#: Functions of two tensors that only move or scale values when one of the two is a constant: then not an operation that
#: runs in integers of its own.
_BINARY = frozenset(
    name for name, role in _OPERATORS.items() if role is LayerRole.MERGE and "mean" not in name and "pool" not in name
)

_OTHER = LayerSpec(LayerRole.OTHER)

#: Rows of :func:`register_layer_spec`, by class name. They come first, and alone for classes that are not Keras' own.
_REGISTERED: dict[str, LayerSpec] = {}


def spec_of(class_name: str, config: dict | None = None, *, builtin: bool = True) -> LayerSpec:
    """Return the row of a layer.

    Args:
        class_name: its class; an unknown one is left in floating point.
        config: its Keras configuration; needed for layers whose row depends on it.
        builtin: whether the class is one of Keras' own; a class of the user's that has the same name is another one.
    """
    if class_name in _REGISTERED or not builtin:
        return _REGISTERED.get(class_name, _OTHER)
    spec = _SPECS.get(class_name)
    if config is None or (spec is not None and class_name not in _DERIVED):
        return spec or _OTHER
    derive = _DERIVED.get(class_name)
    try:
        return derive(config) if derive else _OTHER
    except KeyError:  # a layer that could not tell its configuration
        return _OTHER


def operator_role(function: str, tensors: int) -> LayerRole:
    """Return the role of a wrapped TensorFlow function that reads ``tensors`` tensors."""
    if function in _BINARY and tensors < 2:
        return LayerRole.OTHER
    return _OPERATORS.get(function, LayerRole.OTHER)


def register_layer_spec(
    layer_class: type[keras.layers.Layer] | str, weights: dict[str, int | tuple[int, ...]], role: str = "compute"
) -> None:
    """Teach keras_compress a layer class of one's own.

    Args:
        layer_class: the class, or its name.
        weights: dotted path of each weight to compress, and the axis or axes that index its output channels.
        role: ``"compute"`` (default), ``"merge"``, ``"transparent"``, ``"concat"`` or ``"other"``; see :class:`LayerRole`.

    Raises:
        ConfigError: the role is none of those.

    Example:
        >>> register_layer_spec("MyConvolution", {"kernel": -1})
        >>> spec_of("MyConvolution").weights[0].path
        'kernel'
    """
    roles = [member.value for member in LayerRole]
    if role not in roles:
        raise ConfigError(f"A layer has one of the roles {roles}. Received: role={role!r}.")
    name = layer_class if isinstance(layer_class, str) else layer_class.__name__
    rows = tuple(WeightSpec(path, (axes,) if isinstance(axes, int) else tuple(axes)) for path, axes in weights.items())
    _REGISTERED[name] = LayerSpec(LayerRole(role), rows)


def _prefixed(spec: LayerSpec, *prefixes: str) -> tuple[WeightSpec, ...]:
    return tuple(WeightSpec(f"{prefix}{row.path}", row.channel_axes) for prefix in prefixes for row in spec.weights)


def _spec_of_description(description: dict) -> LayerSpec:
    return spec_of(description["class_name"], description["config"], builtin=is_builtin(description))


def _time_distributed(config: dict) -> LayerSpec:
    inner = _spec_of_description(config["layer"])
    return LayerSpec(inner.role, _prefixed(inner, "layer."))


def _bidirectional(config: dict) -> LayerSpec:
    inner = _spec_of_description(config["layer"])
    return LayerSpec(LayerRole.OTHER, _prefixed(inner, "forward_layer.", "backward_layer."))


def _rnn(config: dict) -> LayerSpec:
    return LayerSpec(LayerRole.OTHER, _prefixed(_spec_of_description(config["cell"]), "cell."))


def _stacked_cells(config: dict) -> LayerSpec:
    rows = [
        row
        for index, cell in enumerate(config["cells"])
        for row in _prefixed(_spec_of_description(cell), f"cells.{index}.")
    ]
    return LayerSpec(LayerRole.OTHER, tuple(rows))


def _einsum_dense(config: dict) -> LayerSpec:
    """Output channels are the axes of the kernel whose letters the output has and the input has not."""
    inputs, rest = config["equation"].replace(" ", "").split(",")
    kernel, output = rest.split("->")
    axes = tuple(axis - len(kernel) for axis, letter in enumerate(kernel) if letter in output and letter not in inputs)
    return LayerSpec(LayerRole.COMPUTE, (WeightSpec("kernel", axes or (-1,)),))


def _upsampling2d(config: dict) -> LayerSpec:
    nearest = config.get("interpolation", "nearest") == "nearest"
    return LayerSpec(LayerRole.TRANSPARENT if nearest else LayerRole.OTHER)


_DERIVED: dict[str, Callable[[dict], LayerSpec]] = {
    "TimeDistributed": _time_distributed,
    "Bidirectional": _bidirectional,
    "RNN": _rnn,
    "StackedRNNCells": _stacked_cells,
    "EinsumDense": _einsum_dense,
    "UpSampling2D": _upsampling2d,
}
