"""ModelGraph: the nodes and edges of a snapshot, for reading.

A node is one call of a layer. Layers of nested models have paths such as ``"backbone/conv1"``; every model, outer or
nested, is a graph of its own, and edges stay within it; searches cross the boundaries of nested models.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from keras_compress.graph.compressed_entry import inner_entry
from keras_compress.graph.identity import is_builtin, is_own, operation_class
from keras_compress.graph.layer_lookup import is_registered, operator_spec, spec_of
from keras_compress.graph.layer_spec import LayerSpec
from keras_compress.graph.snapshot import ModelSnapshot, is_model_entry
from keras_compress.layers import Constant, Parameter

__all__ = ["OUTPUT", "GraphNode", "ModelGraph", "NodeRef", "TensorRef", "first_call", "replace_tensors"]


class TensorRef(NamedTuple):
    """Output number ``output`` of call number ``node`` of the layer at path ``layer``."""

    layer: str
    node: int
    output: int


class NodeRef(NamedTuple):
    """Call number ``node`` of the layer at path ``layer``."""

    layer: str
    node: int


#: The consumer name of the outputs of a model.
OUTPUT = "<output>"


@dataclass(frozen=True)
class GraphNode:
    """One call of a layer.

    What a node says of its class is said of the layer itself: of the one inside if operations are on its weights.

    Attributes:
        ref: the call.
        prefix: path prefix of the model that holds the layer: empty, or as ``"backbone/"``. (It cannot be derived from
            the path, because names of layers may contain slashes.)
        entry: the layer as Keras serializes it, wrapped or not.
        inputs: the tensors it reads, in order.
    """

    ref: NodeRef
    prefix: str
    entry: dict
    inputs: tuple[TensorRef, ...]

    @property
    def class_name(self) -> str:
        """The name of the class; a class of the user's may have the name of one of Keras', see :attr:`builtin`."""
        return inner_entry(self.entry)["class_name"]

    @property
    def config(self) -> dict:
        """The arguments of the layer by name."""
        return inner_entry(self.entry)["config"]

    @property
    def builtin(self) -> bool:
        """Whether the class is one of Keras' own."""
        return is_builtin(inner_entry(self.entry))

    @property
    def is_model(self) -> bool:
        """Whether the layer is a nested model."""
        return is_model_entry(self.entry)

    def is_a(self, *class_names: str) -> bool:
        """Return whether the layer is of one of these classes of Keras."""
        return self.class_name in class_names and self.builtin

    @cached_property
    def spec(self) -> LayerSpec:
        """The row of the table for this call."""
        function = self.config.get("function")
        if self.is_a("TFOpLambda", "SlicingOpLambda") and isinstance(function, str):
            return operator_spec(function, len(self.inputs), self.keywords)
        return spec_of(self.class_name, self.config, builtin=self.builtin)

    @property
    def is_unknown(self) -> bool:
        """Whether the layer is of a class of the user's that nothing is known about."""
        entry = inner_entry(self.entry)
        own = (entry.get("module") or "").startswith("keras_compress.") or operation_class(entry) is not None
        return not (self.builtin or own or is_registered(self.class_name))

    @property
    def keywords(self) -> dict[str, Any]:
        """The named arguments of this call, tensors among them as their places."""
        calls = self.entry.get("inbound_nodes") or []
        number = self.ref.node - first_call(self.entry) if calls else 0
        return _keywords(calls[number]) if number < len(calls) else {}


class ModelGraph:
    """Read-only view of a snapshot: ``nodes`` by reference, and who reads a tensor."""

    def __init__(self, snapshot: ModelSnapshot):
        self.snapshot = snapshot
        self.nodes: dict[NodeRef, GraphNode] = {}
        self._consumers: dict[TensorRef, list[NodeRef]] = defaultdict(list)
        self._outputs: dict[str, list[TensorRef]] = {}
        #: Paths of the input layers of the model, and of each nested model by its path.
        self.model_inputs: tuple[str, ...] = ()
        self.nested_inputs: dict[str, tuple[str, ...]] = {}
        self._read(snapshot.config["config"], "")

    def _read(self, config: dict, prefix: str) -> None:
        if "input_layers" in config:
            self._read_functional(config, prefix)
        else:
            self._read_sequential(config, prefix)

    def _read_functional(self, config: dict, prefix: str) -> None:
        names = {entry["name"] for entry in config["layers"]}
        for entry in config["layers"]:
            path = prefix + entry["name"]
            calls = entry["inbound_nodes"] or [[]]
            for number, call in enumerate(calls, first_call(entry)):
                tensors = [TensorRef(prefix + name, node, index) for name, node, index in _tensors(call, names)]
                self._add(GraphNode(NodeRef(path, number), prefix, entry, tuple(tensors)))
            if is_model_entry(entry):
                self._read(entry["config"], path + "/")
        outputs = [
            TensorRef(prefix + name, node, index)
            for name, node, index in _tensors(_in_order_of_outputs(config["output_layers"]), names)
        ]
        for tensor in outputs:
            self._consumers[tensor].append(NodeRef(prefix + OUTPUT, 0))
        self._outputs[prefix] = outputs
        self._note_inputs(prefix, [name for name, _, _ in _tensors(config["input_layers"], names)])

    def _read_sequential(self, config: dict, prefix: str) -> None:
        previous: tuple[TensorRef, ...] = ()
        for entry in config["layers"]:
            path = prefix + entry["config"]["name"]
            self._add(GraphNode(NodeRef(path, 0), prefix, entry, previous))
            if is_model_entry(entry):
                self._read(entry["config"], path + "/")
            previous = (TensorRef(path, 0, 0),)
        if previous:
            self._consumers[previous[0]].append(NodeRef(prefix + OUTPUT, 0))
        self._outputs[prefix] = list(previous)
        self._note_inputs(prefix, [entry["config"]["name"] for entry in config["layers"][:1]])

    def _add(self, node: GraphNode) -> None:
        self.nodes[node.ref] = node
        for tensor in node.inputs:
            if node.ref not in self._consumers[tensor]:
                self._consumers[tensor].append(node.ref)

    def _note_inputs(self, prefix: str, names: Sequence[str]) -> None:
        paths = tuple(prefix + name for name in names)
        if prefix:
            self.nested_inputs[prefix[:-1]] = paths
        else:
            self.model_inputs = paths

    def is_model_input(self, tensor: TensorRef) -> bool:
        """Whether ``tensor`` is an input of the outer model, or of a nested one that is called on such an input."""
        if tensor.layer in self.model_inputs:
            return True
        is_input = tensor.layer in self.nested_inputs.get(self.producer(tensor).prefix[:-1], ())
        return is_input and any(self.is_model_input(source) for source in self.predecessors(tensor))

    def consumers(self, tensor: TensorRef) -> tuple[NodeRef, ...]:
        """Return the nodes that read ``tensor``; the outputs of a model appear as a node whose layer ends in OUTPUT."""
        return tuple(self._consumers.get(tensor, ()))

    def outputs(self, prefix: str = "") -> list[TensorRef]:
        """Return the tensors that are outputs of the model, or of a nested one with this path prefix."""
        output = NodeRef(prefix + OUTPUT, 0)
        return [tensor for tensor, readers in self._consumers.items() if output in readers]

    @property
    def model_outputs(self) -> tuple[TensorRef, ...]:
        """The outputs of the outer model, in its order."""
        return tuple(self._outputs[""])

    def is_activation(self, tensor: TensorRef) -> bool:
        """Whether ``tensor`` holds numbers in floating point, one array for each sample: what can be quantized."""
        entry = inner_entry(self.producer(tensor).entry)
        if is_own(entry, Constant, Parameter) and np.ndim(entry["config"]["value"]) == 0:
            return False
        return tuple(tensor) not in self.snapshot.not_activations

    def made_inside(self, tensor: TensorRef) -> TensorRef | None:
        """Return the tensor inside a nested model that is its output ``tensor``; None if a layer makes ``tensor``."""
        outputs = self._outputs.get(tensor.layer + "/")
        return outputs[tensor.output] if outputs else None

    def producer(self, tensor: TensorRef) -> GraphNode:
        """Return the node that makes ``tensor``."""
        return self.nodes[NodeRef(tensor.layer, tensor.node)]

    def predecessors(self, tensor: TensorRef) -> list[TensorRef]:
        """Return the tensors that ``tensor`` is computed from; boundaries of nested models are crossed.

        The predecessor of an output of a nested model is the tensor inside; the predecessors of an input of a nested
        model are what the model is called on, one for each call.
        """
        inside = self.made_inside(tensor)
        if inside is not None:
            return [inside]
        node = self.producer(tensor)
        outer = node.prefix[:-1]
        if node.ref.layer not in self.nested_inputs.get(outer, ()):
            return list(node.inputs)
        position = self.nested_inputs[outer].index(node.ref.layer)
        calls = [call for call in self.nodes.values() if call.ref.layer == outer]
        return [call.inputs[position] for call in calls if position < len(call.inputs)]

    def successors(self, tensor: TensorRef) -> list[NodeRef]:
        """Return the nodes that compute with ``tensor``; boundaries of nested models are crossed.

        An output of the outer model appears as a node whose layer is OUTPUT.
        """
        found: list[NodeRef] = []
        for reader in self.consumers(tensor):
            prefix = reader.layer.removesuffix(OUTPUT)
            if reader.layer.endswith(OUTPUT) and prefix:
                outside = [
                    TensorRef(*node.ref, number)
                    for node in self.nodes.values()
                    if node.ref.layer == prefix[:-1]
                    for number, output in enumerate(self._outputs[prefix])
                    if output == tensor
                ]
                found += [ref for output in outside for ref in self.successors(output)]
            elif reader.layer in self.nested_inputs:
                inside = zip(self.nested_inputs[reader.layer], self.nodes[reader].inputs, strict=False)
                found += [
                    ref for path, source in inside if source == tensor for ref in self.successors(TensorRef(path, 0, 0))
                ]
            else:
                found.append(reader)
        return list(dict.fromkeys(found))

    def outputs_of(self, ref: NodeRef) -> list[TensorRef]:
        """Return the tensors that a node makes and another node or an output of a model reads."""
        return [tensor for tensor in self._consumers if (tensor.layer, tensor.node) == tuple(ref)]

    def backward(self, tensors: Iterable[TensorRef], passes: Callable[[GraphNode], bool]) -> list[TensorRef]:
        """Return ``tensors`` and everything they are computed from, up to the tensors whose producer does not pass.

        Args:
            tensors: where the search starts.
            passes: whether the search goes on behind the node that makes a tensor.
        """
        reached = list(dict.fromkeys(tensors))
        seen = set(reached)
        for tensor in reached:
            if passes(self.producer(tensor)):
                fresh = [source for source in self.predecessors(tensor) if source not in seen]
                seen.update(fresh)
                reached += fresh
        return reached

    def layers(self) -> Iterator[tuple[str, GraphNode]]:
        """Yield the path and the first call of every layer, nested models and their layers included."""
        seen: set[str] = set()
        for ref, node in self.nodes.items():
            if ref.layer not in seen:
                seen.add(ref.layer)
                yield ref.layer, node

    def weight_shape(self, layer: str, weight: str) -> tuple[int, ...] | None:
        """Return the shape of a weight, or None if the layer has no such weight."""
        array = self.snapshot.weights.get(layer, {}).get(weight)
        return None if array is None else array.shape


def _in_order_of_outputs(structure: Any) -> Any:
    """Return the outputs of a model in the order in which Keras numbers them: those in a dict by their names."""
    if isinstance(structure, dict):
        return [_in_order_of_outputs(structure[name]) for name in sorted(structure)]
    if isinstance(structure, (list, tuple)):
        return [_in_order_of_outputs(item) for item in structure]
    return structure


def first_call(entry: dict) -> int:
    """Return the number Keras gives to the first call of a layer: 1 for a model, which counts its own making as 0."""
    return 1 if is_model_entry(entry) and entry["config"]["layers"][0]["class_name"] == "InputLayer" else 0


def _tensors(structure: Any, names: set[str]) -> Iterator[tuple[str, int, int]]:
    """Yield every ``[layer, node, index]`` in a nested structure of lists and dicts, keyword arguments included."""
    if _is_tensor(structure, names):
        yield structure[0], structure[1], structure[2]
        structure = structure[3:]
    if isinstance(structure, dict):
        structure = list(structure.values())
    if isinstance(structure, (list, tuple)):
        for item in structure:
            yield from _tensors(item, names)


def replace_tensors(structure: Any, names: set[str], replacement) -> Any:
    """Return ``structure`` with every ``[layer, node, index]`` in it replaced by ``replacement(layer, node, index)``.

    Args:
        structure: arguments of a call as Keras writes them down, in lists and dicts.
        names: of the layers that a list has to begin with to be a tensor.
        replacement: a function that returns what stands in its place.
    """
    if _is_tensor(structure, names):
        rest = [replace_tensors(item, names, replacement) for item in structure[3:]]
        return [*replacement(*structure[:3]), *rest]
    if isinstance(structure, dict):
        return {key: replace_tensors(item, names, replacement) for key, item in structure.items()}
    if isinstance(structure, (list, tuple)):
        return [replace_tensors(item, names, replacement) for item in structure]
    return structure


def _is_tensor(structure: Any, names: set[str]) -> bool:
    return (
        isinstance(structure, (list, tuple))
        and len(structure) >= 3
        and isinstance(structure[0], str)
        and structure[0] in names
        and all(isinstance(number, int) and not isinstance(number, bool) for number in structure[1:3])
    )


def _keywords(call: Any) -> dict[str, Any]:
    """Return the named arguments of a call, which Keras writes behind each tensor."""
    if isinstance(call, (list, tuple)):
        if len(call) == 4 and isinstance(call[0], str) and isinstance(call[3], dict):
            return call[3]
        return next(filter(None, map(_keywords, call)), {})
    return {}
