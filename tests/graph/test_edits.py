"""Edits are values: they survive JSON, and applying them changes only what they name."""

import copy
import json

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import keras, serialize
from keras_compress.errors import CompressionError
from keras_compress.graph import (
    InsertLayer,
    NodeRef,
    TensorRef,
    WrapWeight,
    apply_edits,
    build,
    edit_from_dict,
    edit_to_dict,
    take,
)
from keras_compress.graph.view import OUTPUT
from keras_compress.layers import CompressedLayer, SymmetricFakeQuantize
from tests import zoo

layers = keras.layers


def wrap(layer, weight="kernel", bits=8):
    return WrapWeight(layer, weight, serialize(SymmetricFakeQuantize(bits, narrow_range=True, name=f"{weight}_op")))


def insert(name, sources, consumers, scope=""):
    """An edit that puts a layer that triples its input on the edges; tripling makes each of its calls visible."""
    layer = serialize(layers.Rescaling(3.0, name=name))
    return InsertLayer(scope, layer, tuple(TensorRef(*s) for s in sources), tuple(NodeRef(*c) for c in consumers))


def linear(kind):
    """Return a model whose outputs are a plain sum of its input: each path through it adds one times the input."""
    x = keras.Input((2,), name="x")
    a, b = layers.Activation("linear", name="a")(x), layers.Activation("linear", name="b")(x)
    if kind == "outputs":
        return keras.Model(x, [a, layers.Add(name="sum")([a, b])])
    return keras.Model(x, layers.Add(name="sum")([a, b]))


def outputs(model, value=1.0):
    return [float(array[0, 0]) for array in zoo.predict(model, np.full((1, 2), value, np.float32))]


@pytest.mark.parametrize(
    "edit", [wrap("conv"), wrap("backbone/conv", bits=4), insert("q", [("x", 0, 0), ("b", 1, 2)], [("sum", 0)])]
)
def test_json_round_trip(edit):
    again = edit_from_dict(json.loads(json.dumps(edit_to_dict(edit))))
    assert again == edit
    assert type(again) is type(edit)


def test_an_unknown_kind_of_edit_is_an_error():
    with pytest.raises(CompressionError, match=r"WrapWeight or InsertLayer.*'Remove'"):
        edit_from_dict({"edit": "Remove"})


def test_applying_edits_leaves_the_snapshot_alone():
    snapshot = take(zoo.nested())
    config, weights = copy.deepcopy(snapshot.config), dict(snapshot.weights)
    apply_edits(snapshot, [wrap("backbone/conv"), insert("q", [("backbone", 0, 0)], [("head", 0)])])
    assert snapshot.config == config
    assert snapshot.weights == weights


def test_no_edits_change_nothing():
    snapshot = take(zoo.nested())
    assert apply_edits(snapshot, []).config == snapshot.config


@pytest.mark.parametrize(
    ("make", "path"), [(zoo.dense, "hidden"), (zoo.residual, "body"), (zoo.nested, "backbone/conv")]
)
def test_a_wrapped_weight_keeps_its_place_and_its_numbers(make, path):
    model = make()
    edited = build(apply_edits(take(model), [wrap(path)]))
    wrapper, plain = edited, model
    for name in path.split("/"):
        wrapper, plain = wrapper.get_layer(name), plain.get_layer(name)
    assert isinstance(wrapper, CompressedLayer)
    np.testing.assert_array_equal(wrapper.kernel, plain.kernel)
    assert [layer.name for layer in edited.layers] == [layer.name for layer in model.layers]
    assert len(edited.variables) == len(model.variables) + 2


def test_two_weights_of_a_layer_share_one_wrapper():
    edits = [wrap("separable", "depthwise_kernel"), wrap("separable", "pointwise_kernel")]
    wrapper = build(apply_edits(take(zoo.odd_convolutions()), edits)).get_layer("separable")
    assert [path for path, _ in wrapper.operations] == ["depthwise_kernel", "pointwise_kernel"]
    assert not isinstance(wrapper.layer, CompressedLayer)


@pytest.mark.parametrize(
    ("sources", "consumers", "expected"),
    [
        ([("x", 0, 0)], [("a", 0)], [4.0]),
        ([("x", 0, 0)], [("a", 0), ("b", 0)], [6.0]),
        ([("a", 0, 0)], [("sum", 0)], [4.0]),
        ([("a", 0, 0), ("b", 0, 0)], [("sum", 0)], [6.0]),
        ([("sum", 0, 0)], [(OUTPUT, 0)], [6.0]),
    ],
)
def test_a_layer_is_inserted_on_the_named_edges_only(sources, consumers, expected):
    edited = build(apply_edits(take(linear("sum")), [insert("tripled", sources, consumers)]))
    assert outputs(edited) == expected


@pytest.mark.parametrize(
    ("consumers", "expected"), [([(OUTPUT, 0)], [3.0, 2.0]), ([("sum", 0)], [1.0, 4.0])], ids=["output", "inside"]
)
def test_an_edge_to_the_output_is_apart_from_an_edge_to_a_layer(consumers, expected):
    edited = build(apply_edits(take(linear("outputs")), [insert("tripled", [("a", 0, 0)], consumers)]))
    assert outputs(edited) == expected


def test_two_layers_can_be_inserted_behind_one_tensor():
    edits = [insert("one", [("x", 0, 0)], [("a", 0)]), insert("two", [("x", 0, 0)], [("b", 0)])]
    edited = build(apply_edits(take(linear("sum")), edits))
    assert outputs(edited) == [6.0]
    assert {"one", "two"} <= {layer.name for layer in edited.layers}


@pytest.mark.parametrize("call", [0, 1])
def test_one_call_of_a_shared_layer_can_be_edited_alone(call):
    x = keras.Input((2,), name="x")
    shared = layers.Activation("linear", name="shared")
    first, second = shared(x), shared(layers.Rescaling(10.0, name="ten")(x))
    model = keras.Model(x, layers.Add(name="sum")([first, second]))
    edited = build(apply_edits(take(model), [insert("tripled", [("shared", call, 0)], [("sum", 0)])]))
    assert outputs(edited) == [[3.0 + 10.0], [1.0 + 30.0]][call]


def test_operators_and_keyword_arguments_are_rerouted():
    x = keras.Input((2,), name="x")
    y = layers.Activation("linear", name="y")(x)
    model = keras.Model(x, tf.math.subtract(x=y, y=x) + y)
    consumer = next(layer.name for layer in model.layers if "subtract" in layer.name)
    edited = build(apply_edits(take(model), [insert("tripled", [("x", 0, 0)], [(consumer, 0)])]))
    assert outputs(edited) == [-1.0]


def test_a_layer_is_inserted_into_a_nested_model():
    model = zoo.nested()
    edit = insert("tripled", [("backbone/relu", 0, 0)], [("backbone/" + OUTPUT, 0)], scope="backbone/")
    assert edit.path == "backbone/tripled"
    edited = build(apply_edits(take(model), [edit]))
    x = zoo.samples(model)
    features, tripled = (m.get_layer("backbone")(x) for m in (model, edited))
    np.testing.assert_allclose(tripled, 3.0 * features, rtol=1e-6)


def test_a_layer_is_inserted_into_a_sequential_model():
    edited = build(apply_edits(take(zoo.dense()), [insert("tripled", [("hidden", 0, 0)], [("out", 0)])]))
    assert isinstance(edited, keras.Sequential)
    assert [layer.name for layer in edited.layers] == ["hidden", "tripled", "out"]
