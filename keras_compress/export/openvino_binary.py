"""One-bit convolutions in OpenVINO: rewrites a converted model so that its CPU plugin compiles them to BinaryConvolution.

The plugin does so where a convolution reads a FakeQuantize of two levels and has weights behind another one. A frozen
graph says the same thing with a comparison, a multiplication and two-valued constants; this module recognizes that.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_compress.export.dataflow import source_node

__all__ = ["rewrite_binary_convolutions"]

#: OpenVINO packs channels into bytes and computes something else where they do not fill them.
CHANNELS_IN_A_BYTE = 8


def rewrite_binary_convolutions(model: Any) -> None:
    """Rewrite the convolutions of an ``openvino.Model`` whose inputs and weights have two values each, in place.

    Convolutions whose input channels do not fill bytes are left in floating point. In the file a weight is one bit per
    value and one scale per output channel.
    """
    for node in model.get_ordered_ops():
        found = _two_valued(node)
        if found is None:
            continue
        readers = [target for target in node.output(0).get_target_inputs() if _is_binary_convolution(target)]
        if not readers:
            continue
        x, thresholds, scale = found
        for number, target in enumerate(readers):
            # OpenVINO computes in floating point where two convolutions share an activation, and merges equal ones: so
            # each has one of its own, scaled by another power of two, which its weights take back.
            factor = 2.0**number
            activation = _two_levels(x, thresholds, scale * factor)
            convolution = target.get_node()
            weight = source_node(convolution, 1).get_data()
            target.replace_source_output(activation.output(0))
            convolution.input(1).replace_source_output(_one_bit(weight / factor).output(0))
    model.validate_nodes_and_infer_types()


def _two_valued(node: Any) -> tuple[Any, Any, float] | None:
    """Return ``(x, thresholds, scale)`` if a node computes ``scale * (x > thresholds)``, else None."""
    if node.get_type_name() != "Multiply":
        return None
    for number in (0, 1):
        scale, convert = _constant(node, 1 - number), source_node(node, number)
        if scale is None or scale.size != 1 or convert.get_type_name() != "Convert":
            continue
        greater = source_node(convert, 0)
        if greater.get_type_name() == "Greater" and _constant(greater, 1) is not None:
            x, thresholds = (greater.input(index).get_source_output() for index in (0, 1))
            return x, thresholds, float(scale.reshape(()))
    return None


def _is_binary_convolution(target: Any) -> bool:
    """Whether a reader of a tensor is a convolution of it whose weights are ``±scale`` in every output channel."""
    node = target.get_node()
    if node.get_type_name() != "Convolution" or target.get_index() != 0:
        return False
    weight = _constant(node, 1)
    if weight is None or weight.ndim != 4 or weight.shape[1] % CHANNELS_IN_A_BYTE:
        return False
    magnitude = np.abs(weight)
    return bool(np.all(magnitude == magnitude[:, :1, :1, :1]) and np.all(magnitude > 0))


def _two_levels(x: Any, thresholds: Any, scale: float) -> Any:
    from openvino import opset8

    zero, one = (opset8.constant(np.float32(value)) for value in (0.0, scale))
    return opset8.fake_quantize(x, thresholds, thresholds, zero, one, 2)


def _one_bit(weight: np.ndarray) -> Any:
    """Return a weight of ``±scale`` per output channel as one bit per value behind a FakeQuantize."""
    import openvino
    from openvino import opset8

    bits = np.packbits(weight.reshape(-1) > 0)
    packed = openvino.Tensor(bits, list(weight.shape), openvino.Type.u1)
    stored = openvino.op.Constant(packed, shared_memory=False)  # else it would look at memory that is gone
    scale = np.abs(weight[:, :1, :1, :1]).astype(np.float32)
    middle = opset8.constant(np.full((1, 1, 1, 1), 0.5, np.float32))
    values = opset8.convert(stored, "f32")
    return opset8.fake_quantize(values, middle, middle, opset8.constant(-scale), opset8.constant(scale), 2)


def _constant(node: Any, index: int) -> np.ndarray | None:
    """Return the constant at an input of a node, None if it is none."""
    source = source_node(node, index)
    return source.get_data() if source.get_type_name() == "Constant" else None
