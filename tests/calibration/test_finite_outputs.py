"""The first layer that computes what is not finite is found, and the one with the largest number."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.calibration.finite_outputs import observe_outputs
from tests import zoo


def test_the_first_layer_with_numbers_that_are_not_finite_is_named():
    inputs = keras.Input((3,))
    root = keras.layers.Lambda(tf.sqrt, name="root")(
        keras.layers.Dense(3, kernel_initializer="ones", name="sum")(inputs)
    )
    model = keras.Model(inputs, keras.layers.Dense(2, name="out")(root))
    assert observe_outputs(model, [np.ones((2, 3), np.float32)]).not_finite is None
    found = observe_outputs(model, [-np.ones((2, 3), np.float32)])
    assert (found.not_finite, found.largest, found.magnitude) == ("root", "sum", 3.0)


@pytest.mark.parametrize("kind", ["nested", "recurrent", "dicts", "operators"])
def test_every_kind_of_model_can_be_looked_at_and_stays_as_it_is(kind):
    model = getattr(zoo, kind)()
    before = model.get_weights()
    samples = zoo.samples(model, 4)
    arrays = [np.asarray(array) for array in tf.nest.flatten(samples)]
    found = observe_outputs(model, arrays)
    assert found.not_finite is None
    assert found.magnitude > 0
    assert all(np.array_equal(*pair) for pair in zip(before, model.get_weights(), strict=True))
