"""The table of layers: roles, weights and channel axes, checked on living layers."""

import numpy as np
import pytest

from keras_compress import ConfigError, register_layer_spec
from keras_compress._keras import keras
from keras_compress.graph import LayerRole, spec_of, take
from keras_compress.graph.layer_specs import operator_role

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
    assert operator_role(function, tensors) is role


def test_a_row_can_be_added():
    register_layer_spec("RowOfTheTest", {"kernel": -1, "table": (0, 1)}, role="merge")
    spec = spec_of("RowOfTheTest")
    assert spec.role is LayerRole.MERGE
    assert [(row.path, row.channel_axes) for row in spec.weights] == [("kernel", (-1,)), ("table", (0, 1))]


def test_an_unknown_role_is_an_error():
    with pytest.raises(ConfigError, match=r"roles.*'compute'.*role='computes'"):
        register_layer_spec("Other", {}, role="computes")
