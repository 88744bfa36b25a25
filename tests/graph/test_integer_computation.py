"""Which quantizers stand before which layer, and which layers compute in integers."""

import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.graph import ModelGraph, take
from keras_compress.graph.integer_computation import computes_with_integers, quantizers_before_layers
from keras_compress.layers import SymmetricFakeQuantize
from tests import zoo

layers = keras.layers


def found(model, **settings):
    _, compressed = zoo.compress(model, **settings)
    return quantizers_before_layers(ModelGraph(take(compressed)))


def test_every_layer_that_computes_has_the_quantizer_of_its_input():
    assert found(zoo.dense()) == {"hidden": ("x_quantizer",), "out": ("hidden_quantizer",)}


def test_layers_that_only_move_values_stand_between():
    # Flatten and pooling read quantized tensors too, and are no quantized layers.
    assert found(zoo.convolution()) == {"conv": ("image_quantizer",), "out": ("relu_quantizer",)}


def test_a_sum_is_a_quantized_layer_without_weights():
    assert found(zoo.residual()) == {
        "stem": ("image_quantizer",),
        "body": ("stem_relu_quantizer",),
        "sum": ("stem_relu_quantizer",),  # the other input is computed together with the sum
        "pool": ("sum_relu_quantizer",),
        "out": ("pool_quantizer",),
    }


def test_the_two_inputs_of_a_sum_may_have_quantizers_of_their_own():
    x = keras.Input((4,), name="x")
    left, right = (layers.ReLU(name=f"{name}_relu")(layers.Dense(4, name=name)(x)) for name in ("left", "right"))
    model = keras.Model(x, layers.Add(name="sum")([left, right]))
    before = found(model)
    assert before["sum"] == ("left_relu_quantizer", "right_relu_quantizer")
    assert before["left"] == before["right"] == ("x_quantizer",)


def test_joined_tensors_share_a_quantizer():
    before = found(zoo.concatenation())
    assert before == {
        "left": ("image_quantizer",),
        "right": ("image_quantizer",),
        "after": ("left_relu_quantizer",),
    }


def test_a_shared_layer_has_the_quantizers_of_all_its_calls():
    before = found(zoo.shared_layer())
    assert before["shared"] == ("first_quantizer", "second_quantizer")
    assert before["difference"] == ("shared_quantizer", "shared_quantizer_1_0")


def test_borders_of_nested_models_are_crossed():
    before = found(zoo.nested())
    assert before == {"backbone/conv": ("backbone/inner_image_quantizer",), "head/dense": ("head/features_quantizer",)}


def test_a_quantizer_outside_is_that_of_the_layers_inside_and_one_inside_of_those_outside():
    inner = keras.Input((4,), name="inner")
    hidden = layers.Dense(4, name="hidden")(layers.Reshape((4,), name="mover")(inner))
    inside = keras.Model(inner, SymmetricFakeQuantize(name="last")(hidden), name="inside")
    x = keras.Input((4,), name="x")
    quantized = SymmetricFakeQuantize(name="first")(x)
    model = keras.Model(x, layers.Dense(2, name="out")(layers.Dropout(0.5, name="drop")(inside(quantized))))
    before = quantizers_before_layers(ModelGraph(take(model)))
    assert before == {"inside/hidden": ("first",), "out": ("inside/last",)}


def test_a_layer_with_quantized_weights_and_float_inputs_has_none():
    before = found(zoo.dense(), activations={"ignored_scopes": ["out"]})
    assert before == {"hidden": ("x_quantizer",), "out": ()}


def test_a_layer_with_float_weights_and_quantized_inputs_is_named():
    before = found(zoo.dense(), weights={"ignored_scopes": ["out"]})
    assert before == {"hidden": ("x_quantizer",), "out": ("hidden_quantizer",)}


def test_asymmetric_quantizers_count_too():
    assert found(zoo.dense(), preset="mixed") == {"hidden": ("x_quantizer",), "out": ("hidden_quantizer",)}


def test_a_model_that_is_not_compressed_has_none():
    assert quantizers_before_layers(ModelGraph(take(zoo.residual()))) == {}


def test_the_outputs_of_a_nested_model_are_told_apart():
    inner = keras.Input((4,), name="inner")
    hidden = layers.ReLU(name="hidden_relu")(layers.Dense(4, name="hidden")(inner))
    far = layers.ReLU(name="far_relu")(layers.Dense(4, name="far")(hidden))
    inside = keras.Model(inner, [hidden, far], name="inside")
    x = keras.Input((4,), name="x")
    near_out, far_out = inside(x)
    model = keras.Model(x, [layers.Dense(2, name="of_near")(near_out), layers.Dense(2, name="of_far")(far_out)])
    before = found(model)
    assert len(before["of_near"]) == len(before["of_far"]) == 1
    assert before["of_near"] != before["of_far"]


MOVED_BY_SIZES = {
    "reshape": lambda x: tf.reshape(x, (tf.shape(x)[0], 12, 4)),
    "reshape of an open size": lambda x: tf.reshape(x, (tf.shape(x)[0], -1, 4)),
    "tile": lambda x: tf.tile(x, tf.stack([1, tf.shape(x)[1] // 3, 1])),
    "slice": lambda x: x[:, : tf.shape(x)[1] - 1],
    "gather": lambda x: tf.gather(x, tf.range(tf.shape(x)[1] - 2), axis=1),
    "broadcast": lambda x: tf.broadcast_to(x[:, :1], (tf.shape(x)[0], 5, 8)),
}


@pytest.mark.parametrize("kind", MOVED_BY_SIZES)
def test_sizes_and_indices_do_not_keep_a_layer_from_integers(kind, tmp_path):
    keras.utils.set_random_seed(2)
    x = keras.Input((6, 8), name="x")
    moved = MOVED_BY_SIZES[kind](layers.Dense(8, "relu", name="before")(x))
    model = keras.Model(x, layers.Conv1D(2, 3, name="behind")(moved))
    rows = {row.layer: row for row in kc.coverage(model, zoo.config(model)).rows}
    assert rows["behind"].reason == rows["before"].reason == ""
    data = zoo.samples(model, 32)
    quantized = kc.quantize(model, data)
    graph = ModelGraph(take(quantized))
    [node] = [node for node in graph.nodes.values() if node.ref.layer == "behind"]
    assert computes_with_integers(graph, node)
    for suffix in (".pb", ".onnx", ".xml", ".tflite"):
        report = kc.export_model(quantized, tmp_path / f"model{suffix}", data=data)
        assert report.faults == []
        assert report.comparison.sqnr >= 35
