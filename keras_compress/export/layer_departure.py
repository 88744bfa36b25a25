"""LayerComparison: the outputs of layers in a file beside those in the model it was made from, and where they begin to depart."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from keras_compress.export.layer_matching import SAME_STEP
from keras_compress.reports.formatting import JsonReport, decibels_text, format_table, json_values

__all__ = ["MANY", "LayerComparison", "LayerDeparture"]

#: Why a tensor was read in another way.
CUT = "Asked for them beside its outputs, the runtime computes other outputs."
#: From what mean difference on, in steps, values are shifted, if this share of the mean difference without sign is to one side.
SHIFT, ONE_SIDE = 0.5, 0.8
#: How many values show a shift; few may lie to one side by chance.
MANY = 64


@dataclass(frozen=True)
class LayerDeparture:
    """The output of a layer in the file and in the model.

    Attributes:
        layer: path of the layer, with the number of the call behind ``#`` where it is called several times.
        tensor: name of the tensor of the file.
        sqnr: power of the signal over power of the difference in dB.
        steps: mean difference, without its sign, in steps of a grid of 256 levels over zero and the model's values.
        shift: mean difference with its sign, in the same steps, 0 for fewer than 64 values; a wrong zero point or a lost bias moves
            all values to one side.
        expected, received: smallest and largest value in the model and in the file.
        fed_steps, fed_largest: mean and largest difference, without its sign, where the layer of the file is fed what it reads
            in the model: its own error, and nothing that arrives from before. In steps of the quantizer that reads it or that it
            is, else of 256 levels as ``steps``. None where it was not asked for, or the file has the layer inside of another
            operation.
        step: of a quantizer: step of its grid in the file over that in the model, as the values show them. 1 where they show none.
    """

    layer: str
    tensor: str
    sqnr: float
    steps: float
    shift: float
    expected: tuple[float, float]
    received: tuple[float, float]
    fed_steps: float | None = None
    fed_largest: float | None = None
    step: float = 1.0

    def departs(self, min_sqnr: float) -> bool:
        """Whether the values are too far from the model's, nearly all to one side (rounding is to both), or on another grid."""
        return not self.sqnr >= min_sqnr or self.is_shifted or self.is_on_another_grid

    @property
    def is_shifted(self) -> bool:
        """Whether nearly all values are to one side of the model's."""
        return abs(self.shift) >= SHIFT and abs(self.shift) >= ONE_SIDE * self.steps

    @property
    def is_on_another_grid(self) -> bool:
        """Whether the grid of a quantizer has other steps than in the model."""
        return abs(self.step - 1) > SAME_STEP


@dataclass(frozen=True)
class LayerComparison(JsonReport):
    """Layers of a model whose outputs were found in a file. ``print`` shows a table.

    Attributes:
        path: the file.
        samples: how many samples were compared.
        calls: how many calls of layers the model has, whose outputs were looked for.
        rows: one per layer and call that was found, in the order of the model.
        hidden: layers whose outputs were not found in the file and that the first layer that departs reads from.
        min_sqnr: below this a layer departs, in dB; so does one whose values are shifted or on another grid, see
            :meth:`LayerDeparture.departs`.
        fed: whether layers were also fed the inputs that they have in the model.
        cut: tensors that were read from files that end with them: asked for them beside its outputs, the runtime computes
            other outputs, or refuses the file.
    """

    path: Path
    samples: int
    calls: int
    rows: tuple[LayerDeparture, ...]
    hidden: tuple[str, ...]
    min_sqnr: float
    fed: bool = False
    cut: tuple[str, ...] = ()

    @property
    def first(self) -> LayerDeparture | None:
        """The first layer that departs, None if none does."""
        return next((row for row in self.rows if row.departs(self.min_sqnr)), None)

    @property
    def reason(self) -> str:
        """What is seen at the first layer that departs, as a sentence; empty if none does."""
        row = self.first
        if row is None:
            return ""
        low, high = row.received
        text = f"layer '{row.layer}' departs first ({row.sqnr:.1f} dB, tensor '{row.tensor}')"
        if row.is_on_another_grid:
            text += f": the steps of its quantizer are {row.step:.2f} times as wide"
        elif row.sqnr >= self.min_sqnr:
            text += f": its values are {abs(row.shift):.2f} steps of 256 too {'high' if row.shift > 0 else 'low'} on average"
        ranges = f"its values lie in [{low:.4g}, {high:.4g}] in the file and in [{row.expected[0]:.4g}, {row.expected[1]:.4g}] in Keras"
        before = f"; it reads from {', '.join(map(repr, self.hidden))}, not found in the file" if self.hidden else ""
        return f"{text}: {ranges}{before}"

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON-able values."""
        return json_values({**asdict(self), "path": str(self.path), "reason": self.reason})

    def __str__(self) -> str:
        titles = ["layer", "tensor", "signal to error", "steps", "shift", "in Keras", "in the file"]
        rows = [
            [
                row.layer,
                row.tensor,
                decibels_text(row.sqnr),
                f"{row.steps:.3f}",
                f"{row.shift:+.3f}",
                _range(row.expected),
                _range(row.received),
                *([_steps(row.fed_steps), _steps(row.fed_largest)] if self.fed else []),
            ]
            for row in self.rows
        ]
        table = format_table([*titles, *(["fed: steps", "fed: largest"] if self.fed else [])], rows)
        return "\n\n".join(
            [
                f"{self.path}: {len(self.rows)} of {self.calls} layers found, on {self.samples} samples",
                table,
                *([f"Read from files that end there: {', '.join(self.cut)}. {CUT}"] if self.cut else []),
                self.reason or "no layer departs",
            ]
        )


def _steps(steps: float | None) -> str:
    return "" if steps is None else f"{steps:.3f}"


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.4g} to {ends[1]:.4g}"
