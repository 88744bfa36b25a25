"""The quantization algorithm: which quantizers a configuration puts where, with what settings."""

import warnings

import numpy as np
import pytest

import keras_compress as kc
from keras_compress import ConfigError, create_compressed_model, register_default_init_args, register_layer_spec
from keras_compress._keras import keras
from keras_compress.algorithms import PlanContext
from keras_compress.algorithms.quantization import Quantization
from keras_compress.graph import InsertLayer, ModelGraph, WrapWeight, take
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import AsymmetricFakeQuantize, FakeQuantize, SymmetricFakeQuantize, observed
from tests import zoo

layers = keras.layers


def plan(make, *, device="ANY", **settings):
    context = PlanContext(target_device=device)
    algorithm = Quantization(**settings)
    return algorithm.plan(ModelGraph(algorithm.prepare(take(make()), context)), context)


def weight_ops(plan):
    """Return {(layer, weight): config of the quantizer}."""
    return {(edit.layer, edit.weight): edit.op["config"] for edit in plan.edits if isinstance(edit, WrapWeight)}


def activation_ops(plan):
    """Return {name of the quantizer: its class name and config}."""
    inserts = [edit for edit in plan.edits if isinstance(edit, InsertLayer)]
    return {edit.path: (edit.layer["class_name"], edit.layer["config"]) for edit in inserts}


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (zoo.dense, {("hidden", "kernel"): (-1,), ("out", "kernel"): (-1,)}),
        (
            zoo.odd_convolutions,
            {
                ("depthwise", "depthwise_kernel"): (-2, -1),
                ("separable_depthwise", "depthwise_kernel"): (-2, -1),
                ("separable", "kernel"): (-1,),
                ("transposed", "kernel"): (-2,),
            },
        ),
        (zoo.shared_layer, {("shared", "kernel"): (-1,), ("out", "kernel"): (-1,)}),
        (zoo.nested, {("backbone/conv", "kernel"): (-1,), ("head/dense", "kernel"): (-1,)}),
        (
            zoo.recurrent,
            {
                ("embedding", "embeddings"): (0,),
                ("rnn", "cell.kernel"): (-1,),
                ("rnn", "cell.recurrent_kernel"): (-1,),
                ("out", "kernel"): (-1,),
            },
        ),
    ],
)
def test_weights_are_quantized_along_their_output_channels(make, expected):
    assert {key: tuple(config["channel_axes"]) for key, config in weight_ops(plan(make)).items()} == expected


def test_the_ranges_of_depthwise_channels_are_all_different():
    _, compressed = zoo.compress(zoo.odd_convolutions())
    assert len(np.unique(compressed.get_layer("depthwise").weight_ops[0].scale)) == 6


def test_weights_of_a_layer_of_ones_own_are_quantized_when_registered():
    class Outer(layers.Dense):
        pass

    register_layer_spec(Outer, {"kernel": 1})
    model = keras.Sequential([keras.Input((4,), name="x"), Outer(3, name="own")])
    edits = Quantization().plan(ModelGraph(take(model)), PlanContext()).edits
    assert [type(edit) for edit in edits] == [WrapWeight, InsertLayer]
    assert edits[0].op["config"]["channel_axes"] == (1,)


@pytest.mark.parametrize(
    ("preset", "weights", "activations"),
    [
        ("performance", SymmetricFakeQuantize, SymmetricFakeQuantize),
        ("mixed", SymmetricFakeQuantize, AsymmetricFakeQuantize),
    ],
)
def test_the_preset_chooses_the_modes(preset, weights, activations):
    _, compressed = zoo.compress(zoo.convolution(), preset=preset)
    assert {type(layer) for layer in compressed.layers if isinstance(layer, FakeQuantize)} == {activations}
    assert type(compressed.get_layer("conv").weight_ops[0]) is weights


@pytest.mark.parametrize(
    ("settings", "config"),
    [
        ({}, {"num_bits": 8, "narrow_range": True, "half_range": False, "channel_axes": (-1,)}),
        ({"weights": {"bits": 4}}, {"num_bits": 4}),
        ({"weights": {"per_channel": False}}, {"channel_axes": None}),
        ({"weights": {"mode": "asymmetric"}}, {"narrow_range": False}),
        ({"device": "TRIAL"}, {"channel_axes": None}),
        ({"device": "TRIAL", "weights": {"per_channel": True}}, {"channel_axes": (-1,)}),
        ({"overflow_fix": "enable"}, {"half_range": True}),
        ({"overflow_fix": "enable", "device": "CPU_SPR"}, {"half_range": False}),
        ({"overflow_fix": "enable", "weights": {"bits": 4}}, {"half_range": False, "num_bits": 4}),
        ({"scope_overrides": {"weights": {"conv": {"bits": 2}}}, "weights": {"bits": 6}}, {"num_bits": 2}),
        ({"scope_overrides": {"weights": {"{re}^out$": {"bits": 2}}}}, {"num_bits": 8}),
        ({"initializer": {"precision": {"bitwidth_per_scope": [[3, "conv"]]}}}, {"num_bits": 3}),
    ],
)
def test_settings_of_a_weight_quantizer(settings, config):
    found = weight_ops(plan(zoo.convolution, **settings))["conv", "kernel"]
    assert {key: found[key] for key in config} == config


@pytest.mark.parametrize("make", [zoo.convolution, zoo.deferred, zoo.residual, zoo.nested])
def test_overflow_is_fixed_in_the_first_layer_only_on_demand(make):
    found = weight_ops(plan(make, overflow_fix="first_layer_only"))
    first, *rest = found.values()
    assert first["half_range"]
    assert not any(config["half_range"] for config in rest)


@pytest.mark.parametrize("make", [zoo.dense, zoo.deferred, zoo.residual, zoo.nested, zoo.transfer, zoo.dicts])
def test_inputs_stay_in_floating_point_on_demand(make):
    model = make()
    _, compressed = zoo.compress(model, quantize_inputs=False)
    inputs = zoo.samples(model, 4)
    quantized = [layer for _, layer in leaf_layers(compressed) if isinstance(layer, FakeQuantize)]
    seen = []
    with observed(dict.fromkeys(quantized, seen.append), quantized):
        compressed(inputs)
    arrays = list(inputs.values()) if isinstance(inputs, dict) else [inputs]
    for tensor in seen:
        assert not any(tensor.shape == array.shape and np.array_equal(tensor, array) for array in arrays)


def test_activation_settings_by_scope():
    found = activation_ops(
        plan(
            zoo.residual,
            activations={"bits": 6, "signed": True},
            scope_overrides={"activations": {"stem_relu": {"mode": "asymmetric", "bits": 4}}},
        )
    )
    assert found["stem_relu_quantizer"][0] == "AsymmetricFakeQuantize"
    assert found["stem_relu_quantizer"][1]["num_bits"] == 4
    assert found["pool_quantizer"][0] == "SymmetricFakeQuantize"
    assert (found["pool_quantizer"][1]["num_bits"], found["pool_quantizer"][1]["signed"]) == (6, True)


def test_an_initializer_by_scope_reaches_every_call_of_a_shared_layer():
    model = zoo.shared_layer()
    overrides = {"activations": {"shared": {"initializer": {"range": {"num_init_samples": 0}}}}}
    with pytest.warns(UserWarning, match="2 activation quantizers have no measured range"):
        _, compressed = zoo.compress(model, scope_overrides=overrides)
    unmeasured = {layer.name for layer in compressed.layers if getattr(layer, "scale", 0) == 6.0}
    assert unmeasured == {"shared_quantizer", "shared_quantizer_1_0"}


@pytest.mark.parametrize(
    ("settings", "weights", "activations"),
    [
        ({"ignored_scopes": ["body"]}, {"stem", "out"}, {"image", "stem_relu", "sum_relu", "pool"}),
        (
            {"weights": {"ignored_scopes": ["body"]}},
            {"stem", "out"},
            {"image", "stem_relu", "sum_relu", "pool"},
        ),
        ({"activations": {"ignored_scopes": ["{re}.*"]}}, {"stem", "body", "out"}, set()),
        ({"target_scopes": ["out"]}, {"out"}, {"pool"}),
    ],
)
def test_scopes_of_weights_and_activations(settings, weights, activations):
    found = plan(zoo.residual, **settings)
    assert {layer for layer, _ in weight_ops(found)} == weights
    assert {name.removesuffix("_quantizer") for name in activation_ops(found)} == activations


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"weights": {"ignored_scopes": ["stme"]}}, "ignored_scopes"),
        ({"activations": {"target_scopes": ["stme"]}}, "target_scopes"),
        ({"scope_overrides": {"weights": {"stme": {"bits": 4}}}}, "scope_overrides.weights"),
        ({"scope_overrides": {"activations": {"stme": {"bits": 4}}}}, "scope_overrides.activations"),
        ({"initializer": {"precision": {"bitwidth_per_scope": [[4, "stme"]]}}}, "bitwidth_per_scope"),
        ({"initializer": {"range": {"target_scopes": ["stme"]}}}, "target_scopes"),
        ({"activations": {"unified_scale_ops": [["stme", "sum_relu"]]}}, "unified_scale_ops"),
    ],
)
def test_every_scope_that_names_nothing_is_an_error(settings, key):
    with pytest.raises(ConfigError, match=rf"{key}.*'stme'.*Nearest: stem"):
        plan(zoo.residual, **settings)


def test_ranges_can_be_tied_on_demand():
    found = plan(zoo.residual, activations={"unified_scale_ops": [["stem_relu", "sum_relu"]]})
    (tied,) = [e for e in found.edits if isinstance(e, InsertLayer) and len(e.sources) == 2]
    assert [source.layer for source in tied.sources] == ["stem_relu", "sum_relu"]
    model = zoo.residual()
    _, compressed = zoo.compress(model, activations={"unified_scale_ops": [["stem_relu", "sum_relu"]]})
    assert np.isfinite(zoo.predict(compressed, zoo.samples(model))[0]).all()


def test_an_ignored_layer_reads_floating_point_while_others_read_integers():
    inserts = {e.path: e for e in plan(zoo.residual, ignored_scopes=["sum"]).edits if isinstance(e, InsertLayer)}
    assert [consumer.layer for consumer in inserts["stem_relu_quantizer"].consumers] == ["body"]
    assert "sum_relu_quantizer" in inserts


def scaled_input():
    inputs = keras.Input((8,), name="image")
    x = layers.Normalization(mean=0.0, variance=1.0, name="scaled")(layers.Rescaling(1 / 255, name="divided")(inputs))
    return keras.Model(inputs, layers.Dense(2, name="out")(layers.Dense(4, activation="relu", name="hidden")(x)))


@pytest.mark.parametrize(("bits", "trained"), [(8, False), (4, True)])
def test_the_range_of_data_is_not_trained_with_eight_bits(bits, trained):
    ops = activation_ops(plan(scaled_input, activations={"bits": bits}))
    found = {name: config["trainable"] for name, (_, config) in ops.items()}
    assert found == {"scaled_quantizer": trained, "hidden_quantizer": True}


def test_integer_inputs_are_never_quantized():
    words = keras.Input((5,), dtype="int32", name="words")
    joined = layers.Add(name="sum")([words, words])
    model = keras.Model(words, joined)
    assert activation_ops(Quantization().plan(ModelGraph(take(model)), PlanContext())) == {}


def test_what_is_left_alone_is_told_with_its_reason():
    found = plan(zoo.dense, ignored_scopes=["hidden"])
    assert [(w.layer, w.weight) for w in found.skipped] == [("hidden", "kernel")]
    assert "scope" in found.skipped[0].reason


def test_names_of_quantizers_do_not_collide_with_layers():
    x = keras.Input((4,), name="x")
    hidden = layers.Dense(3, name="x_quantizer")(x)
    model = keras.Model(x, layers.Dense(2, name="out")(hidden))
    data = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    config = register_default_init_args({"compression": {"algorithm": "quantization"}}, data)
    _, compressed = create_compressed_model(model, config)
    names = [layer.name for layer in compressed.layers]
    assert len(names) == len(set(names))
    assert np.isfinite(compressed(data)).all()


@pytest.mark.parametrize("preset", ["performance", "mixed"])
@pytest.mark.parametrize("operation", [layers.Add, layers.Multiply, layers.Average, layers.Maximum])
def test_operands_of_elementwise_operations_share_a_range_on_an_npu(operation, preset):
    x = keras.Input((8,))
    a, b = layers.Dense(4, "relu", name="a")(x), layers.Dense(4, "relu", name="b")(x)
    model = keras.Model(x, layers.Dense(2, name="last")(operation()([layers.ReLU()(a), layers.ReLU()(b * 9.0)])))
    data = np.random.default_rng(0).normal(size=(32, 8)).astype(np.float32)

    def ranges(device):
        compressed = kc.quantize(model, data, target_device=device, preset=preset)
        graph = ModelGraph(take(compressed))
        [merge] = [node for node in graph.nodes.values() if node.is_a(operation.__name__)]
        quantizers = [compressed.get_layer(source.layer) for source in merge.inputs]
        return {float(quantizer.range()[1]) for quantizer in quantizers if isinstance(quantizer, FakeQuantize)}

    assert len(ranges("NPU")) == 1
    assert len(ranges("CPU")) == 2


def test_weights_of_zero_are_compressed_quietly():
    model = zoo.dense()
    model.set_weights([np.zeros_like(array) for array in model.get_weights()])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, compressed = zoo.compress(model)
    np.testing.assert_array_equal(zoo.predict(compressed, zoo.samples(model))[0], 0.0)
