"""What another package registers keeps the contracts, and is compressed, stripped, exported and audited like what is built in."""

import numpy as np
import pytest

import keras_compress as kc
from keras_compress.algorithms import registry as algorithm_registry
from keras_compress.errors import ExportError
from keras_compress.export import registered_formats, registry
from keras_compress.graph import ModelGraph, layer_lookup, take
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import FixedFakeQuantize
from tests import zoo
from tests.contract import outside

FILES = ["model.pb", "model.onnx", "model.xml", "model.tflite", "model"]


@pytest.fixture(scope="module", autouse=True)
def plugins():
    """Import the modules of the other package; what they register is forgotten afterwards."""
    algorithms, layer_rows = dict(algorithm_registry._ALGORITHMS), dict(layer_lookup._REGISTERED)
    from tests.plugins.plain_format import PLAIN
    from tests.plugins.rounding import Rounding

    registered_formats()
    kc.register_format(PLAIN)
    with outside.known_to_the_contract(Rounding):
        yield
    algorithm_registry._ALGORITHMS.clear()
    algorithm_registry._ALGORITHMS.update(algorithms)
    registry._FORMATS.pop("plain")
    layer_lookup._REGISTERED.clear()
    layer_lookup._REGISTERED.update(layer_rows)


@pytest.mark.parametrize("test", outside.TESTS)
def test_the_algorithm_keeps_the_contract(test, tmp_path):
    outside.run(test, "rounding", tmp_path)


@pytest.fixture
def rounded():
    """A model whose dense layers read rounded values, and its inputs."""
    model = zoo.nested()
    controller, _ = zoo.compress(model, "rounding")
    return model, controller, zoo.samples(model, 16)


def test_strip_removes_its_operations(rounded):
    model, controller, inputs = rounded
    assert any(type(layer).__name__ == "RoundActivation" for _, layer in leaf_layers(controller.model))
    zoo.assert_same_predictions(controller.strip(), model, inputs)


@pytest.mark.parametrize("name", FILES)
def test_files_hold_its_operations_fixed_and_compute_the_same(rounded, name, tmp_path):
    _, controller, inputs = rounded
    report = controller.export_model(tmp_path / name, data=inputs)
    assert report.problems == []
    assert report.comparison.sqnr > 40


def test_its_operations_are_fixed_for_files(rounded):
    from keras_compress.graph.passes.fix_quantizers import fix_quantizers

    _, controller, _ = rounded
    graph = ModelGraph(fix_quantizers(take(controller.model)))
    kinds = {node.entry["registered_name"] for node in graph.nodes.values()}
    assert "rounding>RoundActivation" not in kinds
    assert f"keras_compress>{FixedFakeQuantize.__name__}" in kinds


@pytest.mark.parametrize("kind", ["convolution", "shared_layer", "nested"])
def test_the_format_is_written_read_audited_and_run(kind, tmp_path):
    controller, model = zoo.compress(zoo.MODELS[kind]())
    inputs = zoo.samples(model, 16)
    report = controller.export_model(tmp_path / "model.plain", data=inputs, compressed=False)
    assert report.save_format == "plain"
    assert report.problems == []
    assert report.size == (tmp_path / "model.plain").stat().st_size
    assert report.comparison.sqnr > 10  # without the quantizers of activations
    assert kc.audit(model, tmp_path / "model.plain").problems == []


def test_the_format_is_benchmarked_and_a_wrong_file_is_named(tmp_path):
    controller, model = zoo.compress(zoo.convolution())
    path = controller.export_model(tmp_path / "model.plain").path
    [row] = kc.benchmark([path], zoo.samples(model, 1), rounds=2).rows
    assert row.median > 0
    other = zoo.compress(zoo.convolution(), weights={"bits": 3})[1]
    assert {problem.layer for problem in kc.audit(other, path).problems} == {"conv", "out"}


def test_an_option_the_format_does_not_have_and_a_name_twice_are_errors(tmp_path):
    controller, _ = zoo.compress(zoo.dense())
    with pytest.raises(ExportError, match=r"'plain' has no option 'opset'.*'compressed'"):
        controller.export_model(tmp_path / "model.plain", opset=17)
    form = registered_formats()["plain"]
    with pytest.raises(ExportError, match=r"a format 'onnx' with the suffix '\.onnx' already"):
        kc.register_format(type(form)("mine", ".onnx", form.write, form.stored_weights, form.load))


def test_a_layer_of_another_package_is_compressed():
    from keras_compress._keras import keras

    @keras.saving.register_keras_serializable("plugins")
    class Scaled(keras.layers.Layer):
        def build(self, shape):
            self.factors = self.add_weight("factors", (shape[-1], 3))
            super().build(shape)

        def call(self, inputs):
            return inputs @ self.factors

    kc.register_layer_spec(Scaled, {"factors": -1})
    model = keras.Sequential([keras.Input((4,), name="x"), Scaled(name="scaled")])
    inputs = zoo.samples(model, 16)
    _, compressed = zoo.compress(model)
    [weight] = kc.quantization_parameters(compressed)
    assert weight == "scaled/factors"
    error = np.abs(zoo.predict(compressed, inputs)[0] - zoo.predict(model, inputs)[0]).mean()
    assert 0 < error < 0.05
