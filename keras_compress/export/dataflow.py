"""Dataflow: edges between the nodes of a graph of any format, for audits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

__all__ = ["Dataflow", "source_node"]


def source_node(node: Any, index: int) -> Any:
    """Return the node of an OpenVINO model that makes what another one reads as its input number ``index``."""
    return node.input(index).get_source_output().get_node()


@dataclass(frozen=True)
class Dataflow:
    """The nodes of a graph.

    Attributes:
        kinds: operation of every node, by name.
        inputs: names of the nodes a node reads, in order.
        moves: operations that only move or select values: what was on a grid stays on it.
        computes: operations that multiply by weights.
        quantizers: operations whose results are on a grid.
        joins: those of the moves that join all their inputs; the others move the first that is no constant, as an axis is.
        data_inputs: position of the data among the inputs of operations that do not read them first.
    """

    kinds: Mapping[str, str]
    inputs: Mapping[str, Sequence[str]]
    moves: Collection[str]
    computes: Collection[str]
    quantizers: Collection[str]
    joins: Collection[str] = ("Concat", "ConcatV2", "Pack")
    data_inputs: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def _readers(self) -> dict[str, list[str]]:
        readers: dict[str, list[str]] = defaultdict(list)
        for name, sources in self.inputs.items():
            for source in sources:
                readers[source].append(name)
        return readers

    def readers(self, name: str) -> list[str]:
        """Return the nodes that read what a node makes, looked for behind operations that only move values."""
        found: list[str] = []
        waiting, seen = [name], {name}
        for current in waiting:
            fresh = [reader for reader in dict.fromkeys(self._readers[current]) if reader not in seen]
            seen.update(fresh)
            for reader in fresh:
                (waiting if self.kinds.get(reader) in self.moves else found).append(reader)
        return found

    def input_quantized(self, weight: str) -> bool | None:
        """Return whether all that compute with a weight read, besides it, only values on a grid; None if nothing computes."""
        readers = [reader for reader in self.readers(weight) if self.kinds.get(reader) in self.computes]
        if not readers:
            return None
        return all(self._is_on_grid(self._data_input(reader, weight)) for reader in readers)

    def _data_input(self, reader: str, weight: str) -> str:
        """Return what a node reads besides the weight: the first input the weight does not lead to."""
        position = self.data_inputs.get(self.kinds[reader])
        if position is not None:
            return self.inputs[reader][position]
        return next((source for source in self.inputs[reader] if not self._leads_to(weight, source)), weight)

    def _leads_to(self, start: str, end: str) -> bool:
        waiting, seen = [start], {start}
        for current in waiting:
            if current == end:
                return True
            moved = [reader for reader in self._readers[current] if self.kinds.get(reader) in self.moves]
            fresh = [reader for reader in dict.fromkeys(moved) if reader not in seen]
            seen.update(fresh)
            waiting += fresh
        return False

    def _is_on_grid(self, name: str) -> bool:
        """Whether every path back through moves ends at a quantizer."""
        waiting, seen = [name], {name}
        for current in waiting:
            kind = self.kinds.get(current)
            if kind in self.quantizers:
                continue
            if kind not in self.moves:
                return False
            sources = [source for source in self.inputs[current] if self._has_data(source)]
            sources = sources if kind in self.joins else sources[:1]
            if not sources:
                return False
            fresh = [source for source in dict.fromkeys(sources) if source not in seen]
            seen.update(fresh)
            waiting += fresh
        return True

    def _has_data(self, name: str) -> bool:
        """Whether a node depends on more than constants, as shapes and paddings do not."""
        waiting, seen = [name], {name}
        for current in waiting:
            if (
                self.kinds.get(current) in ("Placeholder", "Parameter", "Input")
                or self.kinds.get(current) in self.quantizers
            ):
                return True
            fresh = [source for source in self.inputs.get(current, ()) if source not in seen]
            seen.update(fresh)
            waiting += fresh
        return False
