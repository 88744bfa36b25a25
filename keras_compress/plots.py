"""Plots. They need matplotlib, which the package does not install by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress._keras import keras
from keras_compress.algorithms import ScheduledAlgorithm
from keras_compress.arguments import checked_names, checked_path, mapping, number, whole_number, wrong
from keras_compress.config import CompressionConfig
from keras_compress.errors import CompressionError, ConfigError, close_matches
from keras_compress.export.latency import LatencyReport
from keras_compress.files import replacing
from keras_compress.graph.model_check import require_graph
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import CompressedLayer, weight_owner

__all__ = [
    "plot_accuracy_against_size",
    "plot_latency",
    "plot_schedule",
    "plot_sensitivity",
    "plot_weight_histograms",
]

PANELS_IN_A_ROW = 4
#: More than can be drawn.
MOST_EPOCHS, MOST_BINS = 100_000, 100_000


def plot_schedule(
    config: CompressionConfig | dict,
    epochs: int | None = None,
    axes: Any = None,
    history: keras.callbacks.History | None = None,
) -> Any:
    """Draw the level of every algorithm of a configuration over the epochs.

    Args:
        config: the configuration.
        epochs: how far to draw. Default: a tenth beyond the last change of a level.
        axes: matplotlib axes to draw on. Default: new ones.
        history: what ``fit`` returned; the levels it counted at the end of each epoch become dots. Default: none.

    Returns:
        The axes; ``axes.figure.savefig("schedule.png")`` writes a picture.

    Raises:
        ConfigError: no algorithm of the configuration has a level.
        CompressionError: matplotlib is missing.

    Example:
        >>> axes = plot_schedule({"compression": {"algorithm": "magnitude_sparsity"}}, epochs=100)
        >>> [text.get_text() for text in axes.get_legend().get_texts()]
        ['magnitude_sparsity']
    """
    config = CompressionConfig.of(config)
    scheduled = [algorithm for algorithm in config.compression if isinstance(algorithm, ScheduledAlgorithm)]
    if not scheduled:
        names = [algorithm.name for algorithm in config.compression]
        raise ConfigError(
            f"Nothing to draw. Expected: an algorithm with a level, such as 'magnitude_sparsity'. Received: {names}."
        )
    if epochs is not None:
        epochs = whole_number("epochs", epochs, 1, MOST_EPOCHS)
    _require_axes(axes)
    if history is not None and not (
        hasattr(history, "epoch") and isinstance(getattr(history, "history", None), Mapping)
    ):
        raise wrong("history", "what model.fit returned", history)
    pyplot = _pyplot("plot_schedule")
    if epochs is None:
        ends = [algorithm.final_epoch() for algorithm in scheduled]
        epochs = max(2, *(round(1.1 * end) + 1 if end is not None else 20 for end in ends))
    axes = pyplot.subplots(figsize=(7, 4))[1] if axes is None else axes
    positions = np.linspace(0, epochs, 50 * epochs + 1)
    for algorithm in scheduled:
        (line,) = axes.plot(positions, [algorithm.planned_level(at) for at in positions], label=algorithm.name)
        counted = {} if history is None else _by_end_of_epoch(history, f"{algorithm.name}/sparsity_level")
        if counted:
            label = f"{algorithm.name}, counted"
            axes.plot(list(counted), list(counted.values()), "o", color=line.get_color(), label=label)
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

    Example:
        >>> axes = plot_sensitivity(["conv", "head"], [20.0, 31.5], "Signal to error")
        >>> [float(bar.get_width()) for bar in axes.patches]
        [20.0, 31.5]
    """
    if path is not None:
        path = checked_path("path", path)
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
        try:
            with replacing(path) as staged:
                axes.figure.savefig(staged)
        except ValueError as error:  # a suffix that is no picture
            raise wrong(
                "path", "the path of a picture, as 'layers.png'", str(path), f"It cannot be written: {error}"
            ) from None
    return axes


def plot_latency(report: LatencyReport, axes: Any = None) -> Any:
    """Draw a bar for each file of a benchmark, as long as its median, the first on top.

    Args:
        report: from ``kc.benchmark``. A thin line goes from a tenth to nine tenths of the runs; where the float model
            was measured too, the bar says how many times faster the file is.
        axes: matplotlib axes to draw on. Default: new ones.

    Returns:
        The axes.

    Raises:
        CompressionError: matplotlib is missing.

    Example::

        plot_latency(kc.benchmark(["model.onnx", "model.xml"], images[:1])).figure.savefig("latency.png")
    """
    _require_axes(axes)
    if not isinstance(report, LatencyReport):
        raise wrong("report", "what kc.benchmark returned", report)
    pyplot = _pyplot("plot_latency")
    rows = report.rows
    axes = pyplot.subplots(figsize=(7, 1.2 + 0.35 * len(rows)))[1] if axes is None else axes
    positions = np.arange(len(rows))
    medians = [row.median for row in rows]
    spread = [[row.median - row.low for row in rows], [row.high - row.median for row in rows]]
    bars = axes.barh(positions, medians, xerr=spread, error_kw={"ecolor": "0.3", "elinewidth": 1, "capsize": 2})
    notes = ["" if row.times_faster in (None, 1.0) else f", {row.times_faster:.2f} times faster" for row in rows]
    axes.bar_label(bars, [f"{row.median:.3g} ms{note}" for row, note in zip(rows, notes, strict=True)], padding=4)
    axes.set_yticks(positions, [row.name for row in rows])
    axes.invert_yaxis()
    axes.margins(x=0.45)
    axes.set(xlabel=f"milliseconds for {report.batch_size} samples, median of {report.rounds} runs", title="Latency")
    axes.figure.tight_layout()
    return axes


def plot_accuracy_against_size(models: Mapping[str, tuple[float, float]], axes: Any = None) -> Any:
    """Draw a named point for each model: bytes to the right on a logarithmic axis, accuracy upwards.

    Args:
        models: ``(bytes, accuracy)`` by name, the accuracy in [0, 1].
        axes: matplotlib axes to draw on. Default: new ones.

    Returns:
        The axes.

    Raises:
        CompressionError: matplotlib is missing.

    Example:
        >>> axes = plot_accuracy_against_size({"float": (400_000, 0.91), "int8": (105_000, 0.90)})
        >>> axes.get_xlabel()
        'kB'
    """
    _require_axes(axes)
    points = [(name, *_point(name, pair)) for name, pair in mapping("models", models).items()]
    pyplot = _pyplot("plot_accuracy_against_size")
    axes = pyplot.subplots(figsize=(7, 4))[1] if axes is None else axes
    for name, size, accuracy in points:
        axes.plot([size / 1e3], [100 * accuracy], "o", label=name)
        axes.annotate(name, (size / 1e3, 100 * accuracy), (6, 4), textcoords="offset points")
    axes.set(xscale="log", xlabel="kB", ylabel="accuracy in %", title="Accuracy against size")
    axes.xaxis.get_major_locator().set_params(subs=(1, 2, 5))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.margins(x=0.25, y=0.2)
    axes.grid(alpha=0.3)
    return axes


def plot_weight_histograms(
    compressed: keras.Model,
    before: keras.Model | None = None,
    layers: Sequence[str] | None = None,
    *,
    bins: int = 81,
) -> Any:
    """Draw how the values of each compressed weight are distributed, before and after, on a logarithmic axis of counts.

    Args:
        compressed: the compressed model; its weights are those that the forward pass computes with.
        before: the model before compression. Default: the float weights behind the compressed ones, which training
            moves.
        layers: paths of the layers to draw. Default: all that have compressed weights.
        bins: of each histogram. Default 81; an odd number puts zero into the middle of one.

    Returns:
        The figure, with axes for each weight.

    Raises:
        ConfigError: a layer has no compressed weights, or there are none.
        CompressionError: matplotlib is missing.

    Example:
        >>> from keras_compress.create import create_compressed_model
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])
        >>> _, compressed = create_compressed_model(model, {"compression": {"algorithm": "magnitude_sparsity"}})
        >>> plot_weight_histograms(compressed).axes[0].get_title()
        'dense: kernel'
    """
    require_graph(compressed)
    if before is not None:
        require_graph(before)
    layers = None if layers is None else checked_names("layers", layers)
    if layers == []:
        raise wrong("layers", "paths of layers", layers)
    bins = whole_number("bins", bins, 1, MOST_BINS)
    pyplot = _pyplot("plot_weight_histograms")
    weights = _weights_before_and_after(compressed, before)
    chosen = _of_layers(weights, layers)
    columns = min(PANELS_IN_A_ROW, len(chosen))
    rows = -(-len(chosen) // columns)
    figure, grid = pyplot.subplots(rows, columns, figsize=(2.6 * columns, 2.0 * rows + 0.3), squeeze=False)
    for axes, (layer, weight) in zip(grid.flat, chosen, strict=False):
        first, second = weights[layer, weight]
        limit = max(float(np.abs(first).max()), float(np.abs(second).max())) or 1.0
        axes.hist(first.reshape(-1), bins, range=(-limit, limit), color="0.75", log=True, label="before")
        axes.hist(second.reshape(-1), bins, range=(-limit, limit), histtype="step", color="C0", log=True, label="after")
        axes.set_title(f"{layer}: {weight}", fontsize="small")
        axes.tick_params(labelsize="x-small", which="both")
    for axes in grid.flat[len(chosen) :]:
        axes.remove()
    grid.flat[0].legend(fontsize="x-small")
    figure.tight_layout()
    return figure


def _require_axes(axes: Any) -> None:
    if axes is not None and not (hasattr(axes, "plot") and hasattr(axes, "figure")):
        raise wrong("axes", "axes of matplotlib", axes, "Pass what pyplot.subplots() returned second, or leave it out.")


def _point(name: str, pair: Any) -> tuple[float, float]:
    """Return the size and the accuracy of a model."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise wrong("models", "pairs (bytes, accuracy) by name", {name: pair})
    return number(f"models['{name}'][0]", pair[0], 0), number(f"models['{name}'][1]", pair[1])


def _by_end_of_epoch(history: keras.callbacks.History, key: str) -> dict[int, float]:
    """Return the values that ``fit`` logged under a name, by the number of epochs that were over then."""
    return {epoch + 1: value for epoch, value in zip(history.epoch, history.history.get(key, []), strict=False)}


def _weights_before_and_after(
    compressed: keras.Model, before: keras.Model | None
) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """Return the float and the compressed values of every compressed weight, by layer and weight."""
    originals = {} if before is None else dict(leaf_layers(before))
    found = {}
    for path, layer in leaf_layers(compressed):
        if isinstance(layer, CompressedLayer):
            for weight in dict.fromkeys(layer.weight_paths):
                owner, attribute = weight_owner(originals.get(path, layer.layer), weight)
                found[path, weight] = getattr(owner, attribute).numpy(), layer.compressed_weight(weight).numpy()
    return found


def _of_layers(weights: Mapping[tuple[str, str], Any], layers: Sequence[str] | None) -> list[tuple[str, str]]:
    known = list(dict.fromkeys(layer for layer, _ in weights))
    unknown = [layer for layer in layers or () if layer not in known]
    if not known or unknown:
        expected = (
            f"one of {close_matches(unknown[0], known) or known[:3]}" if known and unknown else "a compressed model"
        )
        raise ConfigError(
            f"There are no compressed weights to draw. Expected: {expected}. Received: "
            f"{f'layers={unknown}' if known else 'a model without compressed weights'}."
        )
    return [key for key in weights if layers is None or key[0] in layers]


def _pyplot(who: str) -> Any:
    try:
        from matplotlib import pyplot
    except ImportError:
        raise CompressionError(f"{who} needs matplotlib: pip install 'keras_compress[plots]'") from None
    return pyplot
