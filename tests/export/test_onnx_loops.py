"""A convolution in front of a recurrent layer: ONNX Runtime loads the file, and computes what the model does."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export.onnx_loops import keep_quantizers_out_of_loops, reading_from_outside
from tests.levels import levels

layers = keras.layers


def conv(**options):
    return layers.Conv1D(4, 3, padding="same", **options)


RECURRENT = {
    "gru": lambda: layers.GRU(4, return_sequences=True),
    "lstm": lambda: layers.LSTM(4),
    "simple": lambda: layers.SimpleRNN(4),
    "both ways": lambda: layers.Bidirectional(layers.GRU(4)),
}
FRONTS = {
    "convolution": lambda: [keras.Input((10, 6)), conv()],
    "open length": lambda: [keras.Input((None, 6)), conv()],
    "normalized": lambda: [keras.Input((10, 6)), conv(), layers.BatchNormalization(), layers.ReLU()],
    "pooled": lambda: [keras.Input((10, 6)), conv(activation="relu"), layers.MaxPooling1D()],
    "averaged": lambda: [keras.Input((10, 6)), conv(), layers.AveragePooling1D()],
    "two": lambda: [keras.Input((10, 6)), conv(), conv()],
    "image": lambda: [keras.Input((8, 8, 2)), layers.Conv2D(4, 3, padding="same"), layers.Reshape((8, 32))],
    "dropped": lambda: [keras.Input((10, 6)), conv(), layers.Dropout(0.5)],
}
CASES = [(front, recurrent) for front in FRONTS for recurrent in RECURRENT]


@pytest.mark.parametrize(
    "case",
    levels(CASES, first=[("convolution", "gru"), ("image", "lstm"), ("normalized", "both ways")]),
)
def test_convolutions_in_front_of_recurrent_layers(case, tmp_path):
    front, recurrent = case
    model = keras.Sequential([*FRONTS[front](), RECURRENT[recurrent]()])
    shape = [10 if size is None else size for size in model.inputs[0].shape[1:]]
    x = np.random.default_rng(3).normal(size=(8, *shape)).astype(np.float32)
    report = kc.export_model(kc.quantize(model, x), tmp_path / "model.onnx", data=x)
    assert report.problems == []
    assert report.comparison.sqnr >= 60


def loop_of_a_quantized_tensor():
    """A loop whose body reads a transposed, dequantized tensor from outside."""
    make, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    kinds = onnx.TensorProto
    body = onnx.helper.make_graph(
        [
            make("Identity", ["goes_on"], ["go_on"]),
            make("Gather", ["moved", "step"], ["row"], axis=1),
            make("Add", ["state", "row"], ["next"]),
        ],
        "body",
        [info("step", kinds.INT64, []), info("goes_on", kinds.BOOL, []), info("state", kinds.FLOAT, ["n"])],
        [info("go_on", kinds.BOOL, []), info("next", kinds.FLOAT, ["n"])],
    )
    constants = {"scale": np.float32(0.1), "zero": np.uint8(128), "steps": np.int64(4), "true": np.bool_(True)}
    constants["start"] = np.zeros(3, np.float32)
    graph = onnx.helper.make_graph(
        [
            make("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            make("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
            make("Transpose", ["d"], ["moved"], perm=[1, 0]),
            make("Loop", ["steps", "true", "start"], ["y"], body=body),
        ],
        "model",
        [info("x", kinds.FLOAT, [4, 3])],
        [info("y", kinds.FLOAT, [3])],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)


def test_a_quantizer_in_front_of_a_loop_is_kept_out_of_it(tmp_path):
    model = loop_of_a_quantized_tensor()
    keep_quantizers_out_of_loops(model.graph)
    onnx.checker.check_model(model)
    loop = next(node for node in model.graph.node if node.op_type == "Loop")
    read = {reader.input[index] for reader, index in reading_from_outside(loop.attribute[0].g)}
    assert read == {"moved/in_loop"}
    onnx.save(model, tmp_path / "model.onnx")
    script = (
        "import sys, numpy, onnxruntime\n"
        "session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])\n"
        "print(session.run(None, {'x': numpy.full((4, 3), 0.5, numpy.float32)})[0].tolist())"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "model.onnx")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    np.testing.assert_allclose(json.loads(ran.stdout), [2.0] * 3, rtol=1e-6)
