"""Bypass a ReLU in front of an unsigned quantizer in training: both clip at zero, so that one of them is enough.

The plan decides for which quantizers: those whose inputs are never negative are unsigned by configuration
    (``signed=False``).
"""

from __future__ import annotations

import tensorflow as tf

__all__ = ["before_relu"]

_SIX = 6.0


def before_relu(values: tf.Tensor, max_value: float | None = None) -> tf.Tensor:
    """Return the input of the ReLU that computed ``values``, if clipping that to ``[0, high]`` gives the same result.

    A quantizer that reads it leaves the ReLU without a reader, and a step of training with a pass less over the
    activations in each direction. Its result and its gradients are those behind the ReLU; only where a value is exactly
    zero, the gradient is passed on, which a ReLU does not. A gradient with respect to ``values`` themselves does not
    see the quantizer. Run eagerly, a tensor does not know where it comes from.

    Args:
        values: the tensor to quantize.
        max_value: what ``high`` never exceeds, None where it may be anything. ReLU6 can be left out up to 6.

    Returns:
        A tensor of the shape and type of ``values``, or ``values`` itself.

    Example:
        >>> @tf.function
        ... def fused(x):
        ...     return before_relu(tf.nn.relu(x))
        >>> fused(tf.constant([-1.0, 1.0])).numpy().tolist()
        [-1.0, 1.0]
    """
    if tf.executing_eagerly():
        return values
    made_by = values.op
    up_to_six = max_value is not None and max_value <= _SIX
    fused = made_by.type == "Relu" or (made_by.type == "Relu6" and up_to_six)
    own_gradient = "_gradient_op_type" in made_by.node_def.attr
    return made_by.inputs[0] if fused and not own_gradient else values
