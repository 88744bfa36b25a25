"""The keys of a configuration as data: where each leads in the JSON Schema, and which are accepted without effect.

A key is known by its pattern: its path without list indices, with ``*`` for the name of a scope.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["WITHOUT_EFFECT", "alternatives", "object_in", "reason_without_effect"]

_SEARCH = "it steers the automatic search of bit widths, which is not available"

#: By algorithm (empty for the root, ``*`` for all) and pattern: why a key of NNCF's does nothing here.
WITHOUT_EFFECT: dict[tuple[str, str], str] = {
    ("", "input_info"): "a Keras model knows its shapes",
    ("", "disable_shape_matching"): "it concerns PyTorch",
    ("", "compression_lr_multiplier"): "all variables are trained at the pace of the optimizer",
    ("*", "compression_lr_multiplier"): "all variables are trained at the pace of the optimizer",
    ("quantization", "params"): "a staged schedule: quantizers are active from the start",
    ("quantization", "export_to_onnx_standard_ops"): "it is deprecated; ONNX files are made of standard operations",
    ("quantization", "weights.logarithm_scale"): "the scale itself is trained",
    ("quantization", "activations.logarithm_scale"): "the scale itself is trained",
    ("quantization", "scope_overrides.weights.*.logarithm_scale"): "the scale itself is trained",
    ("quantization", "scope_overrides.activations.*.logarithm_scale"): "the scale itself is trained",
    ("binarization", "params.batch_multiplier"): "fit decides about batches",
    **{
        ("quantization", f"initializer.precision.{key}"): _SEARCH
        for key in (
            *("bits", "num_data_points", "iter_number", "tolerance", "compression_ratio", "eval_subset_ratio"),
            *("warmup_iter_number", "traces_per_layer_path", "dump_init_precision_data", "bitwidth_assignment_mode"),
        )
    },
}


def reason_without_effect(algorithm: str, pattern: str) -> str | None:
    """Return why a key does nothing, None if it does something or is unknown.

    Example:
        >>> reason_without_effect("quantization", "weights.logarithm_scale")
        'the scale itself is trained'
    """
    return WITHOUT_EFFECT.get((algorithm, pattern)) or (WITHOUT_EFFECT.get(("*", pattern)) if algorithm else None)


def alternatives(schema: dict, root: dict) -> Iterator[dict]:
    """Yield the schemas that a value may follow, references and choices resolved.

    Args:
        schema: a part of a JSON Schema.
        root: the whole, with the definitions.
    """
    if "$ref" in schema:
        yield from alternatives(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    elif "anyOf" in schema:
        for choice in schema["anyOf"]:
            yield from alternatives(choice, root)
    else:
        yield schema


def object_in(schema: dict, root: dict) -> dict[str, Any] | None:
    """Return the schema of the object that a value may be or hold a list of, None if it is neither."""
    for choice in alternatives(schema, root):
        if choice.get("type") == "object":
            return choice
        if choice.get("type") == "array" and (found := object_in(choice.get("items") or {}, root)) is not None:
            return found
    return None
