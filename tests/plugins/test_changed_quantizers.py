"""A quantizer of another package that computes something of its own is exported as what it computes."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.algorithms import CompressionAlgorithm, Plan, plan_activations, register_algorithm, registry
from keras_compress.graph.compressed_entry import CompressedEntry, Operation, described
from keras_compress.graph.passes.fix_quantizers import fix_quantizers
from keras_compress.graph.quantization_points import QuantizationPoint
from keras_compress.graph.snapshot import entries, take
from keras_compress.layers import AsymmetricFakeQuantize, BinaryActivation, SymmetricFakeQuantize, fixed_fits
from tests.levels import levels


def registered(cls):
    return keras.saving.register_keras_serializable("changed")(cls)


@registered
class OwnApply(SymmetricFakeQuantize):
    def apply(self, inputs, training):
        return tf.round(inputs * 2.0) / 2.0


@registered
class OwnCall(SymmetricFakeQuantize):
    def call(self, inputs, training=None):
        return tf.floor(inputs * 4.0) / 4.0


@registered
class OwnQuantized(AsymmetricFakeQuantize):
    def quantized(self, values):
        return tf.sign(values) * tf.round(tf.sqrt(tf.abs(values)) * 8.0) ** 2 / 64.0


@registered
class OwnRange(AsymmetricFakeQuantize):
    def range(self):
        return tf.constant(-4.0), tf.constant(4.0 * 127 / 128)


@registered
class OwnSteps(SymmetricFakeQuantize):
    @property
    def grid_bits(self):
        return 3


@registered
class ChildOfOwn(OwnApply):
    """Inherits the computation of another package."""


@registered
class OnlyAnotherName(SymmetricFakeQuantize):
    """Computes what its parent computes."""


@registered
class OwnFixed(OwnApply):
    """Says itself what stands for it in files."""

    def fixed(self, num_bits=None):
        return keras.layers.Activation("tanh", name=self.name), {}


@registered
class OwnThreshold(BinaryActivation):
    def apply(self, inputs, training):
        return tf.cast(inputs > 0.25, inputs.dtype)


CHANGED = [OwnApply, OwnCall, OwnQuantized, OwnRange, OwnSteps, ChildOfOwn, OwnThreshold]
CURRENT = {}


class Changed(CompressionAlgorithm):
    """Puts one operation in front of every dense layer."""

    name = "changed_quantizers"

    def plan(self, graph, context):
        nodes = [(ref, node) for ref, node in graph.nodes.items() if node.is_a("Dense")]
        points = [QuantizationPoint((node.inputs[0],), (ref,)) for ref, node in nodes]
        return Plan(tuple(plan_activations(graph, points, lambda _, name: CURRENT["class"](name=name), "changed")))

    def initialize(self, ops, model, data):
        for bound in ops:
            if not isinstance(bound.op, BinaryActivation):
                bound.op.set_range(np.float32(-3.0), np.float32(3.0))
        return False


@pytest.fixture(scope="module", autouse=True)
def algorithm():
    """Register the algorithm for the tests of this module."""
    register_algorithm(Changed)
    yield
    registry._ALGORITHMS.pop(Changed.name)


SAMPLES = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)


def compressed(kind):
    keras.utils.set_random_seed(0)
    CURRENT["class"] = kind
    x = keras.Input((8,), name="input_1")
    config = {"compression": {"algorithm": "changed_quantizers"}}
    return kc.create_compressed_model(
        keras.Model(x, keras.layers.Dense(3)(x)), kc.register_default_init_args(config, SAMPLES)
    )[1]


def test_a_grid_that_a_runtime_lacks_is_an_error_that_names_it(tmp_path):
    with pytest.raises(kc.ExportError, match="input_1_changed"):
        kc.export_model(compressed(OwnSteps), tmp_path / "model.tflite", data=SAMPLES)


@pytest.mark.parametrize("suffix", levels(["pb", "onnx", "tflite", "xml"], first=["pb"]))
@pytest.mark.parametrize("kind", levels([kind for kind in CHANGED if kind is not OwnSteps], first=[OwnApply, OwnRange]))
def test_files_hold_what_it_computes(kind, suffix, tmp_path):
    report = kc.export_model(compressed(kind), tmp_path / f"model.{suffix}", data=SAMPLES)
    assert report.problems == []
    assert report.comparison.sqnr > 100


@pytest.mark.parametrize("kind", levels(CHANGED, first=[OwnApply, OwnCall, OwnThreshold]))
def test_a_stripped_model_with_activations_computes_it(kind):
    model = compressed(kind)
    stripped = kc.strip(model, keep_activations=True)
    assert kind.__name__ in [type(layer).__name__ for layer in stripped.layers]
    np.testing.assert_allclose(stripped(SAMPLES), model(SAMPLES, training=False), atol=1e-6)


@pytest.mark.parametrize("kind", levels(CHANGED[:-1], first=[OwnQuantized]))
def test_a_weight_is_mapped_by_it_and_gets_no_quantizer(kind):
    dense = keras.layers.Dense(3, name="dense")
    snapshot = take(keras.Sequential([keras.Input((8,)), dense])).edited()
    op = kind(name="op")
    op.build((8, 3))
    [(path, entry)] = [(path, entry) for path, entry in entries(snapshot.config) if entry["class_name"] == "Dense"]
    arrays = {variable.name: variable.numpy() for variable in op.weights}
    arrays = {name.rpartition("/")[2].partition(":")[0]: array for name, array in arrays.items()}
    wrapped = CompressedEntry.wrapping(entry, snapshot.weights[path], [Operation("kernel", described(op), arrays)])
    weights = {**snapshot.weights, path: wrapped.write_to(entry)}
    fixed = fix_quantizers(snapshot.with_weights(weights))
    [kernel] = [array for name, array in fixed.weights[path].items() if name.endswith("kernel")]
    np.testing.assert_allclose(kernel, op(dense.kernel.numpy(), training=False), atol=1e-6)
    assert len(fixed.weights[path]) == 2


def test_one_that_changes_nothing_becomes_what_runtimes_know():
    stripped = kc.strip(compressed(OnlyAnotherName), keep_activations=True)
    assert "FixedFakeQuantize" in [type(layer).__name__ for layer in stripped.layers]


def test_one_that_says_what_stands_for_it_is_believed():
    stripped = kc.strip(compressed(OwnFixed), keep_activations=True)
    assert "Activation" in [type(layer).__name__ for layer in stripped.layers]


@pytest.mark.parametrize(
    "kind", [SymmetricFakeQuantize, AsymmetricFakeQuantize, BinaryActivation, OnlyAnotherName, OwnFixed]
)
def test_the_replacement_fits_where_it_was_written_for_the_class(kind):
    assert fixed_fits(kind)


@pytest.mark.parametrize("kind", CHANGED)
def test_an_inherited_replacement_does_not_fit_a_changed_computation(kind):
    assert not fixed_fits(kind)
