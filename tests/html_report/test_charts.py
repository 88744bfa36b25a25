"""Charts: every mark where its number says."""

import math
import re
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest

from keras_compress.html_report.charts import (
    Bar,
    Line,
    Point,
    bar_chart,
    histogram_chart,
    histogram_of,
    line_chart,
    point_chart,
)


def marks(chart, kind, class_=None):
    return [mark for mark in fromstring(str(chart)).iter(kind) if class_ is None or mark.get("class") == class_]


def texts(chart):
    return [mark.text for mark in marks(chart, "text")]


def test_bars_are_as_long_as_their_values():
    bars = [Bar("a", 4.0, "4"), Bar("b", 1.0, "1", other=True), Bar("c", math.inf, "∞"), Bar("d", 0.0, "0")]
    chart = bar_chart(bars, "")
    assert [float(mark.get("width")) for mark in marks(chart, "rect", "first")] == [340, 0, 0]
    assert [float(mark.get("width")) for mark in marks(chart, "rect", "second")] == [85]
    assert texts(chart) == ["a", "4", "b", "1", "c", "∞", "d", "0"]
    tops = [float(mark.get("y")) for mark in marks(chart, "rect", "empty")]
    assert tops == sorted(set(tops))
    assert float(fromstring(str(chart)).get("viewBox").split()[3]) > tops[-1]


def test_a_spread_is_drawn_to_scale_and_the_longest_end_fits():
    chart = bar_chart([Bar("a", 5.0, "5", (2.5, 10.0))], "")
    (line,) = marks(chart, "line", "spread")
    assert (float(line.get("x1")), float(line.get("x2"))) == (85, 340)
    assert float(marks(chart, "rect", "first")[0].get("width")) == 170


def test_bars_of_nothing_have_no_length_and_long_names_keep_their_end():
    chart = bar_chart([Bar("block/" * 20 + "end", 0.0, "0")], "")
    assert float(marks(chart, "rect", "first")[0].get("width")) == 0
    assert texts(chart)[0].startswith("…")
    assert texts(chart)[0].endswith("block/end")


def test_lines_go_through_their_points():
    chart = line_chart([Line("one", [1, 2, 3], [0.0, 1.0, 2.0]), Line("two", [1, 3], [2.0, 2.0])], "epoch", "loss")
    one, two = (
        [(float(dot.get("cx")), float(dot.get("cy"))) for dot in marks(chart, "circle", kind)]
        for kind in ("first", "second")
    )
    assert one[1] == pytest.approx(np.mean([one[0], one[2]], axis=0))
    assert one[0][1] > one[2][1]  # up is less
    assert two == [(one[0][0], one[2][1]), one[2]]
    (path,) = marks(chart, "path", "line first")
    assert path.get("d") == "".join(f"{'ML'[i > 0]}{x:g} {y:g}" for i, (x, y) in enumerate(one))
    assert {"one", "two", "epoch", "loss", "1", "2", "3"} <= set(texts(chart))


def test_a_line_is_broken_where_there_is_no_number():
    chart = line_chart([Line("one", [1, 2, 3, 4], [1.0, math.nan, 2.0, math.inf])], "epoch", "loss")
    (path,) = marks(chart, "path", "line first")
    assert re.sub(r"[-\d. ]", "", path.get("d")) == "MM"
    assert len(marks(chart, "circle")) == 2


def test_one_point_and_constant_numbers_have_a_place():
    for line in (Line("one", [1], [3.0]), Line("one", [1, 2], [0.0, 0.0])):
        dots = marks(line_chart([line], "epoch", "loss"), "circle")
        assert all(40 <= float(dot.get("cx")) <= 340 and 44 <= float(dot.get("cy")) <= 160 for dot in dots)


def test_an_axis_from_zero_begins_there():
    chart = line_chart([Line("one", [0, 1], [0.4, 0.8])], "epoch", "level", from_zero=True)
    low, high = (float(dot.get("cy")) for dot in marks(chart, "circle"))
    assert (160 - low) * 2 == pytest.approx(160 - high, abs=0.2)
    assert "0" in texts(chart)


def test_many_points_have_no_dots():
    assert not marks(line_chart([Line("one", range(100), list(map(float, range(100))))], "x", "y"), "circle")


def test_histograms_are_those_of_numpy_without_the_zeros_that_were_made():
    before = np.random.default_rng(0).normal(size=(50, 40)).astype(np.float32)
    before[0, :5] = 0
    after = np.where(np.abs(before) < 0.5, 0, np.round(before, 1))
    found = histogram_of(before, after)
    kept = (after != 0) | (before == 0)
    np.testing.assert_array_equal(found.before, np.histogram(before, found.edges)[0])
    np.testing.assert_array_equal(found.after, np.histogram(after[kept], found.edges)[0])
    assert found.before.sum() == before.size
    assert found.after.sum() == kept.sum()
    assert (found.edges[0], found.edges[-1]) == (min(before.min(), after.min()), max(before.max(), after.max()))


@pytest.mark.parametrize(
    "values", [np.zeros((3, 3)), np.full((2, 2), np.nan), np.zeros((0, 3)), np.array([[1.0, np.inf]])]
)
def test_a_weight_of_one_value_has_no_histogram(values):
    assert histogram_of(values, values) is None


def test_a_histogram_has_a_bar_for_each_bin_that_is_not_empty():
    before = np.linspace(-1, 1, 1000)
    found = histogram_of(before, np.round(before))
    chart = histogram_chart(found, "values of conv")
    (bars,) = marks(chart, "path", "bars")
    pieces = re.findall(r"M([\d.]+) ([\d.]+)V([\d.]+)", bars.get("d"))
    assert len(pieces) == np.count_nonzero(found.after) == 2  # zeros that were made are not shown
    heights = [float(bottom) - float(top) for _, bottom, top in pieces]
    counts = found.after[found.after > 0]
    np.testing.assert_allclose(np.divide(heights, counts), heights[0] / counts[0], rtol=0.02)
    assert len(marks(chart, "path", "area")) == 1
    assert fromstring(str(chart)).get("aria-label") == "values of conv"


def test_points_are_numbered_and_at_their_places():
    points = [Point("a", 0.0, 1.0), Point("b", 50.0, 2.0), Point("c", 100.0, 3.0)]
    chart = point_chart(points, "kB", "accuracy")
    places = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in marks(chart, "circle")]
    np.testing.assert_allclose(places[1], np.mean([places[0], places[2]], axis=0), atol=0.2)
    assert places[0][1] > places[2][1]
    assert [mark.text for mark in marks(chart, "text", "value")] == ["1", "2", "3"]
    assert marks(point_chart([Point("a", 0.0, 0.0)], "kB", "accuracy"), "circle")
