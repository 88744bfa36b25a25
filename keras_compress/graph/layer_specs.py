"""One table: what each Keras layer does to ranges of values, and which of its weights can be compressed.

The table is all that algorithms know about layer classes. :func:`register_layer_spec` adds a row for a layer of one's own.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from keras_compress._keras import keras

__all__ = ["LayerRole", "LayerSpec", "WeightSpec", "register_layer_spec", "spec_of"]


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


_KERNEL = (WeightSpec("kernel"),)
_TRANSPOSED = (WeightSpec("kernel", (-2,)),)
_DEPTHWISE = (WeightSpec("depthwise_kernel", (-2, -1)),)

_SPECS: dict[str, LayerSpec] = {
    **dict.fromkeys(["Conv1D", "Conv2D", "Conv3D", "Dense"], LayerSpec(LayerRole.COMPUTE, _KERNEL)),
    **dict.fromkeys(["DepthwiseConv1D", "DepthwiseConv2D"], LayerSpec(LayerRole.COMPUTE, _DEPTHWISE)),
    **dict.fromkeys(
        ["Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"], LayerSpec(LayerRole.COMPUTE, _TRANSPOSED)
    ),
    **dict.fromkeys(
        ["SeparableConv1D", "SeparableConv2D"],
        LayerSpec(LayerRole.COMPUTE, (*_DEPTHWISE, WeightSpec("pointwise_kernel"))),
    ),
    **dict.fromkeys(
        ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"]
        + [f"{kind}Pooling{rank}D" for kind in ("Average", "GlobalAverage") for rank in (1, 2, 3)],
        LayerSpec(LayerRole.MERGE),
    ),
    **dict.fromkeys(
        ["Flatten", "Reshape", "Permute", "RepeatVector", "Dropout", "SpatialDropout1D", "SpatialDropout2D"]
        + ["SpatialDropout3D", "AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization"]
        + [f"{kind}{rank}D" for kind in ("ZeroPadding", "Cropping", "UpSampling") for rank in (1, 2, 3)]
        + [f"{kind}Pooling{rank}D" for kind in ("Max", "GlobalMax") for rank in (1, 2, 3)],
        LayerSpec(LayerRole.TRANSPARENT),
    ),
    "Concatenate": LayerSpec(LayerRole.CONCAT),
}

_OTHER = LayerSpec(LayerRole.OTHER)


def spec_of(class_name: str) -> LayerSpec:
    """Return the row of a layer class; an unknown class is left in floating point."""
    return _SPECS.get(class_name, _OTHER)


def register_layer_spec(
    layer_class: type[keras.layers.Layer] | str, weights: dict[str, int | tuple[int, ...]], role: str = "compute"
) -> None:
    """Teach keras_compress a layer class of one's own.

    Args:
        layer_class: the class, or its name.
        weights: dotted path of each weight to compress, and the axis or axes that index its output channels.
        role: ``"compute"`` (default), ``"merge"``, ``"transparent"``, ``"concat"`` or ``"other"``; see :class:`LayerRole`.

    Example:
        >>> register_layer_spec("MyConvolution", {"kernel": -1})
        >>> spec_of("MyConvolution").weights[0].path
        'kernel'
    """
    name = layer_class if isinstance(layer_class, str) else layer_class.__name__
    rows = tuple(WeightSpec(path, (axes,) if isinstance(axes, int) else tuple(axes)) for path, axes in weights.items())
    _SPECS[name] = LayerSpec(LayerRole(role), rows)
