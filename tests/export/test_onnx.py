"""ONNX files: standard operations only, int8 weights and uint8 activations, the numbers of Keras in ONNX Runtime."""

import sys
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress import ExportError
from keras_compress._keras import keras
from tests import zoo
from tests.export.compare import assert_a_failed_export_keeps_the_old_file, decibels, folded_factor, one_layer

layers = keras.layers

BINARY = {"params": {"activations_quant_start_epoch": 0, "weights_quant_start_epoch": 0}}
SPARSE = {"sparsity_init": 0.6, "params": {"sparsity_target": 0.6}}


def session(source, **options):
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    for key, value in options.items():
        setattr(settings, key, value)
    return onnxruntime.InferenceSession(source, settings, providers=["CPUExecutionProvider"])


def run(path, inputs):
    """Return the outputs of a file, whose inputs are in the order of the Keras model."""
    running = session(str(path))
    names = [argument.name for argument in running.get_inputs()]
    return running.run(None, dict(zip(names, tf.nest.flatten(inputs), strict=True)))


def optimized(path, folder):
    """Return the kinds of the operations that ONNX Runtime makes of a file."""
    target = folder / "optimized.onnx"
    session(str(path), optimized_model_filepath=str(target))
    return [node.op_type for node in onnx.load(target).graph.node]


@dataclass
class Weight:
    """Integers of a file behind a DequantizeLinear."""

    integers: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray
    axis: int | None
    readers: list
    kind: int

    def values(self):
        shape = [1] * self.integers.ndim
        if self.axis is not None:
            shape[self.axis] = -1
        integers = self.integers.astype(np.int32) - self.zero_point.astype(np.int32).reshape(shape)
        return self.scale.reshape(shape) * integers


def weights(path):
    """Return the weights of a file that are integers; biases, which are int32, are none."""
    graph = onnx.load(path).graph
    kinds = {value.name: value.data_type for value in graph.initializer}
    arrays = {value.name: onnx.numpy_helper.to_array(value) for value in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in arrays:
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), None)
            readers = [reader.op_type for reader in graph.node if node.output[0] in reader.input]
            found.append(Weight(*(arrays[name] for name in node.input), axis, readers, kinds[node.input[0]]))
    return [weight for weight in found if weight.kind != onnx.TensorProto.INT32]


def float_constants(path):
    """Return the sizes of the constants in floating point that are no scales."""
    graph = onnx.load(path).graph
    scales = {n for node in graph.node if node.op_type.endswith("quantizeLinear") for n in node.input[1:]}
    scales |= {n for node in graph.node if node.op_type == "QuantizeLinear" for n in node.input[1:]}
    arrays = {value.name: onnx.numpy_helper.to_array(value) for value in graph.initializer if value.name not in scales}
    return [array.size for array in arrays.values() if array.dtype == np.float32]


# Weights in floating point


@pytest.mark.parametrize(("algorithm", "settings"), [("binarization", BINARY), ("magnitude_sparsity", SPARSE)])
@pytest.mark.parametrize("make", [zoo.convolution, zoo.residual, zoo.concatenation])
def test_onnx_runtime_gives_the_outputs_of_keras(make, algorithm, settings, tmp_path):
    model = make()
    controller, compressed = zoo.compress(model, algorithm, **settings)
    images = zoo.samples(model)
    path = controller.export_model(tmp_path / "model.onnx").path
    written = onnx.load(path)
    onnx.checker.check_model(written)
    assert {node.domain for node in written.graph.node} <= {"", "ai.onnx"}
    assert [value.name for value in written.graph.input] == compressed.input_names
    assert [value.name for value in written.graph.output] == compressed.output_names
    expected = compressed(images, training=False).numpy()
    np.testing.assert_allclose(run(path, images)[0], expected, atol=1e-5 * np.abs(expected).max())


def test_binary_weights_have_two_values_per_channel(tmp_path):
    controller, _ = zoo.compress(zoo.residual(), "binarization", **BINARY)
    written = onnx.load(controller.export_model(tmp_path / "model.onnx").path)
    kernels = [onnx.numpy_helper.to_array(array) for array in written.graph.initializer if len(array.dims) == 4]
    assert kernels
    for kernel in kernels:
        for channel in kernel:
            assert len(np.unique(channel)) <= 2


def test_zeros_stay_zeros(tmp_path):
    controller, compressed = zoo.compress(zoo.convolution(), "magnitude_sparsity", **SPARSE)
    written = onnx.load(controller.export_model(tmp_path / "model.onnx").path)
    sizes = {compressed.get_layer(name).kernel.shape.num_elements() for name in ("conv", "out")}
    arrays = [onnx.numpy_helper.to_array(array) for array in written.graph.initializer]
    kernels = [array for array in arrays if array.size in sizes and array.ndim > 1]
    assert sum(int(np.sum(kernel == 0)) for kernel in kernels) == round(0.6 * sum(kernel.size for kernel in kernels))


# Weights as integers

#: A layer, the shape of its input, how its kernel lies in the file, and the axis of the channels there.
LAYERS = {
    "conv": (lambda: layers.Conv2D(5, 3, name="layer"), (7, 7, 4), lambda v: v.transpose(3, 2, 0, 1), 0),
    "conv of one dimension": (
        lambda: layers.Conv1D(5, 3, name="layer"),
        (9, 4),
        lambda v: v.transpose(2, 1, 0)[:, :, None],
        0,
    ),
    "depthwise": (
        lambda: layers.DepthwiseConv2D(3, name="layer"),
        (7, 7, 4),
        lambda v: v.transpose(2, 3, 0, 1).reshape(4, 1, 3, 3),
        0,
    ),
    "depthwise times two": (
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, name="layer"),
        (7, 7, 4),
        lambda v: v.transpose(2, 3, 0, 1).reshape(8, 1, 3, 3),
        0,
    ),
    "transposed": (
        lambda: layers.Conv2DTranspose(5, 3, strides=2, name="layer"),
        (5, 5, 4),
        lambda v: v.transpose(3, 2, 0, 1),
        1,
    ),
    "dense": (lambda: layers.Dense(5, name="layer"), (6,), lambda v: v, 1),
}
GAMMAS = {"no normalization": None, "positive": (0.5, 1.5), "negative and zero": (-1.5, 0.7, 0.0, -0.4)}


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_weight_is_stored_as_the_integers_of_its_quantizer_with_a_scale_per_channel(kind, gamma, tmp_path):
    make, shape, arranged, axis = LAYERS[kind]
    controller, model = zoo.compress(one_layer(make(), shape, gamma=GAMMAS[gamma]))
    path = controller.export_model(tmp_path / "model.onnx").path
    (parameters,) = kc.quantization_parameters(model).values()
    weight_shape = parameters.values.shape
    factor = np.ones(weight_shape)
    if GAMMAS[gamma] is not None:
        # of a depthwise kernel the last two axes are the channels, of a transposed one the last but one
        last = {"depthwise": (4, 1), "depthwise times two": (4, 2), "transposed": (-1, 1)}.get(kind, (-1,))
        factor = factor * folded_factor(model.get_layer("norm")).reshape(last)
    integers = arranged(parameters.values * np.sign(factor)).astype(int)
    scale = arranged(np.broadcast_to(parameters.scale, weight_shape) * np.where(factor == 0, 1, np.abs(factor)))

    (stored,) = weights(path)
    assert stored.integers.dtype == np.int8
    assert stored.axis == axis
    assert not stored.zero_point.any()
    np.testing.assert_array_equal(stored.integers, integers)
    per_channel = np.moveaxis(scale, axis, 0).reshape(scale.shape[axis], -1)[:, 0]
    np.testing.assert_allclose(stored.scale, per_channel, rtol=1e-5)
    np.testing.assert_allclose(stored.values(), arranged(parameters.dequantize() * factor), rtol=1e-5, atol=1e-9)
    assert parameters.values.size not in float_constants(path)
    inputs = zoo.samples(model, 16, seed=99)
    assert decibels(zoo.predict(model, inputs), run(path, inputs)) >= 30


@pytest.mark.parametrize("make", [zoo.convolution, zoo.residual, zoo.nested, zoo.odd_convolutions, zoo.two_outputs])
def test_every_compressed_weight_is_int8_directly_in_front_of_what_computes_with_it(make, tmp_path):
    controller, model = zoo.compress(make())
    stored = weights(controller.export_model(tmp_path / "model.onnx").path)
    expected = sorted(one.values.size for one in kc.quantization_parameters(model).values())
    assert sorted(weight.integers.size for weight in stored) == expected
    assert {weight.integers.dtype for weight in stored} == {np.dtype(np.int8)}
    for weight in stored:
        assert set(weight.readers) <= {"Conv", "ConvTranspose", "MatMul", "Gemm"}
        assert weight.readers


def test_the_weight_of_a_layer_that_is_called_twice_is_stored_once(tmp_path):
    controller, model = zoo.compress(zoo.shared_layer())
    graph = onnx.load(controller.export_model(tmp_path / "model.onnx").path).graph
    arrays = [onnx.numpy_helper.to_array(value) for value in graph.initializer]
    expected = sorted(one.values.size for one in kc.quantization_parameters(model).values())
    assert sorted(array.size for array in arrays if array.dtype == np.int8 and array.ndim > 1) == expected


def test_the_zeros_of_sparse_and_quantized_weights_are_integers_of_zero(tmp_path):
    model = zoo.residual()
    config = {"compression": [{"algorithm": "magnitude_sparsity", **SPARSE}, {"algorithm": "quantization"}]}
    config = kc.register_default_init_args(config, zoo.samples(model, 16, seed=99))
    controller, compressed = kc.create_compressed_model(model, config)
    stored = weights(controller.export_model(tmp_path / "model.onnx").path)
    zeros = sum(int(np.sum(weight.integers == 0)) for weight in stored)
    masked = sum(int(np.sum(~kept)) for _, _, kept in zoo.masked_weights(compressed).values())
    assert masked == round(0.6 * sum(weight.integers.size for weight in stored))
    assert masked <= zeros <= masked + 5


# Activations


def quantizers(model):
    """Return the quantizers of activations of a model."""
    return [layer for layer in model.layers if "FakeQuantize" in type(layer).__name__]


def test_every_quantizer_becomes_a_pair_of_operations_on_uint8(tmp_path):
    _, model = zoo.compress(zoo.residual())
    graph = onnx.load(kc.export_model(model, tmp_path / "model.onnx", calibration_data=None).path).graph
    arrays = {value.name: onnx.numpy_helper.to_array(value) for value in graph.initializer}
    pairs = {node.output[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    behind = [n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] not in arrays]
    assert len(pairs) == len(behind) == len(quantizers(model))
    makers = {node.output[0]: node for node in graph.node}
    for node in behind:
        quantize = makers[node.input[0]]
        while quantize.op_type in ("Squeeze", "Reshape", "Transpose"):  # on the integers between
            quantize = makers[quantize.input[0]]
        assert pairs.pop(quantize.output[0]) is quantize
        for index in (1, 2):
            np.testing.assert_array_equal(arrays[node.input[index]], arrays[quantize.input[index]])
        assert arrays[node.input[2]].dtype == np.uint8


@pytest.mark.parametrize("settings", [{}, {"mode": "asymmetric"}, {"bits": 4}, {"bits": 4, "mode": "asymmetric"}])
def test_an_activation_is_rounded_and_clipped_as_in_keras(settings, tmp_path):
    _, model = zoo.compress(zoo.dense(), activations=settings)
    path = kc.export_model(model, tmp_path / "model.onnx").path
    first = quantizers(model)[0]
    written = onnx.load(path)
    pair = next(node for node in written.graph.node if node.op_type == "QuantizeLinear")
    output = next(node.output[0] for node in written.graph.node if pair.output[0] in node.input)
    written.graph.output.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None))
    inputs = zoo.samples(model, 200) * np.geomspace(0.1, 1000, 200, dtype=np.float32)[:, np.newaxis]
    received = session(written.SerializeToString()).run([output], {"x": inputs})[0]
    expected = keras.Model(model.input, first.output)(inputs).numpy()
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-6)
    assert len(np.unique(received)) <= 2 ** settings.get("bits", 8)
    assert len(np.unique(received)) > 10


# Fewer bits


@pytest.mark.extended
@pytest.mark.parametrize("bits", [2, 3, 4, 6])
def test_weights_of_fewer_bits_are_int8_on_fewer_levels(bits, tmp_path):
    controller, model = zoo.compress(zoo.residual(), weights={"bits": bits})
    report = controller.export_model(tmp_path / "model.onnx", data=zoo.samples(zoo.residual()))
    stored = weights(report.path)
    assert len(stored) == 3
    for weight in stored:
        assert weight.kind == onnx.TensorProto.INT8
        assert np.abs(weight.integers.astype(int)).max() == 2 ** (bits - 1) - 1
        for channel in np.moveaxis(weight.integers, weight.axis, 0):
            assert len(np.unique(channel)) <= 2**bits - 1
    assert {row.bits for row in report.weights} == {bits}
    assert max(row.levels for row in report.weights) <= 2**bits - 1
    assert decibels(zoo.predict(model, zoo.samples(model)), run(report.path, zoo.samples(model))) >= 30


def test_four_bits_have_a_type_of_their_own_from_opset_21(tmp_path):
    controller, model = zoo.compress(zoo.convolution(), weights={"bits": 4})
    old, new = (controller.export_model(tmp_path / f"{opset}.onnx", opset=opset) for opset in (13, 21))
    assert {row.stored_as for row in new.weights} == {"int4"}
    for one, other in zip(weights(old.path), weights(new.path), strict=True):
        assert (one.kind, other.kind) == (onnx.TensorProto.INT8, onnx.TensorProto.INT4)
        np.testing.assert_array_equal(one.integers, other.integers.astype(np.int8))
    assert [-(-row.parameters // 2) for row in new.weights] == [row.size for row in new.weights]
    inputs = zoo.samples(model)
    assert decibels(zoo.predict(model, inputs), run(new.path, inputs)) >= 30


# Versions of the operators


@pytest.mark.extended
@pytest.mark.parametrize("make", [zoo.residual, zoo.odd_convolutions, zoo.recurrent])
def test_every_opset_is_valid_and_gives_the_same_outputs(make, tmp_path):
    controller, model = zoo.compress(make())
    inputs = zoo.samples(model)
    outputs = {}
    for opset in (13, 18, 21):
        path = controller.export_model(tmp_path / f"{opset}.onnx", opset=opset).path
        written = onnx.load(path)
        onnx.checker.check_model(written, full_check=True)
        assert {entry.version for entry in written.opset_import if entry.domain in ("", "ai.onnx")} == {opset}
        assert {node.domain for node in written.graph.node} <= {"", "ai.onnx"}
        outputs[opset] = run(path, inputs)
    for opset in (18, 21):
        np.testing.assert_allclose(outputs[opset][0], outputs[13][0], rtol=1e-5, atol=1e-5)
    assert decibels(zoo.predict(model, inputs), outputs[21]) >= 30


@pytest.mark.parametrize("opset", [12, 22, 0, -1])
def test_an_opset_out_of_range_is_refused(opset, tmp_path):
    controller, _ = zoo.compress(zoo.dense())
    with pytest.raises(ExportError, match=rf"'opset'.*from 13 to 21.*Received: {opset}"):
        controller.export_model(tmp_path / "model.onnx", opset=opset)
    assert list(tmp_path.iterdir()) == []


# What ONNX Runtime makes of it


def test_with_calibration_data_every_convolution_runs_in_integers(tmp_path):
    controller, model = zoo.compress(zoo.residual())
    images = zoo.samples(model, 16, seed=99)
    report = controller.export_model(tmp_path / "model.onnx", calibration_data=images)
    kinds = optimized(report.path, tmp_path)
    assert kinds.count("QLinearConv") == 2
    assert not {"Conv", "FusedConv"} & set(kinds)
    assert [row.runs_in_integers for row in report.weights if row.layer in ("stem", "body")] == [True, True]
    assert decibels(zoo.predict(model, images), run(report.path, images)) >= 30


def test_the_controller_calibrates_on_its_own_data(tmp_path):
    controller, _ = zoo.compress(zoo.residual())
    kinds = optimized(controller.export_model(tmp_path / "model.onnx").path, tmp_path)
    assert kinds.count("QLinearConv") == 2


def test_without_calibration_data_convolutions_in_front_of_a_sum_run_in_floating_point_and_the_report_says_so(tmp_path):
    _, model = zoo.compress(zoo.residual())
    report = kc.export_model(model, tmp_path / "model.onnx", calibration_data=None)
    kinds = optimized(report.path, tmp_path)
    in_floats = [row.layer for row in report.weights if row.layer != "out" and row.runs_in_integers is False]
    assert kinds.count("Conv") + kinds.count("FusedConv") == len(in_floats) > 0
    assert {row.stored_as for row in report.weights} == {"int8"}
    images = zoo.samples(model)
    assert decibels(zoo.predict(model, images), run(report.path, images)) >= 40


@zoo.every_kind
def test_onnx_runtime_is_near_keras_on_every_kind_of_model(kind, tmp_path):
    controller, model = zoo.compressed_once(kind)
    inputs = zoo.samples(model, 16, seed=99)
    path = controller.export_model(tmp_path / "model.onnx").path
    running = session(str(path))
    feeds = dict(zip(model.input_names, tf.nest.flatten(inputs), strict=True))
    assert [value.name for value in running.get_inputs()] == model.input_names
    received = running.run(model.output_names, feeds)
    assert decibels(zoo.predict(model, inputs), received) >= 30


# Options and files


def test_names_and_batch_can_be_chosen(tmp_path):
    controller, _ = zoo.compress(zoo.convolution(), "magnitude_sparsity")
    path = controller.export_model(tmp_path / "m.onnx", input_names=["x"], output_names=["y"], batch_size=2).path
    graph = onnx.load(path).graph
    assert (graph.input[0].name, graph.output[0].name) == ("x", "y")
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2


def test_names_and_batch_can_be_chosen_for_a_quantized_model(tmp_path):
    controller, model = zoo.compress(zoo.shared_layer())
    names = {"input_names": ["a", "b"], "output_names": "c"}
    report = controller.export_model(tmp_path / "m.onnx", batch_size=3, data=zoo.samples(model, 6), **names)
    running = session(str(report.path))
    assert {value.name: value.shape for value in running.get_inputs()} == {"a": [3, 4], "b": [3, 4]}
    assert [value.name for value in running.get_outputs()] == ["c"]
    assert report.comparison.samples == 6
    assert report.comparison.sqnr >= 30


@pytest.mark.parametrize("options", [{"opset": 30}, {"input_names": ["a", "b"]}, {"opsets": 13}, {"refuse": "replace"}])
def test_after_a_failed_export_the_old_file_is_unchanged(options, tmp_path, monkeypatch):
    assert_a_failed_export_keeps_the_old_file(tmp_path / "model.onnx", options, monkeypatch)


def test_what_onnx_does_not_have_is_an_export_error_and_the_old_file_stays(tmp_path):
    x = keras.Input((4,), name="x")
    hidden = tf.math.bessel_i0e(layers.Dense(4, name="hidden")(x))
    controller, _ = zoo.compress(keras.Model(x, layers.Dense(2, name="out")(hidden)))
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    with pytest.raises(ExportError, match="BesselI0e"):
        controller.export_model(path)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("module", ["tf2onnx", "onnx"])
def test_without_its_packages_the_error_says_how_to_get_them(module, tmp_path, monkeypatch):
    controller, _ = zoo.compress(zoo.dense())
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ExportError, match="pip install tf2onnx onnx"):
        controller.export_model(tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_ranges_per_feature_of_a_dense_layer_are_written(tmp_path):
    data = zoo.samples(zoo.dense(), 64) * np.linspace(0.1, 30, zoo.dense().input_shape[-1]).astype(np.float32)
    model = kc.quantize(
        zoo.dense(), data, advanced_parameters={"activations_quantization_params": {"per_channel": True}}
    )
    assert kc.export_model(model, tmp_path / "model.onnx").comparison.sqnr > 25


@pytest.mark.filterwarnings("ignore:The calibration data are one sample alone")
def test_a_weight_that_is_multiplied_out_with_a_constant_is_not_missed(tmp_path):
    inputs = keras.Input((6, 4))
    query = tf.constant(np.random.default_rng(0).normal(size=(1, 5, 4)).astype(np.float32))
    model = keras.Model(inputs, layers.MultiHeadAttention(2, 3)(query, inputs))
    compressed = kc.quantize(model, np.random.default_rng(1).normal(size=(1, 6, 4)).astype(np.float32))
    for ending in ("xml", "onnx"):
        assert kc.export_model(compressed, tmp_path / f"model.{ending}").comparison.sqnr > 60
