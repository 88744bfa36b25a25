"""CompressionScheduler: the position in the training, and the one who tells the algorithms when it changes."""

from __future__ import annotations

from collections.abc import Callable

from keras_compress.algorithms import Position

__all__ = ["CompressionScheduler"]


class CompressionScheduler:
    """Counts epochs and optimizer steps; both are -1 before the start.

    Args:
        on_change: called with the new :class:`~keras_compress.algorithms.Position` after every step.
    """

    def __init__(self, on_change: Callable[[Position], None]):
        self._on_change = on_change
        self.position = Position()

    @property
    def current_epoch(self) -> int:
        return self.position.epoch

    @property
    def current_step(self) -> int:
        return self.position.step

    def epoch_step(self, next_epoch: int | None = None) -> None:
        """Go to the next epoch, or to epoch ``next_epoch``; call it before each epoch."""
        epoch = self.position.epoch + 1 if next_epoch is None else next_epoch
        self._move(Position(epoch, self.position.step))

    def step(self, next_step: int | None = None) -> None:
        """Go to the next optimizer step, or to step ``next_step``; call it before each batch."""
        step = self.position.step + 1 if next_step is None else next_step
        self._move(Position(self.position.epoch, step))

    def _move(self, position: Position) -> None:
        self.position = position
        self._on_change(position)

    def get_state(self) -> dict[str, int]:
        """Return the position as JSON-able values."""
        return {"current_epoch": self.current_epoch, "current_step": self.current_step}

    def load_state(self, state: dict[str, int]) -> None:
        """Go to a saved position. The operations are not touched: their numbers come from the checkpoint."""
        self.position = Position(state["current_epoch"], state["current_step"])
