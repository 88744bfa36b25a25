"""Whatever a layer or model class keeps, and wherever: a rebuilt model has it, and has it for itself."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.graph import build, take
from keras_compress.graph.passes.to_float32 import to_float32
from keras_compress.graph.variables import named_variables
from tests import zoo
from tests.contract.keepers import KEEPERS, DrawnDense

every_keeper = pytest.mark.parametrize("kind", KEEPERS)


@every_keeper
def test_a_rebuilt_model_computes_the_same_with_variables_of_its_own(kind):
    model = KEEPERS[kind]()
    inputs = zoo.samples(model)
    expected = zoo.predict(model, inputs)
    again = build(take(model))
    assert len(again.variables) == len(model.variables)
    assert len(again.trainable_variables) == len(model.trainable_variables)
    assert not {id(variable) for variable in again.variables} & {id(variable) for variable in model.variables}
    for variable in model.variables:
        variable.assign(tf.zeros_like(variable))
    for received, array in zip(zoo.predict(again, inputs), expected, strict=True):
        np.testing.assert_array_equal(received, array)
    third = build(take(again))
    for received, array in zip(zoo.predict(third, inputs), expected, strict=True):
        np.testing.assert_array_equal(received, array)


@every_keeper
def test_training_the_copy_leaves_the_model_alone(kind):
    model = KEEPERS[kind]()
    inputs = zoo.samples(model)
    expected = zoo.predict(model, inputs)
    losses = [float(loss) for loss in model.losses]
    again = build(take(model))
    for variable in again.variables:
        variable.assign(tf.ones_like(variable))
    for received, array in zip(zoo.predict(model, inputs), expected, strict=True):
        np.testing.assert_array_equal(received, array)
    assert [float(loss) for loss in model.losses] == losses
    assert len(again.losses) == len(losses)


@every_keeper
def test_every_variable_of_a_layer_has_a_place_that_a_second_model_has_too(kind):
    first, second = KEEPERS[kind](), KEEPERS[kind]()
    names = [[name for layer in model.layers for name in named_variables(layer)] for model in (first, second)]
    if kind != "ListOfVariables":  # which puts a number of its own into the names
        assert names[0] == names[1]
    found = {id(variable) for layer in first.layers for variable in named_variables(layer).values()}
    assert {id(variable) for layer in first.layers for variable in layer.variables} <= found


@pytest.mark.parametrize("kind", ["PrivateLayer", "SequentialInside", "DenseModel", "DrawnNumbers", "model class"])
def test_a_quantized_model_is_the_same_model(kind):
    model = KEEPERS[kind]()
    data = np.random.RandomState(0).normal(size=(64, 8)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = kc.quantize(model, data)
    expected, received = model(data).numpy(), quantized(data).numpy()
    assert zoo.sqnr(expected, received) > 25


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_drawn_numbers_are_kept_when_the_precision_changes(policy):
    inputs = keras.Input((8,), name="x")
    drawn = DrawnDense(6, dtype=policy, name="drawn")
    model = keras.Model(inputs, keras.layers.Dense(2, dtype="float32")(drawn(inputs)))
    made = build(to_float32(take(model)))
    np.testing.assert_array_equal(made.get_layer("drawn").drop, drawn.drop)
    data = np.random.RandomState(0).normal(size=(64, 8)).astype(np.float32)
    np.testing.assert_allclose(made(data), model(data), atol=0.1)
    assert made.get_layer("drawn").compute_dtype == "float32"


def test_layers_in_attributes_of_a_model_class_are_those_of_its_graph():
    model = KEEPERS["model class"]()
    again = build(take(model))
    first, last = again.layers[1:3]
    assert [*again.blocks] == [first, last]
    assert again.by_name["first"][0] is first
    assert again._last is last
    np.testing.assert_array_equal(again._draw, model._draw)
    assert all(mine is not theirs for mine, theirs in zip(again.sums, model.sums, strict=True))
    assert again.teacher is not model.teacher
    for variable in again.teacher.variables:
        variable.assign(tf.zeros_like(variable))
    assert any(np.any(array) for array in model.teacher.get_weights())


def test_layers_in_attributes_of_a_compressed_model_class_are_those_with_operations():
    model = KEEPERS["model class"]()
    data = np.random.RandomState(0).normal(size=(64, 8)).astype(np.float32)
    config = kc.register_default_init_args({"compression": {"algorithm": "quantization"}}, data)
    _, compressed = kc.create_compressed_model(model, config)
    first, last = (compressed.get_layer(layer.name) for layer in model.blocks)
    assert [*compressed.blocks] == [first, last]
    assert compressed.by_name["first"][0] is first
    assert compressed._last is last
    compressed.tracker.update_state(5.0)
    assert float(compressed.tracker.result()) == 5.0
    assert float(model.tracker.result()) == 0.0


def test_the_loss_of_a_layer_is_about_its_own_weights():
    model = KEEPERS["OwnLoss"]()
    again = build(take(model))
    np.testing.assert_allclose(
        [float(loss) for loss in again.losses], [float(loss) for loss in model.losses], rtol=1e-6
    )
    again.get_layer("keeper").dense.kernel.assign(tf.zeros((8, 8)))
    assert [float(loss) for loss in again.losses] == [0.0, 0.0]


def test_a_layer_read_from_a_saved_model_without_its_class_is_refused_by_name(tmp_path):
    class Doubled(keras.layers.Layer):
        def call(self, inputs):
            return 2.0 * inputs

    inputs = keras.Input((8,))
    keras.Model(inputs, keras.layers.Dense(2)(Doubled(name="doubled")(inputs))).save(
        tmp_path / "saved", save_format="tf"
    )
    model = keras.models.load_model(tmp_path / "saved", compile=False)
    for use in (take, lambda model: kc.coverage(model, {"compression": {"algorithm": "quantization"}})):
        with pytest.raises(kc.UnsupportedModelError, match=r"'doubled'.*SavedModel.*custom_objects"):
            use(model)
