"""A function of a model over batches: few runs as it is, many runs traced, with the same results."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.calibration.model_function import FEW_RUNS, ModelFunction, runs_over
from keras_compress.data import Dataset
from tests import zoo

layers = keras.layers


class Noted:
    """A function of a model that counts how often it is called, by Python."""

    def __init__(self, model):
        self.model, self.calls = model, 0

    def __call__(self, inputs, *further):
        self.calls += 1
        return self.model(inputs, training=False)


def over(model, data, runs):
    function = Noted(model)
    found = [outputs.numpy() for _, outputs in ModelFunction(model, function, runs=runs).over(data, 4, 30)]
    return np.concatenate(found), function.calls


def test_few_runs_and_many_runs_give_the_same():
    model = zoo.convolution()
    data = Dataset(zoo.samples(model, 30))
    (few, calls), (many, traces), (unknown, once) = (over(model, data, runs) for runs in (FEW_RUNS, FEW_RUNS + 1, None))
    np.testing.assert_allclose(few, many, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(many, unknown)
    assert (calls, traces, once) == (8, 1, 1)


@pytest.mark.parametrize(("shape", "calls"), [((20, 3), 8), ((200, 3), 1), ((None, 3), 1)])
def test_loops_over_many_steps_of_time_are_traced(shape, calls):
    model = keras.Sequential([keras.Input(shape), layers.GRU(2), layers.Dense(1)])
    assert over(model, Dataset(np.ones((30, shape[0] or 5, 3), np.float32)), runs=8)[1] == calls


def test_an_if_on_tensors_works_in_layers_of_users_either_way():
    class Switch(layers.Layer):
        def call(self, inputs):
            if tf.reduce_sum(inputs) > 0:
                return inputs + 1.0
            return inputs - 1.0

    model = keras.Sequential([keras.Input((3,)), Switch()])
    data = Dataset(np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32))
    np.testing.assert_allclose(over(model, data, 2)[0], over(model, data, None)[0], rtol=1e-6)


def test_further_tensors_are_handed_on_either_way():
    model = zoo.dense()
    inputs = [zoo.samples(model, 4)]
    spec = tf.TensorSpec([], tf.float32)
    for runs in (1, None):
        function = ModelFunction(model, lambda x, factor: factor * model(x, training=False), spec, runs=runs)
        np.testing.assert_allclose(
            function(inputs, tf.constant(2.0)), 2 * model(inputs[0], training=False).numpy(), rtol=1e-5
        )


def test_how_many_batches_hold_samples():
    assert runs_over(zoo.dense(), 32, 33) == 2
    assert runs_over(keras.Sequential([keras.Input(batch_shape=(5, 3)), layers.Dense(1)]), 32, 33) == 7
