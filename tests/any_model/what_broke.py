"""Says at which layer outputs part, so that a failure of the matrix names the layer and the step."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.data import pack_inputs
from keras_compress.export.frozen_graph import run_frozen_graph


def assert_same_outputs(step, names, expected, received, tolerance, departing, error=None):
    """Check the outputs of a step of a test against those expected.

    Args:
        step: what was done, for the message.
        names: of the outputs.
        expected, received: arrays, one per output.
        tolerance: greatest error as a share of the expected outputs; 0 for the same bits.
        departing: function without arguments that returns the name of the first layer that departs; called on failure.
        error: :func:`greatest_error` (default) or :func:`mean_error`.
    """
    error = error or greatest_error
    for name, left, right in zip(names, expected, received, strict=True):
        if left.shape != right.shape:
            pytest.fail(
                f"{step}: output '{name}' has shape {right.shape}, expected {left.shape}, from {departing()} on"
            )
        departure = error(left, right)
        if not departure <= tolerance:
            pytest.fail(f"{step}: output '{name}' differs by {departure:.2g} of its values, from {departing()} on")


def greatest_error(expected, received):
    """Return the greatest difference over the greatest of the values expected; 0 only for the same bits."""
    return _error(expected, received, np.max)


def mean_error(expected, received):
    """Return the root mean square of the difference over that of the values expected."""
    return _error(expected, received, lambda values: np.sqrt(np.mean(values**2)))


def _error(expected, received, norm):
    if np.array_equal(expected, received):
        return 0.0
    expected, received = np.asarray(expected, np.float64), np.asarray(received, np.float64)
    return float(norm(np.abs(received - expected)) / max(norm(np.abs(expected)), 1e-6))


def first_layer(model, other, arrays, tolerance, error=greatest_error):
    """Return the first layer of ``model`` whose outputs in ``other``, by the same name, differ from its own."""
    ours, theirs = layer_outputs(model, arrays), layer_outputs(other, arrays)
    for name, output in ours.items():
        if name in theirs and not error(output, theirs[name]) <= tolerance:
            return f"layer '{name}'"
    return "a layer that is in one of the models only, or has no output of its own,"


def first_layer_in_graph(model, path, arrays, tolerance):
    """Return the first layer of ``model`` whose outputs in a frozen graph differ from its own."""
    nodes = tf.compat.v1.GraphDef.FromString(path.read_bytes()).node
    inputs = dict(zip(model.input_names, arrays, strict=True))
    for name, output in layer_outputs(model, arrays).items():
        own = {node.name: node for node in nodes if f"/{name}/" in f"/{node.name}/"}
        read = {reference.removeprefix("^").partition(":")[0] for node in own.values() for reference in node.input}
        for node in sorted(own.keys() - read):  # where the layer ends
            found = run_frozen_graph(path, inputs, [node])[0]
            if found.shape == output.shape and not greatest_error(output, found) <= tolerance:
                return f"layer '{name}'"
    return "a layer whose outputs are not in the graph"


def layer_outputs(model, arrays):
    """Return the outputs of the layers of a model by name, in their order; of those that have one output in its graph."""
    found = {}
    for layer in model.layers:
        for node in layer.inbound_nodes:
            try:
                part = keras.Model(model.inputs, node.outputs)
            except (ValueError, AttributeError):  # of another graph: where the layer was made, say
                continue
            output = part(pack_inputs(part, [tf.constant(array) for array in arrays]), training=False)
            if isinstance(output, tf.Tensor):
                found[layer.name] = output.numpy()
            break
    return found
