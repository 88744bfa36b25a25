"""The parameters of NNCF: each has its effect on the configuration, or is refused by name with a way out."""

import dataclasses
import enum
import inspect

import pytest

import keras_compress as kc
from keras_compress.post_training import (
    AggregatorType,
    ModelType,
    OverflowFix,
    StatisticsCollectorParameters,
    StatisticsType,
)
from keras_compress.post_training.parameters import AdvancedBiasCorrectionParameters, quantization_config
from keras_compress.settings import validated
from tests import zoo

DEFAULTS = {
    "preset": None,
    "target_device": "ANY",
    "subset_size": 300,
    "model_type": None,
    "ignored_scopes": (),
    "validate_scopes": True,
}


def config(advanced=None, **arguments):
    values = validated(kc.AdvancedQuantizationParameters, advanced or {}, "advanced_parameters")
    return quantization_config(**{**DEFAULTS, **arguments}, advanced=values)


def algorithm(advanced=None, **arguments):
    return config(advanced, **arguments).compression[0]


def ranges(advanced):
    """Return the range initializers of weights and of activations."""
    weights, activations = algorithm(advanced).initializer.range
    assert (weights.target_quantizer_group, activations.target_quantizer_group) == ("weights", "activations")
    return weights, activations


def collectors(low, high):
    """Return a range estimator of ``(statistics, aggregator)`` at each end."""
    ends = {"min": low, "max": high}
    return {end: {"statistics_type": taken, "aggregator_type": joined} for end, (taken, joined) in ends.items()}


def test_by_default_it_is_the_configuration_with_its_defaults():
    found = algorithm()
    assert found.preset == "performance"
    assert (found.weights, found.activations) == (type(found.weights)(), type(found.activations)())
    assert found.overflow_fix == "disable"
    assert not found.quantize_outputs
    assert found.batch_norm_adaptation.model_fields_set == set()
    assert [(how.type, how.num_init_samples) for how in ranges({})] == [("mixed_min_max", 300)] * 2
    assert config().target_device == "ANY"


@pytest.mark.parametrize("preset", ["mixed", kc.QuantizationPreset.MIXED])
def test_the_preset_is_given_as_a_member_or_by_its_value(preset):
    assert algorithm(preset=preset).preset == "mixed"


def test_transformers_are_mixed_unless_asked_otherwise():
    assert algorithm(model_type="transformer").preset == "mixed"
    assert algorithm(model_type=ModelType.TRANSFORMER, preset="performance").preset == "performance"


@pytest.mark.parametrize("device", ["ANY", "CPU", "GPU", "NPU", "CPU_SPR"])
def test_every_device_is_taken(device):
    assert config(target_device=device).target_device == device
    assert config(target_device=kc.TargetDevice[device]).target_device == device


class OthersPreset(enum.Enum):
    """As an enum of NNCF."""

    MIXED = "mixed"
    FAST = "fast"


def test_members_of_another_package_are_taken_by_their_value():
    assert algorithm(preset=OthersPreset.MIXED).preset == "mixed"
    with pytest.raises(kc.ConfigError, match=r"'preset'\. Expected: 'performance', 'mixed', 'auto'\. Received: .*FAST"):
        algorithm(preset=OthersPreset.FAST)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("preset", "fast", "'performance', 'mixed', 'auto'"),
        ("target_device", "cpu", "'ANY', 'CPU', 'GPU', 'NPU', 'CPU_SPR'"),
        ("target_device", None, "'ANY', 'CPU'"),
        ("model_type", "cnn", "'transformer'"),
        ("model_type", ["transformer"], "'transformer'"),
    ],
)
def test_a_wrong_choice_is_an_error_that_lists_the_right_ones(name, value, allowed):
    with pytest.raises(kc.ConfigError, match=rf"Wrong value for '{name}'\. Expected: {allowed}.*Received: "):
        config(**{name: value})


@pytest.mark.parametrize("group", ["weights", "activations"])
def test_settings_of_a_group_are_its_settings(group):
    settings = {"num_bits": 4, "mode": "asymmetric", "signedness_to_force": True, "per_channel": False}
    found = getattr(algorithm({f"{group}_quantization_params": settings}), group)
    assert (found.bits, found.mode, found.signed, found.per_channel) == (4, "asymmetric", True, False)
    other = "activations" if group == "weights" else "weights"
    assert getattr(algorithm({f"{group}_quantization_params": settings}), other).bits is None


def test_the_other_switches_reach_the_configuration():
    found = algorithm({"overflow_fix": "first_layer_only", "quantize_outputs": True, "batch_norm_adaptation": 12})
    assert found.overflow_fix == "first_layer_only"
    assert found.quantize_outputs
    assert found.batch_norm_adaptation.num_bn_adaptation_samples == 12
    assert algorithm({"overflow_fix": OverflowFix.ENABLE}).overflow_fix == "enable"


@pytest.mark.parametrize(
    "kind", ["min_max", "mean_min_max", "threesigma", "percentile", "mean_percentile", "mse", "entropy"]
)
def test_a_range_type_by_its_name_is_that_of_one_group(kind):
    weights, activations = ranges({"activations_range_estimator_params": {"type": kind}})
    assert (weights.type, activations.type) == ("mixed_min_max", kind)
    weights, activations = ranges({"weights_range_estimator_params": kc.RangeEstimatorParameters(type=kind)})
    assert (weights.type, activations.type) == (kind, "mixed_min_max")


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [
        (("min", "min"), ("max", "max"), "min_max"),
        (("min", "mean"), ("max", "mean"), "mean_min_max"),
        (("min", "mean"), ("abs_max", "mean"), "mean_min_max"),
        (("quantile", "mean"), ("quantile", "mean"), "mean_percentile"),
        (("quantile", "mean"), ("abs_quantile", "mean"), "mean_percentile"),
        ((None, "mean"), (None, None), "mean_min_max"),
        ((None, None), ("quantile", "mean"), "mean_percentile"),
        (("min", None), (None, None), "min_max"),
    ],
)
def test_the_collectors_of_nncf_become_the_same_range_type(low, high, kind):
    assert ranges({"activations_range_estimator_params": collectors(low, high)})[1].type == kind


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (("min", "median"), ("max", "median")),
        (("max", "max"), ("min", "min")),
        (("max", "mean"), ("max", "mean")),
        (("min", "min"), ("max", "mean")),
        (("min", "mean"), ("quantile", "mean")),
        (("quantile", "max"), ("quantile", "max")),
        (("quantile", None), ("quantile", None)),
        (("mean", "mean"), ("mean", "mean")),
        ((None, "histogram"), (None, "histogram")),
    ],
)
def test_collectors_that_make_no_range_here_are_refused(low, high):
    message = (
        r"'activations_range_estimator_params' names a combination that is not available.*Expected: .*type=.*Set type"
    )
    with pytest.raises(kc.ConfigError, match=message):
        algorithm({"activations_range_estimator_params": collectors(low, high)})


def test_quantiles_become_percentiles():
    low = StatisticsCollectorParameters(
        statistics_type=StatisticsType.QUANTILE, aggregator_type=AggregatorType.MEAN, quantile_outlier_prob=0.01
    )
    high = low.model_copy(update={"quantile_outlier_prob": 0.02})
    params = ranges({"weights_range_estimator_params": {"min": low, "max": high}})[0].params
    assert params.min_percentile == pytest.approx(1)
    assert params.max_percentile == pytest.approx(98)


def test_a_probability_alone_chooses_no_other_range_type():
    assert (
        ranges({"weights_range_estimator_params": {"min": {"quantile_outlier_prob": 0.1}}})[0].type == "mixed_min_max"
    )


def test_clipping_is_refused():
    with pytest.raises(kc.ConfigError, match=r"'weights_range_estimator_params'.*clipping 3\.0, None"):
        algorithm({"weights_range_estimator_params": {"min": {"statistics_type": "min", "clipping_value": 3.0}}})


def test_a_range_type_and_collectors_contradict_each_other():
    both = {"type": "mse", **collectors(("min", "min"), ("max", "max"))}
    with pytest.raises(
        kc.ConfigError, match=r"'activations_range_estimator_params' says in two ways.*Expected: 'type', or"
    ):
        algorithm({"activations_range_estimator_params": both})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batchwise_statistics", True),
        ("batchwise_statistics", False),
        ("quantizer_propagation_rule", 1),
        ("smooth_quant_alphas", {"matmul": 0.5}),
        ("smooth_quant_alpha", 0.5),
        ("backend_params", {"key": 1}),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(name, value):
    with pytest.raises(
        kc.ConfigError, match=rf"'advanced_parameters\.{name}' cannot be honoured: .*Received: {name}=.*Leave"
    ):
        config({name: value})


@pytest.mark.parametrize(("name", "value"), [("apply_for_all_nodes", True), ("threshold", 1.0)])
def test_settings_of_bias_correction_are_refused_by_name(name, value):
    with pytest.raises(
        kc.ConfigError, match=rf"'advanced_parameters\.bias_correction_params\.{name}'\. Expected: (None|False)"
    ):
        config({"bias_correction_params": {name: value}})


@pytest.mark.parametrize("group", ["weights", "activations"])
def test_narrow_range_is_refused_by_name(group):
    with pytest.raises(
        kc.ConfigError, match=rf"'{group}_quantization_params\.narrow_range' cannot be honoured.*Leave it out"
    ):
        config({f"{group}_quantization_params": {"narrow_range": True}})


def test_the_default_of_what_cannot_be_honoured_is_taken():
    parameters = {
        "inplace_statistics": True,
        "batchwise_statistics": None,
        "smooth_quant_alpha": None,
        "backend_params": {},
    }
    assert config({**parameters, "bias_correction_params": AdvancedBiasCorrectionParameters()}) == config()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"overflow": "enable"}, r"Unknown key 'advanced_parameters\.overflow'\. Did you mean 'overflow_fix'"),
        (
            {"weights_quantization_params": {"num_bits": 9}},
            r"weights_quantization_params\.num_bits'\..*less than or equal to 8",
        ),
        ({"adaptive_rounding": {"steps": 0}}, r"'advanced_parameters\.adaptive_rounding\.steps'"),
        (
            {"overflow_fix": "yes"},
            r"'advanced_parameters\.overflow_fix'\. Expected: 'enable', 'first_layer_only' or 'disable'",
        ),
        (3, r"'advanced_parameters'\. Expected: .*Received: 3"),
    ],
)
def test_a_wrong_key_or_value_is_named(values, message):
    with pytest.raises(kc.ConfigError, match=message):
        config(values)


def test_parameters_made_wrongly_are_an_error_where_they_are_made():
    with pytest.raises(kc.ConfigError, match=r"'QuantizationParameters\.num_bits'.*Received: 1"):
        kc.QuantizationParameters(num_bits=1)
    with pytest.raises(kc.ConfigError, match=r"Unknown key 'AdvancedQuantizationParameters\.overflowfix'"):
        kc.AdvancedQuantizationParameters(overflowfix="enable")


def test_every_parameter_of_nncf_is_known_here():
    import nncf

    assert {field.name for field in dataclasses.fields(nncf.AdvancedQuantizationParameters)} <= set(
        kc.AdvancedQuantizationParameters.model_fields
    )
    for name in ("quantize", "quantize_with_accuracy_control"):
        ours = inspect.signature(getattr(kc, name)).parameters
        theirs = inspect.signature(getattr(nncf, name)).parameters
        assert list(theirs) == [key for key in ours if key in theirs]
        for key, parameter in theirs.items():
            default = ours[key].default
            assert getattr(default, "value", default) == getattr(parameter.default, "value", parameter.default)


def test_the_objects_of_nncf_are_taken_attribute_by_attribute():
    from nncf.quantization import advanced_parameters as theirs
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    given = theirs.AdvancedQuantizationParameters(
        overflow_fix=theirs.OverflowFix.ENABLE,
        disable_bias_correction=True,
        weights_quantization_params=theirs.QuantizationParameters(num_bits=4, mode=theirs.QuantizationMode.SYMMETRIC),
        activations_range_estimator_params=RangeEstimatorParametersSet.MEAN_MINMAX,
    )
    ours = validated(kc.AdvancedQuantizationParameters, given, "advanced_parameters")
    assert ours.disable_bias_correction
    found = algorithm(given)
    assert (found.overflow_fix, found.weights.bits, found.weights.mode) == ("enable", 4, "symmetric")
    assert [how.type for how in found.initializer.range] == ["mixed_min_max", "mean_min_max"]
    assert config(theirs.AdvancedQuantizationParameters()) == config()
    ours = kc.AdvancedQuantizationParameters(weights_range_estimator_params=RangeEstimatorParametersSet.MINMAX)
    assert algorithm(ours).initializer.range[0].type == "min_max"


def test_what_cannot_be_honoured_in_an_object_of_nncf_is_refused_by_name():
    from nncf.quantization import advanced_parameters as theirs

    smooth = theirs.AdvancedQuantizationParameters(smooth_quant_alphas=theirs.AdvancedSmoothQuantParameters(matmul=0.5))
    with pytest.raises(kc.ConfigError, match=r"'advanced_parameters\.smooth_quant_alphas' cannot be honoured"):
        config(smooth)
    floats = theirs.FP8QuantizationParameters(theirs.FP8Type.E4M3)
    with pytest.raises(kc.ConfigError, match=r"'advanced_parameters\.weights_quantization_params\.destination_type'"):
        config(theirs.AdvancedQuantizationParameters(weights_quantization_params=floats))


def test_the_members_of_nncf_are_taken():
    import nncf

    model = zoo.dense()
    quantized = kc.quantize(
        model,
        zoo.samples(model),
        preset=nncf.QuantizationPreset.MIXED,
        target_device=nncf.TargetDevice.CPU,
        model_type=nncf.ModelType.TRANSFORMER,
        advanced_parameters=nncf.AdvancedQuantizationParameters(quantize_outputs=True),
    )
    assert {type(layer).__name__ for layer in quantized.layers} == {"AsymmetricFakeQuantize", "CompressedLayer"}
