"""graph_function: a TensorFlow graph as a function of some of its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

__all__ = ["graph_function"]


def graph_function(graph_def: tf.compat.v1.GraphDef, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """Return the function from the first outputs of the nodes ``inputs`` to the list of those of the nodes ``outputs``."""
    imported = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
    tensors = [imported.graph.get_tensor_by_name(f"{name}:0") for name in (*inputs, *outputs)]
    return imported.prune(tensors[: len(inputs)], tensors[len(inputs) :])
