"""Validator: what validation_fn gets in each runtime, and what counts as a metric."""

import numpy as np
import onnxruntime
import openvino
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.data import Dataset
from keras_compress.post_training.validation import Validator, runtimes
from tests import zoo


def by_openvino(model, inputs):
    assert isinstance(model, openvino.CompiledModel)
    return model(inputs)[0]


def by_onnxruntime(model, inputs):
    assert isinstance(model, onnxruntime.InferenceSession)
    return model.run(None, {model.get_inputs()[0].name: inputs})[0]


def by_tflite(model, inputs):
    [given], [made] = model.get_input_details(), model.get_output_details()
    model.resize_tensor_input(given["index"], inputs.shape)
    model.allocate_tensors()
    model.set_tensor(given["index"], inputs)
    model.invoke()
    return model.get_tensor(made["index"])


def by_keras(model, inputs):
    assert isinstance(model, keras.Model)
    return model.predict(inputs, verbose=0)


RUN = {"keras": by_keras, "openvino": by_openvino, "onnxruntime": by_onnxruntime, "tflite": by_tflite}
SUFFIXES = {"openvino": ".xml", "onnxruntime": ".onnx", "tflite": ".tflite"}


def validator(function, data=None, runtime="keras"):
    return Validator(function, data, runtime, Dataset(np.zeros((4, 4), np.float32)))


def test_every_runtime_is_tested_here():
    assert set(RUN) == set(runtimes())


@pytest.mark.parametrize("runtime", RUN)
def test_the_runtime_computes_what_the_model_computes(runtime):
    model = zoo.convolution()
    inputs = zoo.samples(model, 8)
    quantized = kc.quantize(model, inputs)
    for some in (model, quantized):
        expected = zoo.predict(some, inputs)[0]

        def error(candidate, data, expected=expected):
            return np.abs(RUN[runtime](candidate, data) - expected).max()

        found = Validator(error, inputs, runtime, Dataset(inputs))(some)
        assert found < 0.02 * np.abs(expected).max()


@pytest.mark.extended
@pytest.mark.parametrize("runtime", SUFFIXES)
def test_accuracy_control_in_a_runtime_gives_the_metric_of_the_exported_result(runtime, tmp_path):
    model = zoo.convolution()
    data, inputs = zoo.samples(model, 16, seed=2), zoo.samples(model, 8)
    expected = zoo.predict(model, inputs)[0]

    def error(candidate, given):
        return float(np.square(RUN[runtime](candidate, given) - expected).sum())

    result = kc.quantize_with_accuracy_control(
        model,
        data,
        inputs,
        error,
        max_drop=1e-7,
        validate_with=runtime,
        higher_is_better=False,
        on_failure="return_best",
    )
    report = result.accuracy_report
    path = kc.export_model(result, tmp_path / f"model{SUFFIXES[runtime]}", data=data).path
    assert report.original < 1e-6
    assert report.quantized > 1e-5
    assert len(report.evaluations) > 2
    assert report.final == pytest.approx(
        Validator(error, inputs, "keras", Dataset(data))._metric(opened(path)), rel=1e-4
    )


def opened(path):
    from keras_compress.export import format_of

    return format_of(path).open(path, 0)


@pytest.mark.parametrize(
    "returned",
    [0.5, np.float32(0.5), np.array(0.5), np.array([0.5]), tf.constant(0.5), (0.5, [1, 0]), (np.float64(0.5), None)],
    ids=repr,
)
def test_a_number_of_any_kind_is_the_metric(returned):
    metric = validator(lambda model, data: returned)(zoo.dense())
    assert metric == 0.5
    assert type(metric) is float


@pytest.mark.parametrize(
    "returned",
    [None, float("nan"), np.inf, "good", [0.1, 0.5], (), (None, 1), np.array([0.1, 0.2]), {"accuracy": 1}],
    ids=repr,
)
def test_what_is_no_number_is_an_error(returned):
    with pytest.raises(
        kc.CompressionError, match=r"validation_fn returned no metric\. Expected: a finite number, or a tuple.*Received"
    ):
        validator(lambda model, data: returned)(zoo.dense())


def test_data_of_the_user_are_handed_over_as_they_are():
    given = {"any": object()}
    seen = []
    validator(lambda model, data: seen.append(data) or 1.0, given)(zoo.dense())
    assert seen[0] is given


def test_a_dataset_is_handed_over_as_its_elements_every_time_before_its_function():
    dataset = Dataset([1, 2, 3], lambda element: 1 / 0)
    validate = validator(lambda model, data: sum(data), dataset)
    assert [validate(zoo.dense()) for _ in range(2)] == [6.0, 6.0]


def test_data_that_can_be_read_once_are_there_in_every_evaluation():
    validate = validator(lambda model, data: sum(data), iter([1, 2, 3]))
    assert [validate(zoo.dense()) for _ in range(2)] == [6.0, 6.0]


@pytest.mark.parametrize("runtime", ["onnx", None, ["keras"]])
def test_an_unknown_runtime_is_refused(runtime):
    with pytest.raises(
        kc.ConfigError, match=r"'validate_with'\. Expected: one of \['keras', .*'openvino', .*Received: "
    ):
        validator(lambda model, data: 1.0, runtime=runtime)


def test_what_is_no_function_is_refused():
    with pytest.raises(kc.ConfigError, match=r"'validation_fn'\. Expected: a function .*Received: 0\.9"):
        validator(0.9)


def test_an_error_of_the_function_comes_through():
    with pytest.raises(ZeroDivisionError):
        validator(lambda model, data: 1 / 0)(zoo.dense())
