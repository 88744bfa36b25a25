"""An openvino.Model goes to NNCF: with its classes, its enums and data in the form that it takes."""

import builtins
import enum
import sys
import types

import numpy as np
import openvino
import pytest
from openvino import opset13

import keras_compress as kc
from keras_compress.post_training.openvino_models import is_openvino_model
from tests import zoo
from tests.post_training.nncf_scope import ScopeOfNNCF


def openvino_model(batch=-1):
    """A product and a sum of one input of four values."""
    x = opset13.parameter([batch, 4], np.float32, name="x")
    x.output(0).get_tensor().set_names({"x"})
    generator = np.random.default_rng(0)
    kernel = opset13.constant(generator.normal(size=(4, 3)).astype(np.float32))
    bias = opset13.constant(generator.normal(size=(1, 3)).astype(np.float32))
    return openvino.Model([opset13.add(opset13.matmul(x, kernel, False, False), bias)], [x], "small")


class Value(str, enum.Enum):
    """Base of the enums of the stand-in."""


def choices(name, *values):
    return Value(name, {value.upper(): value for value in values})


class Kept:
    """Keeps what it is made with."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs


def recorder(name):
    return type(name, (Kept,), {})


@pytest.fixture
def nncf(monkeypatch):
    """A stand-in for NNCF that keeps what it is called with in ``calls``, and reads the calibration data."""
    module = types.ModuleType("nncf")
    module.calls = []

    class Dataset:
        def __init__(self, source, transform_func=None):
            self.source, self.transform_func = source, transform_func

    def called(name):
        def call(*args, **kwargs):
            module.calls.append((name, args, kwargs))
            return "quantized"

        return call

    module.Dataset = Dataset
    module.quantize, module.quantize_with_accuracy_control = (
        called("quantize"),
        called("quantize_with_accuracy_control"),
    )
    module.QuantizationPreset = choices("QuantizationPreset", "performance", "mixed")
    module.TargetDevice = Value("TargetDevice", {"ANY": "ANY", "CPU": "CPU"})
    module.ModelType = choices("ModelType", "transformer")
    module.DropType = choices("DropType", "absolute", "relative")
    module.QuantizationMode = choices("QuantizationMode", "fp8_e4m3")
    module.OverflowFix = choices("OverflowFix", "enable", "disable")
    module.IgnoredScope, module.Subgraph = ScopeOfNNCF, recorder("Subgraph")
    module.AdvancedQuantizationParameters = recorder("AdvancedQuantizationParameters")
    module.AdvancedAccuracyRestorerParameters = recorder("AdvancedAccuracyRestorerParameters")
    advanced = types.SimpleNamespace(QuantizationParameters=recorder("QuantizationParameters"))
    estimators = types.SimpleNamespace(
        RangeEstimatorParameters=recorder("RangeEstimatorParameters"),
        StatisticsCollectorParameters=recorder("StatisticsCollectorParameters"),
        StatisticsType=choices("StatisticsType", "min", "max"),
    )
    module.quantization = types.SimpleNamespace(advanced_parameters=advanced, range_estimator=estimators)
    monkeypatch.setitem(sys.modules, "nncf", module)
    return module


DATA = np.arange(20, dtype=np.float64).reshape(5, 4)


def test_only_an_openvino_model_is_one():
    assert is_openvino_model(openvino_model())
    assert not is_openvino_model(zoo.dense())
    assert not is_openvino_model(None)


def test_the_arguments_arrive_as_those_of_nncf(nncf):
    model = openvino_model()
    result = kc.quantize(
        model,
        DATA,
        preset=kc.QuantizationPreset.MIXED,
        target_device="CPU",
        subset_size=7,
        fast_bias_correction=False,
        model_type=kc.ModelType.TRANSFORMER,
        ignored_scope=["product"],
    )
    assert result == "quantized"
    [(name, (given, _), arguments)] = nncf.calls
    assert (name, given) == ("quantize", model)
    assert arguments == {
        "preset": nncf.QuantizationPreset.MIXED,
        "target_device": nncf.TargetDevice.CPU,
        "subset_size": 7,
        "fast_bias_correction": False,
        "model_type": nncf.ModelType.TRANSFORMER,
        "ignored_scope": ScopeOfNNCF(names=["product"]),
    }
    assert {type(arguments[key]) for key in ("preset", "model_type")} == {nncf.QuantizationPreset, nncf.ModelType}


@pytest.mark.parametrize(
    "data",
    [
        DATA,
        (DATA, np.zeros(5)),
        {"x": DATA},
        [DATA[:2], DATA[2:]],
        kc.Dataset([(DATA, 0)], lambda e: e[0]),
        lambda: iter(DATA),
    ],
    ids=["array", "tuple", "dict", "list", "Dataset", "function"],
)
@pytest.mark.parametrize("batch", [-1, 2])
def test_calibration_data_of_every_form_arrive_in_batches_that_the_model_takes(nncf, data, batch):
    kc.quantize(openvino_model(batch), data)
    [(_, (_, dataset), _)] = nncf.calls
    for _ in range(2):
        elements = [element["x"] for element in dataset.source]
        assert {(element.shape, element.dtype) for element in elements} == {((max(batch, 1), 4), np.dtype(np.float32))}
        np.testing.assert_array_equal(np.concatenate(elements)[:5], DATA)


def test_a_dataset_of_nncf_is_handed_on(nncf):
    ours = nncf.Dataset([1])
    kc.quantize_with_accuracy_control(openvino_model(), ours, ours, max)
    [(_, (_, *datasets), _)] = nncf.calls
    assert datasets == [ours, ours]


def test_accuracy_control_gets_the_elements_to_validate_with_again_and_again(nncf):
    kc.quantize_with_accuracy_control(
        openvino_model(),
        DATA,
        kc.Dataset(lambda: iter([1, 2]), str),
        max,
        drop_type="relative",
        max_drop=0.2,
        advanced_accuracy_restorer_parameters={"max_num_iterations": 3},
        advanced_quantization_parameters={"quantize_outputs": True},
    )
    [(name, (_, _, validation), arguments)] = nncf.calls
    assert name == "quantize_with_accuracy_control"
    assert [list(validation.source), list(validation.source)] == [[1, 2], [1, 2]]
    assert validation.transform_func is str
    assert arguments["drop_type"] is nncf.DropType.RELATIVE
    assert arguments["max_drop"] == 0.2
    assert arguments["validation_fn"] is max
    assert arguments["advanced_accuracy_restorer_parameters"].kwargs == {"max_num_iterations": 3}
    assert arguments["advanced_quantization_parameters"].kwargs == {"quantize_outputs": True}


def test_validation_data_that_can_be_read_once_are_there_again(nncf):
    kc.quantize_with_accuracy_control(openvino_model(), DATA, iter([1, 2]), max)
    source = nncf.calls[0][1][2].source
    assert [list(source), list(source)] == [[1, 2], [1, 2]]


def test_nested_parameters_arrive_as_those_of_nncf(nncf):
    parameters = kc.AdvancedQuantizationParameters(
        overflow_fix="enable",
        weights_quantization_params={"num_bits": 4},
        activations_range_estimator_params={"min": {"statistics_type": "min"}},
    )
    scope = kc.IgnoredScope(types=["MatMul"], subgraphs=[kc.Subgraph(inputs="a", outputs="b")], validate=False)
    kc.quantize(openvino_model(), DATA, advanced_parameters=parameters, ignored_scope=scope)
    given = nncf.calls[0][2]["advanced_parameters"].kwargs
    assert given["overflow_fix"] is nncf.OverflowFix.ENABLE
    weights = given["weights_quantization_params"]
    assert (type(weights).__name__, weights.kwargs) == ("QuantizationParameters", {"num_bits": 4})
    statistics = given["activations_range_estimator_params"].kwargs["min"].kwargs["statistics_type"]
    assert statistics is nncf.quantization.range_estimator.StatisticsType.MIN
    scope = nncf.calls[0][2]["ignored_scope"]
    assert (scope.types, scope.validate) == (["MatMul"], False)
    assert scope.subgraphs[0].kwargs == {"inputs": ["a"], "outputs": ["b"]}


def test_the_objects_of_nncf_are_handed_on(nncf):
    scope, advanced = ScopeOfNNCF(["a"]), nncf.AdvancedQuantizationParameters()
    kc.quantize(openvino_model(), DATA, ignored_scope=scope, advanced_parameters=advanced, mode="fp8_e4m3")
    arguments = nncf.calls[0][2]
    assert arguments["ignored_scope"] is scope
    assert arguments["advanced_parameters"] is advanced
    assert arguments["mode"] is nncf.QuantizationMode.FP8_E4M3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "fast"}, r"'preset'\. Expected: 'performance', 'mixed'\. Received: 'fast'"),
        ({"mode": "int7"}, r"'mode'\. Expected: 'fp8_e4m3'\. Received: 'int7'"),
        ({"ignored_scope": 3}, r"'ignored_scope'\. Expected: .*Received: 3"),
        ({"advanced_parameters": {"nope": 1}}, r"Unknown key 'advanced_parameters\.nope'"),
        (
            {"advanced_parameters": {"adaptive_rounding": {}}},
            r"'advanced_parameters\.adaptive_rounding' is not for an openvino",
        ),
        (
            {"advanced_parameters": {"weights_range_estimator_params": {"type": "mse"}}},
            r"'advanced_parameters\.weights_range_estimator_params\.type' is not .*Received: type='mse'\. Leave it out",
        ),
    ],
)
def test_what_nncf_does_not_have_is_refused_by_name(nncf, options, message):
    with pytest.raises(kc.ConfigError, match=message):
        kc.quantize(openvino_model(), DATA, **options)
    assert nncf.calls == []


@pytest.mark.parametrize(
    "options",
    [
        {"validate_with": "openvino"},
        {"higher_is_better": False},
        {"max_evaluations": 9},
        {"max_seconds": 9.0},
        {"on_failure": "return_best"},
        {"record": "record.json"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_only_a_keras_model_has_is_refused_by_name(nncf, options):
    [(name, value)] = options.items()
    with pytest.raises(
        kc.ConfigError, match=rf"'{name}' is not for an openvino\.Model.*Expected: its default.*Received: {value!r}"
    ):
        kc.quantize_with_accuracy_control(openvino_model(), DATA, DATA, max, **options)
    assert nncf.calls == []


def test_without_nncf_the_way_out_is_named(monkeypatch):
    real = builtins.__import__

    def without_nncf(name, *args, **kwargs):
        if name == "nncf":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_nncf)
    with pytest.raises(kc.CompressionError, match="pip install nncf"):
        kc.quantize(openvino_model(), DATA)


def test_data_that_do_not_fit_are_an_error_that_names_the_input(nncf):
    kc.quantize(openvino_model(), np.zeros((5, 3)))
    with pytest.raises(
        kc.DataError, match=r"input 'x' have the wrong shape\. Expected: \(batch, 4\)\. Received: \(5, 3\)"
    ):
        list(nncf.calls[0][1][1].source)


def test_the_nncf_that_is_installed_quantizes():
    data = np.random.default_rng(1).normal(size=(40, 4)).astype(np.float32)
    model = openvino_model()
    expected = openvino.compile_model(model, "CPU")(data)[0]
    advanced = kc.AdvancedQuantizationParameters(
        overflow_fix="disable",
        weights_quantization_params={"num_bits": 8, "mode": "symmetric"},
        activations_range_estimator_params={"max": {"statistics_type": "max", "aggregator_type": "max"}},
    )
    quantized = kc.quantize(model, data, preset="performance", subset_size=20, advanced_parameters=advanced)
    assert any(node.get_type_name() == "FakeQuantize" for node in quantized.get_ops())
    found = openvino.compile_model(quantized, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(data)[0]
    assert 0 < np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
