"""The private names of TensorFlow that concern graphs while they are traced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from tensorflow.python.autograph.core.ag_ctx import ControlStatusCtx, Status
from tensorflow.python.framework.auto_control_deps import AutomaticControlDependencies
from tensorflow.python.framework.ops import gradient_registry

__all__ = [
    "autograph_converted",
    "autograph_in_layers",
    "executed_in_order",
    "inferring_shapes",
    "released_graphs",
    "scratch_graph",
]


@contextmanager
def released_graphs() -> Iterator[Callable[[], None]]:
    """Release the graphs that are traced inside, once they are referenced nowhere else.

    TensorFlow keeps the gradient of every call of a ``tf.custom_gradient`` in a traced graph forever, and with it the
    graph. Functions traced inside must not be differentiated afterwards. What other threads trace meanwhile is kept.

    Yields:
        a function to be called while a graph is traced: it marks that graph, and those inside it.
    """
    known = set(gradient_registry._registry)
    marked: list[Any] = []
    try:
        yield tf.autograph.experimental.do_not_convert(lambda: marked.append(tf.compat.v1.get_default_graph()))
    finally:
        for name in set(gradient_registry._registry) - known:
            if name.startswith("CustomGradient-") and any(graph in marked for graph in _graphs_of_gradient(name)):
                gradient_registry._registry.pop(name, None)


def _graphs_of_gradient(name: str) -> Iterator[Any]:
    """Yield the graph that a registered custom gradient belongs to, and the graphs around it."""
    waiting = [gradient_registry._registry.get(name, {}).get("type")]
    for _ in range(2):  # the registered function holds the one that holds the tensors
        cells = [cell for function in waiting for cell in getattr(function, "__closure__", None) or ()]
        waiting = [content for cell in cells if (content := _content_of(cell)) is not None]
    tensors = [tensor for tensor in tf.nest.flatten(waiting) if isinstance(tensor, tf.Tensor)]
    graph = next((tensor.graph for tensor in tensors if hasattr(tensor, "graph")), None)
    while graph is not None:
        yield graph
        graph = getattr(graph, "outer_graph", None)


def _content_of(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return None


@contextmanager
def executed_in_order() -> Iterator[list[tf.Operation]]:
    """Let operations that change variables, and those that read them behind, run in the order in which they are traced.

    Yields:
        A list that holds, when the context is left, the operations that a run of the whole graph would have to make.
    """
    needed: list[tf.Operation] = []
    with AutomaticControlDependencies() as dependencies:
        yield needed
    needed += dependencies.ops_which_must_run


def autograph_in_layers() -> ControlStatusCtx:
    """Return a context in which Keras turns Python's ``if`` and ``for`` on tensors, in layers of users, into operations.

    A function that needs no such thing itself is traced faster with ``tf.function(autograph=False)`` and this context inside.
    """
    return ControlStatusCtx(Status.ENABLED)


def autograph_converted(call: Callable) -> Callable:
    """Return ``call`` as Keras calls it in a traced function: Python's ``if`` and ``for`` on tensors become operations.

    The layers of Keras, and those of this package, have none; only what they call inside is converted.
    """
    if getattr(call, "__module__", "").partition(".")[0] not in {"tf_keras", "keras_compress"}:
        return tf.__internal__.autograph.tf_convert(call, autograph_in_layers())

    def as_written(*inputs, **arguments):
        with autograph_in_layers():
            return call(*inputs, **arguments)

    return as_written


def inferring_shapes() -> bool:
    """True while Keras runs a layer on placeholders only to learn the shape of its output.

    Operations that keep shapes need not be traced then, which makes building a model much faster.
    """
    if tf.executing_eagerly():
        return False
    return getattr(tf.compat.v1.get_default_graph(), "name", "").endswith("_scratch_graph")


@contextmanager
def scratch_graph() -> Iterator[None]:
    """Let layers be called on placeholders only to learn the shapes of their outputs, see :func:`inferring_shapes`."""
    with tf.__internal__.FuncGraph("inferred_scratch_graph").as_default():
        yield
