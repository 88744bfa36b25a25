"""ONNX files: standard operations only, same numbers in ONNX Runtime, quantized models refused."""

import numpy as np
import onnx
import onnxruntime
import pytest

from keras_compress.errors import ExportError
from tests import zoo

BINARY = {"params": {"activations_quant_start_epoch": 0, "weights_quant_start_epoch": 0}}
SPARSE = {"sparsity_init": 0.6, "params": {"sparsity_target": 0.6}}


def run(path, inputs):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [argument.name for argument in session.get_inputs()]
    arrays = {names[0]: inputs}
    return session.run(None, arrays)


@pytest.mark.parametrize(("algorithm", "settings"), [("binarization", BINARY), ("magnitude_sparsity", SPARSE)])
@pytest.mark.parametrize("make", [zoo.convolution, zoo.residual, zoo.concatenation])
def test_onnx_runtime_gives_the_outputs_of_keras(make, algorithm, settings, tmp_path):
    model = make()
    controller, compressed = zoo.compress(model, algorithm, **settings)
    images = zoo.samples(model)
    path = controller.export_model(tmp_path / "model.onnx")
    written = onnx.load(path)
    onnx.checker.check_model(written)
    assert {node.domain for node in written.graph.node} <= {"", "ai.onnx"}
    assert [value.name for value in written.graph.input] == compressed.input_names
    assert [value.name for value in written.graph.output] == compressed.output_names
    expected = compressed(images, training=False).numpy()
    np.testing.assert_allclose(run(path, images)[0], expected, atol=1e-5 * np.abs(expected).max())


def test_binary_weights_have_two_values_per_channel(tmp_path):
    controller, _ = zoo.compress(zoo.residual(), "binarization", **BINARY)
    written = onnx.load(controller.export_model(tmp_path / "model.onnx"))
    kernels = [onnx.numpy_helper.to_array(array) for array in written.graph.initializer if len(array.dims) == 4]
    assert kernels
    for kernel in kernels:
        for channel in kernel:
            assert len(np.unique(channel)) <= 2


def test_zeros_stay_zeros(tmp_path):
    controller, compressed = zoo.compress(zoo.convolution(), "magnitude_sparsity", **SPARSE)
    written = onnx.load(controller.export_model(tmp_path / "model.onnx"))
    sizes = {compressed.get_layer(name).kernel.shape.num_elements() for name in ("conv", "out")}
    arrays = [onnx.numpy_helper.to_array(array) for array in written.graph.initializer]
    kernels = [array for array in arrays if array.size in sizes and array.ndim > 1]
    assert sum(int(np.sum(kernel == 0)) for kernel in kernels) == round(0.6 * sum(kernel.size for kernel in kernels))


def test_quantized_models_are_refused_with_the_way_out(tmp_path):
    controller, _ = zoo.compress(zoo.convolution(), "quantization")
    with pytest.raises(ExportError, match=r"cannot be written yet.*'\.xml'"):
        controller.export_model(tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_names_and_batch_can_be_chosen(tmp_path):
    controller, _ = zoo.compress(zoo.convolution(), "magnitude_sparsity")
    path = controller.export_model(tmp_path / "m.onnx", input_names=["x"], output_names=["y"], batch_size=2)
    graph = onnx.load(path).graph
    assert (graph.input[0].name, graph.output[0].name) == ("x", "y")
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2
