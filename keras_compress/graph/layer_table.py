"""The table: one row for every layer class of Keras and every operator, with all that algorithms and passes ask for.

What a row says is explained by :class:`~keras_compress.graph.layer_spec.LayerSpec`; rows that depend on the arguments
of a layer are completed by :func:`~keras_compress.graph.layer_lookup.spec_of`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from keras_compress.graph.activations import activation_of
from keras_compress.graph.layer_spec import LayerRole, LayerSpec, WeightSpec

__all__ = ["LAYER_TABLE", "OPERATORS"]


_DEPTHWISE_KERNEL = WeightSpec("depthwise_kernel", (-2, -1), input_axis=-2)
_RECURRENT = (WeightSpec("kernel"), WeightSpec("recurrent_kernel"))
_CELL = tuple(WeightSpec(f"cell.{spec.path}") for spec in _RECURRENT)
_ATTENTION = (
    *(WeightSpec(f"_{part}_dense.kernel", (-2, -1)) for part in ("query", "key", "value")),
    WeightSpec("_output_dense.kernel"),
)
_INERT = LayerSpec(
    LayerRole.TRANSPARENT, inert_at_inference=True, keeps_channels=True, scales_with_input=True, keeps_rank=True
)


def _linear(*weights: WeightSpec, **facts: Any) -> LayerSpec:
    return LayerSpec(LayerRole.COMPUTE, weights, linear=True, activation_argument="activation", **facts)


def _function(name: str) -> LayerSpec:
    """Return the row of a layer or operator that applies an activation function."""
    activation = activation_of(name)
    scales = activation.scales_with_input
    return LayerSpec(
        LayerRole.OTHER,
        activation=activation,
        keeps_channels=scales,
        scales_with_input=scales,
        elementwise=activation.elementwise,
        keeps_rank=True,
    )


def _window(role: LayerRole, rank: int) -> LayerSpec:
    """Return the row of a layer that pools, pads, crops or repeats positions."""
    return LayerSpec(role, keeps_channels=True, scales_with_input=True, rank=rank)


def _by_rank() -> dict[str, LayerSpec]:
    """Return the rows of classes that exist for one, two and three axes of positions."""
    rows: dict[str, LayerSpec] = {}
    for axes in (1, 2, 3):
        rank = axes + 2
        convolution: dict[str, Any] = {"foldable": True, "convolution": True, "rank": rank}
        rows |= {
            f"Conv{axes}D": _linear(WeightSpec("kernel", input_axis=-2), **convolution),
            f"Conv{axes}DTranspose": _linear(WeightSpec("kernel", (-2,), input_axis=-1), **convolution),
            f"ConvLSTM{axes}D": LayerSpec(LayerRole.OTHER, _CELL),
            f"AveragePooling{axes}D": _window(LayerRole.MERGE, rank),
            f"SpatialDropout{axes}D": replace(_INERT, rank=rank),
            f"GlobalAveragePooling{axes}D": LayerSpec(LayerRole.MERGE, rank=2),
            f"GlobalMaxPooling{axes}D": LayerSpec(LayerRole.TRANSPARENT, rank=2),
        }
        for kind in ("MaxPooling", "ZeroPadding", "Cropping", "UpSampling"):
            rows[f"{kind}{axes}D"] = _window(LayerRole.TRANSPARENT, rank)
        if axes < 3:
            both = (WeightSpec("depthwise_kernel", (-2, -1)), WeightSpec("pointwise_kernel"))
            rows |= {
                f"DepthwiseConv{axes}D": _linear(_DEPTHWISE_KERNEL, **convolution),
                f"LocallyConnected{axes}D": _linear(WeightSpec("kernel"), convolution=True, rank=rank),
                f"SeparableConv{axes}D": LayerSpec(
                    LayerRole.COMPUTE, both, convolution=True, activation_argument="activation", rank=rank
                ),
            }
    return rows


LAYER_TABLE: dict[str, LayerSpec] = {
    **_by_rank(),
    "Dense": _linear(WeightSpec("kernel", input_axis=-2), foldable=True, keeps_rank=True),
    "EinsumDense": _linear(WeightSpec("kernel")),
    "MultiHeadAttention": LayerSpec(LayerRole.OTHER, _ATTENTION),
    "Embedding": LayerSpec(LayerRole.OTHER, (WeightSpec("embeddings", (0,)),)),
    **dict.fromkeys(["SimpleRNN", "LSTM", "GRU"], LayerSpec(LayerRole.OTHER, _CELL)),
    **dict.fromkeys(["SimpleRNNCell", "LSTMCell", "GRUCell"], LayerSpec(LayerRole.OTHER, _RECURRENT)),
    "Add": LayerSpec(LayerRole.MERGE, sum=True),
    **dict.fromkeys(
        ["Subtract", "Multiply", "Average", "Maximum", "Minimum"],
        LayerSpec(LayerRole.MERGE),
    ),
    "Dot": LayerSpec(LayerRole.MERGE, rearranges=True),
    **dict.fromkeys(
        ["Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization", "Identity"], _INERT
    ),
    "Flatten": LayerSpec(LayerRole.TRANSPARENT, rank=2, rearranges=True),
    "RepeatVector": LayerSpec(LayerRole.TRANSPARENT, rank=3, rearranges=True),
    "Reshape": LayerSpec(LayerRole.TRANSPARENT, rearranges=True),
    "Permute": LayerSpec(LayerRole.TRANSPARENT, keeps_rank=True, rearranges=True),
    "Lambda": LayerSpec(LayerRole.OTHER, rearranges=True),
    "Concatenate": LayerSpec(LayerRole.CONCAT, keeps_rank=True),
    "BatchNormalization": LayerSpec(LayerRole.OTHER, keeps_channels=True, keeps_rank=True),
    "Activation": LayerSpec(LayerRole.OTHER, activation_argument="activation", keeps_rank=True),
    "ReLU": _function("relu"),
    "LeakyReLU": _function("leaky_relu"),
    "Softmax": _function("softmax"),
    **dict.fromkeys(["ELU", "ThresholdedReLU"], LayerSpec(LayerRole.OTHER, elementwise=True)),
    **dict.fromkeys(["Rescaling", "Normalization"], LayerSpec(LayerRole.OTHER, scales_data=True)),
    # Operators, by the names of operator_name.
    "add": LayerSpec(LayerRole.MERGE, sum=True, operands=2),
    **dict.fromkeys(["subtract", "multiply", "maximum", "minimum"], LayerSpec(LayerRole.MERGE, operands=2)),
    **dict.fromkeys(["mean", "average_pool"], LayerSpec(LayerRole.MERGE)),
    "matmul": LayerSpec(LayerRole.COMPUTE, operands=2, rearranges=True),
    **dict.fromkeys(["log", "pow", "root", "reciprocal"], LayerSpec(LayerRole.OTHER, sensitive_from=0)),
    "divide": LayerSpec(LayerRole.OTHER, operands=2, sensitive_from=1),
    **dict.fromkeys(["move", "max_pool", "max"], LayerSpec(LayerRole.TRANSPARENT)),
    "rearrange": LayerSpec(LayerRole.TRANSPARENT, rearranges=True),
    "concat": LayerSpec(LayerRole.CONCAT),
    "stack": LayerSpec(LayerRole.CONCAT, rearranges=True),
    "unstack": LayerSpec(LayerRole.OTHER, rearranges=True),
    **{name: _function(name) for name in ("relu", "relu6", "softplus", "sigmoid", "softmax", "tanh", "softsign")},
    "exponential": replace(_function("exponential"), sensitive_from=0),
}

#: TensorFlow functions that Keras wraps into layers, by the name of their row.
OPERATORS: dict[str, tuple[str, ...]] = {
    "add": ("math.add", "__operators__.add"),
    "subtract": ("math.subtract", "__operators__.sub"),
    "multiply": ("math.multiply", "__operators__.mul"),
    "maximum": ("math.maximum",),
    "minimum": ("math.minimum",),
    "mean": ("math.reduce_mean", "reduce_mean"),
    "average_pool": ("nn.avg_pool", "nn.avg_pool2d"),
    "matmul": ("linalg.matmul", "matmul", "einsum", "__operators__.matmul"),
    "move": (
        *("identity", "slice", "strided_slice", "__operators__.getitem", "tile", "gather", "reverse", "broadcast_to"),
        *("nn.space_to_depth", "nn.depth_to_space", "stop_gradient"),
    ),
    "rearrange": (
        *("reshape", "transpose", "compat.v1.transpose", "expand_dims", "squeeze", "compat.v1.squeeze"),
        "linalg.matrix_transpose",
    ),
    "log": ("math.log", "math.log1p"),
    "pow": ("math.pow", "pow", "__operators__.pow"),
    "root": ("math.sqrt", "sqrt", "math.rsqrt"),
    "reciprocal": ("math.reciprocal",),
    "divide": ("math.divide", "math.truediv", "truediv", "math.divide_no_nan", "__operators__.truediv"),
    "max_pool": ("nn.max_pool", "nn.max_pool2d"),
    "max": ("math.reduce_max",),
    "concat": ("concat",),
    "stack": ("stack",),
    "unstack": ("unstack",),
    "relu": ("nn.relu",),
    "relu6": ("nn.relu6",),
    "softplus": ("math.softplus",),
    "exponential": ("math.exp",),
    "sigmoid": ("math.sigmoid",),
    "softmax": ("nn.softmax",),
    "tanh": ("math.tanh",),
    "softsign": ("nn.softsign",),
}
