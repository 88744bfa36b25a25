"""graph_function: a TensorFlow graph as a function of some of its tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context

__all__ = ["graph_function", "graph_optimizer"]


def graph_function(graph_def: tf.compat.v1.GraphDef, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """Return the function from the first outputs of the nodes ``inputs`` to the list of those of the nodes ``outputs``.

    Args:
        graph_def: the graph.
        inputs, outputs: names of nodes.
    """
    imported = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
    tensors = [imported.graph.get_tensor_by_name(f"{name}:0") for name in (*inputs, *outputs)]
    return imported.prune(tensors[: len(inputs)], tensors[len(inputs) :])


@contextmanager
def graph_optimizer(optimize: bool) -> Iterator[None]:
    """Let TensorFlow rearrange the graphs of functions that this thread calls, or run them operation by operation.

    ``tf.config.optimizer`` sets the same for the whole process.
    """
    eager = context.context()
    before = eager.function_call_options
    config = tf.compat.v1.ConfigProto.FromString(before.config_proto_serialized)
    config.graph_options.rewrite_options.disable_meta_optimizer = not optimize
    try:
        eager.function_call_options = context.FunctionCallOptions(before.executor_type, config)
        yield
    finally:
        eager.function_call_options = before
