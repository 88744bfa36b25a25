"""A constant that an operator computes with is a row of the coverage, and strict configurations refuse it."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from tests.zoo import normal

layers = keras.layers


IMAGE, FLAT = (8, 8, 3), (8,)
#: By name the shape of the input, the operator, and the number of elements of its constant.
WEIGHTS = {
    "conv2d": (IMAGE, lambda x: tf.nn.conv2d(x, normal(3, 3, 3, 4), 1, "SAME"), 108),
    "conv2d by keyword": (IMAGE, lambda x: tf.nn.conv2d(x, filters=normal(3, 3, 3, 4), strides=1, padding="SAME"), 108),
    "depthwise": (IMAGE, lambda x: tf.nn.depthwise_conv2d(x, normal(3, 3, 3, 1), [1, 1, 1, 1], "SAME"), 27),
    "conv1d": ((8, 3), lambda x: tf.nn.conv1d(x, normal(3, 3, 4), 1, "SAME"), 36),
    "convolution": (IMAGE, lambda x: tf.nn.convolution(x, normal(3, 3, 3, 4)), 108),
    "matmul": (FLAT, lambda x: tf.matmul(x, normal(8, 4)), 32),
    "matmul from the left": ((8, 8), lambda x: tf.matmul(normal(4, 8), x), 32),
    "@": (FLAT, lambda x: x @ normal(8, 4), 32),
    "tensordot": (FLAT, lambda x: tf.tensordot(x, normal(8, 4), 1), 32),
    "einsum": (FLAT, lambda x: tf.einsum("bc,cd->bd", x, normal(8, 4)), 32),
    "a table": (FLAT, lambda x: tf.gather(normal(9, 8), tf.argmax(x, -1)), 72),
    "an array": (FLAT, lambda x: tf.matmul(x, normal(8, 4).numpy()), 32),
}
NO_WEIGHTS = {
    "a sum": lambda x: x + normal(1, 8),
    "a product": lambda x: x * normal(1, 8),
    "a minimum": lambda x: tf.minimum(x, normal(1, 8)),
    "a choice": lambda x: tf.where(x > 0, x, normal(1, 8)),
    "a padding": lambda x: tf.pad(x, [[0, 0], [1, 1]]),
    "a permutation": lambda x: tf.transpose(tf.transpose(x, [1, 0]), [1, 0]),
    "a vector": lambda x: tf.nn.bias_add(x, normal(8)),
    "a joined token": lambda x: tf.concat([x, tf.zeros_like(x) + normal(1, 8)], -1),
}


def model_of(shape, operator):
    inputs = keras.Input(shape, name="x")
    return keras.Model(inputs, operator(layers.Dense(shape[-1], name="dense")(inputs)))


def config(**settings):
    return {"compression": {"algorithm": "quantization"}, **settings}


@pytest.mark.parametrize("case", WEIGHTS)
def test_the_constant_is_named_and_counted(case):
    shape, operator, parameters = WEIGHTS[case]
    model = model_of(shape, operator)
    found = kc.coverage(model, config())
    [row] = found.unexplained
    assert (row.parameters, row.compressed_by) == (parameters, "")
    assert "a constant of an operator" in row.reason
    assert row.layer in [layer.name for layer in model.layers]
    assert found.compressed_share < 1.0


@pytest.mark.parametrize("case", WEIGHTS)
def test_strict_refuses_it_unless_it_is_ignored(case):
    model = model_of(*WEIGHTS[case][:2])
    [row] = kc.coverage(model, config()).unexplained
    with pytest.raises(kc.UnsupportedModelError, match=r"a constant of an operator"):
        kc.coverage(model, config(strict=True))
    ignoring = {"compression": {"algorithm": "quantization", "ignored_scopes": [row.layer]}, "strict": True}
    assert kc.coverage(model, ignoring).unexplained == ()


@pytest.mark.parametrize("case", NO_WEIGHTS)
def test_what_shifts_scales_or_joins_is_no_weight(case):
    assert kc.coverage(model_of(FLAT, NO_WEIGHTS[case]), config(strict=True)).compressed_share == 1.0


def test_it_is_in_the_statistics_of_the_controller():
    shape, operator, _ = WEIGHTS["matmul"]
    settings = {"algorithm": "quantization", "initializer": {"batchnorm_adaptation": {"num_bn_adaptation_samples": 0}}}
    data = np.random.RandomState(0).normal(size=(16, *shape)).astype(np.float32)
    controller, _ = kc.create_compressed_model(
        model_of(shape, operator), kc.register_default_init_args({"compression": settings}, data)
    )
    assert [row.parameters for row in controller.statistics().coverage.unexplained] == [32]
