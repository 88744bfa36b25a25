"""The quantizers that a runtime needs stand in the model from the start: exports add none, and files compute what is trained."""

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.graph import take
from keras_compress.graph.passes.quantize_outputs import quantize_outputs
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import FakeQuantize, SymmetricFakeQuantize
from tests import zoo
from tests.levels import levels

layers = keras.layers

#: What the writer of each format asks for beyond the model's own quantizers.
ASKED = {
    "onnxruntime": {"of_matrix_products": False, "into_recurrent_layers": False},
    "tflite": {},
    "tensorrt": {"of_matrix_products": False, "into_recurrent_layers": False, "symmetric": True},
}
FILES = {"onnxruntime": "model.onnx", "tflite": "model.tflite", "tensorrt": "model.onnx"}


def created(model, runtime, **settings):
    values = {"compression": {"algorithm": "quantization", **settings}, "target_runtime": runtime}
    return kc.create_compressed_model(model, kc.register_default_init_args(values, zoo.samples(model, 48, seed=5)))


def quantizers(model):
    return {path: layer for path, layer in leaf_layers(model) if isinstance(layer, FakeQuantize)}


def swish():
    """Convolutions with activation functions that no runtime fuses, a sum, a concatenation, two readers."""
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", activation="swish", name="first")(image)
    y = layers.Conv2D(4, 3, padding="same", name="second")(x)
    x = layers.Add(name="sum")([x, y])
    left, right = layers.Conv2D(4, 1, activation="tanh", name="left")(x), layers.Conv2D(4, 1, name="right")(x)
    x = layers.Concatenate(name="joined")([left, right])
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Conv2D(6, 3, activation="relu", name="last")(x))
    return keras.Model(image, layers.Dense(3, "softmax", name="out")(x), name="swish_net")


KINDS = {**zoo.MODELS, "swish": swish}
every_kind = pytest.mark.parametrize("kind", levels(KINDS, first=["residual", "swish", "shared_layer"]))


@pytest.mark.parametrize("runtime", ASKED)
@every_kind
def test_exports_add_no_quantizer(kind, runtime):
    _, compressed = created(KINDS[kind](), runtime)
    _, added = quantize_outputs(take(compressed), **ASKED[runtime])
    assert [edit.path for edit in added] == []


def test_the_default_is_that_of_openvino_and_adds_nothing():
    model = zoo.residual()
    _, compressed = created(model, "openvino")
    assert quantizers(compressed).keys() == quantizers(zoo.compress(model)[1]).keys()
    _, added = quantize_outputs(take(compressed))
    assert added


@pytest.mark.parametrize("runtime", ASKED)
def test_files_compute_what_the_model_computes(runtime, tmp_path):
    model = swish()
    controller, compressed = created(model, runtime)
    inputs = zoo.samples(model, 32, seed=8)
    options = {"activation_type": "int8"} if runtime == "tensorrt" else {}
    report = controller.export_model(tmp_path / FILES[runtime], data=inputs, **options)
    assert report.problems == []
    assert report.comparison.sqnr > 35
    assert len(quantizers(compressed)) > len(quantizers(created(model, "openvino")[1]))


def test_one_model_serves_several_runtimes():
    _, compressed = created(swish(), ["openvino", "onnxruntime", "tflite"])
    for asked in (ASKED["onnxruntime"], ASKED["tflite"]):
        assert quantize_outputs(take(compressed), **asked)[1] == []


def test_grids_for_tensorrt_are_symmetric_and_signed():
    for op in quantizers(created(swish(), "tensorrt", preset="mixed")[1]).values():
        assert isinstance(op, SymmetricFakeQuantize)
        assert bool(op.signed)


def test_training_and_resuming_work(tmp_path):
    model = swish()
    controller, compressed = created(model, "tflite")
    compressed.compile("sgd", "sparse_categorical_crossentropy")
    inputs = zoo.samples(model, 32)
    compressed.fit(inputs, np.arange(32) % 3, verbose=0, callbacks=kc.create_compression_callbacks(controller))
    config = {"compression": {"algorithm": "quantization"}, "target_runtime": "tflite"}
    _, resumed = kc.create_compressed_model(model, config, controller.get_compression_state())
    resumed.set_weights(compressed.get_weights())
    zoo.assert_same_predictions(resumed, compressed, inputs)
    stripped = controller.strip()
    assert not quantizers(stripped)


def test_quantize_takes_it_too():
    model = zoo.residual()
    quantized = kc.quantize(model, zoo.samples(model, 16), target_runtime=["onnxruntime"])
    assert quantize_outputs(take(quantized), **ASKED["onnxruntime"])[1] == []


@pytest.mark.parametrize("wrong", ["openvin", [], 3, ["tflite", None]])
def test_other_runtimes_are_an_error_that_names_them(wrong):
    with pytest.raises(kc.ConfigError, match="target_runtime"):
        kc.CompressionConfig.from_dict({"compression": {"algorithm": "quantization"}, "target_runtime": wrong})
