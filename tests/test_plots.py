"""plot_schedule draws the curve that the schedule follows, plot_sensitivity a bar for every layer."""

import sys

import matplotlib
import numpy as np
import pytest

from keras_compress import CompressionConfig, CompressionError, ConfigError, plot_schedule
from keras_compress.plots import plot_sensitivity


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
    with pytest.raises(CompressionError, match="pip install matplotlib"):
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
    with pytest.raises(CompressionError, match=r"bar chart.*pip install matplotlib"):
        plot_sensitivity(["a"], [1.0], "Title", tmp_path / "new" / "bars.png")
    assert not (tmp_path / "new").exists()
