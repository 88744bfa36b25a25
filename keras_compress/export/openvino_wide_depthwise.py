"""Depthwise convolutions with few channels and wide kernels in OpenVINO models, in a form that the runtime can compile.

On CPUs with AVX-512 OpenVINO makes code for such a convolution without ever coming to an end, if it has 16 channels in integers,
or at most 16 in bfloat16, and if along the last axis its kernel has 14 positions or more, its result 29 or more, the stride is one
and there is no dilation. With a dilation on any axis another kernel is taken, which is right. So these convolutions get one
on an axis along which their kernel has one position, where it changes nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["write_wide_depthwise_convolutions"]

_CHANNELS = 16
_KERNEL = 14
_RESULT = 29
#: In front of the axes of positions: of data batch and channels, of weights groups, outputs and inputs.
_DATA_AXES, _WEIGHT_AXES = 2, 3


def write_wide_depthwise_convolutions(model: Any) -> None:
    """Give such convolutions a dilation that changes nothing, in place.

    One whose kernel is longer than one position along every axis gets an axis of one position more, or, where it has three
    axes already, the shortest of them as the last one.

    Args:
        model: an ``openvino.Model``.
    """
    for node in model.get_ordered_ops():
        if not _is_endless(node):
            continue
        kernel = [size.get_length() for size in _kernel(node)]
        if 1 in kernel:
            attributes = node.get_attributes()
            attributes["dilations"][kernel.index(1)] = 2
            _replace(node, _convolution(node, node.input_value(0), node.input_value(1), attributes))
        elif len(kernel) == 2:
            _replace(node, _with_another_axis(node))
        elif min(kernel) < _KERNEL:
            _replace(node, _with_last_axis(node, kernel.index(min(kernel))))
    model.validate_nodes_and_infer_types()


def _is_endless(node: Any) -> bool:
    """Whether a node is a convolution for which OpenVINO may not come to an end."""
    if node.get_type_name() != "GroupConvolution" or node.get_input_partial_shape(1).is_dynamic:
        return False
    attributes, width = node.get_attributes(), node.get_output_partial_shape(0)[-1]
    groups, outputs, inputs = node.get_input_shape(1)[:_WEIGHT_AXES]
    return (
        groups <= _CHANNELS
        and outputs == inputs == 1
        and len(_kernel(node)) > 1
        and _kernel(node)[-1].get_length() >= _KERNEL
        and (width.is_dynamic or width.get_length() >= _RESULT)
        and attributes["strides"][-1] == 1
        and all(dilation == 1 for dilation in attributes["dilations"])
    )


def _kernel(node: Any) -> list[Any]:
    return list(node.get_input_partial_shape(1))[_WEIGHT_AXES:]


def _with_another_axis(node: Any) -> Any:
    """Return a convolution over an axis more, of one position, with a dilation along it."""
    from openvino import opset13

    attributes = node.get_attributes()
    for key, value in (("strides", 1), ("dilations", 2), ("pads_begin", 0), ("pads_end", 0)):
        attributes[key].insert(0, value)
    data, weights = (
        opset13.unsqueeze(node.input_value(index), opset13.constant(np.array([axes])))
        for index, axes in enumerate((_DATA_AXES, _WEIGHT_AXES))
    )
    convolution = _convolution(node, data.output(0), weights.output(0), attributes)
    return opset13.squeeze(convolution, opset13.constant(np.array([_DATA_AXES])))


def _with_last_axis(node: Any, axis: int) -> Any:
    """Return a convolution with one of its axes of positions and the last one exchanged."""
    from openvino import opset13

    def exchanged(value: Any, axes: int) -> Any:
        order = list(range(axes + len(_kernel(node))))
        order[axes + axis], order[-1] = order[-1], order[axes + axis]
        return opset13.transpose(value, opset13.constant(np.array(order)))

    attributes = node.get_attributes()
    for key in ("strides", "pads_begin", "pads_end"):
        attributes[key][axis], attributes[key][-1] = attributes[key][-1], attributes[key][axis]
    data, weights = exchanged(node.input_value(0), _DATA_AXES), exchanged(node.input_value(1), _WEIGHT_AXES)
    return exchanged(_convolution(node, data.output(0), weights.output(0), attributes), _DATA_AXES)


def _convolution(node: Any, data: Any, weights: Any, attributes: dict[str, Any]) -> Any:
    from openvino import opset13

    keys = ("strides", "pads_begin", "pads_end", "dilations")
    return opset13.group_convolution(
        data, weights, *(attributes[key] for key in keys), auto_pad=attributes["auto_pad"].upper()
    )


def _replace(node: Any, new: Any) -> None:
    """Put a node in the place of another one, with its name."""
    name = node.get_friendly_name()
    for target in list(node.output(0).get_target_inputs()):
        target.replace_source_output(new.output(0))
    new.output(0).get_tensor().set_names(node.output(0).get_tensor().get_names())
    node.set_friendly_name(f"{name}/replaced")
    new.set_friendly_name(name)
