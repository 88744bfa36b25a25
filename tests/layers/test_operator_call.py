"""OperatorCall calls a function of TensorFlow with tensors in any place among its arguments, and can be saved."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import deserialize, serialize
from keras_compress.layers import OperatorCall

X = tf.constant(np.random.RandomState(0).normal(size=(3, 4)).astype(np.float32))
FIRST, SECOND = {"tensor": 0}, {"tensor": 1}


@pytest.mark.parametrize(
    ("function", "arguments", "keywords", "inputs", "expected"),
    [
        ("einsum", ["ab,cb->ac", FIRST, SECOND], {}, [X, X + 1.0], lambda: np.asarray(X) @ (np.asarray(X) + 1.0).T),
        ("einsum", ["ab->ba", FIRST], {}, X, lambda: np.asarray(X).T),
        ("concat", [[FIRST, SECOND]], {"axis": 0}, [X, X], lambda: np.concatenate([X, X])),
        ("math.add", [FIRST], {"y": SECOND}, [X, X], lambda: 2 * np.asarray(X)),
    ],
)
def test_it_computes_what_the_function_does(function, arguments, keywords, inputs, expected):
    layer = OperatorCall(function, arguments, keywords)
    for made in (layer, deserialize(serialize(layer))):
        np.testing.assert_allclose(made(inputs), expected(), rtol=1e-6)


def test_it_can_give_several_tensors():
    layer = OperatorCall("meshgrid", [FIRST, SECOND], {"indexing": "ij"})
    first, second = layer([X[0], X[1]])
    np.testing.assert_array_equal(first, np.meshgrid(X[0], X[1], indexing="ij")[0])
    np.testing.assert_array_equal(second, np.meshgrid(X[0], X[1], indexing="ij")[1])
