"""Convolutions without a bias that a quantizer and something else read, in OpenVINO models with open sizes.

OpenVINO moves the scale of the channels of such a convolution into the quantizer, and leaves it for the other reader in the
convolution as well, so that the quantizer sees it twice: its result is near zero. Behind a sum nothing is moved. A bias of 1e-30
is one, and changes no result: it is less than the rounding of any number above 1e-23.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["give_shared_convolutions_a_bias"]

_BIAS = 1e-30
_CONVOLUTIONS = ("Convolution", "GroupConvolution")
_WITH_CONSTANT = ("Add", "Subtract", "Multiply")
_MOVES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze")


def give_shared_convolutions_a_bias(model: Any) -> None:
    """Add a bias to every convolution that has none and that a quantizer reads beside others, in place.

    Args:
        model: an ``openvino.Model``.
    """
    from openvino import opset13

    for node in model.get_ordered_ops():
        if node.get_type_name() not in _CONVOLUTIONS or not _is_shared(node.output(0)):
            continue
        readers = list(node.output(0).get_target_inputs())
        rank = len(node.get_output_partial_shape(0))
        bias = opset13.constant(np.full([1] * rank, _BIAS, np.float32))
        biased = opset13.add(node.output(0), bias)
        for reader in readers:
            reader.replace_source_output(biased.output(0))
    model.validate_nodes_and_infer_types()


def _is_shared(output: Any) -> bool:
    """Whether a quantizer is among several readers of a tensor, behind factors, sums with zero and moves."""
    readers = list(output.get_target_inputs())
    if len(readers) == 1:
        node = readers[0].get_node()
        passes = node.get_type_name() in _MOVES or _keeps_no_bias(node, readers[0].get_index())
        return passes and _is_shared(node.output(0))
    return "FakeQuantize" in [kind for reader in readers for kind in _kinds(reader.get_node())]


def _keeps_no_bias(node: Any, index: int) -> bool:
    """Whether a node multiplies what comes to an input by a constant, or adds zero to it."""
    if node.get_type_name() not in _WITH_CONSTANT:
        return False
    other = node.input_value(1 - index).get_node()
    return other.get_type_name() == "Constant" and (node.get_type_name() == "Multiply" or not np.any(other.get_data()))


def _kinds(node: Any) -> list[str]:
    """Return the types of what reads a tensor, behind moves."""
    if node.get_type_name() not in _MOVES:
        return [node.get_type_name()]
    return [kind for target in node.output(0).get_target_inputs() for kind in _kinds(target.get_node())]
