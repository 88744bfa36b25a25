"""LayerSpec: what is known about a layer class, as a row of the table says it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from keras_compress.graph.activations import LINEAR, Activation

__all__ = ["LayerRole", "LayerSpec", "WeightSpec"]


class LayerRole(enum.Enum):
    """How a layer behaves towards quantized activations; its weights may be compressed in any role."""

    COMPUTE = "compute"  #: multiplies its inputs by weights; runs in integers when inputs and weights are quantized
    MERGE = "merge"  #: combines or averages values; runs in integers when all inputs are quantized
    TRANSPARENT = "transparent"  #: moves or selects values; what was on the grid stays on the grid
    CONCAT = "concat"  #: joins tensors, which must share one range
    OTHER = "other"  #: anything else: stays in floating point


@dataclass(frozen=True)
class WeightSpec:
    """A weight that can be compressed.

    Attributes:
        path: dotted path from the layer, as ``"kernel"`` or ``"cell.recurrent_kernel"``.
        channel_axes: axes that index the output channels; each index gets a range of its own.
        input_axis: the axis that indexes the input channels: scaling one channel of the input and dividing the weight
            by the same factor at the same index of this axis leaves the output as it was. None (default) if there is no
            such axis.
    """

    path: str
    channel_axes: tuple[int, ...] = (-1,)
    input_axis: int | None = None


@dataclass(frozen=True)
class LayerSpec:
    """A row of the table.

    Attributes:
        role: behaviour towards quantized activations.
        weights: the weights that can be compressed.
        linear: its output is the product of its input and its only weight, plus a bias, before the activation function.
        foldable: a factor and a shift for each output channel can be moved into its only weight and its bias. The
            channels are the last axis of the output, and the bias, which ``use_bias`` switches on, has one value for
            each.
        convolution: slides its weight over positions.
        activation: the activation function that is applied last.
        activation_argument: the argument of the layer that names the activation function, as ``"activation"``; None if
            it has none.
        inert_at_inference: returns its input outside training.
        keeps_channels: every channel of its output is computed from the same channel of its input alone.
        scales_with_input: a positive factor on its input is a factor on its output.
        elementwise: each value of its output is computed from the value at the same place of its input alone.
        scales_data: brings the data of a model to the range that the layers behind it expect.
        sum: adds tensors element by element.
        rank: rank of its output, the batch axis counted; None if that depends on the input.
        keeps_rank: its output has the rank of its input.
        rearranges: which axis of its output is which axis of its input depends on its arguments, as in a transposition.
        operands: with fewer tensors than this, the others being constants, it is of role OTHER.
        sensitive_from: number of the first input whose small values count as much as its large ones, as that of a logarithm
            or of a divisor; a grid in front of it would lose them. None (default) if there is no such input.
    """

    role: LayerRole
    weights: tuple[WeightSpec, ...] = ()
    linear: bool = False
    foldable: bool = False
    convolution: bool = False
    activation: Activation = LINEAR
    activation_argument: str | None = None
    inert_at_inference: bool = False
    keeps_channels: bool = False
    scales_with_input: bool = False
    elementwise: bool = False
    scales_data: bool = False
    sum: bool = False
    rank: int | None = None
    keeps_rank: bool = False
    rearranges: bool = False
    operands: int = 1
    sensitive_from: int | None = None

    @property
    def is_activation(self) -> bool:
        """Whether the layer is nothing but an activation function."""
        return self.role is LayerRole.OTHER and not self.weights and self.activation is not LINEAR

    @property
    def moves_values(self) -> bool:
        """Whether the layer computes no new values: it moves, selects or joins those of its inputs."""
        return self.role in (LayerRole.TRANSPARENT, LayerRole.CONCAT)
