"""Conversions of booleans and 8-bit integers to floating point, in OpenVINO models.

OpenVINO takes such a conversion, and the arithmetic with constants behind it, for the dequantization of a tensor, and moves it
behind a sum with something else: of ``scores + (mask - 1) * 1e9`` it makes ``(scores / 1e9 + mask - 1) * 1e9``, where nothing is
left of the scores. By way of 32-bit integers the conversion means the same, and stays what it is.
"""

from __future__ import annotations

from typing import Any

__all__ = ["convert_by_way_of_int32"]

_SMALL = ("boolean", "i8", "u8")


def convert_by_way_of_int32(model: Any) -> None:
    """Write every conversion from a small type to floating point in two steps, but those of constants, in place.

    Args:
        model: an ``openvino.Model``.
    """
    from openvino import opset13

    for node in model.get_ordered_ops():
        if node.get_type_name() != "Convert" or node.input_value(0).get_node().get_type_name() == "Constant":
            continue
        if node.get_input_element_type(0).get_type_name() in _SMALL and node.get_output_element_type(0).is_real():
            whole = opset13.convert(node.input_value(0), "i32")
            node.input(0).replace_source_output(whole.output(0))
    model.validate_nodes_and_infer_types()
