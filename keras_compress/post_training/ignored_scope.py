"""IgnoredScope: which layers stay in floating point, by name, pattern, class, or as a part of the graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field

from keras_compress.algorithms.scope import matching
from keras_compress.errors import ConfigError, close_matches
from keras_compress.graph import ModelGraph, TensorRef
from keras_compress.post_training.user_parameters import UserParameters
from keras_compress.settings import OneOrMore, validated

__all__ = ["IgnoredScope", "Subgraph", "ignored_scopes", "scope_of"]

Names = Annotated[tuple[str, ...], OneOrMore()]


class Subgraph(UserParameters):
    """All layers on ways from any of ``inputs`` to any of ``outputs``, these included; both are paths of layers.

    Example:
        >>> Subgraph(inputs="stem", outputs=["head", "mask"]).inputs
        ('stem',)
    """

    inputs: Names = ()
    outputs: Names = ()


class IgnoredScope(UserParameters):
    """Layers that are not quantized.

    Example:
        >>> IgnoredScope(names="stem", types=["Dense"], subgraphs=Subgraph(inputs="neck", outputs="head")).types
        ('Dense',)
    """

    names: Names = ()
    """Paths of layers, as ``"conv1"`` or ``"backbone/conv1"``."""
    patterns: Names = ()
    """Regular expressions looked for in a path."""
    types: Names = ()
    """Names of layer classes, as ``"Dense"``."""
    subgraphs: Annotated[tuple[Subgraph, ...], OneOrMore()] = ()
    """Parts of the graph."""
    validate_scopes: bool = Field(True, alias="validate")
    """Whether what names no layer is an error. Default True; ``validate`` for short."""


def scope_of(value: Any) -> IgnoredScope:
    """Return what a user gave as ``ignored_scope``: a path, a list of paths, a dict, or an object of NNCF or of ours.

    Raises:
        ConfigError: it is none of these.
    """
    if value is None:
        return IgnoredScope()
    values = {"names": value} if isinstance(value, (str, list, tuple, set)) else value
    return validated(IgnoredScope, values, "ignored_scope")


def ignored_scopes(scope: IgnoredScope, graph: ModelGraph) -> tuple[str, ...]:
    """Return the scopes, as a configuration takes them, that leave out what ``scope`` names.

    Args:
        scope: what is left out.
        graph: the model.

    Raises:
        ConfigError: a name, a pattern, a class or a subgraph names nothing in the model, or a pattern is no expression.
    """
    paths = [path for path, _ in graph.layers()]
    patterns = [f"{{re}}{pattern}" for pattern in scope.patterns]
    if scope.validate_scopes:
        matching(scope.names, paths, "ignored_scope.names")
        matching(patterns, paths, "ignored_scope.patterns")
    found = [*scope.names, *patterns, *_of_types(scope.types, graph, scope.validate_scopes)]
    for subgraph in scope.subgraphs:
        found += _of_subgraph(subgraph, graph, paths, scope.validate_scopes)
    return tuple(dict.fromkeys(found))


def _of_types(types: Iterable[str], graph: ModelGraph, validate: bool) -> list[str]:
    classes = {node.class_name for _, node in graph.layers()}
    for name in types:
        if validate and name not in classes:
            raise ConfigError(
                f"'ignored_scope.types' names a class that no layer has. Expected: one of {sorted(classes)}. "
                f"Received: '{name}'. Take one of these, or pass validate=False to allow it."
            )
    return [path for path, node in graph.layers() if node.class_name in set(types)]


def _of_subgraph(subgraph: Subgraph, graph: ModelGraph, paths: list[str], validate: bool) -> list[str]:
    for name in (*subgraph.inputs, *subgraph.outputs):
        if validate and name not in paths:
            raise ConfigError(
                f"'ignored_scope.subgraphs' names a layer that the model does not have. Expected: the path of a layer. "
                f"Received: '{name}'. The nearest are {close_matches(name, paths)}. Pass validate=False to allow it."
            )
    behind = _layers_behind(graph, subgraph.inputs)
    ends = _tensors_of(graph, subgraph.outputs)
    before = {tensor.layer for tensor in graph.backward(ends, lambda producer: True)}
    both = behind & before
    if validate and not both:
        raise ConfigError(
            f"'ignored_scope.subgraphs' is empty: no way leads from {list(subgraph.inputs)} to {list(subgraph.outputs)}. "
            "Expected: layers that follow one another in one model. Name them singly instead."
        )
    return [path for path in paths if path in both]


def _layers_behind(graph: ModelGraph, layers: Iterable[str]) -> set[str]:
    """Return some layers and all layers that depend on their outputs; boundaries of nested models are crossed."""
    waiting = [ref for ref in graph.nodes if ref.layer in set(layers)]
    seen = set(waiting)
    for ref in waiting:
        readers = [reader for tensor in graph.outputs_of(ref) for reader in graph.successors(tensor)]
        fresh = [reader for reader in dict.fromkeys(readers) if reader not in seen and reader in graph.nodes]
        seen.update(fresh)
        waiting += fresh
    return {ref.layer for ref in seen}


def _tensors_of(graph: ModelGraph, layers: Iterable[str]) -> list[TensorRef]:
    return [TensorRef(*ref, 0) for ref in graph.nodes if ref.layer in set(layers)]
