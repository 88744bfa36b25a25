"""Plots. They need matplotlib, which the package does not install by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress.algorithms import LeveledAlgorithm
from keras_compress.config import CompressionConfig
from keras_compress.errors import CompressionError, ConfigError

__all__ = ["plot_schedule", "plot_sensitivity"]


def plot_schedule(config: CompressionConfig | dict, epochs: int | None = None, axes: Any = None) -> Any:
    """Draw the level of every algorithm of a configuration over the epochs.

    Args:
        config: the configuration.
        epochs: how far to draw. Default: a tenth beyond the last change of a level.
        axes: matplotlib axes to draw on. Default: new ones.

    Returns:
        The axes; ``axes.figure.savefig("schedule.png")`` writes a picture.

    Raises:
        ConfigError: no algorithm of the configuration has a level.
        CompressionError: matplotlib is missing.
    """
    if not isinstance(config, CompressionConfig):
        config = CompressionConfig.from_dict(config)
    scheduled = [algorithm for algorithm in config.compression if isinstance(algorithm, LeveledAlgorithm)]
    if not scheduled:
        names = [algorithm.name for algorithm in config.compression]
        raise ConfigError(
            f"Nothing to draw. Expected: an algorithm with a level, such as 'magnitude_sparsity'. Received: {names}."
        )
    pyplot = _pyplot("plot_schedule")
    if epochs is None:
        ends = [algorithm.final_epoch() for algorithm in scheduled]
        epochs = max(2, *(round(1.1 * end) + 1 if end is not None else 20 for end in ends))
    axes = pyplot.subplots(figsize=(7, 4))[1] if axes is None else axes
    positions = np.linspace(0, epochs, 50 * epochs + 1)
    for algorithm in scheduled:
        axes.plot(positions, [algorithm.planned_level(at) for at in positions], label=algorithm.name)
    axes.set(xlabel="epoch", ylabel="level", title="Level over the epochs", ylim=(0, None))
    axes.legend()
    axes.grid(alpha=0.3)
    return axes


def plot_sensitivity(names: Sequence[str], ratios: Sequence[float], title: str, path: str | Path | None = None) -> Any:
    """Draw a bar for each layer, as long as its ratio of signal to error, the first on top.

    Args:
        names: of the layers.
        ratios: in dB; a layer without error gets no bar.
        title: of the picture.
        path: where to save the picture. Default: nowhere.

    Returns:
        The axes.

    Raises:
        CompressionError: matplotlib is missing.
    """
    pyplot = _pyplot("A bar chart")
    axes = pyplot.subplots(figsize=(8, 1.5 + 0.25 * len(names)))[1]
    positions = np.arange(len(names))
    axes.barh(positions, [ratio if np.isfinite(ratio) else 0.0 for ratio in ratios])
    axes.set_yticks(positions, names)
    axes.invert_yaxis()
    axes.set(xlabel="signal to quantization error in dB; short is bad", title=title)
    axes.grid(axis="x", alpha=0.3)
    axes.figure.tight_layout()
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        axes.figure.savefig(path)
    return axes


def _pyplot(who: str) -> Any:
    try:
        from matplotlib import pyplot
    except ImportError:
        raise CompressionError(f"{who} needs matplotlib: pip install matplotlib") from None
    return pyplot
