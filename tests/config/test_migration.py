"""migrate: what each key of an NNCF configuration becomes, and that what is left is valid."""

import copy
import functools
import re

import pytest

from keras_compress import CompressionConfig, ConfigError
from keras_compress.algorithms import registered_algorithms
from keras_compress.config.migration import migrate

#: A file with something of everything.
FULL = {
    "model": "MobileNetV2",
    "target_device": "CPU",
    "target_devise": "CPU",
    "compression_lr_multiplier": 2,
    "ignored_scopes": ["head"],
    "accuracy_aware_training": {"mode": "early_exit"},
    "compression": [
        {
            "algorithm": "quantization",
            "initializer": {
                "range": [{"type": "percentile", "params": {"min_percentile": 1}}, {"num_init_samples": 8, "tpye": 1}],
                "precision": {"type": "hawq", "bits": [4, 8]},
            },
            "weights": {"bits": 4, "logarithm_scale": False},
            "activations": {"unified_scale_ops": [["a", "b"]]},
            "scope_overrides": {"activations": {"{re}conv": {"bits": 4, "bit": 4}}},
            "params": {"batch_multiplier": 2},
        },
        {"algorithm": "filter_pruning", "params": {"pruning_target": 0.4}},
        {"algorithm": "magnitude_sparsity", "params": {"sparsity_target": 0.6}, "target_scopes": "conv"},
    ],
}
EXPECTED = {
    "model": "no effect",
    "target_device": "used",
    "target_devise": "unknown",
    "compression_lr_multiplier": "no effect",
    "ignored_scopes": "used",
    "accuracy_aware_training": "not available",
    "compression[0].algorithm": "used",
    "compression[0].initializer.range[0].type": "used",
    "compression[0].initializer.range[0].params.min_percentile": "used",
    "compression[0].initializer.range[1].num_init_samples": "used",
    "compression[0].initializer.range[1].tpye": "unknown",
    "compression[0].initializer.precision": "not available",
    "compression[0].weights.bits": "used",
    "compression[0].weights.logarithm_scale": "no effect",
    "compression[0].activations.unified_scale_ops": "used",
    "compression[0].scope_overrides.activations.{re}conv.bits": "used",
    "compression[0].scope_overrides.activations.{re}conv.bit": "unknown",
    "compression[0].params": "no effect",
    "compression[0].overflow_fix": "differs",
    "compression[1].algorithm": "not available",
    "compression[2].algorithm": "used",
    "compression[2].params.sparsity_target": "used",
    "compression[2].target_scopes": "used",
}


def statuses(found):
    return {key.path: key.status for key in found.keys}


def test_every_key_is_accounted_for_and_the_rest_is_valid():
    values = copy.deepcopy(FULL)
    found = migrate(values)
    assert statuses(found) == EXPECTED
    assert values == FULL
    assert not found.complete
    config = CompressionConfig.from_dict(found.config)
    assert [algorithm.name for algorithm in config.compression] == ["quantization", "magnitude_sparsity"]
    assert config.compression[0].weights.bits == 4
    assert config.target_device == "CPU"
    config.warn_about_foreign_keys()  # warnings are errors here


def test_what_is_valid_stays_as_it_is():
    values = {"compression": {"algorithm": "quantization", "overflow_fix": "disable", "preset": "mixed"}}
    found = migrate(values)
    assert found.complete
    assert found.config == values
    assert set(statuses(found).values()) == {"used"}


@pytest.mark.parametrize("name", sorted(registered_algorithms()))
def test_every_algorithm_and_all_its_keys_are_known(name):
    every_key = {"algorithm": name, **registered_algorithms()[name]().model_dump(mode="json")}
    found = migrate({"compression": every_key})
    assert {re.split(r"[.\[]", key.path)[1] for key in found.keys} == set(every_key)
    assert not {"unknown", "wrong", "not available"} & set(statuses(found).values()), str(found)


def test_what_is_called_without_effect_is_what_the_configuration_warns_about():
    for name, algorithm in registered_algorithms().items():
        for pattern in algorithm.ignored_keys:
            if pattern.startswith("initializer.precision."):
                continue  # left out when the configuration is read
            path = pattern.replace("*", "conv")
            value = {"x": 1} if pattern == "params" else 1
            item = {
                "algorithm": name,
                **functools.reduce(lambda inner, key: {key: inner}, path.split(".")[::-1], value),
            }
            with pytest.warns(UserWarning, match=re.escape(f"'{name}.{pattern}' has no effect")):
                CompressionConfig.from_dict({"compression": item}).warn_about_foreign_keys()
            assert statuses(migrate({"compression": item}))[f"compression.{path}"] == "no effect"


@pytest.mark.parametrize(
    ("item", "path", "note"),
    [
        (
            {"algorithm": "quantization", "weights": {"bits": 16}},
            "compression.weights.bits",
            "equal to 8. Received: 16",
        ),
        (
            {"algorithm": "quantization", "initializer": {"range": {"type": "max"}}},
            "compression.initializer.range.type",
            "Received: 'max'",
        ),
        ({"algorithm": "magnitude_sparsity", "params": {"multistep_steps": [1, 2]}}, "compression.params", "rising"),
    ],
)
def test_wrong_values_are_named_and_nothing_is_left(item, path, note):
    found = migrate({"compression": item})
    [wrong] = [key for key in found.keys if key.status == "wrong"]
    assert wrong.path == path
    assert note in wrong.note
    assert found.config is None
    assert not found.complete


def test_mistakes_of_every_algorithm_and_of_the_root_are_told_at_once():
    wrong = [{"algorithm": "quantization", "preset": 1}, {"algorithm": "binarization", "mode": 1}]
    found = migrate({"target_device": "TPU", "compression": wrong})
    assert [path for path, status in statuses(found).items() if status == "wrong"] == [
        "target_device",
        "compression[0].preset",
        "compression[1].mode",
    ]


@pytest.mark.parametrize("items", [[], {"algorithm": "knowledge_distillation"}, {"algorithm": "quantisation"}, "text"])
def test_without_an_algorithm_there_is_no_configuration(items):
    found = migrate({"compression": items})
    assert found.config is None
    assert not found.complete


@pytest.mark.parametrize("values", [{}, [], {"algorithm": "quantization"}])
def test_what_is_no_configuration_is_an_error(values):
    with pytest.raises(ConfigError, match="This is no configuration"):
        migrate(values)


def test_it_prints_as_a_table():
    lines = str(migrate(FULL)).splitlines()
    assert lines[0].startswith("23 keys: ")
    assert lines[2].split() == ["key", "value", "here", "note"]
    assert "did you mean 'target_device'?" in str(migrate(FULL))


@pytest.mark.parametrize("algorithm", [["quantization"], {"a": 1}, None, 7])
def test_what_is_no_name_of_an_algorithm_is_unknown(algorithm):
    found = migrate({"compression": {"algorithm": algorithm}})
    assert [key.status for key in found.keys] == ["unknown"]
    assert found.config is None


@pytest.mark.parametrize("values", [{7: 1}, {"compression": {"algorithm": "quantization", 7: 1}}])
def test_keys_are_names(values):
    with pytest.raises(ConfigError, match="Wrong key"):
        migrate({"compression": {"algorithm": "quantization"}, **values})


def test_keys_of_several_lines_are_keys():
    found = migrate(
        {"compression": {"algorithm": "quantization", "scope_overrides": {"weights": {"a\nb": {"bits": "x"}}}}}
    )
    assert "wrong" in [key.status for key in found.keys]
