"""A model taken as a value and built again is the same model, and the one it was taken from is not touched."""

import copy

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.errors import UnsupportedModelError
from keras_compress.graph import build, take
from keras_compress.graph.snapshot import entries
from tests import zoo

layers = keras.layers


@zoo.every_kind
def test_a_rebuilt_model_gives_the_same_bits(kind):
    model = zoo.MODELS[kind]()
    again = build(take(model))
    zoo.assert_same_predictions(model, again, zoo.samples(model))
    assert type(again) is type(model)
    assert again.name == model.name
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert [variable.shape for variable in again.variables] == [variable.shape for variable in model.variables]
    assert again.input_names == model.input_names
    assert again.output_names == model.output_names
    assert tf.nest.map_structure(lambda t: t.shape, again.output) == tf.nest.map_structure(
        lambda t: t.shape, model.output
    )


@zoo.every_kind
def test_variables_keep_their_names(kind):
    model = zoo.MODELS[kind]()
    assert [v.name for v in build(take(model)).variables] == [v.name for v in model.variables]


@zoo.every_kind
def test_taking_and_building_leaves_the_model_alone(kind):
    model = zoo.MODELS[kind]()
    config, weights = copy.deepcopy(model.get_config()), model.get_weights()
    again = build(take(model))
    for variable in again.variables:
        variable.assign(tf.zeros_like(variable))
    assert model.get_config() == config
    for array, before in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(array, before)
    assert not {id(v) for v in model.variables} & {id(v) for v in again.variables}


def test_a_snapshot_does_not_change_with_the_model():
    model = zoo.dense()
    snapshot, before = take(model), zoo.predict(model, zoo.samples(model))
    for variable in model.variables:
        variable.assign(tf.zeros_like(variable))
    np.testing.assert_array_equal(zoo.predict(build(snapshot), zoo.samples(model))[0], before[0])


def test_a_snapshot_can_be_built_many_times():
    snapshot = take(zoo.nested())
    config = copy.deepcopy(snapshot.config)
    first, second = build(snapshot), build(snapshot)
    zoo.assert_same_predictions(first, second, zoo.samples(first))
    assert snapshot.config == config


def test_editing_a_copy_leaves_the_snapshot_alone():
    snapshot = take(zoo.nested())
    edited = snapshot.edited()
    next(entries(edited.config))[1]["config"]["name"] = "other"
    edited.weights.pop("backbone/conv")
    assert next(entries(snapshot.config))[1]["config"]["name"] == "image"
    assert "backbone/conv" in snapshot.weights


def test_weights_are_listed_by_path_and_name():
    weights = take(zoo.nested()).weights
    assert set(weights) == {"backbone/conv", "backbone/norm", "head/dense"}
    assert set(weights["backbone/norm"]) == {"gamma", "beta", "moving_mean", "moving_variance"}
    assert set(take(zoo.recurrent()).weights["rnn"]) == {"cell.kernel", "cell.recurrent_kernel", "cell.bias"}


def test_trainable_is_kept_for_each_layer():
    model = zoo.nested()
    model.get_layer("backbone").trainable = False
    again = build(take(model))
    assert [v.name for v in again.trainable_variables] == [v.name for v in model.trainable_variables]
    assert len(again.trainable_variables) == 2


def test_a_policy_of_mixed_precision_is_kept():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, dtype="mixed_float16", name="out")])
    again = build(take(model))
    assert again.get_layer("out").compute_dtype == "float16"
    assert again.get_layer("out").kernel.dtype == tf.float32
    zoo.assert_same_predictions(model, again, zoo.samples(model))


def test_lambda_layers_are_kept():
    model = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x * 3.0), layers.Dense(2)])
    zoo.assert_same_predictions(model, build(take(model)), zoo.samples(model))


def test_layers_of_ones_own_need_no_registration():
    class Scale(layers.Layer):
        def build(self, input_shape):
            self.factor = self.add_weight("factor", input_shape[-1:], initializer="random_normal")

        def call(self, inputs):
            return inputs * self.factor

    model = keras.Sequential([keras.Input((4,)), Scale(name="scale"), layers.Dense(2)])
    again = build(take(model))
    assert type(again.get_layer("scale")) is Scale
    zoo.assert_same_predictions(model, again, zoo.samples(model))


def test_a_model_class_with_a_training_step_of_its_own_is_kept():
    class Trainer(keras.Model):
        def train_step(self, data):
            return {"own": tf.constant(1.0)}

    x = keras.Input((4,))
    model = Trainer(x, layers.Dense(2)(x))
    again = build(take(model))
    assert type(again) is Trainer
    zoo.assert_same_predictions(model, again, zoo.samples(model))


def test_a_model_class_with_a_constructor_of_its_own_is_kept():
    class Fixed(keras.Model):
        def __init__(self, units):
            x = keras.Input((4,))
            super().__init__(x, layers.Dense(units)(x))

    model = Fixed(2)
    again = build(take(model))
    assert type(again) is Fixed
    zoo.assert_same_predictions(model, again, zoo.samples(model))


def wave(x):
    return tf.sin(x) + x


def local_function():
    def local_wave(x):
        return tf.sin(x) + x

    return local_wave


@pytest.mark.parametrize(
    "function",
    [tf.nn.relu6, tf.sin, wave, local_function(), lambda x: tf.sin(x) + x],
    ids=["tf.nn.relu6", "tf.sin", "of a module", "local", "lambda"],
)
def test_functions_as_activations_are_kept_without_a_warning(function):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation=function)])
    zoo.assert_same_predictions(model, build(take(model)), zoo.samples(model))


def test_one_layer_in_two_nested_models_stays_one_layer():
    shared = layers.Dense(4, name="shared")
    parts = []
    for name in ("left", "right"):
        x = keras.Input((4,))
        parts.append(keras.Model(x, shared(x), name=name))
    x = keras.Input((4,), name="x")
    model = keras.Model(x, parts[1](parts[0](x)))
    again = build(take(model))
    zoo.assert_same_predictions(model, again, zoo.samples(model))
    assert len(again.trainable_variables) == len(model.trainable_variables)


def test_a_nested_model_called_twice_stays_one_model():
    x = keras.Input((4,))
    encoder = keras.Model(x, layers.Dense(3, name="dense")(x), name="encoder")
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    model = keras.Model([first, second], layers.Subtract()([encoder(first), encoder(second)]))
    again = build(take(model))
    zoo.assert_same_predictions(model, again, zoo.samples(model))
    assert len(again.variables) == 2


def test_a_layer_that_forgets_an_argument_keeps_its_variable():
    class Forgetful(layers.Layer):
        def __init__(self, factor=None, **kwargs):
            super().__init__(**kwargs)
            if factor is not None:
                self.factor = self.add_weight("factor", (), initializer=keras.initializers.Constant(factor))

        def call(self, inputs):
            return inputs * self.factor

        def get_config(self):
            return {"name": self.name}

    model = keras.Sequential([keras.Input((4,)), Forgetful(2, name="forgetful")])
    zoo.assert_same_predictions(model, build(take(model)), zoo.samples(model))


def test_an_array_that_no_variable_takes_is_an_error_that_names_it():
    snapshot = take(zoo.dense())
    path, arrays = next(iter(snapshot.weights.items()))
    other = snapshot.with_weights({**snapshot.weights, path: {**arrays, "factor": np.zeros(())}})
    with pytest.raises(UnsupportedModelError, match=rf"'{path}'.*'factor'.*get_config"):
        build(other)


def test_a_layer_that_takes_its_configuration_apart_can_be_built_again():
    class OwnAttention(keras.layers.MultiHeadAttention):
        pass

    inputs = keras.Input((5, 4), name="x")
    snapshot = take(keras.Model(inputs, OwnAttention(2, 3, name="attention")(inputs, inputs)))
    first, second = build(snapshot), build(snapshot.edited())
    zoo.assert_same_predictions(first, second, zoo.samples(first))


@pytest.mark.parametrize("function", ["zeros", "ones"])
def test_an_operator_does_not_take_the_name_of_an_initializer(function):
    inputs = keras.Input((4,))
    x = keras.layers.Dense(4)(inputs)
    constant = getattr(tf, function)((1, tf.shape(x)[0]))
    x = tf.transpose(tf.tensor_scatter_nd_update(tf.transpose(x), [[0]], constant))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    snapshot = take(model)
    assert function not in snapshot.custom_objects
    data = np.random.RandomState(0).normal(size=(8, 4)).astype(np.float32)
    compressed = kc.quantize(model, data)
    rebuilt = build(take(compressed))
    np.testing.assert_array_equal(rebuilt(data), compressed(data))
    assert build(take(compressed))(data[:3]).shape == (3, 3)
