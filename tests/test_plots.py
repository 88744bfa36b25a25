"""The plots show the numbers they are given: curves of schedules, bars of layers and files, points, histograms of weights."""

import sys

import matplotlib
import numpy as np
import pytest

from keras_compress import (
    CompressionConfig,
    CompressionError,
    ConfigError,
    create_compressed_model,
    create_compression_callbacks,
    plot_accuracy_against_size,
    plot_latency,
    plot_schedule,
    plot_weight_histograms,
)
from keras_compress.export.latency import LatencyReport, LatencyRow
from keras_compress.graph.variables import leaf_layers
from keras_compress.plots import plot_sensitivity
from tests import zoo


@pytest.fixture(autouse=True)
def pyplot():
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def config(algorithm="magnitude_sparsity", init=0.0, **params):
    return {"algorithm": algorithm, "sparsity_init": init, "params": params}


def test_the_line_is_the_schedule():
    values = config(init=0.1, sparsity_target=0.7, sparsity_target_epoch=10, power=3.0)
    axes = plot_schedule({"compression": values}, epochs=15)
    (line,) = axes.get_lines()
    epochs, levels = line.get_data()
    assert (epochs[0], epochs[-1]) == (0, 15)
    share = np.minimum(np.floor(epochs + 1e-9) / 10, 1.0)
    np.testing.assert_allclose(levels, 0.7 - 0.6 * (1 - share) ** 3, atol=1e-9)
    assert line.get_label() == "magnitude_sparsity"


def test_a_level_that_follows_the_steps_is_smooth():
    values = config(sparsity_target=0.8, sparsity_target_epoch=4, power=1.0, update_per_optimizer_step=True)
    (line,) = plot_schedule({"compression": values}).get_lines()
    epochs, levels = line.get_data()
    np.testing.assert_allclose(levels, 0.8 * np.minimum(epochs / 4, 1.0), atol=1e-9)


def test_multistep_and_adaptive_are_stairs():
    multistep = config(schedule="multistep", multistep_steps=[2, 5], multistep_sparsity_levels=[0.1, 0.2, 0.6])
    (line,) = plot_schedule({"compression": {k: multistep[k] for k in ("algorithm", "params")}}, epochs=8).get_lines()
    epochs, levels = (np.asarray(values) for values in line.get_data())
    inside = np.abs(epochs - np.rint(epochs)) > 1e-6
    expected = np.select([epochs < 2, epochs < 5], [0.1, 0.2], 0.6)
    np.testing.assert_allclose(levels[inside], expected[inside])
    adaptive = config("rb_sparsity", schedule="adaptive", sparsity_target=0.3, patience=2)
    (line,) = plot_schedule({"compression": adaptive}, epochs=20).get_lines()
    epochs, levels = (np.asarray(values) for values in line.get_data())
    inside = np.abs(epochs - np.rint(epochs)) > 1e-6
    np.testing.assert_allclose(levels[inside], np.minimum(0.05 * (np.floor(epochs) // 2), 0.3)[inside], atol=1e-9)


@pytest.mark.parametrize(("target_epoch", "end"), [(10, 12), (100, 111), (0, 2)])
def test_by_default_it_goes_a_tenth_beyond_the_end(target_epoch, end):
    values = config(sparsity_target_epoch=target_epoch, sparsity_freeze_epoch=200)
    (line,) = plot_schedule({"compression": values}).get_lines()
    assert line.get_xdata()[-1] == end


def test_every_algorithm_with_a_level_has_a_line_on_the_axes_given(pyplot):
    _, axes = pyplot.subplots()
    values = [config(), {"algorithm": "quantization"}, config("rb_sparsity", sparsity_target=0.9)]
    assert plot_schedule(CompressionConfig.from_dict({"compression": values}), axes=axes) is axes
    assert [line.get_label() for line in axes.get_lines()] == ["magnitude_sparsity", "rb_sparsity"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["magnitude_sparsity", "rb_sparsity"]
    assert axes.get_xlabel() == "epoch"


def test_the_figure_can_be_written(tmp_path):
    path = tmp_path / "schedule.png"
    plot_schedule({"compression": config()}).figure.savefig(path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["quantization", "const_sparsity"])
def test_without_a_level_there_is_nothing_to_draw(name, pyplot):
    with pytest.raises(ConfigError, match=rf"Nothing to draw.*'magnitude_sparsity'.*Received: \['{name}'\]"):
        plot_schedule({"compression": {"algorithm": name}})
    assert pyplot.get_fignums() == []


def test_without_matplotlib_the_way_out_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(CompressionError, match=r"pip install .keras_compress\[plots\]"):
        plot_schedule({"compression": config()})


def test_every_layer_has_a_bar_as_long_as_its_ratio_the_first_on_top():
    axes = plot_sensitivity(["worst", "middle", "best"], [3.5, -2.0, 40.25], "Title")
    bars = sorted(axes.patches, key=lambda bar: bar.get_y())
    assert [bar.get_width() for bar in bars] == [3.5, -2.0, 40.25]
    positions = [bar.get_y() + bar.get_height() / 2 for bar in bars]
    np.testing.assert_allclose(axes.get_yticks(), positions)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["worst", "middle", "best"]
    bottom, top = axes.get_ylim()
    assert bottom > top
    assert axes.get_title() == "Title"
    assert "dB" in axes.get_xlabel()


def test_a_layer_without_error_has_no_bar():
    axes = plot_sensitivity(["exact", "other"], [np.inf, 7.0], "Title")
    assert [bar.get_width() for bar in axes.patches] == [0.0, 7.0]


def test_many_layers_make_a_higher_picture():
    heights = [plot_sensitivity([str(i) for i in range(n)], [1.0] * n, "").figure.get_figheight() for n in (0, 4, 40)]
    assert heights[0] < heights[1] < heights[2]


def test_the_bars_are_written_into_a_folder_that_is_made(tmp_path):
    path = tmp_path / "new" / "bars.png"
    plot_sensitivity(["a"], [1.0], "Title", path)
    assert path.read_bytes().startswith(b"\x89PNG")
    plot_sensitivity(["a"], [1.0], "Title", str(path.with_suffix(".svg")))
    assert b"<svg" in path.with_suffix(".svg").read_bytes()


def test_bars_without_matplotlib_name_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(CompressionError, match=r"bar chart.*pip install .keras_compress\[plots\]"):
        plot_sensitivity(["a"], [1.0], "Title", tmp_path / "new" / "bars.png")
    assert not (tmp_path / "new").exists()


@pytest.mark.filterwarnings("ignore:Compression is complete:UserWarning")
def test_the_levels_that_fit_counted_are_dots_at_the_ends_of_the_epochs():
    model = zoo.convolution()
    values = config(sparsity_target=0.6, sparsity_target_epoch=4, power=1.0)
    controller, compressed = create_compressed_model(model, {"compression": values})
    compressed.compile("sgd", "mse")
    callbacks = create_compression_callbacks(controller)
    samples = zoo.samples(model), np.ones((8, 3), np.float32)
    history = compressed.fit(*samples, epochs=5, initial_epoch=2, callbacks=callbacks, verbose=0)
    planned, counted = plot_schedule(controller.config, epochs=5, history=history).get_lines()
    np.testing.assert_array_equal(counted.get_xdata(), [3, 4, 5])
    sizes = sum(kept.size for _, _, kept in zoo.masked_weights(compressed).values())
    np.testing.assert_allclose(counted.get_ydata(), [0.3, 0.45, 0.6], atol=1 / sizes)
    assert counted.get_ydata()[-1] == zoo.zeros(compressed) / sizes
    assert counted.get_color() == planned.get_color()
    assert counted.get_label() == "magnitude_sparsity, counted"


def test_a_history_without_levels_adds_nothing():
    history = zoo.keras.callbacks.History()
    history.epoch, history.history = [0], {"loss": [1.0]}
    assert len(plot_schedule({"compression": config()}, history=history).get_lines()) == 1


def latency_report():
    rows = [
        LatencyRow("small.xml", "openvino", 0.5, 0.4, 0.9, 4.0, 10),
        LatencyRow("other.onnx", "onnx", 1.5, 1.25, 1.75, None, 20),
        LatencyRow("float model (openvino)", "openvino", 2.0, 1.0, 3.0, 1.0, 40),
    ]
    return LatencyReport(tuple(rows), 50, 8)


def test_every_file_has_a_bar_as_long_as_its_median_and_a_line_for_the_spread():
    axes = plot_latency(latency_report())
    bars = sorted(axes.patches, key=lambda bar: bar.get_y())
    assert [bar.get_width() for bar in bars] == [0.5, 1.5, 2.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "small.xml",
        "other.onnx",
        "float model (openvino)",
    ]
    assert [text.get_text() for text in axes.texts] == ["0.5 ms, 4.00 times faster", "1.5 ms", "2 ms"]
    (spread,) = next(container.lines[2] for container in axes.containers if hasattr(container, "lines"))
    np.testing.assert_allclose([line[:, 0] for line in spread.get_segments()], [[0.4, 0.9], [1.25, 1.75], [1, 3]])
    assert "8 samples" in axes.get_xlabel()
    assert "50 runs" in axes.get_xlabel()
    bottom, top = axes.get_ylim()
    assert bottom > top


def test_every_model_has_a_named_point_at_its_size_and_accuracy(pyplot):
    _, axes = pyplot.subplots()
    assert plot_accuracy_against_size({"float": (4000, 0.95), "int8": (1000, 0.945)}, axes) is axes
    assert [(*line.get_xdata(), *line.get_ydata()) for line in axes.get_lines()] == [(4.0, 95.0), (1.0, 94.5)]
    assert [text.get_text() for text in axes.texts] == ["float", "int8"]
    axes.figure.canvas.draw()
    assert axes.get_xscale() == "log"
    assert {"1", "2", "5"} <= {label.get_text() for label in axes.get_xticklabels()}
    assert {label.get_text() for label in axes.get_xticklabels(minor=True)} <= {""}


def counted_values(patches):
    """Return the values a histogram drawn as bars holds: middles of its bars, each as often as it is high."""
    return {bar.get_x() + bar.get_width() / 2: bar.get_height() for bar in patches if bar.get_height()}


def test_every_compressed_weight_has_a_histogram_before_and_after():
    model = zoo.residual()
    _, compressed = create_compressed_model(model, {"compression": config(init=0.5, sparsity_target=0.5)})
    figure = plot_weight_histograms(compressed, model, bins=21)
    assert [axes.get_title() for axes in figure.axes] == ["stem: kernel", "body: kernel", "out: kernel"]
    for axes in figure.axes:
        layer = axes.get_title().split(":")[0]
        before = model.get_layer(layer).kernel.numpy().reshape(-1)
        after = dict(leaf_layers(compressed))[layer].compressed_weight("kernel").numpy().reshape(-1)
        limit = np.abs(before).max()
        first, second = axes.containers[0].patches, axes.patches[-1]
        expected = np.histogram(before, 21, (-limit, limit))[0]
        np.testing.assert_array_equal([bar.get_height() for bar in first], expected)
        heights = second.get_xy()[1::2, 1]
        np.testing.assert_array_equal(heights[:21], np.histogram(after, 21, (-limit, limit))[0])
        assert heights[10] >= np.sum(after == 0) > np.sum(before == 0)


def test_without_a_model_before_the_float_weights_behind_the_compressed_ones_are_drawn():
    model = zoo.convolution()
    _, compressed = create_compressed_model(model, {"compression": config(init=0.9, sparsity_target=0.9)})
    compressed.get_layer("conv").kernel.assign_add(0.5 * np.ones(compressed.get_layer("conv").kernel.shape))
    (axes,) = plot_weight_histograms(compressed, layers=["conv"]).axes
    moved = compressed.get_layer("conv").kernel.numpy()
    drawn = counted_values(axes.containers[0].patches)
    np.testing.assert_allclose(max(drawn), moved.max(), atol=2 * np.abs(moved).max() / 81)
    assert sum(drawn.values()) == moved.size


def test_many_weights_make_several_rows():
    _, compressed = zoo.compress(zoo.residual())
    figure = plot_weight_histograms(compressed)
    more = plot_weight_histograms(zoo.compress(zoo.nested())[1], layers=["backbone/conv"])
    assert len(figure.axes) == 3
    assert [axes.get_title() for axes in more.axes] == ["backbone/conv: kernel"]


def test_histograms_of_what_is_not_compressed_are_refused():
    _, compressed = zoo.compress(zoo.residual())
    with pytest.raises(ConfigError, match=r"one of \['stem'\].*Received: layers=\['stam'\]"):
        plot_weight_histograms(compressed, layers=["stam"])
    with pytest.raises(ConfigError, match=r"Expected: a compressed model.*without compressed weights"):
        plot_weight_histograms(zoo.residual())


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("plot_latency", lambda: plot_latency(latency_report())),
        ("plot_accuracy_against_size", lambda: plot_accuracy_against_size({"float": (1, 1.0)})),
        ("plot_weight_histograms", lambda: plot_weight_histograms(zoo.compress(zoo.convolution())[1])),
    ],
)
def test_every_plot_without_matplotlib_names_the_way_out(monkeypatch, name, draw):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(CompressionError, match=rf"{name} needs matplotlib: pip install .keras_compress\[plots\]"):
        draw()
