"""ONNX models that are the same to the last byte whenever the same model is written.

The converter orders nodes by hashes, numbers what it adds by a counter of the process, and of equal nodes keeps any one.
Here the order follows from the graph, and names that were made up follow from the order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from keras_compress.export.onnx_loops import bodies, reading_from_outside
from keras_compress.export.reproducible_graph import copied

__all__ = ["make_reproducible"]

#: What the converter appends to names it makes, and what names of functions end in.
_COUNTER = re.compile(r"__\d+|_[0-9a-f]{12}_\d+(?=_)")
#: Nodes that are the only ones of their name, whatever was appended to it.
_KEEPS_NAME = ("QuantizeLinear", "DequantizeLinear")
#: Nodes that the converter adds to many places and then merges.
_MERGED = {
    *(
        "Cast",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Expand",
        "Gather",
        "Identity",
        "ReduceProd",
        "Reshape",
        "Shape",
    ),
    *("Slice", "Squeeze", "Transpose", "Unsqueeze"),
}
_PARTS = ("quantized", "scale", "zero_point")


def make_reproducible(model: Any) -> None:
    """Bring nodes and constants of a model into an order of their own and rename what was numbered, in place.

    Names of inputs and outputs stay, and those that say which layer a node belongs to.
    """
    graph = model.graph
    renaming = _Renaming({value.name for value in (*graph.input, *graph.output)})
    renaming.rename(graph, "", {value.name: value.name for value in (*graph.input, *graph.output)})
    _name_open_sizes(graph, {})
    imports = sorted(model.opset_import, key=lambda one: one.domain)
    versions = [(one.domain, one.version) for one in imports]
    for one, (domain, version) in zip(model.opset_import, versions, strict=True):
        one.domain, one.version = domain, version


def _name_open_sizes(graph: Any, names: dict[str, str]) -> None:
    """Name the open sizes of the inputs and outputs of a graph and of the bodies in it by their order, in place."""
    for value in (*graph.input, *graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = names.setdefault(size.dim_param, f"open_{len(names)}")
    for node in graph.node:
        for body in bodies(node):
            _name_open_sizes(body, names)


@dataclass
class _Renaming:
    """Gives names that no other node has; ``taken`` are those that are given."""

    taken: set[str] = field(default_factory=set)

    def rename(self, graph: Any, prefix: str, names: dict[str, str]) -> None:
        """Order and rename the nodes of a graph and of the bodies in it; ``names`` are the new ones of what is around it."""
        arrays = {value.name: value for value in graph.initializer}
        kept: list[Any] = []
        ordered = _in_order(graph)
        for node in ordered:
            for key in ("doc_string", *(key for key in ("domain",) if not node.domain)):
                node.ClearField(key)
            computed = node.op_type == "DequantizeLinear" and node.input[0] not in arrays
            read = names.get(node.input[0], "").partition(":")[0] if computed else ""
            node.name = self._unique(f"{read}/dequantize") if read else self._name(node, prefix)
            for number, name in enumerate((*node.input, *_captured(node))):
                if name in arrays and name not in names:
                    part = name.rpartition("/")[2]
                    names[name] = self._unique(f"{node.name}/{part if part in _PARTS else f'input_{number}'}")
                    kept.append(arrays[name])
            for number, name in enumerate(node.output):
                if name and name not in names:
                    names[name] = self._unique(f"{node.name}:{number}")
            for body in bodies(node):
                own = {value.name: self._unique(f"{node.name}/body/input_{n}") for n, value in enumerate(body.input)}
                _pass_over_identities(body)
                self.rename(body, f"{node.name}/body/", {**names, **own})
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
            attributes = sorted(map(copied, node.attribute), key=lambda attribute: attribute.name)
            del node.attribute[:]
            node.attribute.extend(attributes)
        for value in graph.output:
            if value.name in arrays and arrays[value.name] not in kept:
                kept.append(arrays[value.name])
        for value in kept:
            value.name = names.get(value.name, value.name)
        for value in (*graph.input, *graph.output):
            value.name = names.get(value.name, value.name)
        nodes, constants = [list(map(copied, part)) for part in (ordered, kept)]
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(nodes)
        graph.initializer.extend(constants)
        graph.name = prefix.rstrip("/") or "model"
        graph.doc_string = ""

    def _name(self, node: Any, prefix: str) -> str:
        plain = _COUNTER.sub("", node.name)
        made_up = node.op_type in _MERGED or (plain != node.name and node.op_type not in _KEEPS_NAME)
        return self._unique(prefix + (node.op_type if made_up or not plain else plain))

    def _unique(self, name: str) -> str:
        number, free = 1, name
        while free in self.taken:
            number += 1
            free = f"{name}_{number}"
        self.taken.add(free)
        return free


def _pass_over_identities(body: Any) -> None:
    """Let all read what an identity passes on, in place; of outputs that are one tensor the first is it, the others copies."""
    made = {name for node in body.node for name in node.output}
    passed = {n.output[0]: n.input[0] for n in body.node if n.op_type == "Identity" and n.input[0] in made}

    def source(name: str) -> str:
        while name in passed:
            name = passed[name]
        return name

    nodes = [copied(node) for node in body.node if not (node.op_type == "Identity" and node.input[0] in made)]
    for node in nodes:
        node.input[:] = map(source, node.input)
        for inner in bodies(node):
            for reader, index in reading_from_outside(inner):
                reader.input[index] = source(reader.input[index])
    seen: set[str] = set()
    for number, value in enumerate(body.output):
        name = source(value.name)
        if name in seen:
            nodes.append(_identity(name, f"{name}/output_{number}"))
            name = nodes[-1].output[0]
        seen.add(name)
        value.name = name
    del body.node[:]
    body.node.extend(nodes)


def _identity(source: str, output: str) -> Any:
    import onnx

    return onnx.helper.make_node("Identity", [source], [output], name=output)


def _in_order(graph: Any) -> list[Any]:
    """Return the nodes that an output needs, each behind all that it reads."""
    producers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    placed: dict[int, Any] = {}
    for value in graph.output:
        stack = [producers[value.name]] if value.name in producers else []
        while stack:
            node = graph.node[stack[-1]]
            sources = [producers[name] for name in (*node.input, *_captured(node)) if name in producers]
            waiting = [source for source in sources if source not in placed]
            if waiting:
                stack.append(waiting[0])
            else:
                placed.setdefault(stack.pop(), node)
    return list(placed.values())


def _captured(node: Any) -> list[str]:
    """Return what the bodies of a node read from outside, in the order of reading."""
    found: dict[str, None] = {}
    for body in bodies(node):
        own = {value.name for value in (*body.input, *body.initializer)}
        own |= {name for inner in body.node for name in inner.output}
        read = [name for inner in _in_order(body) for name in (*inner.input, *_captured(inner))]
        found.update(
            dict.fromkeys(name for name in (*read, *(v.name for v in body.output)) if name and name not in own)
        )
    return list(found)
