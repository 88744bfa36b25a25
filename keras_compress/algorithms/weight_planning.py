"""plan_weights: how every algorithm goes through the compressible weights of a model.

Which operation a weight gets, or why none, is said by the algorithm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from keras_compress._keras import serialize
from keras_compress.algorithms.base import OUTSIDE, CompressionAlgorithm, Plan, PlanContext, SkippedWeight
from keras_compress.errors import ConfigError
from keras_compress.graph import GraphNode, ModelGraph, WeightSpec, WrapWeight
from keras_compress.layers import WeightOp

__all__ = ["CompressibleWeight", "compressible_weights", "plan_weights"]


@dataclass(frozen=True)
class CompressibleWeight:
    """A weight that operations can be put on.

    Attributes:
        layer: path of its layer.
        node: a call of that layer.
        spec: which weight of the layer, and its channel axes.
        shape: its shape.
    """

    layer: str
    node: GraphNode
    spec: WeightSpec
    shape: tuple[int, ...]

    def op_name(self, suffix: str) -> str:
        """Return a name for an operation on the weight, as ``"cell_kernel_mask"``."""
        return f"{self.spec.path.replace('.', '_')}_{suffix}"


def compressible_weights(graph: ModelGraph) -> Iterator[CompressibleWeight]:
    """Yield every weight of a model that operations can be put on.

    Raises:
        ConfigError: ``register_layer_spec`` names a weight that a layer does not have.
    """
    for path, node in graph.layers():
        for spec in node.spec.weights:
            shape = graph.weight_shape(path, spec.path)
            if shape is not None:
                yield CompressibleWeight(path, node, spec, shape)
            elif not node.builtin:
                names = sorted(graph.snapshot.weights.get(path, {}))
                raise ConfigError(
                    f"Layer '{path}' of class {node.class_name} has no weight '{spec.path}', which register_layer_spec "
                    f"names. Expected: one of {names}. Received: weights={{{spec.path!r}: …}}. Correct the registration."
                )


def plan_weights(
    algorithm: CompressionAlgorithm,
    graph: ModelGraph,
    context: PlanContext,
    make_op: Callable[[CompressibleWeight], WeightOp | str],
) -> Plan:
    """Return the plan that puts an operation on every compressible weight in scope.

    Args:
        algorithm: whose scope counts.
        graph: the model.
        context: root keys of the configuration.
        make_op: returns the operation for a weight, or a sentence that says why there is none.

    Raises:
        ConfigError: a scope names no layer.

    Example:
        >>> from keras_compress._keras import keras
        >>> from keras_compress.algorithms.const_sparsity import ConstSparsity
        >>> from keras_compress.graph import take
        >>> from keras_compress.layers import BinaryMask
        >>> graph = ModelGraph(take(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])))
        >>> plan = plan_weights(ConstSparsity(), graph, PlanContext(), lambda weight: BinaryMask(name=weight.op_name("mask")))
        >>> [(edit.layer, edit.weight) for edit in plan.edits]
        [('dense', 'kernel')]
    """
    scope = algorithm.checked_scope(graph, context)
    edits: list[WrapWeight] = []
    skipped: list[SkippedWeight] = []
    for weight in compressible_weights(graph):
        op = make_op(weight) if weight.layer in scope else OUTSIDE
        if isinstance(op, str):
            skipped.append(SkippedWeight(weight.layer, weight.spec.path, op))
        else:
            edits.append(WrapWeight(weight.layer, weight.spec.path, serialize(op)))
    return Plan(tuple(edits), tuple(skipped))
