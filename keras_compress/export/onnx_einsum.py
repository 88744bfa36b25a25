"""Products written as equations, ``tf.einsum``: converted to ONNX one by one, as matrix products where tf2onnx can.

tf2onnx takes them apart after the conversion of the whole graph, and then some of them only, by the order of a hash.
"""

from __future__ import annotations

from typing import Any

__all__ = ["convert_einsum"]


def convert_einsum(context: Any, node: Any, name: str, arguments: Any) -> None:
    """Write a TensorFlow ``Einsum`` as transpositions and matrix products; as an ``Einsum`` of ONNX where that is not possible.

    Args:
        context: the graph of tf2onnx.
        node: the operation.
        name: of the operation.
        arguments: none.
    """
    from tf2onnx.onnx_opset.math import Einsum
    from tf2onnx.optimizer.einsum_optimizer import EinsumOptimizer

    Einsum.version_12(context, node)
    if node.type != "Einsum":
        return
    try:
        EinsumOptimizer()._optimize_einsum(node, context)
    except Exception:  # what it raises for equations that it cannot take apart, of many kinds
        return
