"""A compressed model does not start from weights that are not finite."""

import itertools

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras


def broken_kernel(value):
    widths = {"first": 4, "second": 2, "third": 2}
    stack = [keras.layers.Dense(width, name=name) for name, width in widths.items()]
    model = keras.Sequential([keras.Input((3,), name="x"), *stack])
    kernel = model.get_layer("second").kernel
    kernel.assign(np.full(kernel.shape, value))
    return model


@pytest.mark.parametrize(
    ("algorithm", "value"),
    [
        ("binarization", np.nan),  # which leaves dense layers in floating point, where infinite values may be meant
        *itertools.product(["quantization", "magnitude_sparsity", "rb_sparsity"], [np.nan, np.inf, -np.inf]),
    ],
)
def test_weights_that_are_not_finite_are_an_error_that_names_them(algorithm, value):
    config = kc.register_default_init_args({"compression": {"algorithm": algorithm}}, np.ones((4, 3), np.float32))
    with pytest.raises(
        kc.UnsupportedModelError, match=r"'kernel' of the layer 'second'.*NaN or infinite.*8 such values"
    ):
        kc.create_compressed_model(broken_kernel(value), config)
