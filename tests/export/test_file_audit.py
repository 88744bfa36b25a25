"""The audit names the layer whose weight a file holds otherwise than it should, and nothing else; its numbers are true."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from onnx import numpy_helper

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.errors import ExportAuditError, ExportError
from keras_compress.export import file_audit, registered_formats, registry
from keras_compress.export.isolated_runtime import isolated_load
from tests import binary, zoo

layers = keras.layers

FILES = {
    "frozen_graph": "model.pb",
    "saved_model": "model",
    "keras": "model.keras",
    "h5": "model.h5",
    "onnx": "model.onnx",
    "openvino": "model.xml",
    "tflite": "model.tflite",
}
CALIBRATED = ["onnx", "tflite"]
WITH_QUANTIZERS = ["frozen_graph", "saved_model", "onnx", "openvino", "tflite"]
INTEGERS = ["onnx", "openvino", "tflite"]
LAYERS = ["first", "second", "out"]

OTHER_VALUES = "other values than the model's"
WITHOUT_QUANTIZER = "without a quantizer behind it"
FLOAT_INPUT = "its input is not quantized"


def network():
    """Functional: two convolutions of equal shapes, the first with a batch normalization, and a classifier."""
    keras.utils.set_random_seed(7)
    image = keras.Input((8, 8, 4), name="image")
    x = layers.Conv2D(4, 3, name="first")(image)
    x = layers.ReLU(name="first_relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Conv2D(4, 3, activation="relu", name="second")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(3, name="out")(x), name="model")


@dataclasses.dataclass
class Exported:
    """A compressed model, its samples, and the report of its export to every format."""

    model: keras.Model
    samples: np.ndarray
    reports: dict


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    _, model = zoo.compress(network())
    samples = zoo.samples(model, 16)
    reports = {name: kc.export_model(model, folder / file, data=samples) for name, file in FILES.items()}
    return Exported(model, samples, reports)


def problems(model, path):
    """Return what the audit says is wrong, by layer."""
    return {row.layer: row.problem for row in kc.audit(model, path).problems}


def assert_named(model, path, layer, text):
    found = problems(model, path)
    assert list(found) == [layer]
    assert text in found[layer]


# Files as they should be


@pytest.mark.parametrize("name", FILES)
def test_a_clean_export_has_no_problems(exported, name):
    report = exported.reports[name]
    assert report.problems == []
    assert [row.layer for row in report.weights] == LAYERS
    assert kc.audit(exported.model, report.path).weights == report.weights


@pytest.mark.parametrize("name", FILES)
def test_sizes_are_those_of_the_files(exported, name):
    report = exported.reports[name]
    path = report.path
    files = [path, path.with_suffix(".bin")] if name == "openvino" else [path]
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else files
    assert report.size == sum(len(file.read_bytes()) for file in files)
    assert report.float_size == 4 * network().count_params()
    assert report.size_ratio == report.size / report.float_size


@pytest.mark.parametrize("name", FILES)
def test_weights_are_stored_in_the_type_of_the_format(exported, name):
    rows = {row.layer: row for row in exported.reports[name].weights}
    bytes_each = 1 if name in INTEGERS else 4
    for layer, size in zip(LAYERS, (144, 144, 12), strict=True):
        assert (rows[layer].parameters, rows[layer].size, rows[layer].bits) == (size, bytes_each * size, 8)
        assert rows[layer].stored_as == ("int8" if name in INTEGERS else "float32")
        assert rows[layer].input_quantized is (True if name in WITH_QUANTIZERS else None)


def test_the_runtimes_say_what_runs_in_integers(exported):
    answers = {name: [row.runs_in_integers for row in exported.reports[name].weights] for name in FILES}
    assert answers["openvino"] == answers["tflite"] == [True] * 3
    assert answers["onnx"][:2] == [True] * 2
    assert answers["frozen_graph"] == answers["keras"] == [None] * 3


def smallest_count(values):
    """Return the greatest number of different values in an entry of the axis for which that is smallest."""
    return min(
        max(len(np.unique(np.take(values, index, axis))) for index in range(size))
        for axis, size in enumerate(values.shape)
    )


@pytest.mark.extended
@pytest.mark.parametrize("name", FILES)
def test_levels_and_zeros_are_those_that_numpy_counts(name, tmp_path):
    _, model = zoo.compress(network(), weights={"bits": 3})
    report = kc.export_model(model, tmp_path / FILES[name], data=zoo.samples(model, 16))
    for row in report.weights:
        values = model.get_layer(row.layer).compressed_weight("kernel").numpy()
        assert row.levels == smallest_count(values) <= 7
        assert row.zeros == pytest.approx(np.mean(values == 0))
        assert row.bits == 3
    assert report.weights[0].zeros > 0.05


# Files of another model than the one they are audited against: whatever the format, the changed layer is named


def exported_otherwise(exported, name, tmp_path, change=None, *, calibrated=True, **settings):
    """Export a model that differs from the one of the fixture by a change of its kernel or by its settings."""
    _, other = zoo.compress(network(), **settings)
    if change is not None:
        kernel = other.get_layer("second").layer.kernel
        kernel.assign(change(kernel.numpy()))
    uncalibrated = {"calibration_data": None} if name in CALIBRATED and not calibrated else {}
    return kc.export_model(other, tmp_path / FILES[name], strict=False, **uncalibrated).path


def with_one_number_negated_and_halved(kernel):
    kernel[1, 1, 2, 3] *= -0.5
    return kernel


CHANGES = {
    "zeros": np.zeros_like,
    "another scale": lambda kernel: 1.01 * kernel,
    "one number": with_one_number_negated_and_halved,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", FILES)
def test_a_file_with_other_values_in_one_layer(exported, name, change, tmp_path):
    path = exported_otherwise(exported, name, tmp_path, CHANGES[change])
    assert_named(exported.model, path, "second", OTHER_VALUES)


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_one_layer_that_was_never_compressed(exported, name, tmp_path):
    path = exported_otherwise(exported, name, tmp_path, ignored_scopes=["second"])
    assert_named(exported.model, path, "second", OTHER_VALUES)
    [row] = kc.audit(exported.model, path).problems
    assert row.stored_as == "float32"


@pytest.mark.parametrize("name", ["frozen_graph", "saved_model", "onnx", "openvino"])
def test_a_file_with_one_layer_that_reads_floating_point(exported, name, tmp_path):
    ignored = {"ignored_scopes": ["second", "first_relu"]}
    path = exported_otherwise(exported, name, tmp_path, calibrated=False, activations=ignored)
    assert_named(exported.model, path, "second", FLOAT_INPUT)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_model_before_compression_has_nothing_right(exported, name, tmp_path):
    path = kc.export_model(network(), tmp_path / FILES[name]).path
    found = problems(exported.model, path)
    assert list(found) == LAYERS
    assert all(OTHER_VALUES in problem for problem in found.values())


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_fewer_layers_misses_the_others(exported, name, tmp_path):
    image = keras.Input((8, 8, 4), name="image")
    model = keras.Model(image, layers.GlobalAveragePooling2D()(layers.Conv2D(5, 1, name="first")(image)))
    report = kc.audit(exported.model, kc.export_model(model, tmp_path / FILES[name]).path)
    assert {row.layer: row.problem for row in report.problems} == dict.fromkeys(LAYERS, "not in the file")
    assert report.comparison is None
    assert (
        "its runtime cannot run it" in report.result_problem
        or "its outputs are not the model's" in report.result_problem
    )
    assert report.result_problem in str(report)


# ONNX files taken apart


def onnx_weight(graph, layer):
    """Return the DequantizeLinear behind the integers of a layer."""
    return next(n for n in graph.node if n.op_type == "DequantizeLinear" and f"/{layer}/" in n.input[0])


def convolution_of(graph, layer):
    weight = onnx_weight(graph, layer).output[0]
    return next(node for node in graph.node if weight in node.input and node.op_type != "DequantizeLinear")


def arrays(graph):
    return {value.name: numpy_helper.to_array(value) for value in graph.initializer}


def put(graph, name, array):
    """Replace an initializer, or add one."""
    for value in list(graph.initializer):
        if value.name == name:
            graph.initializer.remove(value)
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))


def by_hand(graph, node):
    integers, scale, zero_point = (arrays(graph)[name] for name in node.input)
    shape = [-1 if axis == node.attribute[0].i else 1 for axis in range(integers.ndim)]
    return ((integers.astype(np.float32) - zero_point.reshape(shape)) * scale.reshape(shape)).astype(np.float32)


def onnx_float_weight(graph, layer):
    node = onnx_weight(graph, layer)
    put(graph, node.output[0], by_hand(graph, node))
    graph.node.remove(node)


def onnx_float_weight_beside_the_integers(graph, layer):
    put(graph, "beside", by_hand(graph, onnx_weight(graph, layer)))
    convolution_of(graph, layer).input[1] = "beside"


def onnx_scale_doubled(graph, layer):
    name = onnx_weight(graph, layer).input[1]
    put(graph, name, 2 * arrays(graph)[name])


def onnx_one_scale_doubled(graph, layer):
    name = onnx_weight(graph, layer).input[1]
    put(graph, name, arrays(graph)[name] * np.float32([1, 2, 1, 1])[: arrays(graph)[name].size])


def onnx_other_axis(graph, layer):
    [axis] = onnx_weight(graph, layer).attribute
    axis.i = 1 - axis.i


def onnx_one_integer_changed(graph, layer):
    name = onnx_weight(graph, layer).input[0]
    integers = arrays(graph)[name].copy()
    integers.flat[5] = 127 if abs(integers.flat[5]) < 64 else 0
    put(graph, name, integers)


def onnx_zeros(graph, layer):
    name = onnx_weight(graph, layer).input[0]
    put(graph, name, np.zeros_like(arrays(graph)[name]))


def onnx_other_zero_point(graph, layer):
    name = onnx_weight(graph, layer).input[2]
    put(graph, name, arrays(graph)[name] + np.int8(9))


ONNX = {
    onnx_float_weight: "stored as float32, not as integers",
    onnx_float_weight_beside_the_integers: "stored as float32, not as integers",
    onnx_scale_doubled: OTHER_VALUES,
    onnx_one_scale_doubled: OTHER_VALUES,
    onnx_one_integer_changed: OTHER_VALUES,
    onnx_zeros: OTHER_VALUES,
    onnx_other_zero_point: OTHER_VALUES,
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("break_it", ONNX, ids=lambda function: function.__name__)
def test_a_broken_onnx_file(exported, break_it, layer, tmp_path):
    model = onnx.load(exported.reports["onnx"])
    break_it(model.graph, layer)
    onnx.save(model, tmp_path / "broken.onnx")
    assert_named(exported.model, tmp_path / "broken.onnx", layer, ONNX[break_it])


@pytest.mark.parametrize("layer", ["first", "second"])
def test_an_onnx_file_with_the_scales_along_another_axis_of_equal_size(exported, layer, tmp_path):
    model = onnx.load(exported.reports["onnx"])
    onnx_other_axis(model.graph, layer)
    onnx.checker.check_model(model)
    onnx.save(model, tmp_path / "broken.onnx")
    assert_named(exported.model, tmp_path / "broken.onnx", layer, "wrong scale, axis or integers")


def bypass(graph, node):
    """Remove a node; who reads its output reads its input."""
    for reader in graph.node:
        for index, name in enumerate(reader.input):
            if name == node.output[0]:
                reader.input[index] = node.input[0]
    graph.node.remove(node)


@pytest.mark.parametrize("layer", LAYERS)
def test_an_onnx_file_without_the_quantizer_in_front_of_a_layer(exported, layer, tmp_path):
    model = onnx.load(exported.reports["onnx"])
    producers = {name: node for node in model.graph.node for name in node.output}
    current = producers[convolution_of(model.graph, layer).input[0]]
    while current.op_type in ("DequantizeLinear", "Squeeze"):
        before = producers[current.input[0]]
        if current.op_type == "DequantizeLinear":
            bypass(model.graph, current)
        current = before
    assert current.op_type == "QuantizeLinear"
    bypass(model.graph, current)
    onnx.checker.check_model(model)
    onnx.save(model, tmp_path / "broken.onnx")
    assert_named(exported.model, tmp_path / "broken.onnx", layer, FLOAT_INPUT)
    [row] = kc.audit(exported.model, tmp_path / "broken.onnx").problems
    assert (row.input_quantized, row.runs_in_integers) == (False, False)


def test_an_onnx_file_without_a_layer(exported, tmp_path):
    model = onnx.load(exported.reports["onnx"])
    weight, convolution = onnx_weight(model.graph, "second"), convolution_of(model.graph, "second")
    reader = next(node for node in model.graph.node if convolution.output[0] in node.input)
    reader.input[0] = convolution.input[0]
    for value in [value for value in model.graph.initializer if value.name in weight.input]:
        model.graph.initializer.remove(value)
    model.graph.node.remove(weight)
    model.graph.node.remove(convolution)
    onnx.save(model, tmp_path / "broken.onnx")
    assert problems(exported.model, tmp_path / "broken.onnx") == {"second": "not in the file"}
    row = {row.layer: row for row in kc.audit(exported.model, tmp_path / "broken.onnx").weights}["second"]
    assert (row.stored_as, row.size, row.levels, row.input_quantized) == ("", 0, 0, None)


def test_every_broken_layer_of_an_onnx_file_is_named(exported, tmp_path):
    model = onnx.load(exported.reports["onnx"])
    onnx_float_weight(model.graph, "first")
    onnx_zeros(model.graph, "second")
    onnx_scale_doubled(model.graph, "out")
    onnx.save(model, tmp_path / "broken.onnx")
    found = problems(exported.model, tmp_path / "broken.onnx")
    texts = [ONNX[onnx_float_weight], OTHER_VALUES, OTHER_VALUES]
    assert list(found) == LAYERS
    assert all(text in problem for text, problem in zip(texts, found.values(), strict=True))


def onnx_negated(graph):
    name = onnx_weight(graph, "second").input[0]
    put(graph, name, -arrays(graph)[name])


def onnx_mirrored(graph):
    name = onnx_weight(graph, "second").input[0]
    put(graph, name, arrays(graph)[name][:, :, ::-1])


def onnx_swapped(graph):
    first, second = onnx_weight(graph, "first"), onnx_weight(graph, "second")
    for index in range(3):
        first.input[index], second.input[index] = second.input[index], first.input[index]


@pytest.mark.parametrize(
    "break_it", [onnx_negated, onnx_mirrored, onnx_swapped], ids=lambda function: function.__name__
)
def test_right_magnitudes_in_wrong_places_are_told_by_the_outputs(exported, break_it, tmp_path):
    model = onnx.load(exported.reports["onnx"])
    break_it(model.graph)
    onnx.save(model, tmp_path / "broken.onnx")
    broken = kc.audit(exported.model, tmp_path / "broken.onnx", data=exported.samples).comparison
    assert broken.sqnr < 15
    assert exported.reports["onnx"].comparison.sqnr > 30


def test_a_broken_file_is_told_by_its_outputs_too(exported, tmp_path):
    model = onnx.load(exported.reports["onnx"])
    onnx_scale_doubled(model.graph, "out")
    onnx.save(model, tmp_path / "broken.onnx")
    broken = kc.audit(exported.model, tmp_path / "broken.onnx", data=exported.samples).comparison
    assert exported.reports["onnx"].comparison.sqnr > 30
    assert broken.sqnr < 10


# Frozen graphs taken apart


def graph_of(path):
    return tf.compat.v1.GraphDef.FromString(Path(path).read_bytes())


def node_of(graph, name):
    return next(node for node in graph.node if node.name == name)


def matrix_operation(graph, layer):
    return next(n for n in graph.node if n.name in (f"model/{layer}/{layer}/Conv2D", f"model/{layer}/{layer}/MatMul"))


def pb_quantizer_bypassed(graph, layer):
    operation = matrix_operation(graph, layer)
    operation.input[1] = node_of(graph, operation.input[1]).input[0]


def pb_quantizer_removed(graph, layer):
    name = matrix_operation(graph, layer).input[1]
    pb_quantizer_bypassed(graph, layer)
    graph.node.remove(node_of(graph, name))


def constant_of(graph, layer, index):
    quantizer = node_of(graph, matrix_operation(graph, layer).input[1])
    return node_of(graph, f"{quantizer.input[index]}/resource").attr["value"].tensor


def assign(tensor, array):
    tensor.CopyFrom(tf.make_tensor_proto(np.asarray(array, np.float32)))


def pb_off_the_grid(graph, layer):
    tensor = constant_of(graph, layer, 0)
    values = tf.make_ndarray(tensor)
    assign(tensor, values + np.random.default_rng(0).normal(scale=values.std() / 5, size=values.shape))


def pb_range_doubled(graph, layer):
    for index in (1, 2):
        tensor = constant_of(graph, layer, index)
        assign(tensor, 2 * tf.make_ndarray(tensor))


def pb_fewer_bits(graph, layer):
    node_of(graph, matrix_operation(graph, layer).input[1]).attr["num_bits"].i = 4


def pb_zeros(graph, layer):
    tensor = constant_of(graph, layer, 0)
    assign(tensor, np.zeros_like(tf.make_ndarray(tensor)))


def pb_input_bypassed(graph, layer):
    operation = matrix_operation(graph, layer)
    operation.input[0] = node_of(graph, operation.input[0]).input[0]


FROZEN = {
    pb_quantizer_bypassed: WITHOUT_QUANTIZER,
    pb_quantizer_removed: WITHOUT_QUANTIZER,
    pb_off_the_grid: OTHER_VALUES,
    pb_range_doubled: OTHER_VALUES,
    pb_fewer_bits: OTHER_VALUES,
    pb_zeros: OTHER_VALUES,
    pb_input_bypassed: FLOAT_INPUT,
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("break_it", FROZEN, ids=lambda function: function.__name__)
def test_a_broken_frozen_graph(exported, break_it, layer, tmp_path):
    graph = graph_of(exported.reports["frozen_graph"])
    break_it(graph, layer)
    (tmp_path / "broken.pb").write_bytes(graph.SerializeToString())
    assert_named(exported.model, tmp_path / "broken.pb", layer, FROZEN[break_it])


def test_numbers_off_the_grid_that_the_quantizer_puts_back_are_no_problem(exported, tmp_path):
    graph = graph_of(exported.reports["frozen_graph"])
    tensor = constant_of(graph, "second", 0)
    assign(tensor, tf.make_ndarray(tensor) * (1 + 1e-4))
    (tmp_path / "model.pb").write_bytes(graph.SerializeToString())
    assert problems(exported.model, tmp_path / "model.pb") == {}


# OpenVINO files taken apart


def source(node, index):
    return node.input(index).get_source_output().get_node()


def openvino_operation(model, layer):
    """Return the convolution or product of a layer; they lie in the order of the layers."""
    kinds = ("Convolution", "MatMul")
    return [node for node in model.get_ordered_ops() if node.get_type_name() in kinds][LAYERS.index(layer)]


def openvino_values(node):
    """Return what ``integers * scale`` of a weight computes."""
    integers, scale = source(source(node, 0), 0), source(node, 1)
    return np.float32(integers.get_data()) * scale.get_data()


def xml_float_weight(model, layer):
    operation = openvino_operation(model, layer)
    constant = openvino.opset13.constant(openvino_values(source(operation, 1)))
    operation.input(1).replace_source_output(constant.output(0))


def xml_scale_doubled(model, layer):
    multiply = source(openvino_operation(model, layer), 1)
    constant = openvino.opset13.constant(2 * source(multiply, 1).get_data())
    multiply.input(1).replace_source_output(constant.output(0))


def xml_zeros(model, layer):
    convert = source(source(openvino_operation(model, layer), 1), 0)
    constant = openvino.opset13.constant(np.zeros_like(source(convert, 0).get_data()))
    convert.input(0).replace_source_output(constant.output(0))


def xml_input_bypassed(model, layer):
    operation = openvino_operation(model, layer)
    quantizer = source(operation, 0)
    while quantizer.get_type_name() == "Transpose":
        quantizer = source(quantizer, 0)
    assert quantizer.get_type_name() == "FakeQuantize"
    operation.input(0).replace_source_output(quantizer.input(0).get_source_output())


OPENVINO = {
    xml_float_weight: "stored as float32, not as integers",
    xml_scale_doubled: OTHER_VALUES,
    xml_zeros: OTHER_VALUES,
    xml_input_bypassed: FLOAT_INPUT,
}


def saved(model, path):
    openvino.save_model(model, path, compress_to_fp16=False)
    return path


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("break_it", OPENVINO, ids=lambda function: function.__name__)
def test_a_broken_openvino_file(exported, break_it, layer, tmp_path):
    model = openvino.Core().read_model(exported.reports["openvino"].path)
    break_it(model, layer)
    path = saved(model, tmp_path / "broken.xml")
    assert_named(exported.model, path, layer, OPENVINO[break_it])


def test_an_openvino_file_without_any_quantizer_of_activations(exported, tmp_path):
    model = openvino.Core().read_model(exported.reports["openvino"].path)
    for node in model.get_ordered_ops():
        if node.get_type_name() == "FakeQuantize":
            for target in node.output(0).get_target_inputs():
                target.replace_source_output(node.input(0).get_source_output())
    report = kc.audit(exported.model, saved(model, tmp_path / "broken.xml"))
    assert [row.layer for row in report.problems] == LAYERS
    assert [row.input_quantized for row in report.weights] == [False] * 3
    assert [row.runs_in_integers for row in report.weights[:2]] == [False] * 2


# TensorFlow Lite files taken apart, byte by byte


def tflite_tensor(path, layer):
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    details = next(one for one in interpreter.get_tensor_details() if f"/{layer}/kernel_quantizer" in one["name"])
    return interpreter.get_tensor(details["index"]), details["quantization_parameters"]["scales"]


def replaced_bytes(exported, layer, tmp_path, number, change):
    """Write the file anew with the integers (0) or scales (1) of a layer changed."""
    content = exported.reports["tflite"].path.read_bytes()
    old = tflite_tensor(exported.reports["tflite"].path, layer)[number]
    assert content.count(old.tobytes()) == 1
    path = tmp_path / "broken.tflite"
    path.write_bytes(content.replace(old.tobytes(), change(old).tobytes()))
    return path


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("number", [0, 1], ids=["integers", "scales"])
def test_a_broken_tensorflow_lite_file(exported, layer, number, tmp_path):
    change = (np.zeros_like, lambda scales: 2 * scales)[number]
    path = replaced_bytes(exported, layer, tmp_path, number, change)
    assert_named(exported.model, path, layer, OTHER_VALUES)


def test_without_calibration_data_layers_that_stay_in_float_are_named(exported, tmp_path):
    with pytest.raises(
        ExportAuditError, match=r"1 fault in it.*\n +out: kernel: stored as float32.*\n.*calibration_data"
    ):
        kc.export_model(exported.model, tmp_path / "model.tflite", calibration_data=None)
    assert (tmp_path / "model.tflite").is_file()
    assert_named(exported.model, tmp_path / "model.tflite", "out", "not as integers")


def test_a_report_can_be_had_instead_of_the_error(exported, tmp_path):
    report = kc.export_model(exported.model, tmp_path / "model.tflite", calibration_data=None, strict=False)
    assert [row.layer for row in report.problems] == ["out"]
    assert "not as integers" in str(report)
    assert report.result_problem == ""


def test_an_error_does_not_ask_for_data_that_were_given(exported, tmp_path, monkeypatch):
    form = registered_formats()["tflite"]
    broken = dataclasses.replace(form, stored_weights=lambda path: [], isolated=None)
    monkeypatch.setitem(registry._FORMATS, "tflite", broken)
    with pytest.raises(ExportAuditError, match="3 faults") as caught:
        kc.export_model(exported.model, tmp_path / "model.tflite", calibration_data=exported.samples)
    assert "calibration_data" not in str(caught.value)


# Keras files taken apart


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", ["keras", "h5"])
def test_a_keras_file_with_weights_off_their_grid(exported, name, layer, tmp_path):
    model = keras.models.load_model(exported.reports[name].path, compile=False)
    scale = kc.quantization_parameters(exported.model)[f"{layer}/kernel"].scale
    model.get_layer(layer).kernel.assign_add(np.broadcast_to(scale / 2, model.get_layer(layer).kernel.shape))
    model.save(tmp_path / FILES[name])
    assert_named(exported.model, tmp_path / FILES[name], layer, OTHER_VALUES)


# Other kinds of compression


@pytest.mark.parametrize("name", FILES)
def test_a_sparse_model_has_its_zeros_in_every_format(name, tmp_path):
    settings = {"sparsity_init": 0.6, "params": {"sparsity_target": 0.6}}
    _, model = zoo.compress(network(), "magnitude_sparsity", **settings)
    report = kc.export_model(model, tmp_path / FILES[name])
    assert [(row.layer, row.bits, row.problem) for row in report.weights] == [(layer, 32, "") for layer in LAYERS]
    for row in report.weights:
        assert row.zeros == pytest.approx(np.mean(model.get_layer(row.layer).compressed_weight("kernel") == 0))
    assert sum(row.zeros * row.parameters for row in report.weights) == pytest.approx(180)


@pytest.mark.parametrize("name", FILES)
def test_a_sparse_model_without_its_zeros_is_named(name, tmp_path):
    settings = {"sparsity_init": 0.6, "params": {"sparsity_target": 0.6}}
    _, model = zoo.compress(network(), "magnitude_sparsity", **settings)
    kc.export_model(network(), tmp_path / FILES[name])
    found = problems(model, tmp_path / FILES[name])
    assert list(found) == LAYERS
    assert all(OTHER_VALUES in problem for problem in found.values())


@pytest.fixture(scope="module")
def binarized():
    keras.utils.set_random_seed(7)
    _, model = binary.compress(binary.one_convolution(channels=16, filters=8))
    return model


@pytest.mark.parametrize("name", FILES)
def test_a_binary_model_has_two_levels_in_every_format(binarized, name, tmp_path):
    options = {"batch_size": 1} if name == "openvino" else {}
    report = kc.export_model(binarized, tmp_path / FILES[name], **options)
    [row] = report.weights
    assert (row.layer, row.bits, row.levels, row.zeros, row.problem) == ("conv", 1, 2, 0.0, "")
    assert row.stored_as == ("u1" if name == "openvino" else "float32")
    assert row.size == (16 * 8 * 9 // 8 if name == "openvino" else 4 * 16 * 8 * 9)


def test_a_binary_convolution_is_known_to_run_in_one_bit(binarized, tmp_path):
    [row] = kc.export_model(binarized, tmp_path / "model.xml", batch_size=1).weights
    assert row.runs_in_integers is True


def test_a_binary_model_of_other_levels_is_named(binarized, tmp_path):
    path = kc.export_model(binarized, tmp_path / "model.onnx").path
    model = onnx.load(path)
    [weight] = [value for value in model.graph.initializer if list(value.dims) == [8, 16, 3, 3]]
    factors = np.float32([1, 1, 2, 1, 1, 1, 1, 1]).reshape(8, 1, 1, 1)
    put(model.graph, weight.name, factors * numpy_helper.to_array(weight))
    onnx.save(model, path)
    assert_named(binarized, path, "conv", OTHER_VALUES)


def test_a_sparse_and_quantized_model_keeps_zeros_as_integers(tmp_path):
    sparse = {"algorithm": "magnitude_sparsity", "sparsity_init": 0.5, "params": {"sparsity_target": 0.5}}
    model = network()
    config = binary.configured(model, sparse, {"algorithm": "quantization"})
    _, compressed = kc.create_compressed_model(model, config)
    report = kc.export_model(compressed, tmp_path / "model.onnx", data=zoo.samples(model, 16))
    assert [row.stored_as for row in report.weights] == ["int8"] * 3
    assert sum(row.zeros * row.parameters for row in report.weights) >= 149


def test_an_uncompressed_model_has_an_empty_report(tmp_path):
    report = kc.export_model(network(), tmp_path / "model.onnx")
    assert report.weights == ()
    assert len(str(report).splitlines()) == 3  # the file, and its results


# Models that have lost their controller


@pytest.mark.extended
@pytest.mark.parametrize("name", FILES)
def test_a_model_from_a_file_is_exported_and_audited_alike(exported, name, tmp_path):
    exported.model.save(tmp_path / "trained.keras")
    loaded = keras.models.load_model(tmp_path / "trained.keras")
    calibration = {"calibration_data": exported.samples} if name in CALIBRATED else {}
    report = kc.export_model(loaded, tmp_path / FILES[name], data=exported.samples, **calibration)
    assert report.problems == []
    before = exported.reports[name]
    numbers = [(row.layer, row.stored_as, row.size, row.levels, row.zeros) for row in before.weights]
    assert [(row.layer, row.stored_as, row.size, row.levels, row.zeros) for row in report.weights] == numbers
    assert problems(loaded, before.path) == {}


# The report


def test_a_report_stands_for_its_path(exported):
    report = exported.reports["onnx"]
    assert os.fspath(report) == str(report.path)
    assert Path(report) == report.path
    with open(report, "rb") as file:
        assert file.read() == report.path.read_bytes()
    onnx.checker.check_model(onnx.load(report))
    assert kc.audit(exported.model, report).problems == []


def test_a_report_is_written_as_json(exported, tmp_path):
    report = exported.reports["onnx"]
    path = report.save(tmp_path / "new" / "report.json")
    values = json.loads(path.read_text())
    assert values == json.loads(json.dumps(report.to_dict()))
    assert values["size_ratio"] == report.size / report.float_size
    assert [row["layer"] for row in values["weights"]] == LAYERS
    assert values["comparison"]["samples"] == 16


def test_a_printed_report_has_a_line_per_weight(exported):
    lines = str(exported.reports["tflite"]).splitlines()
    for layer in LAYERS:
        [line] = [line for line in lines if line.startswith(layer)]
        assert "int8" in line
        assert line.endswith("integers")
    assert "on 16 samples" in lines[-1]


def test_a_copy_is_audited_as_the_original(exported, tmp_path):
    shutil.copy(exported.reports["openvino"].path, tmp_path / "copy.xml")
    shutil.copy(exported.reports["openvino"].path.with_suffix(".bin"), tmp_path / "copy.bin")
    assert problems(exported.model, tmp_path / "copy.xml") == {}


# Comparison of the outputs


@pytest.mark.parametrize("make", [zoo.dicts, zoo.shared_layer, zoo.two_outputs])
@pytest.mark.parametrize("name", FILES)
def test_models_with_several_inputs_or_outputs_are_compared(make, name, tmp_path):
    _, model = zoo.compress(make(), "magnitude_sparsity", sparsity_init=0.5, params={"sparsity_target": 0.5})
    inputs = zoo.samples(model, 24)
    found = kc.export_model(model, tmp_path / FILES[name], data=kc.Dataset(inputs)).comparison
    assert found.samples == 24
    assert found.sqnr > 90


def test_names_given_to_the_export_are_given_to_the_audit(exported, tmp_path):
    options = {"input_names": ["data"], "output_names": ["scores"]}
    kc.export_model(exported.model, tmp_path / "model.pb", **options)
    report = kc.audit(exported.model, tmp_path / "model.pb", data=exported.samples, **options)
    assert report.problems == []
    assert report.comparison.sqnr > 100


@pytest.mark.extended
@pytest.mark.parametrize("name", WITH_QUANTIZERS)
def test_a_file_of_a_fixed_batch_is_compared_in_its_batches(exported, name, tmp_path):
    found = kc.export_model(exported.model, tmp_path / FILES[name], data=exported.samples, batch_size=2).comparison
    assert found.samples == 16
    assert found.sqnr == pytest.approx(exported.reports[name].comparison.sqnr, abs=1)


def test_a_binary_file_that_takes_one_sample_at_a_time_is_compared(binarized, tmp_path):
    with pytest.warns(UserWarning, match="batches of one"):
        found = kc.export_model(binarized, tmp_path / "model.xml", data=zoo.samples(binarized, 8)).comparison
    assert found.samples == 8
    assert found.sqnr > 60


# Files that hold a weight in another form than the model, and compute what it computes: nothing is wrong with them


def with_a_factor_behind():
    image = keras.Input((8, 8, 3), name="image")
    return keras.Model(image, layers.Rescaling(2.0, name="factor")(layers.Conv2D(4, 3, name="conv")(image)))


def with_dropout_in_front_of_the_normalization():
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Dropout(0.1, name="drop")(layers.Conv2D(4, 3, name="conv")(image))
    return keras.Model(image, layers.BatchNormalization(name="norm")(x))


def with_a_shared_normalization():
    image, norm = keras.Input((8, 8, 3), name="image"), layers.BatchNormalization(name="norm")
    return keras.Model(image, [norm(layers.Conv2D(4, 3, name=name)(image)) for name in ("left", "right")])


def with_a_kernel_of_one_number():
    x = keras.Input((1,), name="x")
    return keras.Model(x, layers.Dense(1, name="one")(x))


def with_memory():
    words = keras.Input((5, 3), name="words")
    return keras.Model(words, layers.Bidirectional(layers.GRU(4), name="gru")(words))


OTHER_FORMS = [
    with_a_factor_behind,
    with_dropout_in_front_of_the_normalization,
    with_a_shared_normalization,
    with_a_kernel_of_one_number,
    with_memory,
]


@pytest.mark.filterwarnings("ignore:TensorFlow Lite runs loops over time:UserWarning")
@pytest.mark.parametrize("algorithm", ["magnitude_sparsity", "quantization"])
@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("make", OTHER_FORMS, ids=lambda function: function.__name__)
def test_a_right_file_has_no_problems_whatever_converters_do_to_its_weights(make, name, algorithm, tmp_path):
    settings = {"sparsity_init": 0.5, "params": {"sparsity_target": 0.5}} if "sparsity" in algorithm else {}
    _, model = zoo.compress(make(), algorithm, **settings)
    report = kc.export_model(model, tmp_path / FILES[name], data=zoo.samples(model, 16), strict=False)
    assert report.comparison.sqnr > 30
    assert report.problems == []


def test_rounding_of_the_default_precision_is_told_and_is_no_fault(exported, monkeypatch):
    model, path = exported.model, exported.reports["openvino"].path

    def by_default(form, path, names):
        run = isolated_load(form, path, names)
        return "bf16", lambda arrays: [np.round(array, 1) for array in run(arrays)]

    monkeypatch.setattr(file_audit, "isolated_load_by_default", by_default)
    report = kc.audit(model, path)
    assert report.faults == []
    assert report.comparison.default_sqnr < min(40, report.comparison.sqnr)
    assert f"in bf16, the default of the runtime on this CPU: {report.comparison.default_sqnr:.1f} dB" in str(report)


def test_a_file_that_runs_in_float32_alone_is_at_fault(exported, monkeypatch):
    def refuses(*_):
        raise ExportError("no kernel for bf16")

    monkeypatch.setattr(file_audit, "isolated_load_by_default", refuses)
    assert "float32 only" in kc.audit(exported.model, exported.reports["openvino"].path).faults[0]
