"""Which normalizations stand directly behind which layers; what is made of it is tested where layers are folded."""

import pytest

from keras_compress._keras import keras
from keras_compress.graph import ModelGraph, take
from keras_compress.graph.compressed_entry import inner_entry
from keras_compress.graph.normalized_layers import normalized_layers
from keras_compress.graph.snapshot import entries
from tests import zoo
from tests.graph.chains import chain, conv

layers = keras.layers


def found(model):
    return normalized_layers(ModelGraph(take(model)))


def norm(name="norm", **options):
    return layers.BatchNormalization(name=name, **options)


@pytest.mark.parametrize(
    "between", [[], [layers.Dropout(0.5)], [layers.GaussianNoise(0.1), layers.Activation("linear")]], ids=len
)
def test_layers_that_do_nothing_at_inference_may_stand_between(between):
    assert found(chain(conv(), *between, norm())) == {"norm": ("conv",)}


@pytest.mark.parametrize(
    "parts",
    [
        [conv(), layers.ReLU(), norm()],
        [conv(activation="relu"), norm()],
        [conv(), layers.AlphaDropout(0.5), layers.Activation("tanh"), norm()],
        [conv(), norm(axis=1)],
        [conv(), norm(axis=[1, 3])],
        [norm()],
        [layers.SeparableConv2D(4, 3), norm()],
    ],
    ids=["rectifier", "fused", "tanh", "another axis", "two axes", "input", "separable"],
)
def test_what_changes_values_forbids_it(parts):
    assert found(chain(*parts)) == {}


def test_only_the_first_of_two_normalizations_is_directly_behind():
    assert found(chain(conv(), norm("one"), norm("other"))) == {"one": ("conv",)}


def test_a_normalization_of_several_layers_names_them_all():
    x = keras.Input((8, 8, 3), name="x")
    shared = norm()
    model = keras.Model(x, [shared(conv("a")(x)), shared(conv("b")(x))])
    assert found(model) == {"norm": ("a", "b")}


def test_a_layer_that_is_called_twice_forbids_it():
    x, shared = keras.Input((8, 8, 3), name="x"), conv("a")
    assert found(keras.Model(x, [norm()(shared(x)), layers.ReLU(name="relu")(shared(x))])) == {}


def test_a_dense_layer_needs_a_known_rank():
    assert found(chain(layers.Flatten(), layers.Dense(4, name="dense"), norm(axis=1))) == {"norm": ("dense",)}
    assert found(chain(layers.Dense(4, name="dense"), norm(axis=3))) == {"norm": ("dense",)}
    assert found(chain(layers.Dense(4, name="dense"), norm(axis=1))) == {}
    assert found(chain(layers.Reshape((8, 24)), layers.Dense(4, name="dense"), norm(axis=2))) == {}


def test_compressed_layers_count_as_what_they_hold():
    _, model = zoo.compress(zoo.residual(), activations={"ignored_scopes": ["{re}.*"]})
    assert found(model) == {"stem_norm": ("stem",), "body_norm": ("body",)}
    kinds = {path: inner_entry(entry)["class_name"] for path, entry in entries(take(model).config)}
    assert (kinds["stem"], kinds["stem_norm"]) == ("Conv2D", "BatchNormalization")


def test_layers_in_nested_models_are_found_and_none_across_the_border():
    assert found(zoo.nested()) == {"backbone/norm": ("backbone/conv",)}
    inner = keras.Input((8, 8, 3), name="inner")
    inside = keras.Model(inner, conv()(inner), name="inside")
    assert found(chain(inside, norm())) == {}


def test_a_sequential_model_that_learned_its_input_later_has_them_too():
    model = keras.Sequential([conv(), norm()], name="deferred")
    model.build((None, 8, 8, 3))
    assert found(model) == {"norm": ("conv",)}
