"""Activation functions: the bounds of their values, and what is known of them beyond that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Any

__all__ = ["LINEAR", "UNKNOWN", "Activation", "activation_of", "rectifier"]


@dataclass(frozen=True)
class Activation:
    """An activation function.

    Attributes:
        name: Keras' name of it, as ``"relu"``.
        low: the smallest value that it returns; default: no bound.
        high: the largest value that it returns; default: no bound.
        scales_with_input: whether ``f(a * x) == a * f(x)`` for every positive ``a``.
        fused: whether runtimes compute it inside an integer convolution, without a quantizer in front of it.
        elementwise: whether each value that it returns is computed from the one at the same place alone.
    """

    name: str
    low: float = -inf
    high: float = inf
    scales_with_input: bool = False
    fused: bool = False
    elementwise: bool = True

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value; infinities where there is no bound."""
        return self.low, self.high


#: No activation function.
LINEAR = Activation("linear", scales_with_input=True, fused=True)
#: A function of the user's, of which nothing is known.
UNKNOWN = Activation("unknown", elementwise=False)

_ACTIVATIONS = {
    activation.name: activation
    for activation in (
        LINEAR,
        Activation("relu", low=0.0, scales_with_input=True, fused=True),
        Activation("relu6", low=0.0, high=6.0, fused=True),
        Activation("leaky_relu", scales_with_input=True),
        Activation("softplus", low=0.0),
        Activation("exponential", low=0.0),
        Activation("sigmoid", low=0.0, high=1.0),
        Activation("hard_sigmoid", low=0.0, high=1.0),
        Activation("softmax", low=0.0, high=1.0, elementwise=False),
        Activation("tanh", low=-1.0, high=1.0),
        Activation("softsign", low=-1.0, high=1.0),
        *(Activation(name) for name in ("elu", "selu", "swish", "silu", "gelu", "mish")),
    )
}


def activation_of(name: Any) -> Activation:
    """Return the activation function that Keras serializes as ``name``; None is no function, anything else may be unknown."""
    if name is None:
        return LINEAR
    return _ACTIVATIONS.get(name, UNKNOWN) if isinstance(name, str) else UNKNOWN


def rectifier(max_value: float | None, negative_slope: float, threshold: float) -> Activation:
    """Return the activation function of a ``ReLU`` layer with these arguments.

    Args:
        max_value: the bound above, None for none.
        negative_slope: of values below the threshold.
        threshold: where the slope of 1 begins.
    """
    relu = _ACTIVATIONS["relu"]
    high = inf if max_value is None else float(max_value)
    if threshold or negative_slope:
        low = -inf if negative_slope else 0.0
        return Activation("rectifier", low, high, scales_with_input=not threshold and high == inf)
    if high in (inf, 6.0):
        return relu if high == inf else _ACTIVATIONS["relu6"]
    return replace(relu, name="rectifier", high=high, scales_with_input=False, fused=False)
