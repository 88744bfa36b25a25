"""TensorFlow Lite files, read and run by LiteRT without its delegates: int8 operations, the numbers of Keras."""

import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType

import keras_compress as kc
from keras_compress import ExportAuditError, ExportError
from keras_compress._keras import keras
from tests import zoo
from tests.export.compare import assert_a_failed_export_keeps_the_old_file, decibels, one_layer
from tests.levels import levels

layers = keras.layers

COMPUTING = {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"}
SPARSE = {"algorithm": "magnitude_sparsity", "sparsity_init": 0.8, "params": {"sparsity_target": 0.8}}


def opened(path):
    interpreter = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    interpreter.allocate_tensors()
    return interpreter


def computing(path):
    """Return kind and types ``(input, weight, output)`` of every operation that computes with a weight."""
    interpreter = opened(path)
    types = {tensor["index"]: tensor["dtype"].__name__ for tensor in interpreter.get_tensor_details()}
    found = []
    for operation in interpreter._get_ops_details():
        if operation["op_name"] in COMPUTING:
            data, weight = (2, 1) if operation["op_name"] == "TRANSPOSE_CONV" else (0, 1)
            tensors = (operation["inputs"][data], operation["inputs"][weight], operation["outputs"][0])
            found.append((operation["op_name"], tuple(types[index] for index in tensors)))
    return found


def constants(path):
    """Return the constants of a file: numbers, scales and zero points."""
    interpreter = opened(path)
    made = {index for operation in interpreter._get_ops_details() for index in operation["outputs"]}
    made |= {tensor["index"] for tensor in interpreter.get_input_details()}
    found = []
    for tensor in interpreter.get_tensor_details():
        if tensor["index"] not in made and tensor["name"]:  # without a name: scratch memory of an operation
            try:
                found.append((interpreter.get_tensor(tensor["index"]), tensor["quantization_parameters"]))
            except ValueError:  # memory for results
                continue
    return found


def run(path, model, inputs):
    """Return the outputs of a file in the order of the model; integers in and out are converted."""
    interpreter = opened(path)
    arrays = dict(zip(model.input_names, tf.nest.flatten(inputs), strict=True))
    details = {tensor["name"].partition(":")[0]: tensor for tensor in interpreter.get_input_details()}
    details = (
        details if set(details) == set(arrays) else dict(zip(arrays, interpreter.get_input_details(), strict=True))
    )
    count = len(next(iter(arrays.values())))
    outputs = []
    for sample in range(count):
        for name, tensor in details.items():
            array = arrays[name][sample : sample + 1]
            if tensor["dtype"] in (np.int8, np.uint8):
                scale, zero_point = tensor["quantization"]
                limits = np.iinfo(tensor["dtype"])
                array = np.clip(np.round(array / scale) + zero_point, limits.min, limits.max).astype(tensor["dtype"])
            interpreter.set_tensor(tensor["index"], array)
        interpreter.invoke()
        made = {tensor["name"]: tensor for tensor in interpreter.get_output_details()}
        ordered = [made[name] for name in model.output_names] if set(made) == set(model.output_names) else made.values()
        outputs.append([_floats(tensor, interpreter.get_tensor(tensor["index"])) for tensor in ordered])
    return [np.concatenate(arrays) for arrays in zip(*outputs, strict=True)]


def _floats(tensor, array):
    scale, zero_point = tensor["quantization"]
    return array if array.dtype == np.float32 else (array.astype(np.float32) - zero_point) * np.float32(scale)


def near(path, model, inputs):
    """Return how near a file is to Keras, in dB."""
    return decibels(zoo.predict(model, inputs), run(path, model, inputs))


def calibration(model):
    """Return the samples that ``zoo.compress`` measures ranges on."""
    return zoo.samples(model, 16, seed=99)


# Operations in integers

OPERATIONS = {
    "dense": ["CONV_2D"] * 2,
    "convolution": ["CONV_2D"] * 2,
    "residual": ["CONV_2D"] * 3,
    "concatenation": ["CONV_2D"] * 3,
    "shared_layer": ["CONV_2D"] * 3,
    "two_outputs": ["CONV_2D"] * 3,
    "nested": ["CONV_2D"] * 2,
}


@pytest.mark.parametrize("kind", OPERATIONS)
def test_every_compressed_operation_runs_in_int8(kind, tmp_path):
    controller, model = zoo.compressed_once(kind)
    report = controller.export_model(tmp_path / "model.tflite")
    found = computing(report.path)
    assert sorted(name for name, _ in found) == OPERATIONS[kind]
    assert {types for _, types in found} == {("int8", "int8", "int8")}
    assert [row.runs_in_integers for row in report.weights] == [True] * len(kc.quantization_parameters(model))


@pytest.mark.parametrize(
    "kind",
    levels([kind for kind in zoo.MODELS if kind != "recurrent"], first=["convolution", "nested", "odd_convolutions"]),
)
def test_the_outputs_are_near_those_of_keras(kind, tmp_path):
    controller, model = zoo.compressed_once(kind)
    path = controller.export_model(tmp_path / "model.tflite").path
    assert near(path, model, calibration(model)) >= 25


@pytest.mark.parametrize("multiplier", [1, 2])
def test_a_depthwise_convolution_runs_in_int8(multiplier, tmp_path):
    layer = layers.DepthwiseConv2D(3, depth_multiplier=multiplier, name="layer")
    controller, model = zoo.compress(one_layer(layer, (7, 7, 4)))
    path = controller.export_model(tmp_path / "model.tflite").path
    assert near(path, model, calibration(model)) >= 25
    assert computing(path) == [("DEPTHWISE_CONV_2D", ("int8", "int8", "int8"))]


def test_without_calibration_data_the_error_names_what_stays_in_floating_point_and_the_way_out(tmp_path):
    _, model = zoo.compress(zoo.residual())
    with pytest.raises(ExportAuditError, match=r"body: kernel: stored as float32(.|\n)*calibration_data="):
        kc.export_model(model, tmp_path / "model.tflite", calibration_data=None)
    report = kc.export_model(model, tmp_path / "model.tflite", calibration_data=None, strict=False)
    floats = [row.layer for row in report.problems]
    assert floats == [row.layer for row in report.weights if row.stored_as == "float32"]
    assert "body" in floats
    assert near(report.path, model, zoo.samples(model)) >= 25


@pytest.mark.parametrize("gamma", [None, (0.5, 1.5), (-1.5, 0.7, 0.0, -0.4)])
def test_integers_and_scales_are_those_of_the_quantizer_with_the_normalization_folded(gamma, tmp_path):
    controller, model = zoo.compress(one_layer(layers.Conv2D(5, 3, name="layer"), (7, 7, 4), gamma=gamma))
    path = controller.export_model(tmp_path / "model.tflite").path
    (parameters,) = kc.quantization_parameters(model).values()
    factor = np.ones(5)
    if gamma is not None:
        norm = model.get_layer("norm")
        factor = norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    integers = (parameters.values * np.sign(factor)).astype(int).transpose(3, 0, 1, 2)
    ((stored, numbers),) = [(array, numbers) for array, numbers in constants(path) if array.shape == (5, 3, 3, 4)]
    assert stored.dtype == np.int8
    assert numbers["quantized_dimension"] == 0
    assert not numbers["zero_points"].any()
    np.testing.assert_array_equal(stored, integers)
    living = factor != 0
    expected = parameters.scale.reshape(-1) * np.abs(factor)
    np.testing.assert_allclose(numbers["scales"][living], expected[living], rtol=1e-5)
    assert near(path, model, calibration(model)) >= 25


# Kinds of layers

LAYERS = {
    "Conv1D": (lambda: layers.Conv1D(5, 3, name="layer"), (9, 4), "float32"),
    "Conv3D": (lambda: layers.Conv3D(5, 2, name="layer"), (4, 4, 4, 3), "float32"),
    "Conv2DTranspose": (lambda: layers.Conv2DTranspose(5, 3, strides=2, name="layer"), (5, 5, 4), "float32"),
    "Embedding": (lambda: layers.Embedding(10, 6, name="layer"), (5,), "int32"),
    "Dense on rank 3": (lambda: layers.Dense(5, name="layer"), (7, 4), "float32"),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_weights_of_every_kind_of_layer_are_stored_in_int8(kind, tmp_path):
    make, shape, dtype = LAYERS[kind]
    controller, model = zoo.compress(one_layer(make(), shape, dtype=dtype))
    report = controller.export_model(tmp_path / "model.tflite")
    (parameters,) = kc.quantization_parameters(model).values()
    kinds = [array.dtype.name for array, _ in constants(report.path) if array.size == parameters.values.size]
    assert kinds == ["int8"]
    assert [(row.stored_as, row.size) for row in report.weights] == [("int8", parameters.values.size)]
    assert near(report.path, model, calibration(model)) >= 25


@pytest.mark.parametrize("batch_size", [None, 4])
def test_recurrent_layers_are_stored_in_int8_and_computed_in_floating_point(batch_size, tmp_path):
    controller, model = zoo.compress(zoo.recurrent())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = controller.export_model(tmp_path / "model.tflite", batch_size=batch_size)
    messages = [str(warning.message) for warning in caught if "one at a time" in str(warning.message)]
    assert len(messages) == (1 if batch_size is None else 0)
    assert list(opened(report.path).get_input_details()[0]["shape"]) == [batch_size or 1, 5]
    sizes = {one.values.size for one in kc.quantization_parameters(model).values()}
    found = [array for array, _ in constants(report.path) if array.size in sizes and array.dtype != np.int32]
    assert sorted(array.size for array in found if array.dtype == np.int8) == sorted(sizes)
    answers = {row.layer: row.runs_in_integers for row in report.weights}
    assert answers == {"embedding": None, "rnn": None, "out": True}
    if batch_size is None:
        assert near(report.path, model, calibration(model)) >= 25


@pytest.mark.extended
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_lstm_and_gru_are_stored_in_int8(kind, tmp_path):
    x = keras.Input((5, 4), name="x")
    y = getattr(layers, kind)(6, name="rnn")(x)
    controller, model = zoo.compress(keras.Model(x, layers.Dense(2, name="out")(y)))
    with pytest.warns(UserWarning, match=r"one at a time.*batch_size="):
        report = controller.export_model(tmp_path / "model.tflite")
    assert {row.stored_as for row in report.weights} == {"int8"}
    assert near(report.path, model, calibration(model)) >= 25


# Fewer bits and zeros


def test_weights_of_four_bits_are_int8_on_fifteen_levels(tmp_path):
    controller, model = zoo.compress(zoo.residual(), weights={"bits": 4})
    report = controller.export_model(tmp_path / "model.tflite")
    kernels = [array for array, _ in constants(report.path) if array.dtype == np.int8 and array.ndim == 4]
    assert len(kernels) == 3
    for kernel in kernels:
        assert np.abs(kernel.astype(int)).max() <= 7
    assert near(report.path, model, calibration(model)) >= 25


def test_many_zeros_make_a_smaller_file_of_the_same_outputs(tmp_path):
    def wide():
        stack = [keras.Input((256,), name="x"), layers.Dense(256, "relu", name="hidden"), layers.Dense(4, name="out")]
        return keras.Sequential(stack)

    model = wide()
    full, _ = zoo.compress(model)
    config = {"compression": [SPARSE, {"algorithm": "quantization"}]}
    config = kc.register_default_init_args(config, calibration(model))
    sparse, compressed = kc.create_compressed_model(wide(), config)
    whole = full.export_model(tmp_path / "full.tflite")
    thin = sparse.export_model(tmp_path / "sparse.tflite")
    assert whole.size > 256 * 256
    assert thin.size < 0.7 * whole.size
    assert (
        sum(row.zeros * row.parameters for row in thin.weights) >= 0.8 * sum(row.parameters for row in thin.weights) - 1
    )
    assert near(thin.path, compressed, calibration(model)) >= 25


# Options


@pytest.mark.parametrize("io_type", ["int8", "uint8"])
@pytest.mark.parametrize("make", [zoo.convolution, zoo.shared_layer, zoo.two_outputs])
def test_inputs_and_outputs_can_be_integers(make, io_type, tmp_path):
    controller, model = zoo.compress(make())
    path = controller.export_model(tmp_path / "model.tflite", io_type=io_type).path
    interpreter = opened(path)
    details = [*interpreter.get_input_details(), *interpreter.get_output_details()]
    assert {tensor["dtype"].__name__ for tensor in details} == {io_type}
    assert near(path, model, calibration(model)) >= 25


@pytest.mark.extended
@pytest.mark.parametrize("io_type", ["int8", "uint8"])
def test_the_comparison_of_the_report_knows_integers(io_type, tmp_path):
    controller, model = zoo.compress(zoo.convolution())
    report = controller.export_model(tmp_path / "model.tflite", io_type=io_type, data=zoo.samples(model))
    assert report.comparison.samples == 8
    assert report.comparison.sqnr >= 25


@pytest.mark.parametrize("io_type", ["float16", "int4", None, 8])
def test_another_type_of_inputs_is_refused(io_type, tmp_path):
    controller, _ = zoo.compress(zoo.dense())
    with pytest.raises(ExportError, match="float32, int8 or uint8"):
        controller.export_model(tmp_path / "model.tflite", io_type=io_type)
    assert list(tmp_path.iterdir()) == []


def test_names_and_batch_can_be_chosen(tmp_path):
    controller, _ = zoo.compress(zoo.shared_layer())
    names = {"input_names": ["a", "b"], "output_names": "c"}
    interpreter = opened(controller.export_model(tmp_path / "m.tflite", batch_size=3, **names).path)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    assert {tensor["name"].partition(":")[0] for tensor in inputs} == {"a", "b"}
    assert [tensor["name"] for tensor in outputs] == ["c"]
    assert {tuple(tensor["shape"]) for tensor in inputs} == {(3, 4)}


@pytest.mark.parametrize(
    "options", [{"io_type": "int16"}, {"input_names": ["a", "b"]}, {"opset": 13}, {"refuse": "replace"}]
)
def test_after_a_failed_export_the_old_file_is_unchanged(options, tmp_path, monkeypatch):
    assert_a_failed_export_keeps_the_old_file(tmp_path / "model.tflite", options, monkeypatch)


def test_without_its_runtime_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    controller, _ = zoo.compress(zoo.dense())
    for name in ("ai_edge_litert", "ai_edge_litert.interpreter"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ExportError, match="pip install ai-edge-litert"):
        controller.export_model(tmp_path / "model.tflite")


def test_what_only_tensorflow_itself_can_run_is_an_export_error(tmp_path):
    x = keras.Input((4,), name="x")
    hidden = tf.math.bessel_i0e(layers.Dense(4, name="hidden")(x))
    controller, _ = zoo.compress(keras.Model(x, layers.Dense(2, name="out")(hidden)))
    with pytest.raises(ExportError, match="Bessel"):
        controller.export_model(tmp_path / "model.tflite")
