"""A model of mixed or double precision brought to float32 predicts the same within the precision it had."""

import numpy as np
import pytest

from keras_compress._keras import keras
from keras_compress.graph import build, take
from keras_compress.graph.passes.to_float32 import to_float32
from tests import zoo

layers = keras.layers


def model(policy):
    x = keras.Input((6, 6, 3), name="x")
    y = layers.BatchNormalization(dtype=policy)(layers.Conv2D(4, 3, dtype=policy, name="conv")(x))
    nested = keras.Sequential([keras.Input((4, 4, 4)), layers.Flatten(dtype=policy), layers.Dense(3, dtype=policy)])
    return keras.Model(x, nested(layers.Activation("relu", dtype=policy)(y)))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64", "float32"])
def test_everything_is_float32_and_predictions_stay(policy):
    original = model(policy)
    again = build(to_float32(take(original)))
    x = zoo.samples(original)
    before, after = np.asarray(zoo.predict(original, x)[0], np.float64), zoo.predict(again, x)[0]
    assert after.dtype == np.float32
    assert {v.dtype.name for v in again.variables} == {"float32"}
    tolerance = {"mixed_float16": 2e-2, "mixed_bfloat16": 1e-1}.get(policy, 1e-5)
    np.testing.assert_allclose(after, before, atol=tolerance * np.abs(before).max())


def test_integer_inputs_stay():
    recurrent = zoo.recurrent()
    again = build(to_float32(take(recurrent)))
    assert again.inputs[0].dtype == "int32"
    zoo.assert_same_predictions(again, recurrent, zoo.samples(recurrent))
