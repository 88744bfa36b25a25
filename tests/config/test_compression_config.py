"""The configuration: JSON, dicts and Python objects are the same, and mistakes are explained."""

import copy
import json
import warnings

import numpy as np
import pytest

from keras_compress import (
    CompressionConfig,
    ConfigError,
    create_compressed_model,
    json_schema,
    register_default_init_args,
)
from keras_compress.algorithms import PlanContext, registered_algorithms
from keras_compress.algorithms.quantization import Quantization
from keras_compress.algorithms.quantizer_settings import QuantizerInit, ScopeOverrides
from tests import zoo

PLAIN = {"compression": {"algorithm": "quantization"}}
FULL = {
    "input_info": {"sample_size": [1, 224, 224, 3]},
    "target_device": "CPU",
    "ignored_scopes": ["head"],
    "target_scopes": "{re}conv.*",
    "log_dir": "logs",
    "compression": [
        {
            "algorithm": "quantization",
            "preset": "mixed",
            "quantize_inputs": False,
            "quantize_outputs": True,
            "overflow_fix": "first_layer_only",
            "validate_scopes": False,
            "ignored_scopes": "stem",
            "weights": {"mode": "asymmetric", "bits": 4, "per_channel": False, "target_scopes": ["{re}.*"]},
            "activations": {
                "mode": "symmetric",
                "bits": 6,
                "signed": True,
                "ignored_scopes": ["a", "b"],
                "unified_scale_ops": [["x", "y"]],
            },
            "scope_overrides": {
                "weights": {"stem": {"bits": 8, "initializer": {"range": {"type": "min_max"}}}},
                "activations": {"{re}.*relu": {"mode": "asymmetric"}},
            },
            "initializer": {
                "range": [
                    {"type": "percentile", "num_init_samples": 64, "params": {"min_percentile": 1.0}},
                    {"type": "threesigma", "target_quantizer_group": "weights", "target_scopes": ["stem"]},
                ],
                "batchnorm_adaptation": {"num_bn_adaptation_samples": 10},
                "precision": {"type": "manual", "bitwidth_per_scope": [[4, "stem"], [2, "head"]]},
            },
        }
    ],
}
GOOD = {
    "one algorithm": PLAIN,
    "list of algorithms": {"compression": [{"algorithm": "quantization"}]},
    "everything": FULL,
    "single range": {
        "compression": {"algorithm": "quantization", "initializer": {"range": {"num_init_samples": 8}}},
    },
    "single scope": {"ignored_scopes": "conv", "compression": {"algorithm": "quantization", "target_scopes": "conv"}},
    "list of inputs": {"input_info": [{"sample_size": [1, 4], "type": "long"}], **PLAIN},
    "foreign keys": {"model": "resnet50", "epochs": 3, "optimizer": {"type": "Adam"}, **PLAIN},
}


def write(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", GOOD)
def test_json_and_dict_are_the_same(name, tmp_path):
    values = copy.deepcopy(GOOD[name])
    from_dict = CompressionConfig.from_dict(values)
    assert CompressionConfig.from_json(write(tmp_path, json.dumps(values))) == from_dict
    assert CompressionConfig.from_json(str(write(tmp_path, json.dumps(values)))) == from_dict
    assert values == GOOD[name]


@pytest.mark.parametrize("name", GOOD)
def test_dict_round_trip(name):
    config = CompressionConfig.from_dict(GOOD[name])
    again = CompressionConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert again.to_dict() == config.to_dict()


def test_every_value_arrives():
    (algorithm,) = CompressionConfig.from_dict(FULL).compression
    assert algorithm.preset == "mixed"
    assert algorithm.weights.bits == 4
    assert algorithm.activations.unified_scale_ops == (("x", "y"),)
    assert algorithm.scope_overrides.weights["stem"].initializer.range.type == "min_max"
    assert algorithm.initializer.range[0].params.min_percentile == 1.0
    assert algorithm.initializer.precision.bitwidth_per_scope == ((4, "stem"), (2, "head"))


def test_python_objects_are_the_same():
    made = CompressionConfig(
        target_device="CPU",
        compression=[
            Quantization(
                preset="mixed",
                weights={"bits": 4},
                initializer=QuantizerInit(range=({"type": "min_max"},)),
                scope_overrides=ScopeOverrides(weights={"conv": {"bits": 8}}),
            )
        ],
    )
    written = CompressionConfig.from_dict(
        {
            "target_device": "CPU",
            "compression": {
                "algorithm": "quantization",
                "preset": "mixed",
                "weights": {"bits": 4},
                "initializer": {"range": {"type": "min_max"}},
                "scope_overrides": {"weights": {"conv": {"bits": 8}}},
            },
        }
    )
    assert made == written
    assert made.to_dict() == written.to_dict()


@pytest.mark.parametrize("other", [{"bits": 4}, {"bits": 8, "mode": "asymmetric"}])
def test_different_configurations_are_not_equal(other):
    values = {"compression": {"algorithm": "quantization", "weights": other}}
    assert CompressionConfig.from_dict(values) != CompressionConfig.from_dict(PLAIN)
    assert CompressionConfig.from_dict(values) != values


def test_comments_and_trailing_commas_are_allowed(tmp_path):
    text = """
    // a comment, "with a string"
    {
        /* a block
           of lines, */
        "compression": [ // behind
            {"algorithm": "quantization", "ignored_scopes": ["a", "b", /* c */ ], },
        ], // {
        "target_device": "CPU", // last,
    }
    """
    config = CompressionConfig.from_json(write(tmp_path, text))
    assert config.compression[0].ignored_scopes == ("a", "b")
    assert config.target_device == "CPU"


@pytest.mark.parametrize(
    "name", ["http://host/a", "/* not a comment */", "a,]", "a, }", 'quote " // in', "back\\slash//", "ünï/*"]
)
def test_strings_that_look_like_comments_stay(name, tmp_path):
    values = {"compression": {"algorithm": "quantization", "ignored_scopes": [name, "b"]}}
    config = CompressionConfig.from_json(write(tmp_path, json.dumps(values, ensure_ascii=False)))
    assert config.compression[0].ignored_scopes == (name, "b")


@pytest.mark.parametrize(
    "text", ["", "{", "{'compression': 1}", '{"compression" {}}', "// only", '{"a": /* open', "[" * 100_000]
)
def test_what_is_not_json_is_an_error_that_names_the_file(text, tmp_path):
    with pytest.raises(ConfigError, match=r"config\.json' is not JSON"):
        CompressionConfig.from_json(write(tmp_path, text))


@pytest.mark.parametrize("make", [lambda p: p / "missing.json", lambda p: p])
def test_a_file_that_cannot_be_read_is_an_error(make, tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        CompressionConfig.from_json(make(tmp_path))


def test_a_file_in_another_encoding_is_an_error(tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(json.dumps(PLAIN).encode("utf-16"))
    with pytest.raises(ConfigError, match="cannot be read"):
        CompressionConfig.from_json(path)


def quantization(**settings):
    return {"compression": {"algorithm": "quantization", **settings}}


WRONG = {
    "no compression": ({"target_device": "CPU"}, r"Missing key 'compression'.*Received: \['target_device'\]"),
    "no dict": ([], r"is a dict, an algorithm, .*Received: list"),
    "text": ("quantization", r"is a dict, an algorithm, .*Received: str"),
    "empty list": ({"compression": []}, r"'compression'.*at least 1"),
    "algorithm missing": ({"compression": {"preset": "mixed"}}, r"'compression\.algorithm'\..*Allowed: .*quantization"),
    "algorithm in a list missing": ({"compression": [{"preset": "mixed"}]}, r"'compression\[0\]\.algorithm'"),
    "algorithm unknown": (
        {"compression": {"algorithm": "quantisation"}},
        r"'compression\.algorithm'\. Did you mean 'quantization'\?.*Received: 'quantisation'",
    ),
    "second algorithm unknown": (
        {"compression": [{"algorithm": "quantization"}, {"algorithm": "x"}]},
        r"'compression\[1\]\.algorithm'.*Received: 'x'",
    ),
    "algorithm of another type": ({"compression": {"algorithm": ["quantization"]}}, r"'compression\.algorithm'"),
    "compression is text": ({"compression": "quantization"}, r"'compression\.algorithm'.*Received: 'quantization'"),
    "target device": ({"target_device": "TPU", **PLAIN}, r"'target_device'\. Expected: 'ANY', 'CPU'.*Received: 'TPU'"),
    "root key misspelled": (
        {"target_devise": "CPU", **PLAIN},
        r"'target_devise'.*Did you mean 'target_device'\?.*Received: target_devise='CPU'",
    ),
    "preset": (
        quantization(preset="mixd"),
        r"'compression\.preset'\. Expected: 'performance', 'mixed' or 'auto'\..*'mixd'",
    ),
    "unknown key": (
        quantization(weight={"bits": 4}),
        r"'compression\.weight'\. Did you mean 'weights'\?.*Received: weight=\{'bits': 4\}",
    ),
    "unknown key below": (
        quantization(weights={"bit": 4}),
        r"'compression\.weights\.bit'\. Did you mean 'bits'\?.*Received: bit=4",
    ),
    "unknown key in a list": (
        {"compression": [PLAIN["compression"], {"algorithm": "quantization", "activations": {"sign": True}}]},
        r"'compression\[1\]\.activations\.sign'\. Did you mean 'signed'\?",
    ),
    "too few bits": (quantization(weights={"bits": 1}), r"'compression\.weights\.bits'.*equal to 2\. Received: 1"),
    "too many bits": (quantization(activations={"bits": 9}), r"activations\.bits'.*equal to 8\. Received: 9"),
    "bits as text": (quantization(weights={"bits": "eight"}), r"weights\.bits'.*integer.*Received: 'eight'"),
    "bits as a fraction": (quantization(weights={"bits": 4.5}), r"weights\.bits'.*Received: 4\.5"),
    "mode": (quantization(weights={"mode": "sym"}), r"weights\.mode'\. Expected: 'symmetric' or 'asymmetric'.*'sym'"),
    "switch": (quantization(quantize_inputs="maybe"), r"quantize_inputs'.*boolean.*Received: 'maybe'"),
    "overflow fix": (quantization(overflow_fix=True), r"overflow_fix'.*'first_layer_only'.*Received: True"),
    "scope": (quantization(ignored_scopes=[3]), r"ignored_scopes\[0\]'.*string.*Received: 3"),
    "range type": (
        quantization(initializer={"range": {"type": "minmax"}}),
        r"initializer\.range\[0\]\.type'.*'min_max'.*Received: 'minmax'",
    ),
    "range key": (
        quantization(initializer={"range": {"num_init_sample": 3}}),
        r"initializer\.range\[0\]\.num_init_sample'\. Did you mean 'num_init_samples'\?",
    ),
    "negative samples": (
        quantization(initializer={"range": {"num_init_samples": -1}}),
        r"num_init_samples'.*Received: -1",
    ),
    "percentile": (
        quantization(initializer={"range": {"type": "percentile", "params": {"max_percentile": 101}}}),
        r"params\.max_percentile'.*equal to 100.*Received: 101",
    ),
    "percentiles in the wrong order": (
        quantization(initializer={"range": {"params": {"min_percentile": 99, "max_percentile": 1}}}),
        r"params.*min_percentile",
    ),
    "batch norm key": (
        quantization(initializer={"batchnorm_adaptation": {"num_samples": 5}}),
        r"batchnorm_adaptation\.num_samples'\. Did you mean 'num_bn_adaptation_samples'\?",
    ),
    "precision type": (
        quantization(initializer={"precision": {"type": "hawq"}}),
        r"initializer\.precision': Expected: \"manual\".*type='hawq'.*bitwidth_per_scope",
    ),
    "precision bits": (
        quantization(initializer={"precision": {"bitwidth_per_scope": [[16, "conv"]]}}),
        r"bitwidth_per_scope\[0\]\[0\]'.*Received: 16",
    ),
    "override key": (
        quantization(scope_overrides={"weights": {"conv": {"bit": 4}}}),
        r"scope_overrides\.weights\.conv\.bit'\. Did you mean 'bits'\?",
    ),
    "override group": (
        quantization(scope_overrides={"weight": {}}),
        r"scope_overrides\.weight'\. Did you mean 'weights'\?",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_named_with_path_value_and_nearest_key(mistake):
    values, message = WRONG[mistake]
    with pytest.raises(ConfigError, match=message):
        CompressionConfig.from_dict(values)


@pytest.mark.parametrize("make", [zoo.dense, zoo.residual])
def test_the_same_algorithm_twice_on_the_same_layers_is_an_error(make):
    model = make()
    twice = {"compression": [PLAIN["compression"]] * 2}
    with pytest.raises(ConfigError, match="quantization"):
        create_compressed_model(model, register_default_init_args(twice, zoo.samples(model)))


def test_foreign_keys_at_the_root_are_a_warning_that_names_each():
    model = zoo.dense()
    config = register_default_init_args({"model": "resnet50", "epochs": 3, **PLAIN}, zoo.samples(model))
    with pytest.warns(UserWarning, match="no effect") as caught:
        create_compressed_model(model, config)
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 1
    assert "'epochs'" in messages[0]
    assert "'model'" in messages[0]
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"params": {"activations_quant_start_epoch": 1}}, "quantization.params"),
        ({"export_to_onnx_standard_ops": True}, "export_to_onnx_standard_ops"),
        ({"weights": {"logarithm_scale": True}}, "logarithm_scale"),
    ],
)
def test_keys_without_effect_are_a_warning(settings, word):
    with pytest.warns(UserWarning, match=word):
        CompressionConfig.from_dict(quantization(**settings)).warn_about_foreign_keys()


def test_a_clean_configuration_warns_about_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CompressionConfig.from_dict(FULL).warn_about_foreign_keys()


def test_algorithms_are_told_the_root_keys():
    expected = PlanContext("CPU", ("head",), ("{re}conv.*",))
    assert CompressionConfig.from_dict(FULL).plan_context() == expected


@pytest.mark.parametrize("as_dict", [True, False])
def test_registering_data_leaves_the_configuration_as_it_was(as_dict):
    config = copy.deepcopy(PLAIN) if as_dict else CompressionConfig.from_dict(PLAIN)
    registered = register_default_init_args(config, np.zeros((4, 2), np.float32), batch_size=2)
    assert registered.init_data is not None
    assert registered == CompressionConfig.from_dict(PLAIN)
    if as_dict:
        assert config == PLAIN
    else:
        assert config.init_data is None
        assert registered is not config


# A reader of the part of JSON Schema that the schema uses.


def accepts(schema, value, root):
    """Return whether ``value`` fits ``schema``."""
    if "$ref" in schema:
        return accepts(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, root)
    if "anyOf" in schema:
        return any(accepts(choice, value, root) for choice in schema["anyOf"])
    if "const" in schema and value != schema["const"]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "null": type(None),
        "integer": int,
        "number": (int, float),
    }
    if "type" in schema and not isinstance(value, kinds[schema["type"]]):
        return False
    if isinstance(value, (int, float)) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return False
    if isinstance(value, list):
        fixed = schema.get("prefixItems", [])
        rest = schema.get("items", {})
        return (
            schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
            and all(accepts(item, part, root) for item, part in zip(fixed, value, strict=False))
            and all(accepts(rest, part, root) for part in value[len(fixed) :])
        )
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        return all(key in value for key in schema.get("required", [])) and all(
            accepts(known[key], part, root)
            if key in known
            else others is not False and (others is True or accepts(others, part, root))
            for key, part in value.items()
        )
    return True


@pytest.mark.parametrize("name", GOOD)
def test_the_schema_accepts_good_configurations(name):
    assert accepts(json_schema(), GOOD[name], json_schema())


@pytest.mark.parametrize(
    "mistake",
    ["no compression", "empty list", "algorithm unknown", "unknown key below", "too many bits", "mode", "override key"],
)
def test_the_schema_refuses_wrong_configurations(mistake):
    assert not accepts(json_schema(), WRONG[mistake][0], json_schema())


def test_the_schema_is_json_and_names_every_algorithm():
    schema = json.loads(json.dumps(json_schema()))
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert set(registered_algorithms()) <= set(schema["$defs"])
    assert "compression" in schema["required"]


def test_a_part_is_read_by_its_key():
    config = CompressionConfig.from_dict({"compression": {"algorithm": "quantization"}})
    assert config["compression"] == config.to_dict()["compression"]
    assert "compression" in config
    assert "pruning" not in config
    assert config.get("compression") == config["compression"]
    assert config.get("pruning", 3) == 3
    with pytest.raises(ConfigError, match=r"no key 'compresion'\. Expected: one of"):
        config["compresion"]
