"""Models whose bad layers are known, and what is read off quantized models."""

import numpy as np

from keras_compress._keras import keras
from keras_compress.graph.variables import leaf_layers, named_variables
from keras_compress.layers import CompressedLayer, FakeQuantize
from tests import zoo

layers = keras.layers


def chain(bad=(), length=8, width=8, convolutions=False):
    """Dense layers, or convolutions of one pixel, ``d0`` … in a row; one input channel of each ``bad`` one is 10,000 times the others.

    The kernel takes the factor back, so the model computes the same; one range for all channels loses the others.
    """
    x = keras.Input((3, 3, width) if convolutions else (width,), name="x")
    made = x
    for number in range(length + 1):
        size, activation, name = (width, "relu", f"d{number}") if number < length else (3, None, "out")
        make = (
            layers.Conv2D(size, 1, activation=activation, name=name)
            if convolutions
            else layers.Dense(size, activation, name=name)
        )
        made = make(made)
    model = keras.Model(x, made, name="chain")
    generator = np.random.default_rng(5)
    for layer in model.layers[1:]:
        layer.kernel.assign(generator.normal(size=layer.kernel.shape, scale=1.4 / np.sqrt(width)))
        layer.bias.assign(generator.normal(size=layer.bias.shape, scale=0.1))
    for name in bad:
        before = model.get_layer(f"d{int(name[1:]) - 1}")
        factor = np.r_[1e4, np.ones(width - 1)].astype(np.float32)
        before.kernel.assign(before.kernel * factor)
        before.bias.assign(before.bias * factor)
        kernel = model.get_layer(name).kernel
        kernel.assign(kernel / factor[:, None])
    return model


def likeness(model, inputs):
    """Return a ``validation_fn`` that tells how like its model computes to ``model``, and the list of the models it saw."""
    expected = zoo.predict(model, inputs)
    seen = []

    def validate(candidate, data):
        seen.append(candidate)
        return -relative_error(zoo.predict(candidate, inputs), expected)

    return validate, seen


def relative_error(outputs, expected):
    """Return the power of the errors over the power of the outputs, each output counting the same."""
    pairs = zip(outputs, expected, strict=True)
    return float(
        np.mean([np.sum(np.square(a.astype(float) - b)) / np.sum(np.square(b.astype(float))) for a, b in pairs])
    )


def numbers(model):
    """Return every variable of a model by the path of its layer and its own path."""
    return {
        (path, name): variable.numpy()
        for path, layer in leaf_layers(model)
        for name, variable in named_variables(layer).items()
    }


def quantizer_numbers(model):
    """Return the variables of all quantizers, of weights and of activations."""
    quantizers = {path for path, layer in leaf_layers(model) if isinstance(layer, FakeQuantize)}
    return {
        (path, name): value
        for (path, name), value in numbers(model).items()
        if path in quantizers or name.startswith("weight_ops.")
    }


def assert_equal_numbers(ours, theirs):
    """Check that two dicts of arrays are the same to the bit."""
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        np.testing.assert_array_equal(value, theirs[key], err_msg=str(key))


def wrapped(model):
    """Return the layers with compressed weights, by path."""
    return {path: layer for path, layer in leaf_layers(model) if isinstance(layer, CompressedLayer)}


def activation_quantizers(model):
    """Return the quantizers of activations, by path."""
    return {path: layer for path, layer in leaf_layers(model) if isinstance(layer, FakeQuantize)}
