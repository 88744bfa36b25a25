"""Look up what is known about a layer, and register layers of other packages.

The rows are in :mod:`~keras_compress.graph.layer_table`, what they mean in :mod:`~keras_compress.graph.layer_spec`.

Layers around layers (``TimeDistributed``, ``Bidirectional``, ``RNN``) take the rows of what they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from keras_compress._keras import keras
from keras_compress.arguments import flag, mapping, text, whole_number, wrong
from keras_compress.errors import ConfigError, short_repr
from keras_compress.graph.activations import LINEAR, UNKNOWN, activation_of, rectifier
from keras_compress.graph.identity import is_builtin
from keras_compress.graph.layer_spec import LayerRole, LayerSpec, WeightSpec
from keras_compress.graph.layer_table import LAYER_TABLE, OPERATORS

__all__ = ["is_registered", "operator_spec", "register_layer_spec", "spec_of"]

_OTHER = LayerSpec(LayerRole.OTHER)
_OPERATOR_NAMES = {function: name for name, functions in OPERATORS.items() for function in functions}

#: The rank of a tensor is at most this.
MOST_AXES = 32

#: Rows of :func:`register_layer_spec`, by class name. They come first, and alone for classes that are not Keras' own.
_REGISTERED: dict[str, LayerSpec] = {}


def operator_spec(function: str, tensors: int, keywords: Mapping[str, Any] | None = None) -> LayerSpec:
    """Return the row of a TensorFlow function that Keras wraps into a layer.

    Args:
        function: its name in the configuration, as ``"math.add"``; an unknown one is left in floating point.
        tensors: how many tensors it reads; its other operands are constants.
        keywords: its other arguments by name, which complete the row. Default: the row as the table has it.

    Example:
        >>> operator_spec("math.add", tensors=2).sum, operator_spec("math.add", tensors=1).sum
        (True, False)
    """
    row = LAYER_TABLE[_OPERATOR_NAMES[function]] if function in _OPERATOR_NAMES else _OTHER
    if function == "__operators__.getitem":
        index = (keywords or {}).get("slice_spec", ())
        row = replace(row, rearranges=any(map(_changes_rank, index if isinstance(index, (list, tuple)) else [index])))
    return row if tensors >= row.operands else replace(_OTHER, rearranges=row.rearranges)


def _changes_rank(part: Any) -> bool:
    """Whether a part of an index takes an axis away or adds one: a number, or ``tf.newaxis``."""
    return not isinstance(part, dict) and part is not Ellipsis


def spec_of(class_name: str, config: dict | None = None, *, builtin: bool = True) -> LayerSpec:
    """Return the row of a layer.

    Args:
        class_name: its class; an unknown one is left in floating point.
        config: its Keras configuration, which completes the row. Default: the row as the table has it.
        builtin: whether the class is one of Keras' own; a class of the user's that has the same name is another one.

    Example:
        >>> spec_of("Dense", {"activation": "relu"}).activation.bounds
        (0.0, inf)
    """
    registered = _REGISTERED.get(class_name)
    row = registered or (LAYER_TABLE.get(class_name, _OTHER) if builtin else _OTHER)
    if config is None:
        return row
    if registered is not None:
        unstated = registered.activation_argument is None and "activation" in config
        return _with_arguments(
            replace(registered, activation_argument="activation") if unstated else registered, config
        )
    derive = _DERIVED.get(class_name) if builtin else None
    try:
        return _with_arguments(derive(config, row) if derive else row, config)
    except KeyError:  # a layer that could not tell its configuration
        return _OTHER


def is_registered(class_name: str) -> bool:
    """Return whether there is a row of :func:`register_layer_spec` for a class."""
    return class_name in _REGISTERED


def register_layer_spec(
    layer_class: type[keras.layers.Layer] | str,
    weights: Mapping[str, int | Iterable[int]],
    role: str = "compute",
    *,
    input_axis: int | None = None,
    activation_argument: str | None = None,
    linear: bool = False,
    foldable: bool = False,
    convolution: bool = False,
    inert_at_inference: bool = False,
    keeps_channels: bool = False,
    scales_with_input: bool = False,
    sum: bool = False,
    rank: int | None = None,
    keeps_rank: bool = False,
    rearranges: bool = False,
) -> None:
    """Teach keras_compress a layer class of another package.

    With its facts a layer is folded, equalized, looked through and corrected like one of Keras' own; :class:`LayerSpec`
    explains each. Without them its weights are compressed and its inputs quantized, and passes leave it as it is.

    Args:
        layer_class: the class, or its name.
        weights: dotted path of each weight to compress, and the axis or axes that index its output channels.
        role: ``"compute"`` (default), ``"merge"``, ``"transparent"``, ``"concat"`` or ``"other"``; see
            :class:`LayerRole`.
        input_axis: the axis of the only weight that indexes the input channels. Default: there is none.
        activation_argument: the argument of the layer that names its activation function. Default: ``"activation"`` if the
            layer has such an argument, else there is none.
        linear: the output is the product of the input and the only weight, plus a bias, before the activation function.
            ``call`` reads them from the attributes named in ``weights``, ``bias`` and ``activation``.
        foldable: a factor and a shift for each output channel, the last axis of the output, can go into weight and
            bias; the argument ``use_bias`` switches the bias on.
        convolution: the layer slides its weight over positions.
        inert_at_inference: the layer returns its input outside training.
        keeps_channels: a channel of the output is computed from the same channel of the input alone.
        scales_with_input: a positive factor on the input is a factor on the output.
        sum: the layer adds tensors element by element.
        rank: rank of the output, the batch axis counted. Default: it depends on the input.
        keeps_rank: the output has the rank of the input.
        rearranges: which axis of the output is which of the input depends on the arguments of the layer.

    Raises:
        ConfigError: the role is unknown, or a fact about one weight is stated of several.

    Example:
        >>> register_layer_spec("MyConvolution", {"kernel": -1}, linear=True, foldable=True, activation_argument="activation")
        >>> spec_of("MyConvolution").weights[0].path
        'kernel'
    """
    if not isinstance(layer_class, str) and not (
        isinstance(layer_class, type) and issubclass(layer_class, keras.layers.Layer)
    ):
        raise wrong("layer_class", "a subclass of tf_keras.layers.Layer, or its name", layer_class)
    name = text("layer_class", layer_class if isinstance(layer_class, str) else layer_class.__name__)
    roles = [member.value for member in LayerRole]
    if not isinstance(role, str) or role not in roles:
        raise ConfigError(
            f"A layer has one of the roles {roles}. Expected: one of these. Received: role={short_repr(role)}. See LayerRole."
        )
    facts: dict[str, Any] = {
        "linear": linear,
        "foldable": foldable,
        "convolution": convolution,
        "inert_at_inference": inert_at_inference,
        "keeps_channels": keeps_channels,
        "scales_with_input": scales_with_input,
        "sum": sum,
        "keeps_rank": keeps_rank,
        "rearranges": rearranges,
    }
    for fact, value in facts.items():
        flag(fact, value)
    if input_axis is not None:
        whole_number("input_axis", input_axis, -MOST_AXES, MOST_AXES)
    if rank is not None:
        whole_number("rank", rank, 0, MOST_AXES)
    if activation_argument is not None:
        text("activation_argument", activation_argument)
    rows = tuple(WeightSpec(path, _axes(path, axes), input_axis) for path, axes in mapping("weights", weights).items())
    of_one_weight = {"linear": linear, "foldable": foldable, "input_axis": input_axis is not None}
    _check_facts_of_one_weight(name, weights, [fact for fact, value in of_one_weight.items() if value])
    _REGISTERED[name] = LayerSpec(LayerRole(role), rows, activation_argument=activation_argument, rank=rank, **facts)


def _check_facts_of_one_weight(name: str, weights: Mapping[str, Any], stated: Sequence[str]) -> None:
    """Refuse facts about the only weight of a layer class that are stated of one with several, or inside another layer."""
    if stated and len(weights) != 1:
        raise ConfigError(
            f"'{stated[0]}' is stated of layer class '{name}', and it is a fact about a layer with one weight. Expected: one "
            f"weight. Received: weights={dict(weights)!r}. Leave '{stated[0]}' out, or name the kernel alone."
        )
    if "linear" in stated and "." in next(iter(weights)):
        raise ConfigError(
            f"'linear' is stated of layer class '{name}', whose weight is inside another layer. Expected: a weight of its own, "
            f"as 'kernel'. Received: weights={dict(weights)!r}. Leave 'linear' out."
        )


def _axes(path: str, axes: Any) -> tuple[int, ...]:
    """Return the axes of a weight that index its output channels."""
    name = f"weights[{path!r}]"
    listed = axes if isinstance(axes, (tuple, list, set, frozenset, range)) else [axes]
    return tuple(whole_number(name, axis, -MOST_AXES, MOST_AXES) for axis in listed)


def _with_arguments(spec: LayerSpec, config: dict) -> LayerSpec:
    """Complete a row by what the arguments of the layer say."""
    weights = spec.weights
    if spec.activation_argument is not None and spec.activation_argument in config:
        spec = replace(spec, activation=activation_of(config[spec.activation_argument]))
    elif spec.activation_argument is not None:  # a layer that could not tell its arguments: anything may be among them
        spec = replace(spec, activation=UNKNOWN, activation_argument=None, foldable=False)
        weights = tuple(replace(weight, input_axis=None) for weight in weights)
    if config.get("data_format") == "channels_first":
        spec = replace(spec, foldable=False, keeps_channels=False)
        weights = tuple(replace(weight, input_axis=None) for weight in weights)
    if config.get("groups", 1) != 1 or config.get("depth_multiplier", 1) != 1:
        weights = tuple(replace(weight, input_axis=None) for weight in weights)
    return replace(spec, weights=weights)


def _prefixed(spec: LayerSpec, *prefixes: str) -> tuple[WeightSpec, ...]:
    return tuple(WeightSpec(f"{prefix}{row.path}", row.channel_axes) for prefix in prefixes for row in spec.weights)


def _spec_of_description(description: dict) -> LayerSpec:
    return spec_of(description["class_name"], description["config"], builtin=is_builtin(description))


def _time_distributed(config: dict, row: LayerSpec) -> LayerSpec:
    inner = _spec_of_description(config["layer"])
    return replace(row, role=inner.role, weights=_prefixed(inner, "layer."), rearranges=inner.rearranges)


def _bidirectional(config: dict, row: LayerSpec) -> LayerSpec:
    return replace(row, weights=_prefixed(_spec_of_description(config["layer"]), "forward_layer.", "backward_layer."))


def _rnn(config: dict, row: LayerSpec) -> LayerSpec:
    return replace(row, weights=_prefixed(_spec_of_description(config["cell"]), "cell."))


def _stacked_cells(config: dict, row: LayerSpec) -> LayerSpec:
    weights = [
        weight
        for index, cell in enumerate(config["cells"])
        for weight in _prefixed(_spec_of_description(cell), f"cells.{index}.")
    ]
    return replace(row, weights=tuple(weights))


def _einsum_dense(config: dict, row: LayerSpec) -> LayerSpec:
    """Output channels are the axes of the kernel whose letters the output has and the input has not."""
    inputs, rest = config["equation"].replace(" ", "").split(",")
    kernel, output = rest.split("->")
    axes = tuple(axis - len(kernel) for axis, letter in enumerate(kernel) if letter in output and letter not in inputs)
    return replace(row, weights=(WeightSpec("kernel", axes or (-1,)),))


def _upsampling2d(config: dict, row: LayerSpec) -> LayerSpec:
    nearest = config.get("interpolation", "nearest") == "nearest"
    return row if nearest else replace(row, role=LayerRole.OTHER)


def _global_pooling(config: dict, row: LayerSpec) -> LayerSpec:
    return replace(row, rank=None, keeps_rank=True) if config.get("keepdims") else row


def _reshape(config: dict, row: LayerSpec) -> LayerSpec:
    return replace(row, rank=1 + len(config["target_shape"]))


def _input_layer(config: dict, row: LayerSpec) -> LayerSpec:
    shape = config.get("batch_input_shape")
    return row if shape is None else replace(row, rank=len(shape))


def _activation(config: dict, row: LayerSpec) -> LayerSpec:
    activation = activation_of(config["activation"])
    scales = activation.scales_with_input
    return replace(
        row,
        inert_at_inference=activation is LINEAR,
        keeps_channels=scales,
        scales_with_input=scales,
        elementwise=activation.elementwise,
    )


def _relu(config: dict, row: LayerSpec) -> LayerSpec:
    activation = rectifier(config.get("max_value"), config.get("negative_slope") or 0, config.get("threshold") or 0)
    return replace(row, activation=activation, scales_with_input=activation.scales_with_input)


#: Classes whose row depends on their arguments.
_DERIVED: dict[str, Callable[[dict, LayerSpec], LayerSpec]] = {
    "TimeDistributed": _time_distributed,
    "Bidirectional": _bidirectional,
    "RNN": _rnn,
    "StackedRNNCells": _stacked_cells,
    "EinsumDense": _einsum_dense,
    "UpSampling2D": _upsampling2d,
    "Reshape": _reshape,
    "InputLayer": _input_layer,
    "Activation": _activation,
    "ReLU": _relu,
    **{f"Global{kind}Pooling{axes}D": _global_pooling for kind in ("Average", "Max") for axes in (1, 2, 3)},
}
