"""config_keys: the JSON Schema as a map of keys."""

from keras_compress import json_schema
from keras_compress.algorithms import registered_algorithms
from keras_compress.config.keys import alternatives, object_in, reason_ignored


def test_references_and_choices_are_resolved():
    root = {"$defs": {"A": {"type": "object", "properties": {}}}}
    choice = {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "array", "items": {"$ref": "#/$defs/A"}}, {"type": "null"}]}
    assert [found["type"] for found in alternatives(choice, root)] == ["object", "array", "null"]
    assert object_in(choice, root) == {"type": "object", "properties": {}}
    assert object_in({"type": "array", "items": {"$ref": "#/$defs/A"}}, root) is not None
    assert object_in({"anyOf": [{"type": "string"}, {"type": "null"}]}, root) is None


def test_the_keys_without_effect_are_keys_that_are_taken():
    schema = json_schema()
    for name, algorithm in registered_algorithms().items():
        for pattern in algorithm.ignored_keys:
            if pattern.startswith("initializer.precision."):
                continue  # of a section that takes anything
            part = schema["$defs"][name]
            for key in pattern.split("."):
                assert part is not None
                found = part["additionalProperties"] if key == "*" else part["properties"][key]
                part = object_in(found, schema)


def test_reasons():
    assert reason_ignored("", "input_info")
    assert reason_ignored("binarization", "compression_lr_multiplier")
    assert reason_ignored("binarization", "params") is None
    assert reason_ignored("", "compression") is None
