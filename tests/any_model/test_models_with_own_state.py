"""Models with state outside their variables, attributes of their own, or names that are also Keras' names."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.graph import build, take

layers = keras.layers
CONFIG = {"compression": {"algorithm": "quantization"}}
NUMBERS = (np.random.RandomState(0).normal(size=(40, 8)) * 50 + 200).astype(np.float32)


def rebuilt(model):
    return build(take(model))


def test_an_adapted_normalization_keeps_what_it_learned():
    normalization = layers.Normalization()
    normalization.adapt(NUMBERS)
    model = keras.Sequential([keras.Input((8,)), normalization, layers.Dense(2)])
    np.testing.assert_array_equal(rebuilt(model)(NUMBERS), model(NUMBERS))


def test_an_adapted_discretization_keeps_its_edges():
    discretization = layers.Discretization(num_bins=4, output_mode="one_hot")
    with warnings.catch_warnings():  # tf-keras 2.21 hands NumPy 2 something it does not like
        warnings.simplefilter("ignore", DeprecationWarning)
        discretization.adapt(NUMBERS[:, :1])
    model = keras.Sequential([keras.Input((1,)), discretization, layers.Dense(2)])
    np.testing.assert_array_equal(rebuilt(model)(NUMBERS[:, :1]), model(NUMBERS[:, :1]))


def test_an_adapted_vocabulary_is_kept():
    words = np.array([["red"], ["green"], ["blue"], ["red"]])
    for lookup in (layers.StringLookup(), layers.TextVectorization(output_sequence_length=2)):
        lookup.adapt(words)
        inputs = keras.Input((1,), dtype="string")
        outputs = layers.Dense(2)(layers.Flatten()(layers.Embedding(8, 3)(lookup(inputs))))
        model = keras.Model(inputs, outputs)
        np.testing.assert_array_equal(rebuilt(model)(tf.constant(words)), model(tf.constant(words)))


def test_an_axis_before_the_batch_is_measured_too():
    inputs = keras.Input((10, 4), name="x")
    x = layers.LayerNormalization()(tf.transpose(layers.ReLU()(inputs) * 2.0, [1, 0, 2]))
    model = keras.Model(inputs, tf.transpose(layers.Dense(2)(x), [1, 0, 2]))
    data = np.random.RandomState(0).normal(size=(40, 10, 4)).astype(np.float32)
    _, compressed = kc.create_compressed_model(model, kc.register_default_init_args(CONFIG, data))
    np.testing.assert_allclose(compressed(data), model(data), atol=0.1 * np.abs(model(data)).max())


class WithAttributes(keras.Model):
    """A model class that holds layers of its graph, a layer beside it and a variable."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.head = self.get_layer("head")
        self.temperature = tf.Variable(1.0, name="temperature")

    def train_step(self, data):
        self.temperature.assign_sub(0.5)
        return super().train_step(data)


def test_attributes_of_a_model_class_are_its_own():
    inputs = keras.Input((8,), name="x")
    model = WithAttributes(inputs, layers.Dense(2, name="head")(inputs))
    model.compile("sgd", "mse")
    _, compressed = kc.create_compressed_model(model, kc.register_default_init_args(CONFIG, NUMBERS))
    assert compressed.head is compressed.get_layer("head")
    compressed.fit(NUMBERS, np.zeros((40, 2)), batch_size=40, verbose=0)
    assert float(model.temperature) == 1.0
    assert float(compressed.temperature) == 0.5


def test_a_class_of_the_users_with_a_name_of_keras_is_not_taken_for_it():
    class Dense(layers.Layer):
        def build(self, input_shape):
            self.kernel = self.add_weight("kernel", (input_shape[-1], 2))

        def call(self, inputs):
            return tf.matmul(inputs, tf.exp(self.kernel))

    inputs = keras.Input((8,), name="x")
    model = keras.Model(inputs, Dense(name="own")(inputs))
    [row] = kc.coverage(model, CONFIG)
    assert row.compressed_by == ""


def test_a_registered_weight_goes_by_its_attribute():
    class Weighted(layers.Layer):
        def build(self, input_shape):
            self.matrix = self.add_weight("kernel", (input_shape[-1], 2))

        def call(self, inputs):
            return tf.matmul(inputs, self.matrix)

    inputs = keras.Input((8,), name="x")
    model = keras.Model(inputs, Weighted(name="own")(inputs))
    kc.register_layer_spec(Weighted, {"kernel": -1})
    with pytest.raises(kc.ConfigError, match=r"no weight 'kernel'.*\['matrix'\]"):
        kc.coverage(model, CONFIG)
    kc.register_layer_spec(Weighted, {"matrix": -1})
    _, compressed = kc.create_compressed_model(model, kc.register_default_init_args(CONFIG, NUMBERS))
    assert len(np.unique(compressed.get_layer("own").compressed_weight("matrix")[:, 0])) <= 8


def test_what_computes_in_floating_point_is_named():
    inputs = keras.Input((6, 8), name="x")
    attention = layers.MultiHeadAttention(2, 4, name="attention")(inputs, inputs)
    model = keras.Model(inputs, layers.LSTM(3, name="lstm")(layers.Dense(4, name="dense")(attention)))
    asymmetric = {"compression": {**CONFIG["compression"], "weights": {"mode": "asymmetric"}}}
    notes = {row.layer: row.reason for row in kc.coverage(model, CONFIG)}
    assert "arithmetic stays in floating point" in notes["attention"]
    assert "arithmetic stays in floating point" in notes["lstm"]
    assert notes["dense"] == ""
    assert "asymmetric" in {row.layer: row.reason for row in kc.coverage(model, asymmetric)}["dense"]


def test_a_compile_of_the_users_own_is_left_to_the_user():
    class OwnCompile(keras.Model):
        def compile(self, optimizer, factor):
            super().compile(optimizer=optimizer, loss="mse")

    inputs = keras.Input((8,), name="x")
    model = OwnCompile(inputs, layers.Dense(2)(inputs))
    model.compile("sgd", factor=2)
    with pytest.warns(UserWarning, match=r"is not compiled.*compile\(...\) yourself"):
        kc.create_compressed_model(model, kc.register_default_init_args(CONFIG, NUMBERS))


def test_steps_are_counted_when_several_are_executed_at_once(tmp_path):
    inputs = keras.Input((8,), name="x")
    model = keras.Model(inputs, layers.Dense(2)(inputs))
    model.compile(keras.optimizers.SGD(1e-6), "mse", steps_per_execution=4)
    controller, compressed = kc.create_compressed_model(model, kc.register_default_init_args(CONFIG, NUMBERS))
    saver = kc.CheckpointManagerCallback(tf.train.Checkpoint(model=compressed), tmp_path, save_freq=4)
    callbacks = [*kc.create_compression_callbacks(controller), saver]
    compressed.fit(NUMBERS, np.zeros((40, 2)), batch_size=5, epochs=2, callbacks=callbacks, verbose=0)
    assert controller.scheduler.current_step == 15
    assert len(tf.train.get_checkpoint_state(str(tmp_path)).all_model_checkpoint_paths) == 4
