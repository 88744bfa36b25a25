"""int8 activations have the zero point 0, as TensorRT takes them; grids that have another one are refused by name."""

import numpy as np
import onnx
import pytest

import keras_compress as kc
from keras_compress import ExportError
from keras_compress._keras import keras
from tests import zoo

layers = keras.layers
SIGNED = {"mode": "symmetric", "signed": True}


def compressed(model, x, activations):
    config = {"compression": {"algorithm": "quantization", "activations": activations}}
    return kc.create_compressed_model(model, kc.register_default_init_args(config, x))[1]


def activation_parameters(path):
    """Return the zero points of QuantizeLinear nodes as arrays."""
    graph = onnx.load(path).graph
    arrays = {value.name: onnx.numpy_helper.to_array(value) for value in graph.initializer}
    return [arrays[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]


@pytest.mark.parametrize("kind", ["dense", "convolution", "residual", "concatenation", "two_outputs"])
@pytest.mark.parametrize("measured", [False, True])
def test_signed_symmetric_activations_are_int8_with_zero_point_zero(kind, measured, tmp_path):
    model = getattr(zoo, kind)()
    x = zoo.samples(model, 16, seed=3)
    quantized = compressed(model, x, SIGNED)
    options = {"calibration_data": x} if measured else {"calibration_data": None}
    paths = {name: tmp_path / f"{name}.onnx" for name in ("int8", "uint8")}
    reports = {
        name: kc.export_model(quantized, path, data=x, activation_type=name, strict=measured, **options)
        for name, path in paths.items()
    }
    zeros = activation_parameters(paths["int8"])
    assert zeros
    assert all(zero.dtype == np.int8 and not zero.any() for zero in zeros)
    assert all(zero.dtype == np.uint8 for zero in activation_parameters(paths["uint8"]))
    int8, uint8 = (reports[name].comparison.sqnr for name in ("int8", "uint8"))
    assert int8 >= (25 if measured else 40)
    if not measured:  # then the grids are the same: what is in the middle of two levels is rounded alike
        assert int8 >= min(60, uint8 - 1)


def test_other_grids_are_refused_by_name(tmp_path):
    model = keras.Sequential([keras.Input((6,), name="x"), layers.Dense(4)])
    x = np.random.default_rng(1).uniform(0, 1, (16, 6)).astype(np.float32)
    quantized = compressed(model, x, {"mode": "asymmetric"})
    with pytest.raises(ExportError, match=r"'x_quantizer' .*not symmetric.*\"signed\": true"):
        kc.export_model(quantized, tmp_path / "model.onnx", activation_type="int8")
    assert not list(tmp_path.iterdir())


def test_other_types_are_refused(tmp_path):
    with pytest.raises(ExportError, match="uint8 or int8"):
        kc.export_model(zoo.dense(), tmp_path / "model.onnx", activation_type="int16")
