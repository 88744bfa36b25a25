"""Which normalizations can be folded into which layers, and where a bias is added; what is made of it is tested with the passes."""

import pytest

from keras_compress._keras import keras
from keras_compress.graph import ModelGraph, take
from keras_compress.graph.batch_norm_fusion import BiasLocation, bias_locations, foldable_batch_norms
from keras_compress.graph.compressed_entry import inner_entry
from keras_compress.graph.snapshot import entries
from tests import zoo
from tests.graph.chains import chain, conv

layers = keras.layers


def found(model):
    return foldable_batch_norms(ModelGraph(take(model)))


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


def test_a_dense_layer_may_be_of_any_rank():
    assert found(chain(layers.Flatten(), layers.Dense(4, name="dense"), norm(axis=1))) == {"norm": ("dense",)}
    assert found(chain(layers.Dense(4, name="dense"), norm(axis=3))) == {"norm": ("dense",)}
    assert found(chain(layers.Dense(4, name="dense"), norm(axis=1))) == {}
    assert found(chain(layers.Reshape((8, 24)), layers.Dense(4, name="dense"), norm(axis=2))) == {"norm": ("dense",)}
    assert found(chain(layers.UnitNormalization(), layers.Dense(4, name="dense"), norm(axis=3))) == {"norm": ("dense",)}


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


def locations(model):
    return bias_locations(ModelGraph(take(model)))


def test_a_layer_carries_its_own_bias_whatever_is_behind_it():
    found = locations(chain(conv(), layers.BatchNormalization(name="norm")))
    assert found == {"conv": BiasLocation("conv", "kernel", "conv", "bias", 1)}


def test_the_normalization_behind_a_layer_without_a_bias_carries_it():
    found = locations(chain(conv(use_bias=False), layers.Dropout(0.5), layers.BatchNormalization(name="norm")))
    assert found == {"conv": BiasLocation("conv", "kernel", "norm", "moving_mean", -1)}


WITHOUT = {
    "nothing behind": [conv(use_bias=False)],
    "a rectifier between": [conv(use_bias=False), layers.ReLU(), layers.BatchNormalization()],
    "a fused activation": [conv(use_bias=False, activation="relu"), layers.BatchNormalization()],
    "pooling between": [conv(use_bias=False), layers.MaxPooling2D(), layers.BatchNormalization()],
    "another axis": [conv(use_bias=False), layers.BatchNormalization(axis=1)],
    "several kernels": [layers.SeparableConv2D(4, 3)],
    "a layer around a layer": [layers.Reshape((4, 48)), layers.TimeDistributed(layers.Dense(3))],
    "recurrent layers": [layers.Reshape((4, 48)), layers.LSTM(3)],
    "no kernel": [layers.LayerNormalization(), layers.BatchNormalization()],
}


@pytest.mark.parametrize("what", WITHOUT)
def test_layers_without_a_place_for_a_constant_have_none(what):
    assert locations(chain(*WITHOUT[what])) == {}


def test_a_second_reader_forbids_the_normalization():
    x = keras.Input((8, 8, 3), name="x")
    y = conv(use_bias=False)(x)
    assert locations(keras.Model(x, [layers.BatchNormalization(name="norm")(y), layers.ReLU(name="relu")(y)])) == {}


def test_a_normalization_of_two_layers_carries_no_bias():
    x = keras.Input((8, 8, 3), name="x")
    norm = layers.BatchNormalization(name="norm")
    both = [norm(conv(name, use_bias=False)(x)) for name in "ab"]
    assert locations(keras.Model(x, both)) == {}


def test_layers_of_nested_models_have_places_inside():
    found = locations(zoo.nested())
    assert set(found) == {"backbone/conv", "head/dense"}
    inner = keras.Input((8, 8, 3), name="inner")
    inside = keras.Model(inner, layers.BatchNormalization(name="norm")(conv(use_bias=False)(inner)), name="inside")
    assert locations(chain(inside)) == {
        "inside/conv": BiasLocation("inside/conv", "kernel", "inside/norm", "moving_mean", -1)
    }


def test_a_normalization_behind_a_nested_model_is_another_model():
    inner = keras.Input((8, 8, 3), name="inner")
    inside = keras.Model(inner, conv(use_bias=False)(inner), name="inside")
    assert locations(chain(inside, layers.BatchNormalization(name="norm"))) == {}


def test_kernels_have_the_names_of_their_layers():
    model = chain(
        layers.DepthwiseConv2D(3, name="depthwise"),
        layers.Conv2DTranspose(4, 2, name="transposed"),
        layers.EinsumDense("abcd,de->abce", (None, None, 5), bias_axes="e", name="einsum"),
        layers.Dense(3, name="dense"),
    )
    weights = {path: location.weight for path, location in locations(model).items()}
    assert weights == {"depthwise": "depthwise_kernel", "transposed": "kernel", "einsum": "kernel", "dense": "kernel"}


def test_a_layer_of_ones_own_is_no_convolution():
    class Conv2D(layers.Layer):
        def build(self, input_shape):
            self.kernel = self.add_weight("kernel", (3, 4))
            self.bias = self.add_weight("bias", (4,))

        def call(self, inputs):
            return inputs @ self.kernel * self.bias

    assert locations(chain(Conv2D(name="own"))) == {}
