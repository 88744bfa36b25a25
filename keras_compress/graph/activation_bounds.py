"""Between which bounds the values of a tensor lie, as far as the activation function that made them tells."""

from __future__ import annotations

from math import inf

from keras_compress.graph.view import ModelGraph, TensorRef

__all__ = ["activation_bounds"]

_UNKNOWN = (-inf, inf)
#: Bounds of the results of activation functions.
_FUNCTIONS = {
    "relu": (0.0, inf),
    "relu6": (0.0, 6.0),
    "softplus": (0.0, inf),
    "exponential": (0.0, inf),
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
}
#: Functions of TensorFlow by the names that Keras writes down.
_OPERATORS = {
    "nn.relu": "relu",
    "nn.relu6": "relu6",
    "math.softplus": "softplus",
    "math.exp": "exponential",
    "math.sigmoid": "sigmoid",
    "nn.softmax": "softmax",
    "math.tanh": "tanh",
    "nn.softsign": "softsign",
}
#: Layers whose output is that of the activation function in their configuration.
_ENDING_IN_ACTIVATION = {"Activation", "Dense", "EinsumDense", "DepthwiseConv1D", "DepthwiseConv2D"}
_ENDING_IN_ACTIVATION |= {f"Conv{rank}D{kind}" for rank in (1, 2, 3) for kind in ("", "Transpose")}
_ENDING_IN_ACTIVATION |= {"SeparableConv1D", "SeparableConv2D"}


def activation_bounds(graph: ModelGraph, tensor: TensorRef) -> tuple[float, float]:
    """Return the smallest and the largest value that ``tensor`` can take; infinities where nothing is known."""
    node = graph.producer(tensor)
    name, config = node.class_name, node.config
    if node.operator is not None:
        return _FUNCTIONS.get(_OPERATORS.get(node.operator, ""), _UNKNOWN)
    if not node.builtin:
        return _UNKNOWN
    if name == "ReLU":
        largest = config.get("max_value")
        low = -inf if config.get("negative_slope") else 0.0
        return low, inf if largest is None else float(largest)
    if name == "Softmax":
        return _FUNCTIONS["softmax"]
    activation = config.get("activation") if name in _ENDING_IN_ACTIVATION else None
    return _FUNCTIONS.get(activation, _UNKNOWN) if isinstance(activation, str) else _UNKNOWN
