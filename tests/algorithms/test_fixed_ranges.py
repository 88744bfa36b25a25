"""Fixed ranges of activations: what the configuration gives is what every file has."""

import numpy as np
import pytest

import keras_compress as kc
from keras_compress import ConfigError
from keras_compress._keras import keras
from keras_compress.algorithms import PlanContext
from keras_compress.algorithms.quantization import Quantization
from keras_compress.graph import ModelGraph, take
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import AsymmetricFakeQuantize, SymmetricFakeQuantize

layers = keras.layers
SAMPLES = np.random.default_rng(0).normal(size=(32, 8, 8, 3)).astype("float32")
#: For each layer with a quantizer behind it a range, the class of its quantizer, and the ends of the grid of 8 bits.
RANGES = {
    "x": ((-4, 4), SymmetricFakeQuantize, (-4 * 128 / 127, 4)),
    "relu": ((0, 5.5), SymmetricFakeQuantize, (0, 5.5)),
    "tanh": ((-128 / 127, 1), SymmetricFakeQuantize, (-128 / 127, 1)),
    "leaky": ((-51 / 204, 1), AsymmetricFakeQuantize, (-51 / 204, 1)),
    "out": ((-3, 0), AsymmetricFakeQuantize, (-3, 0)),
}


def network():
    x = keras.Input((8, 8, 3), name="x")
    y = layers.Conv2D(4, 3, name="conv_1")(x)
    y = layers.ReLU(6.0, name="relu")(layers.BatchNormalization(name="normalization")(y))
    y = layers.Activation("tanh", name="tanh")(layers.Conv2D(4, 3, name="conv_2")(y))
    y = layers.LeakyReLU(0.1, name="leaky")(layers.Conv2D(4, 3, name="conv_3")(y))
    return keras.Model(x, layers.Dense(3, name="out")(layers.Flatten(name="flatten")(y)))


def configuration(activations, **settings):
    algorithm = {
        "algorithm": "quantization",
        "initializer": {"batchnorm_adaptation": {"num_bn_adaptation_samples": 0}},
        "scope_overrides": {"activations": activations},
        **settings,
    }
    return kc.register_default_init_args({"compression": algorithm}, SAMPLES)


def given():
    return {name: {"min": low, "max": high} for name, ((low, high), *_) in RANGES.items()}


def compress(activations, model=None, **settings):
    return kc.create_compressed_model(model or network(), configuration(activations, **settings))


def ends(model):
    """Return {name of the layer before it: ends of the grid} of each quantizer of activations."""
    found = {path: layer for path, layer in leaf_layers(model) if path.endswith("_quantizer")}
    return {path.removesuffix("_quantizer"): tuple(float(end) for end in op.range()) for path, op in found.items()}


def require_given(found):
    for name, (_, _, expected) in RANGES.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.fixture(scope="module")
def trained():
    """Return a controller and its model, trained for an epoch with everything set to be trained."""
    controller, compressed = compress(given(), quantize_outputs=True)
    compressed.trainable = True
    compressed.compile(keras.optimizers.Adam(0.1), "mse")
    callbacks = kc.create_compression_callbacks(controller, log_tensorboard=False)
    compressed.fit(SAMPLES, -np.ones((32, 3)), batch_size=8, verbose=0, callbacks=callbacks)
    return controller, compressed


def test_the_class_of_a_quantizer_is_the_one_that_has_the_range():
    _, compressed = compress(given(), quantize_outputs=True)
    found = dict(leaf_layers(compressed))
    for name, (_, kind, _) in RANGES.items():
        assert type(found[f"{name}_quantizer"]) is kind, name
    require_given(ends(compressed))


def test_training_leaves_fixed_ranges_and_trains_the_others():
    _, compressed = compress({"relu": {"min": 0, "max": 5.5}})
    compressed.trainable = True
    before = ends(compressed)
    compressed.compile(keras.optimizers.Adam(0.1), "mse")
    compressed.fit(SAMPLES, -np.ones((32, 3)), batch_size=8, verbose=0)
    after = ends(compressed)
    assert after["relu"] == before["relu"] == (0, 5.5)
    assert after["leaky"] != before["leaky"]


def test_they_stay_in_training_in_checkpoints_and_in_states(trained, tmp_path):
    controller, compressed = trained
    require_given(ends(compressed))
    compressed.save_weights(str(tmp_path / "numbers.weights.h5"))
    state = controller.get_compression_state()
    _, again = kc.create_compressed_model(network(), configuration(given(), quantize_outputs=True), state)
    again.load_weights(str(tmp_path / "numbers.weights.h5"))
    require_given(ends(again))
    compressed.save(str(tmp_path / "model.keras"))
    require_given(ends(keras.models.load_model(str(tmp_path / "model.keras"))))


def test_they_stay_where_activations_are_kept_in_a_stripped_model(trained):
    stripped = trained[0].strip(keep_activations=True)
    found = {path.removesuffix("_quantizer"): layer for path, layer in leaf_layers(stripped)}
    require_given({name: (float(found[name].low), float(found[name].high)) for name in RANGES})


@pytest.mark.parametrize("suffix", [".pb", ".xml", ".onnx", ".tflite"])
def test_files_have_them(trained, tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    kc.export_model(trained[1], path, data=SAMPLES)
    steps = {name: (high - low) / 255 for name, (_, _, (low, high)) in RANGES.items()}
    found = scales_in(path)
    for name, step in steps.items():
        assert np.isclose(found, step, rtol=1e-6).any(), f"{name}: {step} is not among {found}"


def scales_in(path):
    """Return the steps of all grids of one range in a file."""
    if path.suffix == ".tflite":
        from ai_edge_litert.interpreter import Interpreter

        return [tensor["quantization"][0] for tensor in Interpreter(str(path)).get_tensor_details()]
    if path.suffix == ".onnx":
        import onnx

        initializers = {one.name: one for one in onnx.load(path).graph.initializer}
        steps = [one for name, one in initializers.items() if "scale" in name and not list(one.dims)]
        return [float(onnx.numpy_helper.to_array(one)) for one in steps]
    if path.suffix == ".xml":
        import openvino

        operations = openvino.Core().read_model(path).get_ops()
        quantizers = [one for one in operations if one.get_type_name() == "FakeQuantize"]
        pairs = [[one.input_value(port).get_node().data.item() for port in (1, 2)] for one in quantizers]
        return [(high - low) / 255 for low, high in pairs]
    return frozen_scales(path)


def frozen_scales(path):
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    nodes = {node.name: node for node in graph.node}

    def value(name):
        node = nodes[name.partition(":")[0]]
        return value(node.input[0]) if node.op == "Identity" else tf.make_ndarray(node.attr["value"].tensor)

    quantizers = [node for node in graph.node if node.op == "FakeQuantWithMinMaxVars"]
    return [float(value(node.input[2]) - value(node.input[1])) / 255 for node in quantizers]


def test_a_range_without_zero_on_a_level_grows_at_one_end():
    _, compressed = compress({"leaky": {"min": -0.25, "max": 2}})
    low, high = ends(compressed)["leaky"]
    step = (high - low) / 255
    np.testing.assert_allclose(
        [low, high, -low / step], [-0.25, 0.25 * 227 / 28, 28], rtol=1e-6
    )  # 28.33 levels below zero before


def test_bits_and_channels_go_with_a_fixed_range():
    _, compressed = compress({"relu": {"min": 0, "max": 3, "bits": 4, "per_channel": True}})
    quantizer = compressed.get_layer("relu_quantizer")
    assert quantizer.num_bits == 4
    np.testing.assert_array_equal(quantizer.range()[1].numpy().reshape(-1), [3, 3, 3, 3])


def test_the_preset_for_asymmetric_activations_keeps_a_range_of_both_signs():
    _, compressed = compress({"tanh": {"min": -1, "max": 1}}, preset="mixed")
    assert type(compressed.get_layer("tanh_quantizer")) is AsymmetricFakeQuantize
    np.testing.assert_allclose(ends(compressed)["tanh"], (-128 / 127, 1), rtol=1e-6)


def test_no_data_are_needed_where_every_range_is_fixed(recwarn):
    model = keras.Sequential([keras.Input((4,), name="x"), layers.Dense(2, name="dense")])
    config = {
        "compression": {
            "algorithm": "quantization",
            "scope_overrides": {"activations": {"{re}.*": {"min": -1, "max": 1}}},
            "initializer": {"batchnorm_adaptation": {"num_bn_adaptation_samples": 0}},
        }
    }
    _, compressed = kc.create_compressed_model(model, config)
    assert not [warning for warning in recwarn if "no measured range" in str(warning.message)]
    [name] = ends(compressed)
    assert ends(compressed)[name][1] == 1


def joined():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    return keras.Model([a, b], layers.Dense(2, name="dense")(layers.Concatenate(name="joined")([a, b])))


def pairs():
    return {"compression": {"algorithm": "quantization", "initializer": {"range": {"num_init_samples": 0}}}}


def test_a_range_of_one_of_the_tensors_that_share_it_counts_for_all():
    config = pairs()
    config["compression"]["scope_overrides"] = {"activations": {"b": {"min": -2, "max": 2}}}
    _, compressed = kc.create_compressed_model(joined(), config)
    [found] = set(ends(compressed).values())
    assert found[1] == 2


def test_different_ranges_for_tensors_that_share_one_are_an_error():
    config = pairs()
    config["compression"]["scope_overrides"] = {"activations": {"a": {"min": -1, "max": 1}, "b": {"min": -2, "max": 2}}}
    with pytest.raises(ConfigError, match=r"'a' and 'b' are quantized with one range.*min=-1\.0, max=1\.0 and min=-2"):
        kc.create_compressed_model(joined(), config)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"min": 0}, "both 'min' and 'max', or neither"),
        ({"max": 1}, "both 'min' and 'max', or neither"),
        ({"min": 0, "max": 0}, "'min' below 'max'"),
        ({"min": 0, "max": 1e39}, "'min' below 'max'"),
        ({"min": 0, "max": 1e-40}, "'min' below 'max'"),
        ({"min": 1, "max": 2}, r"activations\.relu\.min.*less than or equal to 0"),
        ({"min": -2, "max": -1}, r"activations\.relu\.max.*greater than or equal to 0"),
        ({"min": 0, "max": float("nan")}, r"activations\.relu\.max"),
        ({"min": 0, "max": float("inf")}, r"activations\.relu\.max.*finite"),
        ({"min": 0, "max": True}, r"activations\.relu\.max.*number"),
        ({"min": 0, "max": "6"}, r"activations\.relu\.max.*number"),
        ({"min": 0, "max": [6]}, r"activations\.relu\.max.*number"),
        ({"min": 0, "max": 6, "initializer": {"range": {"type": "mse"}}}, "either a fixed range"),
        ({"min": -1, "max": 6, "mode": "symmetric"}, r"not that of a symmetric quantizer.*min=-1\.0, max=6\.0"),
        ({"min": 0, "max": 6, "signed": True}, r"does not go with its sign.*min=-max"),
        ({"min": -6, "max": 6, "signed": False}, r"does not go with its sign.*min=0"),
    ],
    ids=str,
)
def test_what_is_no_range_is_an_error(override, message):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        compress({"relu": override})


def test_a_symmetric_mode_for_the_whole_group_refuses_other_ranges_too():
    with pytest.raises(ConfigError, match="not that of a symmetric quantizer"):
        Quantization(
            activations={"mode": "symmetric"}, scope_overrides={"activations": {"relu": {"min": -1, "max": 6}}}
        ).plan(ModelGraph(take(network())), PlanContext())


def test_a_range_for_a_layer_without_a_quantizer_is_an_error_that_names_where_there_is_one():
    with pytest.raises(ConfigError, match=r"output of 'conv_1', which is not quantized.*quantize_outputs"):
        compress({"conv_1": {"min": -1, "max": 1}})
    with pytest.raises(ConfigError, match="output of 'out', which is not quantized"):
        compress({"out": {"min": -1, "max": 1}})


def test_weights_take_no_fixed_range():
    with pytest.raises(ConfigError, match=r"Unknown key 'compression\.scope_overrides\.weights\.conv_1\.max'"):
        compress({}, scope_overrides={"weights": {"conv_1": {"min": -1, "max": 1}}})


@pytest.mark.parametrize("ends", [(1, 2), (0, 0), (0,), "ab", (0, np.inf), (0, True), (2, 1), (0, 1, 2)], ids=str)
def test_a_quantizer_refuses_what_is_no_range(ends):
    with pytest.raises(ValueError, match="two finite numbers with zero between them as 'fixed_range'"):
        AsymmetricFakeQuantize(8, fixed_range=ends, name="q")


def test_a_symmetric_quantizer_refuses_ends_that_are_not_symmetric():
    with pytest.raises(ValueError, match=r"takes \(0, high\) or \(-high, high\)"):
        SymmetricFakeQuantize(8, fixed_range=(-1, 2), name="q")


@pytest.mark.parametrize("kind", [SymmetricFakeQuantize, AsymmetricFakeQuantize])
def test_measured_extremes_do_not_move_a_fixed_range(kind):
    quantizer = kind(8, fixed_range=(-1.0, 1.0))
    quantizer.build((4, 3))
    before = [end.numpy() for end in quantizer.range()]
    quantizer.set_range(np.float32(-7), np.float32(9))
    assert [end.numpy() for end in quantizer.range()] == before
    assert [end.item() for end in quantizer.range_for(np.float32([-7]), np.float32([9]))] == before
    assert kind.from_config(quantizer.get_config()).fixed_range == (-1.0, 1.0)
    assert quantizer.trainable_variables == []


def test_the_configuration_of_a_quantizer_without_a_fixed_range_is_as_it_was():
    assert "fixed_range" not in SymmetricFakeQuantize(8).get_config()
