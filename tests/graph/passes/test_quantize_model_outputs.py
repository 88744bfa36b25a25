"""Quantizers at the outputs of a model that have no grid."""

import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.graph import ModelGraph, build, take
from keras_compress.graph.integer_computation import is_quantizer
from keras_compress.graph.passes.quantize_model_outputs import quantize_model_outputs
from tests import zoo

layers = keras.layers


def ends(activation):
    x = keras.Input((4,), name="x")
    return keras.Model(x, layers.Dense(2, activation, name="out")(x))


@pytest.mark.parametrize("activation", [None, "relu", "softplus"])
def test_an_output_without_a_grid_gets_a_quantizer(activation):
    snapshot, edits = quantize_model_outputs(take(ends(activation)), [True])
    assert [edit.sources[0].layer for edit in edits] == ["out"]
    graph = ModelGraph(snapshot)
    assert [is_quantizer(graph.producer(tensor)) for tensor in graph.model_outputs] == [True]
    assert quantize_model_outputs(snapshot, [True])[1] == []
    assert build(snapshot).output_shape == (None, 2)


@pytest.mark.parametrize(
    ("activation", "floating"), [("softmax", True), ("sigmoid", True), ("tanh", True), (None, False)]
)
def test_outputs_with_a_fixed_range_and_those_of_whole_numbers_stay(activation, floating):
    assert quantize_model_outputs(take(ends(activation)), [floating])[1] == []


@zoo.every_kind
def test_the_interface_of_every_model_stays(kind):
    model = zoo.compressed_once(kind)[1]
    snapshot, _ = quantize_model_outputs(take(model), [True] * len(model.outputs))
    built = build(snapshot)
    assert [tensor.shape for tensor in built.outputs] == [tensor.shape for tensor in model.outputs]
    assert built.input_names == model.input_names


def test_an_output_that_is_read_elsewhere_is_quantized_at_the_output_only():
    x = keras.Input((4,), name="x")
    y = layers.Dense(2, name="first")(x)
    model = kc.quantize(
        keras.Model(x, [y * 2.0, layers.Dense(3, "softmax", name="second")(y * 2.0)]), zoo.samples(ends(None))
    )
    snapshot, edits = quantize_model_outputs(take(model), [True, True])
    assert len(edits) == 1
    assert len(build(snapshot).outputs) == 2
