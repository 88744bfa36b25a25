"""Whatever computes with integers gets a quantized output, once, and everything else stays as it was."""

import copy

import numpy as np
import pytest

from keras_compress._keras import keras
from keras_compress.export.inference_model import with_quantized_outputs
from keras_compress.graph import ModelGraph, TensorRef, build, take
from keras_compress.graph.passes.quantize_outputs import computes_with_integers, quantize_outputs
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import FakeQuantize, observed
from tests import zoo

layers = keras.layers


def compressed(model, **settings):
    return zoo.compress(model, **settings)[1]


def added(model, **options):
    """Return by name of the new quantizers the layers whose outputs they read."""
    _, inserts = quantize_outputs(take(model), **options)
    return {insert.path: [source.layer for source in insert.sources] for insert in inserts}


def image_model(make, shape=(6, 6, 3)):
    image = keras.Input(shape, name="image")
    return keras.Model(image, make(image))


def without_quantizers(model):
    """Context in which the activation quantizers of a model pass their inputs on."""
    return observed({}, [layer for _, layer in leaf_layers(model) if isinstance(layer, FakeQuantize)])


def assert_computes_the_same(model):
    """Check that the model with quantized outputs computes what it did, but for quantizers of activations."""
    snapshot, inserts = quantize_outputs(take(model))
    complete = build(snapshot)
    paths = [path for path, _ in leaf_layers(model)]
    assert set(paths) <= {path for path, _ in leaf_layers(complete)}
    assert {insert.path for insert in inserts} <= {path for path, _ in leaf_layers(complete)} - set(paths)
    assert complete.input_names == model.input_names
    inputs = zoo.samples(model)
    with without_quantizers(complete), without_quantizers(model):
        zoo.assert_same_predictions(complete, model, inputs, rtol=1e-5, atol=1e-6)
    return complete


# Where they stand


def test_a_convolution_in_front_of_a_sum():
    model = compressed(zoo.residual())
    assert added(model) == {"body_norm_output_quantizer": ["body_norm"], "out_output_quantizer": ["out"]}
    assert added(model, of_matrix_products=False) == {"body_norm_output_quantizer": ["body_norm"]}


def test_the_reader_of_a_convolution_reads_the_quantizer():
    graph = ModelGraph(quantize_outputs(take(compressed(zoo.residual())))[0])
    [total] = [node for node in graph.nodes.values() if node.ref.layer == "sum"]
    assert TensorRef("body_norm_output_quantizer", 0, 0) in total.inputs
    assert all(tensor.layer.endswith("quantizer") for tensor in total.inputs)


def test_a_rectifier_and_a_normalization_belong_to_the_convolution():
    def make(image):
        x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(image))
        return layers.ReLU(6.0, name="relu")(x)

    assert added(compressed(image_model(make))) == {"relu_output_quantizer": ["relu"]}


@pytest.mark.parametrize(
    "activation",
    [layers.LeakyReLU(name="other"), layers.ReLU(4.0, name="other"), layers.ReLU(negative_slope=0.1, name="other")],
    ids=["leaky", "up to 4", "with a slope"],
)
def test_other_functions_do_not(activation):
    model = compressed(image_model(lambda image: activation(layers.Conv2D(4, 3, name="conv")(image))))
    assert added(model) == {"conv_output_quantizer": ["conv"]}


def test_a_normalization_behind_a_rectifier_does_not():
    def make(image):
        x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
        return layers.BatchNormalization(name="norm")(x)

    assert added(compressed(image_model(make))) == {"conv_output_quantizer": ["conv"]}


def test_a_convolution_that_is_read_twice_ends_there():
    def make(image):
        x = layers.Conv2D(4, 3, name="conv")(image)
        return [layers.ReLU(name="relu")(x), layers.Softmax(name="softmax")(x)]

    assert added(compressed(image_model(make))) == {"conv_output_quantizer": ["conv"]}


def test_a_softmax_inside_a_dense_layer_becomes_a_layer_behind_the_quantizer():
    model = compressed(keras.Sequential([keras.Input((4,)), layers.Dense(3, "softmax", name="out")]))
    snapshot, inserts = quantize_outputs(take(model))
    assert [(insert.path, insert.sources) for insert in inserts] == [
        ("out_output_quantizer", (TensorRef("out", 0, 0),))
    ]
    complete = build(snapshot)
    assert [layer.name for layer in complete.layers][-3:] == ["out", "out_output_quantizer", "out_activation"]
    assert complete.get_layer("out").layer.activation is keras.activations.linear
    assert complete.get_layer("out_activation").activation is keras.activations.softmax


@pytest.mark.parametrize("activation", ["swish", "tanh", "gelu", "elu", "sigmoid"])
def test_an_activation_function_inside_a_convolution_becomes_a_layer(activation):
    model = compressed(image_model(lambda image: layers.Conv2D(4, 3, activation=activation, name="conv")(image)))
    complete = assert_computes_the_same(model)
    assert added(model) == {"conv_output_quantizer": ["conv"]}
    assert complete.get_layer("conv_activation").activation is keras.activations.get(activation)


@pytest.mark.parametrize("activation", ["linear", "relu", "relu6"])
def test_what_runtimes_fuse_stays_inside(activation):
    model = compressed(image_model(lambda image: layers.Conv2D(4, 3, activation=activation, name="conv")(image)))
    complete = assert_computes_the_same(model)
    assert not any("activation" in path for path, _ in leaf_layers(complete))


def test_heads_that_are_concatenated_share_one_quantizer():
    def make(image):
        heads = [layers.Conv2D(2, 1, name=name)(image) for name in ("a", "b", "c")]
        flat = [layers.Flatten(name=f"flat_{head}")(x) for head, x in zip("abc", heads, strict=True)]
        return layers.Softmax(name="softmax")(layers.Concatenate(name="join")(flat))

    model = compressed(image_model(make))
    assert added(model) == {"a_output_quantizer": ["a", "b", "c"]}
    complete = assert_computes_the_same(model)
    assert len([layer for layer in complete.layers if layer.name == "a_output_quantizer"]) == 1


def test_heads_of_other_concatenations_do_not():
    def make(image):
        pairs = [[layers.Conv2D(2, 1, name=f"{n}{i}")(image) for i in range(2)] for n in "ab"]
        return [layers.Softmax()(layers.Concatenate(name=f"join_{i}")(p)) for i, p in enumerate(pairs)]

    assert added(compressed(image_model(make))) == {
        "a0_output_quantizer": ["a0", "a1"],
        "b0_output_quantizer": ["b0", "b1"],
    }


def test_a_quantizer_that_is_there_is_read_by_all():
    model = compressed(zoo.residual(), ignored_scopes=["sum"])
    before = ModelGraph(take(model))
    assert {ref.layer for ref in before.consumers(TensorRef("stem_relu", 0, 0))} == {"stem_relu_quantizer", "sum"}
    snapshot, inserts = quantize_outputs(take(model))
    assert "stem_relu_output_quantizer" not in {insert.path for insert in inserts}
    after = ModelGraph(snapshot)
    assert [ref.layer for ref in after.consumers(TensorRef("stem_relu", 0, 0))] == ["stem_relu_quantizer"]
    assert {ref.layer for ref in after.consumers(TensorRef("stem_relu_quantizer", 0, 0))} == {"body", "sum"}
    assert_computes_the_same(model)


def test_layers_that_do_not_compute_with_integers_get_none():
    assert added(zoo.residual()) == {}
    assert added(compressed(zoo.residual(), ignored_scopes=["body", "out"])) == {}
    assert added(compressed(zoo.residual(), activations={"ignored_scopes": ["{re}.*"]})) == {}
    assert added(compressed(zoo.residual(), algorithm="magnitude_sparsity")) == {}


def test_layers_of_a_nested_model():
    model = compressed(zoo.nested())
    found = added(model)
    assert found["head/dense_output_quantizer"] == ["head/dense"]
    assert all(path.split("/")[0] == sources[0].split("/")[0] for path, sources in found.items())
    assert_computes_the_same(model)


@pytest.mark.parametrize("make", [zoo.dense, zoo.convolution, zoo.deferred])
def test_the_last_layer_of_a_sequential_model(make):
    model = compressed(make())
    assert added(model) == {"out_output_quantizer": ["out"]}
    complete = assert_computes_the_same(model)
    assert isinstance(complete, keras.Sequential)
    assert complete.layers[-1].name == "out_output_quantizer"


def test_a_name_that_is_taken_is_not_used_again():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="out"), layers.Softmax(name="out_output_quantizer")]
    )
    assert list(added(compressed(model))) == ["out_output_quantizer_"]


# What holds for every model


@zoo.every_kind
def test_every_model_computes_what_it_did(kind):
    assert_computes_the_same(zoo.compressed_once(kind)[1])


@zoo.every_kind
def test_nothing_is_added_twice(kind):
    complete = build(quantize_outputs(take(zoo.compressed_once(kind)[1]))[0])
    assert added(complete) == {}


@zoo.every_kind
def test_every_operation_of_integers_is_quantized_in_the_end(kind):
    graph = ModelGraph(quantize_outputs(take(zoo.compressed_once(kind)[1]))[0])
    computing = [node for node in graph.nodes.values() if computes_with_integers(graph, node)]
    assert computing
    for node in computing:
        assert leads_to_a_quantizer(graph, TensorRef(*node.ref, 0)), node.ref


def leads_to_a_quantizer(graph, tensor):
    """Whether the one reader of a tensor is a quantizer, perhaps behind a normalization or a rectifier."""
    readers = graph.consumers(tensor)
    if len(readers) != 1:
        return False
    if readers[0] not in graph.nodes:  # the end of a nested model: the quantizer may stand behind that
        scope = graph.producer(tensor).prefix[:-1]
        calls = [node.ref for node in graph.nodes.values() if node.ref.layer == scope]
        return bool(calls) and all(leads_to_a_quantizer(graph, TensorRef(*call, 0)) for call in calls)
    node = graph.nodes[readers[0]]
    if readers[0].layer in graph.nested_inputs:
        inside = graph.nested_inputs[readers[0].layer][node.inputs.index(tensor)]
        return leads_to_a_quantizer(graph, TensorRef(inside, 0, 0))
    if node.class_name.endswith("FakeQuantize"):
        return True
    fused = ("BatchNormalization", "ReLU", "TFOpLambda")
    return node.class_name in fused and leads_to_a_quantizer(graph, TensorRef(*node.ref, 0))


@pytest.mark.parametrize("make", [zoo.residual, zoo.nested, zoo.convolution])
def test_the_model_that_goes_in_is_not_changed(make):
    model = compressed(make())
    snapshot = take(model)
    config, weights = copy.deepcopy(snapshot.config), [array.copy() for array in model.get_weights()]
    quantize_outputs(snapshot)
    with_quantized_outputs(model, zoo.samples(model, 16))
    assert snapshot.config == config
    for array, old in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize("make", [zoo.residual, zoo.dicts, zoo.concatenation])
def test_ranges_are_measured_on_the_data(make):
    model = compressed(make())
    inputs = zoo.samples(model, 64)
    complete = with_quantized_outputs(model, inputs)
    _, inserts = quantize_outputs(take(model))
    quantizers = dict(leaf_layers(complete))
    assert inserts
    for insert in inserts:
        low, high = (float(end) for end in quantizers[insert.path].range())
        assert (low, high) != (-6.0, 6.0)
        assert low <= 0 < high
    for expected, received in zip(zoo.predict(model, inputs), zoo.predict(complete, inputs), strict=True):
        noise = np.mean((expected - received) ** 2)
        assert 0 < noise < np.mean(expected**2) / 100
