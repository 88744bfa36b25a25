"""put_biases_on_grid: the model rounds its biases as integer runtimes do, so that a file computes what the model computes.

ONNX Runtime and TensorFlow Lite hold the bias of a layer as int32, in steps of the input's step times the kernel's. Such a step is a
small part of a step of the output; over many layers it still changes predictions.
"""

from __future__ import annotations

import numpy as np

from keras_compress._keras import keras
from keras_compress.calibration.bias_correction import CorrectedLayer, corrected_layers
from keras_compress.graph import ModelGraph, strip, take
from keras_compress.graph.batch_norm_fusion import bias_locations, foldable_batch_norms
from keras_compress.graph.integer_computation import quantizers_before_layers
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import FakeQuantize

__all__ = ["put_biases_on_grid"]

#: Beyond so many steps a bias does not fit int32.
MOST_STEPS = 2.0**31
#: A bias so near to the grid, in steps, is on it, but for the precision of float32; it keeps its bits.
NEAR = 1 / 16


def put_biases_on_grid(model: keras.Model) -> int:
    """Round the bias of every layer that computes in integers to a multiple of the step of its input times that of its kernel.

    With a batch normalization that is folded into the layer, the bias is that of both together. No output moves by more than half a
    step of this grid. Done again, it changes nothing.

    Args:
        model: a compressed model with measured ranges; its biases, or means of its batch normalizations, are changed in place.

    Returns:
        How many layers have a bias on the grid.

    Source: Jacob et al. 2018, arXiv:1712.05877, section 2.4.
    """
    snapshot, layers = take(model), dict(leaf_layers(model))
    quantizers, plain = quantizers_before_layers(ModelGraph(snapshot)), ModelGraph(strip(snapshot))
    normalizations = {before[0]: path for path, before in foldable_batch_norms(plain).items() if len(before) == 1}
    rounded = 0
    for layer in corrected_layers(model, bias_locations(plain)):
        path = layer.location.layer
        inputs = [layers[name] for name in quantizers.get(path, ())]
        steps = _steps(layer, inputs)
        if steps is None:
            continue
        normalization = layers[normalizations[path]] if path in normalizations else None
        factor, bias = _folded(layer, normalization)
        known = (steps > 0) & (factor != 0)
        steps = np.where(known, steps, 1.0) * np.abs(np.where(known, factor, 1.0))
        rounded_off = np.round(bias / steps) * steps - bias
        known &= (np.abs(bias) < MOST_STEPS * steps) & (np.abs(rounded_off) > NEAR * steps)
        shift = np.divide(rounded_off, factor, out=np.zeros_like(bias), where=known)
        layer.add(shift.astype(np.float32))
        rounded += 1
    return rounded


def _steps(layer: CorrectedLayer, inputs: list[keras.layers.Layer]) -> np.ndarray | None:
    """Return the step of the bias of each output channel; None where the layer does not compute in integers."""
    on_kernel = [op for weight, op in layer.wrapper.operations if weight == layer.location.weight]
    if len(inputs) != 1 or not all(isinstance(op, FakeQuantize) for op in (*inputs, *on_kernel[-1:])):
        return None
    (of_input, _), (of_kernel, _) = inputs[0].integer_range(), on_kernel[-1].integer_range()
    steps = np.asarray(of_input, np.float64).reshape(-1) * np.asarray(of_kernel, np.float64).reshape(-1)
    size = int(layer.bias.shape[0])
    return np.broadcast_to(steps, (size,)) if of_input.size == 1 and steps.size in (1, size) else None


def _folded(
    layer: CorrectedLayer, normalization: keras.layers.BatchNormalization | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the factor and the bias that a layer has once its batch normalization is folded into it."""
    size = int(layer.bias.shape[0])
    own = getattr(layer.wrapper.layer, "bias", None)
    bias = np.zeros(size) if own is None else np.asarray(own, np.float64)
    if normalization is None:
        return np.ones(size), bias
    gamma, beta = (
        default if variable is None else np.asarray(variable, np.float64)
        for variable, default in ((normalization.gamma, np.ones(size)), (normalization.beta, np.zeros(size)))
    )
    mean, variance = (np.asarray(of, np.float64) for of in (normalization.moving_mean, normalization.moving_variance))
    factor = gamma / np.sqrt(variance + normalization.epsilon)
    return factor, (bias - mean) * factor + beta
