"""What a compression algorithm is: settings without state, and methods that say what to do with a model and when.

An algorithm is a frozen pydantic model whose fields are its keys in the JSON configuration. It plans edits on a graph,
initializes the operations those edits made, and says what they should be at a position of the training. All numbers
that change live in the operations.
"""

from __future__ import annotations

import enum
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pydantic
import tensorflow as tf
from pydantic import model_validator

from keras_compress._keras import keras
from keras_compress.algorithms.scope import Scope
from keras_compress.calibration import BatchNormAdaptation, RangeInitializer, StatisticsCollector
from keras_compress.data import Dataset
from keras_compress.errors import short_repr
from keras_compress.graph import Edit, ModelGraph, ModelSnapshot
from keras_compress.layers import Stage, WeightOp
from keras_compress.settings import OneOrMore, Settings

__all__ = [
    "OUTSIDE",
    "PREPROCESSING",
    "BoundOp",
    "CompressionAlgorithm",
    "CompressionStage",
    "OptimizerGuide",
    "Plan",
    "PlanContext",
    "Position",
    "RegularizedAlgorithm",
    "ScheduledAlgorithm",
    "Scope",
    "SkippedWeight",
]


#: Why a weight that a scope excludes stays as it is.
OUTSIDE = "outside the scope of the configuration"
#: Why a weight that nobody excludes stays as it is.
PREPROCESSING = "frozen linear preprocessing in front of a logarithm, root, power or divisor, whose small values integers would lose"


class CompressionStage(enum.IntEnum):
    """How far compression has come."""

    UNCOMPRESSED = 0
    PARTIALLY_COMPRESSED = 1
    FULLY_COMPRESSED = 2


@dataclass(frozen=True)
class Position:
    """A place in the training.

    Attributes:
        epoch, step: numbers of the epoch and of the optimizer step, -1 before the start.
        step_in_epoch: number of the step in its epoch, -1 between the start of an epoch and its first step.
        steps_per_epoch: how many there are, None if unknown.
    """

    epoch: int = -1
    step: int = -1
    step_in_epoch: int = field(default=-1, compare=False)
    steps_per_epoch: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class PlanContext:
    """What an algorithm is told besides the graph.

    Attributes:
        target_device, ignored_scopes, target_scopes: the root keys of the configuration that concern all algorithms.
        target_runtimes: the runtimes that files are meant for.
        binary_layers: paths of layers that another algorithm brings to one bit, so that they need no other grid.
    """

    target_device: str = "ANY"
    ignored_scopes: tuple[str, ...] = ()
    target_scopes: tuple[str, ...] | None = None
    binary_layers: frozenset[str] = frozenset()
    target_runtimes: tuple[str, ...] = ("openvino",)


@dataclass(frozen=True)
class SkippedWeight:
    """A weight that stays as it is.

    Attributes:
        layer, weight: path of the layer and dotted path of the weight.
        reason: why, as a sentence without a full stop.
    """

    layer: str
    weight: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """The edits of an algorithm for a graph, and the weights it leaves alone.

    Attributes:
        edits: what to do to the model, as values.
        skipped: the weights that it could compress and does not, with the reasons.
    """

    edits: tuple[Edit, ...] = ()
    skipped: tuple[SkippedWeight, ...] = ()


@dataclass(frozen=True)
class BoundOp:
    """An operation in a live model, made by one edit.

    Attributes:
        op: the layer that owns the variables.
        layer: path of the layer whose weight it maps, or of the op itself where it maps an activation.
        weight: dotted path of the weight, None for an activation.
        variable: the float variable of the weight, None for an activation.
        sources: paths of the layers whose outputs it maps, empty for a weight.
    """

    op: WeightOp
    layer: str
    weight: str | None = None
    variable: tf.Variable | None = field(default=None, repr=False)
    sources: tuple[str, ...] = ()

    def weight_array(self) -> np.ndarray:
        """Return the present float weight; only for an operation that maps a weight."""
        if self.variable is None:
            raise TypeError(f"The operation '{self.layer}' maps an activation and has no weight.")
        return self.variable.numpy()


ScopeList = Annotated[tuple[str, ...], OneOrMore()]


class CompressionAlgorithm(Settings):
    """Base of every algorithm. :func:`register_algorithm` makes a subclass known to configurations by its ``name``.

    A subclass returns edits from :meth:`plan`; the other methods have defaults. It keeps no state.
    """

    name: ClassVar[str] = ""
    """The name in a configuration, as ``"quantization"``."""
    weight_stage: ClassVar[Stage] = Stage.QUANTIZE
    """The stage of the operations it puts on weights; algorithms plan and initialize in this order."""
    ignored_keys: ClassVar[Mapping[str, str]] = {
        "compression_lr_multiplier": "all variables are trained at the pace of the optimizer",
    }
    """The keys of other frameworks' configurations that it accepts and ignores, with the reasons."""

    ignored_scopes: ScopeList = ()
    """Layers left alone; a name, a list, or patterns with ``{re}``. Default: none."""
    target_scopes: ScopeList | None = None
    """The only layers touched. Default: all."""
    validate_scopes: bool = True
    """Whether a pattern that names no layer is an error. Default True."""
    compression_lr_multiplier: float | None = None
    """Accepted for other frameworks, without effect."""

    @property
    def algorithm(self) -> str:
        """The name in a configuration."""
        return self.name

    @model_validator(mode="before")
    @classmethod
    def _is_this_algorithm(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "algorithm" not in values:
            return values
        values = dict(values)
        name = values.pop("algorithm")
        if name != cls.name:
            raise ValueError(f"Expected: algorithm={cls.name!r}. Received: algorithm={short_repr(name)}.")
        return values

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: pydantic.GetJsonSchemaHandler) -> dict:
        reference = super().__get_pydantic_json_schema__(schema, handler)
        described = handler.resolve_ref_schema(reference)
        key = {"const": cls.name, "default": cls.name, "type": "string", "description": "Which algorithm this is."}
        described["properties"] = {"algorithm": key, **described.get("properties", {})}
        return reference

    def scope(self, context: PlanContext) -> Scope:
        """Return the layers this algorithm may touch, root keys of the configuration included."""
        target = context.target_scopes if self.target_scopes is None else self.target_scopes
        return Scope((*context.ignored_scopes, *self.ignored_scopes), target, self.validate_scopes)

    def checked_scope(self, graph: ModelGraph, context: PlanContext) -> Scope:
        """Return :meth:`scope`, after a look whether its patterns name layers of a model.

        Raises:
            ConfigError: one names none, and ``validate_scopes`` is True.
        """
        scope = self.scope(context)
        scope.check([path for path, _ in graph.layers()])
        return scope

    def prepare(self, snapshot: ModelSnapshot, context: PlanContext) -> ModelSnapshot:
        """Return the model in the form that this algorithm plans on. Pure and idempotent; the outputs of the model stay the same."""
        return snapshot

    @abstractmethod
    def plan(self, graph: ModelGraph, context: PlanContext) -> Plan:
        """Return the edits for a model. Pure: the same graph gives the same plan."""

    def initialize(self, ops: Sequence[BoundOp], model: keras.Model, data: Dataset | None) -> bool:
        """Give the operations their first numbers, from the weights and from data where there are any.

        Returns:
            Whether the model computes something else now, so that batch normalization is worth adapting.
        """
        return False

    def collectors(self, ops: Sequence[BoundOp]) -> Sequence[StatisticsCollector]:
        """Return what is to be measured for the operations in the pass over data that all algorithms share."""
        return []

    def calibration_samples(self, ops: Sequence[BoundOp]) -> int:
        """Return how many samples the collectors of the operations ask for."""
        return max((collector.samples for collector in self.collectors(ops)), default=0)

    def output_initializer(self, layer: str) -> RangeInitializer | None:
        """Return how the range of a layer's output is measured that only a file needs; None leaves it to others."""
        return None

    @property
    def batch_norm_adaptation(self) -> BatchNormAdaptation:
        """How batch normalization is adapted when the operations have changed. Default: not at all."""
        return BatchNormAdaptation(num_bn_adaptation_samples=0)

    @property
    def corrects_biases(self) -> bool:
        """Whether biases may take up what quantized kernels add to the means of outputs. Default True."""
        return True

    def update(self, ops: Sequence[BoundOp], position: Position) -> bool:
        """Bring the operations to what they should be at ``position``; called when the position changes.

        Returns:
            Whether the model computes something else now.
        """
        return False

    def final_epoch(self) -> int | None:
        """Return the epoch from whose start on compression is complete, -1 for before training; None if unknown."""
        return -1

    def stage(self, ops: Sequence[BoundOp], position: Position) -> CompressionStage:
        """Return how far this algorithm has come at ``position``. Default: by :meth:`final_epoch`."""
        final = self.final_epoch()
        complete = final is None or position.epoch >= final
        return CompressionStage.FULLY_COMPRESSED if complete else CompressionStage.UNCOMPRESSED

    def compression_rate(self, ops: Sequence[BoundOp]) -> float | None:
        """Return the share that was removed, in [0, 1], for algorithms that have one."""
        return None

    def statistics(self, ops: Sequence[BoundOp]) -> dict[str, float]:
        """Return numbers worth logging, by name."""
        return {}

    def configuration_warnings(self) -> list[str]:
        """Return what to warn about in the settings. Default: every key that is accepted and ignored."""
        return [f"'{self.name}.{key}' has no effect: {reason}." for key, reason in self.used_ignored_keys().items()]

    def to_dict(self) -> dict:
        return {"algorithm": self.name, **super().to_dict()}


class ScheduledAlgorithm(CompressionAlgorithm):
    """Base of the algorithms that follow a level in [0, 1) over the epochs; the level can also be set and frozen by hand."""

    @abstractmethod
    def planned_level(self, epoch: float) -> float:
        """Return the level the schedule plans for a position in epochs."""

    @abstractmethod
    def set_level(self, ops: Sequence[BoundOp], level: float) -> None:
        """Bring the operations to a level in [0, 1)."""

    @abstractmethod
    def freeze(self, ops: Sequence[BoundOp], frozen: bool = True) -> None:
        """Fix what the operations do, or let it change again."""


class RegularizedAlgorithm(CompressionAlgorithm):
    """Base of the algorithms that add a term to the loss."""

    @abstractmethod
    def loss(self, ops: Sequence[BoundOp]) -> tf.Tensor | None:
        """Return the term, a float32 scalar, or None. A pure function of the variables, called once per training step."""


class OptimizerGuide(CompressionAlgorithm):
    """Base of the algorithms that set the learning rate or the weight decay of the optimizer."""

    def learning_rate(self, epoch: float) -> float | None:
        """Return the learning rate that the optimizer should have, None to leave it."""
        return None

    def weight_decay(self, epoch: float) -> float | None:
        """Return the decoupled weight decay that the optimizer should have, None to leave it."""
        return None
