"""The table of layers: roles, weights and channel axes, checked on living layers."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import ConfigError, register_layer_spec
from keras_compress._keras import keras
from keras_compress.graph import LayerRole, LayerSpec, ModelGraph, TensorRef, build, spec_of, take
from keras_compress.graph.activations import UNKNOWN
from keras_compress.graph.batch_norm_fusion import foldable_batch_norms
from keras_compress.graph.layer_lookup import operator_spec
from keras_compress.graph.layer_table import LAYER_TABLE
from keras_compress.graph.passes.equalize_channels import EqualizedPair, equalize_channels, equalized_pairs
from keras_compress.graph.passes.fold_batch_norm import fold_batch_norm

layers = keras.layers

LAYERS = {
    "Conv1D": (layers.Conv1D(5, 2), (7, 3)),
    "Conv2D": (layers.Conv2D(5, 2), (7, 7, 3)),
    "Conv3D": (layers.Conv3D(5, 2), (4, 4, 4, 3)),
    "Dense": (layers.Dense(5), (3,)),
    "DepthwiseConv1D": (layers.DepthwiseConv1D(2, depth_multiplier=2), (7, 3)),
    "DepthwiseConv2D": (layers.DepthwiseConv2D(2, depth_multiplier=2), (7, 7, 3)),
    "Conv1DTranspose": (layers.Conv1DTranspose(5, 2), (7, 3)),
    "Conv2DTranspose": (layers.Conv2DTranspose(5, 2), (7, 7, 3)),
    "SeparableConv2D": (layers.SeparableConv2D(5, 2, depth_multiplier=2), (7, 7, 3)),
    "LSTM": (layers.LSTM(5), (7, 3)),
    "GRU": (layers.GRU(5), (7, 3)),
    "Embedding": (layers.Embedding(9, 5), (7,)),
    "TimeDistributed": (layers.TimeDistributed(layers.Dense(5)), (7, 3)),
    "Bidirectional": (layers.Bidirectional(layers.SimpleRNN(5)), (7, 3)),
    "RNN": (layers.RNN(layers.GRUCell(5)), (7, 3)),
    "EinsumDense": (layers.EinsumDense("abc,cd->abd", (None, 5)), (7, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_weights_of_a_row_exist_and_are_all_matrices_of_the_layer(name):
    layer, shape = LAYERS[name]
    layer = type(layer).from_config(layer.get_config())
    snapshot = take(keras.Sequential([keras.Input(shape), layer]))
    entry = next(e for e in snapshot.config["config"]["layers"] if e["class_name"] == name)
    rows = spec_of(name, entry["config"]).weights
    weights = snapshot.weights[layer.name]
    matrices = {path for path, array in weights.items() if array.ndim >= 2 and not path.endswith("bias")}
    assert {row.path for row in rows} == matrices


@pytest.mark.parametrize("name", ["Conv1D", "Conv2D", "Conv3D", "Dense", "DepthwiseConv1D", "DepthwiseConv2D"])
def test_scaling_one_channel_of_a_weight_scales_one_channel_of_the_output(name):
    layer, shape = LAYERS[name]
    layer = type(layer).from_config({**layer.get_config(), "use_bias": False})
    model = keras.Sequential([keras.Input(shape), layer])
    (row,) = spec_of(name).weights
    weight = getattr(layer, row.path)
    axes = [axis % weight.shape.rank for axis in row.channel_axes]
    sizes = [weight.shape[axis] for axis in axes]
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    before = model(x).numpy()
    factors = np.arange(1, np.prod(sizes) + 1, dtype=np.float32)
    broadcast = [size if axis in axes else 1 for axis, size in enumerate(weight.shape)]
    weight.assign(weight * factors.reshape(broadcast))
    np.testing.assert_allclose(model(x), before * factors, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("Conv2D", LayerRole.COMPUTE),
        ("Add", LayerRole.MERGE),
        ("GlobalAveragePooling2D", LayerRole.MERGE),
        ("MaxPooling2D", LayerRole.TRANSPARENT),
        ("Flatten", LayerRole.TRANSPARENT),
        ("Concatenate", LayerRole.CONCAT),
        ("ReLU", LayerRole.OTHER),
        ("BatchNormalization", LayerRole.OTHER),
        ("Softmax", LayerRole.OTHER),
        ("NobodyKnows", LayerRole.OTHER),
    ],
)
def test_roles(name, role):
    assert spec_of(name).role is role


@pytest.mark.parametrize(("interpolation", "role"), [("nearest", LayerRole.TRANSPARENT), ("bilinear", LayerRole.OTHER)])
def test_interpolation_makes_new_values(interpolation, role):
    assert spec_of("UpSampling2D", {"interpolation": interpolation}).role is role


@pytest.mark.parametrize(
    ("function", "tensors", "role"),
    [
        ("math.add", 2, LayerRole.MERGE),
        ("math.add", 1, LayerRole.OTHER),
        ("concat", 3, LayerRole.CONCAT),
        ("reshape", 1, LayerRole.TRANSPARENT),
        ("math.exp", 1, LayerRole.OTHER),
        ("linalg.matmul", 2, LayerRole.COMPUTE),
    ],
)
def test_roles_of_functions(function, tensors, role):
    assert operator_spec(function, tensors).role is role


def test_a_row_can_be_added():
    register_layer_spec("RowOfTheTest", {"kernel": -1, "table": (0, 1)}, role="merge")
    spec = spec_of("RowOfTheTest")
    assert spec.role is LayerRole.MERGE
    assert [(row.path, row.channel_axes) for row in spec.weights] == [("kernel", (-1,)), ("table", (0, 1))]


def test_an_unknown_role_is_an_error():
    with pytest.raises(ConfigError, match=r"roles.*'compute'.*role='computes'"):
        register_layer_spec("Other", {}, role="computes")


def test_facts_about_one_weight_need_one_weight():
    with pytest.raises(ConfigError, match=r"'foldable'.*'Two'.*weights=\{'a': -1, 'b': -1\}.*Leave 'foldable' out"):
        register_layer_spec("Two", {"a": -1, "b": -1}, foldable=True)
    with pytest.raises(ConfigError, match="'input_axis'"):
        register_layer_spec("None", {}, input_axis=0)


#: Arguments of every class of the table that says more than a role and weights.
ARGUMENTS = {
    "Dense": [5],
    "EinsumDense": ["...a,ab->...b", (5,)],
    "RepeatVector": [3],
    "Reshape": [(-1,)],
    "Permute": [(1,)],
    "Dropout": [0.5],
    "AlphaDropout": [0.5],
    "GaussianDropout": [0.5],
    "GaussianNoise": [0.5],
    "ActivityRegularization": [0.1],
    "Activation": ["relu"],
    "Rescaling": [0.5, 0.1],
    "Normalization": [-1, 0.5, 2.0],
    "Lambda": [tf.identity],
}
for _axes in (1, 2, 3):
    ARGUMENTS |= {f"{kind}{_axes}D": [5, 2] for kind in ("Conv", "SeparableConv", "LocallyConnected")}
    ARGUMENTS |= {f"Conv{_axes}DTranspose": [5, 2], f"DepthwiseConv{_axes}D": [2], f"SpatialDropout{_axes}D": [0.5]}
JOINING = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Dot", "Concatenate")


def with_facts():
    """Return the classes of the table with facts about their output."""
    return [
        name
        for name, spec in LAYER_TABLE.items()
        if name[0].isupper() and name not in JOINING and spec != LayerSpec(spec.role, spec.weights)
    ]


def made(name):
    """Return a model of one layer of a class, its row and samples."""
    layer = getattr(layers, name)(*ARGUMENTS.get(name, []), name="layer")
    axes = int(name[-2]) if name[-1] == "D" else int(name[-11]) if name.endswith("DTranspose") else 0
    shape = (*[4] * axes, 3)
    model = keras.Sequential([keras.Input(shape), layer])
    for variable in model.variables:
        if "variance" not in variable.name:
            variable.assign(tf.random.stateless_normal(variable.shape, (1, 2)))
    x = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    return model, ModelGraph(take(model)).producer(TensorRef("layer", 0, 0)).spec, x


@pytest.mark.parametrize("name", with_facts())
def test_what_the_table_says_of_a_class_is_what_its_layers_do(name):
    model, spec, x = made(name)
    y = model(x).numpy()
    assert spec.rank in (None, y.ndim)
    assert not spec.keeps_rank or y.ndim == x.ndim
    if spec.elementwise:
        np.testing.assert_allclose(model(x[:, ::-1]), y[:, ::-1], rtol=1e-6)
    if spec.inert_at_inference:
        np.testing.assert_array_equal(y, x)
    if spec.scales_with_input:
        np.testing.assert_allclose(model(3 * x), 3 * y, rtol=1e-5, atol=1e-6)
    if spec.keeps_channels:
        one = np.where(np.arange(3) == 1, x + 1, x)
        changed = np.any(model(one).numpy() != y, axis=tuple(range(y.ndim - 1)))
        assert changed.tolist() == [False, True, False]
    assert y.min() >= spec.activation.low
    assert y.max() <= spec.activation.high


@pytest.mark.parametrize("name", [name for name in with_facts() if LAYER_TABLE[name].linear])
def test_linear_layers_are_a_product_plus_a_bias(name):
    model, spec, x = made(name)
    layer = model.get_layer("layer")
    [row] = spec.weights
    kernel = getattr(layer, row.path)
    y = model(x).numpy()
    kernel.assign(2 * kernel)
    offset = 2 * y - model(x).numpy()
    np.testing.assert_allclose(2 * y - offset, model(x), rtol=1e-4, atol=1e-4)
    if spec.foldable:
        np.testing.assert_allclose(offset, np.broadcast_to(layer.bias, offset.shape), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "name", [n for n in with_facts() if any(w.input_axis is not None for w in LAYER_TABLE[n].weights)]
)
def test_a_factor_of_an_input_channel_can_go_into_the_weight(name):
    model, spec, x = made(name)
    [row] = spec.weights
    kernel = getattr(model.get_layer("layer"), row.path)
    y = model(x).numpy()
    factors = np.float32([2, 3, 5])
    shape = [1] * kernel.shape.rank
    shape[row.input_axis] = 3
    kernel.assign(kernel / factors.reshape(shape))
    np.testing.assert_allclose(model(x * factors), y, rtol=1e-4, atol=1e-4)


def test_groups_and_several_filters_for_a_channel_have_no_input_axis():
    linear = {"activation": "linear"}
    assert spec_of("Conv2D", {**linear, "groups": 2}).weights[0].input_axis is None
    assert spec_of("DepthwiseConv2D", {**linear, "depth_multiplier": 2}).weights[0].input_axis is None
    assert spec_of("DepthwiseConv2D", {**linear, "depth_multiplier": 1}).weights[0].input_axis == -2


def test_a_layer_that_cannot_tell_its_arguments_may_have_any_of_them():
    spec = spec_of("Conv2D", {"name": "conv", "trainable": True})
    assert spec.activation is UNKNOWN
    assert not spec.foldable
    assert spec.weights[0].input_axis is None


def with_function(option):
    """Return a convolution with a function without a name, and a normalization and another convolution behind it."""
    conv = layers.Conv2D(4, 3, name="conv", **{option: lambda values: tf.nn.relu(values)})
    norm = layers.BatchNormalization(name="norm")
    return ModelGraph(take(keras.Sequential([keras.Input((6, 6, 3)), conv, norm, layers.Conv2D(2, 1)])))


def test_a_function_that_only_the_live_layer_knows_is_not_folded_away():
    graph = with_function("activation")
    assert foldable_batch_norms(graph) == {}
    assert equalized_pairs(graph) == []


@pytest.mark.parametrize("option", ["kernel_regularizer", "kernel_constraint", "activity_regularizer"])
def test_a_function_of_training_alone_does_not_keep_a_normalization_from_being_folded(option):
    assert foldable_batch_norms(with_function(option)) == {"norm": ("conv",)}


def test_channels_in_front_cannot_be_folded():
    first = spec_of("Conv2D", {"activation": "linear", "data_format": "channels_first"})
    assert not first.foldable
    assert first.weights[0].input_axis is None
    assert spec_of("Conv2D", {"activation": "linear", "data_format": "channels_last"}).foldable


@keras.saving.register_keras_serializable("tests")
class Doubling(layers.Conv2D):
    """A convolution of another package, with a factor on its kernel that none of Keras' has."""

    def call(self, inputs):
        outputs = 2.0 * super().call(inputs)
        return outputs - self.bias if self.use_bias else outputs


def test_a_layer_of_another_package_is_folded_and_equalized_like_one_of_keras():
    def model():
        keras.utils.set_random_seed(0)
        x = keras.Input((6, 6, 3))
        y = Doubling(4, 3, use_bias=False, name="first")(x)
        y = layers.BatchNormalization(name="norm", beta_initializer="random_normal")(y)
        return keras.Model(x, Doubling(5, 3, name="second")(layers.ReLU()(y)))

    facts = {
        "linear": True,
        "foldable": True,
        "convolution": True,
        "input_axis": -2,
        "activation_argument": "activation",
        "rank": 4,
    }
    graph = ModelGraph(take(model()))
    assert foldable_batch_norms(graph) == {}
    assert equalized_pairs(graph) == []
    register_layer_spec(Doubling, {"kernel": -1}, **facts)
    try:
        graph = ModelGraph(take(model()))
        assert foldable_batch_norms(graph) == {"norm": ("first",)}
        assert equalized_pairs(graph) == [EqualizedPair("first", "second", "norm")]
        inputs = np.random.default_rng(2).normal(size=(2, 6, 6, 3)).astype(np.float32)
        for rewritten in (fold_batch_norm(take(model())), equalize_channels(take(model()))):
            np.testing.assert_allclose(build(rewritten)(inputs), model()(inputs), rtol=1e-4, atol=1e-5)
    finally:
        register_layer_spec(Doubling, {"kernel": -1})


def test_a_registered_layer_with_an_activation_of_its_own_is_not_linear():
    register_layer_spec("WithActivation", {"kernel": -1})
    assert spec_of("WithActivation", {"activation": "relu"}).activation.name == "relu"
    assert spec_of("WithActivation", {}).activation.name == "linear"


def test_a_class_called_like_an_operator_changes_no_operator():
    register_layer_spec("concat", {}, role="other")
    assert operator_spec("concat", 2).role is LayerRole.CONCAT


def test_a_linear_layer_has_a_weight_of_its_own():
    with pytest.raises(ConfigError, match=r"'linear'.*inside another layer.*'inner.kernel'"):
        register_layer_spec("Outer", {"inner.kernel": -1}, linear=True)
