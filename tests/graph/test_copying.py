"""What cannot be copied is shared, and what would be read of an original is an error that names it."""

import threading

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.graph import build, take
from keras_compress.graph.serialization import live_copy

layers = keras.layers


class Kept(layers.Layer):
    """A layer that keeps whatever it is given, past the wrappers that Keras puts around lists."""

    def __init__(self, things, **kwargs):
        super().__init__(**kwargs)
        object.__setattr__(self, "things", things)


def test_what_holds_a_lock_is_shared_as_a_whole():
    things = {"numbers": [np.ones(3)], "lock": threading.Lock(), "more": [np.zeros(2)]}
    made = live_copy().of_layer(Kept(things))
    assert made.things is things


def test_beside_a_lock_layers_are_copied():
    dense = layers.Dense(2)
    dense.build((None, 3))
    layer = Kept({"lock": threading.Lock(), "dense": [dense]})
    made = live_copy().of_layer(layer)
    assert made.things["lock"] is layer.things["lock"]
    assert made.things["dense"][0] is not dense
    np.testing.assert_array_equal(made.things["dense"][0].kernel, dense.kernel)


class Closed:
    """An object that refuses to be copied in any way, and reads a layer."""

    def __init__(self, layer):
        self.layer = layer

    def __new__(cls, *arguments):
        return super().__new__(cls)

    def __reduce_ex__(self, protocol):
        raise TypeError("not for copies")


def test_a_copy_that_would_read_a_layer_of_the_original_is_an_error_that_names_both():
    class Mine(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = layers.Dense(2, name="inner")
            self.closed = Closed(self.dense)

        def call(self, inputs):
            return self.closed.layer(inputs)

    inputs = keras.Input((3,))
    model = keras.Model(inputs, Mine(name="mine")(inputs))
    with pytest.raises(
        kc.UnsupportedModelError, match=r"'mine' of class Mine.*'inner'.*would read those of the original"
    ):
        build(take(model))


@pytest.mark.parametrize("variable", [tf.Variable(1.0), tf.Variable([1, 2]), tf.Variable(True)])
def test_variables_keep_their_type(variable):
    made = live_copy().of_layer(Kept([variable])).things[0]
    assert made is not variable
    assert made.dtype == variable.dtype
    np.testing.assert_array_equal(made, variable)
