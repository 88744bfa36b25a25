"""CompressionScheduler: the position in the training. It knows no schedule; those are in :mod:`keras_compress.schedules`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_compress.algorithms import Position
from keras_compress.fit_position import FitPosition
from keras_compress.nncf_names import NamesOfNNCF

__all__ = ["CompressionScheduler"]


class CompressionScheduler(NamesOfNNCF):
    """Counts epochs and optimizer steps; both are -1 before the start.

    Args:
        on_change: called with the new :class:`~keras_compress.algorithms.Position` after every step.
        final_epoch: the epoch from whose start on every algorithm is complete, -1 for before training; None if training
            decides it.
        steps_per_epoch: for levels that follow the steps; ``fit`` sets it. Default None: unknown.

    Attributes:
        place: follows the running ``fit``, or the last one; has ``position()``. None before the first.
        restored_fit: where the ``fit`` stood whose checkpoint was restored, until another one begins.
        moves: how often the position has changed since the object was made.
        repeating: while the last batch before a checkpoint is gone through once more, without training, because the end of
            its epoch is still to come.
    """

    nncf_name = "scheduler"

    def __init__(
        self,
        on_change: Callable[[Position], None],
        final_epoch: int | None = -1,
        steps_per_epoch: int | None = None,
    ):
        self._on_change = on_change
        self._first_step = 0
        self.final_epoch = final_epoch
        self.steps_per_epoch = steps_per_epoch
        self.current_epoch = -1
        self.current_step = -1
        self.moves = 0
        self._moves_of_fit: int | None = None
        self.place: Any = None
        self.restored_fit: FitPosition | None = None
        self._restored = False
        self.repeating = False

    @property
    def fit_position(self) -> FitPosition | None:
        """Where the running ``fit`` stands, the last one, or that of the checkpoint; None before the first."""
        return self.restored_fit if self.place is None else self.place.position()

    def restore_fit(self, position: FitPosition | None) -> None:
        """Take over the place of the ``fit`` that a checkpoint comes from."""
        self._moves_of_fit = self.moves
        self.place, self.restored_fit, self._restored = None, position, True

    def fit_runs(self, runs: bool) -> None:
        """Take note that a ``fit`` whose callback moves the schedules has begun, or has ended."""
        self._moves_of_fit = None if runs else self.moves

    def take_restored_fit(self) -> FitPosition | None:
        """Return the place of a ``fit`` to go on from, once; None where no checkpoint was restored.

        Of a checkpoint without one the place follows from epochs and steps, as for a ``fit`` that began with epoch 0.
        """
        if not self._restored:
            return None
        position, self.restored_fit, self._restored = self.restored_fit, None, False
        if position is None and self.current_epoch >= 0:
            inside = self.position.step_in_epoch + 1 if self.inside_epoch else 0
            epoch = self.current_epoch if inside else self.current_epoch + 1
            position = FitPosition(0, epoch, inside, self.steps_per_epoch, entered=bool(inside), seed=None)
        return position

    @property
    def position(self) -> Position:
        """Where the training stands."""
        return Position(
            self.current_epoch, self.current_step, self.current_step - self._first_step, self.steps_per_epoch
        )

    def epoch_step(self, next_epoch: int | None = None) -> None:
        """Go to the next epoch, or to epoch ``next_epoch``; call it before each epoch.

        Going to the present epoch starts it again. Epochs that are left out count with all their steps, where it is
        known how many those are.
        """
        epoch = self.current_epoch + 1 if next_epoch is None else next_epoch
        if epoch == self.current_epoch:
            self.current_step = self._first_step - 1
        elif epoch > self.current_epoch + 1 and self.steps_per_epoch is not None:
            self.current_step = max(self.current_step, epoch * self.steps_per_epoch - 1)
        self.current_epoch = epoch
        self._first_step = self.current_step + 1
        self._moved()

    @property
    def first_step(self) -> int:
        """Number of the first step of the present epoch."""
        return self._first_step

    @property
    def inside_epoch(self) -> bool:
        """Whether the present epoch has begun and is known to have more steps."""
        done = self.position.step_in_epoch + 1
        return self.steps_per_epoch is not None and 0 < done < self.steps_per_epoch

    def step(self, next_step: int | None = None) -> None:
        """Go to the next optimizer step, or to step ``next_step``; call it before each batch."""
        self.current_step = self.current_step + 1 if next_step is None else next_step
        self._moved()

    def _moved(self) -> None:
        self.moves += 1
        self._on_change(self.position)

    @property
    def is_complete(self) -> bool:
        """Whether every algorithm is complete at the present epoch, so that nothing depends on a further step."""
        return self.final_epoch is not None and self.current_epoch >= self.final_epoch

    @property
    def moved_by_hand(self) -> bool:
        """Whether a training loop of one's own has brought the schedules to where they are, and no callback of ``fit``."""
        if self.fit_position is None:
            return self.current_epoch >= 0
        return self._moves_of_fit is not None and self.moves > self._moves_of_fit

    def get_state(self) -> dict[str, Any]:
        """Return the position as JSON-able values."""
        return {
            "current_epoch": self.current_epoch,
            "current_step": self.current_step,
            "first_step": self._first_step,
            "steps_per_epoch": self.steps_per_epoch,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go to a saved position. The operations are not touched: their numbers come from the checkpoint."""
        self.current_epoch, self.current_step = state["current_epoch"], state["current_step"]
        self._first_step = state.get("first_step", self.current_step + 1)
        self.steps_per_epoch = state.get("steps_per_epoch") or self.steps_per_epoch
