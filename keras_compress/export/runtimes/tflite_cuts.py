"""TensorFlow Lite files that are asked for tensors inside of them, or given values in place of such tensors."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress.export.runtimes.run import FED

__all__ = ["CutFile"]


class CutFile:
    """A file in memory, whose inputs and outputs can be others.

    Args:
        path: of the file.

    Attributes:
        made: names of the tensors that operations make, in the order of computation. Where several have one name, their
            numbers follow it.
    """

    def __init__(self, path: Path):
        self._schema = importlib.import_module("ai_edge_litert.schema_py_generated")
        self._model = self._schema.ModelT.InitFromObj(self._schema.Model.GetRootAsModel(path.read_bytes(), 0))
        graph = self._graph
        made = [int(index) for operation in graph.operators for index in operation.outputs if index >= 0]
        names = [graph.tensors[index].name.decode() for index in made]
        unique = [
            name if names.count(name) == 1 else f"{name}#{index}" for name, index in zip(names, made, strict=True)
        ]
        self._places = dict(zip(unique, made, strict=True))
        self._own = [int(index) for index in graph.outputs]
        self.made = list(self._places)

    @property
    def _graph(self) -> Any:
        return self._model.subgraphs[0]

    def give(self, fed: Mapping[str, np.ndarray]) -> None:
        """Let what reads some tensors read new inputs, which are of their types and grids."""
        graph = self._graph
        new: dict[int, int] = {}
        for name, value in fed.items():
            given = copy.copy(graph.tensors[self._places[name]])
            given.name, given.buffer = f"{name}{FED}".encode(), 0
            given.shape = np.array(value.shape, np.int32)
            new[self._places[name]] = len(graph.tensors)
            graph.tensors.append(given)
        for operation in graph.operators:
            operation.inputs = np.array([new.get(int(index), int(index)) for index in operation.inputs], np.int32)
        graph.inputs = np.array([*graph.inputs, *new.values()], np.int32)

    def asked(self, names: Sequence[str], *, beside: bool) -> tuple[bytes, list[int]]:
        """Return the file with tensors as its outputs, beside its own or in their place, and where these tensors are.

        Args:
            names: of the tensors.
            beside: whether its own outputs stay, in front.
        """
        places = [self._places[name] for name in names]
        outputs = [*(self._own if beside else ()), *places]
        self._graph.outputs = np.array(list(dict.fromkeys(outputs)), np.int32)
        self._model.signatureDefs = []
        builder = importlib.import_module("flatbuffers").Builder(1 << 20)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output()), places

    def place(self, name: str) -> int:
        """Return where a tensor is."""
        return self._places[name]

    @property
    def own(self) -> list[int]:
        """Where the outputs of the file are."""
        return self._own
