"""Every compressible weight is offered once; what the algorithm says about it becomes an edit or a reason."""

import pytest

from keras_compress import ConfigError, create_compressed_model, register_layer_spec
from keras_compress._keras import keras
from keras_compress.algorithms.base import OUTSIDE, PlanContext
from keras_compress.algorithms.magnitude_sparsity import MagnitudeSparsity
from keras_compress.algorithms.weight_planning import compressible_weights, plan_weights
from keras_compress.graph import ModelGraph, layer_lookup, take
from keras_compress.layers import SparsityMask
from tests import zoo

layers = keras.layers


class Weighted(layers.Layer):
    """A layer of one's own with a matrix of a name of its own."""

    def build(self, input_shape):
        self.matrix = self.add_weight("matrix", (input_shape[-1], 4))

    def call(self, inputs):
        return inputs @ self.matrix


@pytest.fixture
def registry(monkeypatch):
    """What is registered in a test is forgotten behind it."""
    monkeypatch.setattr(layer_lookup, "_REGISTERED", {})


def with_own_layer():
    return keras.Sequential([keras.Input((3,), name="x"), Weighted(name="own"), layers.Dense(2, name="out")])


def found(model):
    graph = ModelGraph(take(model))
    return {(weight.layer, weight.spec.path): weight.shape for weight in compressible_weights(graph)}


def plan(model, make_op=lambda weight: SparsityMask(name=weight.op_name("mask")), context=None, **settings):
    algorithm = MagnitudeSparsity(**settings)
    return plan_weights(algorithm, ModelGraph(take(model)), context or PlanContext(), make_op)


# Which weights there are


def test_weights_have_the_shapes_of_the_model():
    assert found(zoo.residual()) == {
        ("stem", "kernel"): (3, 3, 3, 4),
        ("body", "kernel"): (3, 3, 4, 4),
        ("out", "kernel"): (4, 3),
    }


def test_a_layer_may_have_several_weights():
    assert list(found(zoo.recurrent())) == [
        ("embedding", "embeddings"),
        ("rnn", "cell.kernel"),
        ("rnn", "cell.recurrent_kernel"),
        ("out", "kernel"),
    ]


def test_layers_of_nested_models_have_paths():
    assert list(found(zoo.nested())) == [("backbone/conv", "kernel"), ("head/dense", "kernel")]


def test_a_shared_layer_is_offered_once():
    assert list(found(zoo.shared_layer())) == [("shared", "kernel"), ("out", "kernel")]


def test_biases_and_normalizations_are_not_offered():
    assert list(found(zoo.convolution())) == [("conv", "kernel"), ("out", "kernel")]


def test_the_channel_axes_are_those_of_the_table():
    weights = {weight.layer: weight for weight in compressible_weights(ModelGraph(take(zoo.odd_convolutions())))}
    assert weights["depthwise"].spec.channel_axes == (-2, -1)
    assert weights["transposed"].spec.channel_axes == (-2,)
    assert weights["transposed"].node.class_name == "Conv2DTranspose"


def test_operations_are_named_after_their_weight():
    names = {w.layer: w.op_name("mask") for w in compressible_weights(ModelGraph(take(zoo.recurrent())))}
    assert names == {"embedding": "embeddings_mask", "rnn": "cell_recurrent_kernel_mask", "out": "kernel_mask"}


# Layers of one's own


def test_a_registered_weight_is_offered(registry):
    register_layer_spec(Weighted, {"matrix": -1})
    assert found(with_own_layer())["own", "matrix"] == (3, 4)


def test_a_layer_that_is_not_registered_is_not_offered(registry):
    assert list(found(with_own_layer())) == [("out", "kernel")]


@pytest.mark.parametrize("name", ["kernel", "cell.kernel", "Matrix"])
def test_a_registered_weight_that_the_layer_does_not_have_is_an_error(registry, name):
    register_layer_spec(Weighted, {name: -1})
    with pytest.raises(ConfigError, match=rf"'own' of class Weighted has no weight '{name}'.*one of \['matrix'\]"):
        found(with_own_layer())


def test_one_missing_weight_among_others_is_an_error(registry):
    register_layer_spec(Weighted, {"matrix": -1, "bias": -1})
    with pytest.raises(ConfigError, match=r"no weight 'bias'.*Correct the registration"):
        found(with_own_layer())


@pytest.mark.parametrize("algorithm", ["quantization", "magnitude_sparsity", "rb_sparsity"])
def test_every_algorithm_says_so(registry, algorithm):
    register_layer_spec(Weighted, {"kernel": -1})
    with pytest.raises(ConfigError, match="'own' of class Weighted has no weight 'kernel'"):
        create_compressed_model(with_own_layer(), {"compression": {"algorithm": algorithm}})


def test_a_layer_of_keras_without_an_optional_weight_is_no_error():
    x = keras.Input((4,), name="x")
    unbuilt = layers.Activation("relu", name="relu")
    assert list(found(keras.Model(x, unbuilt(layers.Dense(2, name="out")(x))))) == [("out", "kernel")]


# Plans


def test_every_weight_in_scope_gets_the_operation():
    planned = plan(zoo.residual())
    assert [(edit.layer, edit.weight) for edit in planned.edits] == [
        (name, "kernel") for name in ("stem", "body", "out")
    ]
    assert all(edit.op["class_name"] == "SparsityMask" for edit in planned.edits)
    assert {edit.op["config"]["name"] for edit in planned.edits} == {"kernel_mask"}
    assert planned.skipped == ()


def test_a_reason_becomes_a_skipped_weight():
    def make_op(weight):
        return "too small" if weight.layer == "out" else SparsityMask(name=weight.op_name("mask"))

    planned = plan(zoo.residual(), make_op)
    assert [edit.layer for edit in planned.edits] == ["stem", "body"]
    assert [(row.layer, row.weight, row.reason) for row in planned.skipped] == [("out", "kernel", "too small")]


def test_weights_out_of_scope_are_not_asked_about():
    asked = []

    def make_op(weight):
        asked.append(weight.layer)
        return SparsityMask(name=weight.op_name("mask"))

    planned = plan(zoo.residual(), make_op, ignored_scopes=["body"])
    assert asked == ["stem", "out"]
    assert [(row.layer, row.reason) for row in planned.skipped] == [("body", OUTSIDE)]


def test_a_scope_that_names_nothing_is_an_error():
    with pytest.raises(ConfigError, match=r"'stme'.*Nearest: stem"):
        plan(zoo.residual(), ignored_scopes=["stme"])
