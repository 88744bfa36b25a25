"""FedLayers: how far the layers of a file are from the model's where both read the same.

The file is cut at every tensor that is clearly the output of a layer: what reads it is given what the layer returns in the model.
All of it is computed in one run, in which errors do not pass from one layer to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_compress._keras import keras
from keras_compress.export.format import Format, TensorNames
from keras_compress.export.isolated_runtime import isolated_fed_tensors
from keras_compress.export.layer_matching import Match, matched
from keras_compress.graph import ModelGraph, TensorRef, take
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import FakeQuantize

__all__ = ["FedError", "FedLayers"]

#: How near to a level, in steps, a value is that lies on it.
NEAR = 0.01


@dataclass(frozen=True)
class FedError:
    """The error of a layer that is fed the inputs it has in the model, in steps: its mean without a sign, and the largest."""

    mean: float
    largest: float


class FedLayers:
    """The layers of a file, each fed what it reads in the model.

    The outputs of layers are looked for twice: by what the file computes, and by what it computes where the errors of the first
    layers do not arrive at the others. Then a quantizer and the layer before it are told apart, too.

    Args:
        model: the compressed model.
        outputs: what every call of a layer returns, by its path.
        matches: the tensors of the file that are outputs of layers, as found.
        inside: the tensors of the file by name.
        path, form, names: the file.
        arrays: inputs, as many samples as the file takes.

    Attributes:
        matches: the tensors that are outputs of layers, with the values that the file computes from its inputs.
        certain: the layers whose tensors are clear where they are fed.
        errors: the error of every layer by itself, by its path. Layers that the file has inside of other operations are left out.
    """

    def __init__(
        self,
        model: keras.Model,
        outputs: Sequence[tuple[str, np.ndarray]],
        matches: Sequence[Match],
        inside: Sequence[tuple[str, np.ndarray]],
        path: Path,
        form: Format,
        names: TensorNames,
        arrays: Sequence[np.ndarray],
    ):
        self._file = (form, path, names, arrays)
        self._quantizers = {path: layer for path, layer in leaf_layers(model) if isinstance(layer, FakeQuantize)}
        sizes = {expected.size for _, expected in outputs}
        arrived = {name: array for name, array in inside if array.size in sizes}
        fed = self._fed(matches, list(arrived))
        first = {match.layer: match for match in matches}
        again = [matched(layer, expected, list(fed.items())) for layer, expected in outputs]
        clear = {
            match.layer: match.of(arrived[match.tensor]) for match in again if match is not None and match.is_clear
        }
        order = [layer for layer, _ in outputs]
        self.matches = [{**first, **clear}[layer] for layer in order if layer in first or layer in clear]
        sure = {match.layer: match for match in again if match is not None}
        nearest = [sure.get(match.layer, match) for match in self.matches]
        self.certain = {match.layer for match in nearest if match.is_clear}
        owners = self._owners(nearest)
        found = self._fed(nearest, list(owners))
        steps = self._steps(ModelGraph(take(model)))
        self.errors: dict[str, FedError] = {}
        for match in nearest:
            owner = owners[match.tensor]
            if match.tensor in found and np.array_equal(owner.expected.ravel(), match.expected.ravel()):
                self.errors[match.layer] = _error(match, found[match.tensor], steps)

    def _fed(self, matches: Sequence[Match], asked: Sequence[str]) -> dict[str, np.ndarray]:
        """Return tensors of the file that is cut at all clear matches."""
        fed = {match.tensor: match.as_in_file() for match in self._owners(matches).values() if match.is_clear}
        return isolated_fed_tensors(*self._file, fed, asked)

    def _owners(self, matches: Sequence[Match]) -> dict[str, Match]:
        """Return for each tensor the layer whose output it is: the quantizer whose grid it lies on, else the nearest."""
        owners: dict[str, tuple[tuple[bool, float], Match]] = {}
        for match in matches:
            quantizer = self._quantizers.get(match.path)
            rank = (quantizer is not None and _on_grid(match.received, quantizer), match.nearness)
            if match.tensor not in owners or rank > owners[match.tensor][0]:
                owners[match.tensor] = rank, match
        return {tensor: match for tensor, (_, match) in owners.items()}

    def _steps(self, graph: ModelGraph) -> dict[str, np.ndarray]:
        """Return for each layer the step of the quantizer that it is, or of the first one that reads it."""
        steps = {path: quantizer.integer_range()[0] for path, quantizer in self._quantizers.items()}
        for ref in graph.nodes:
            for reader in graph.successors(TensorRef(ref.layer, ref.node, 0)):
                if reader.layer in self._quantizers and ref.layer not in steps:
                    steps[ref.layer] = steps[reader.layer]
        return steps


def _on_grid(values: np.ndarray, quantizer: FakeQuantize) -> bool:
    levels = values / np.maximum(quantizer.integer_range()[0], 1e-30)
    return bool(np.all(np.abs(levels - np.round(levels)) < NEAR))


def _error(match: Match, array: np.ndarray, steps: Mapping[str, np.ndarray]) -> FedError:
    expected = match.expected
    step = steps.get(match.path, float(max(expected.max(), 0) - min(expected.min(), 0)) / 255)
    difference = np.abs(match.arranged(array) - expected) / np.maximum(step, 1e-30)
    return FedError(
        float(difference.mean()), round(float(difference.max()), 4)
    )  # levels of a grid differ in their last bits
