"""Weights that are not finite are found, by layer and name, in every kind of layer."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress.errors import ExportError, UnsupportedModelError
from keras_compress.graph.finite_numbers import NotFinite, numbers_not_finite, refuse_not_finite, wrong_numbers
from tests import zoo


def spoil(variable, value):
    """Set the first number of a variable."""
    array = np.array(variable.numpy())
    array.reshape(-1)[0] = value
    variable.assign(array)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex64, tf.bfloat16.as_numpy_dtype])
def test_nan_is_wrong_in_every_type(dtype):
    array = np.ones((2, 2), dtype)
    assert wrong_numbers("a", "w", array, infinite=False) is None
    array[0, 0] = np.nan
    assert wrong_numbers("a", "w", array, infinite=True) == NotFinite("a", "w", 1, 4)


@pytest.mark.parametrize("array", [np.ones(3, np.int8), np.array(["a"]), np.array([b"a"], object)])
def test_nothing_is_wrong_with_other_types(array):
    assert wrong_numbers("a", "w", array, infinite=False) is None


def test_infinite_numbers_are_wrong_where_a_weight_is_compressed():
    model = kc.quantize(zoo.dense(), zoo.samples(zoo.dense(), 8))
    wrapper = next(layer for layer in model.layers if hasattr(layer, "weight_ops"))
    spoil(wrapper.layer.bias, np.inf)
    assert list(numbers_not_finite(model)) == []
    spoil(wrapper.layer.kernel, np.inf)
    [found] = numbers_not_finite(model)
    assert (found.layer, found.name, found.count) == (wrapper.name, "kernel", 1)


@pytest.mark.parametrize("kind", ["convolution", "recurrent", "nested", "shared_layer"])
def test_every_weight_of_a_compressed_model_is_looked_at(kind):
    model = getattr(zoo, kind)()
    model = kc.quantize(model, zoo.samples(model, 8))
    for variable in model.variables:
        if variable.dtype.is_floating:
            before = np.array(variable.numpy())
            spoil(variable, np.nan)
            assert [found.count for found in numbers_not_finite(model)] == [1], variable.name
            variable.assign(before)


def test_the_error_names_the_layer_and_the_weight():
    with pytest.raises(ExportError, match=r"weight 'w' of the layer 'a' holds NaN .* Received: 1 such values of 4"):
        refuse_not_finite(NotFinite("a", "w", 1, 4), ExportError)
    with pytest.raises(UnsupportedModelError):
        refuse_not_finite(NotFinite("a", "w", 1, 4))
