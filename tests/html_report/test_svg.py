"""Axes: round numbers, and values at their places."""

import numpy as np
import pytest

from keras_compress.html_report.svg import Axis, add, add_axes, markup, picture, text, ticks


@pytest.mark.parametrize("seed", range(20))
def test_ticks_are_round_even_and_inside(seed):
    generator = np.random.default_rng(seed)
    low = float(generator.normal() * 10 ** generator.uniform(-6, 6))
    high = low + float(10 ** generator.uniform(-6, 6))
    found = ticks(low, high)
    assert 2 <= len(found) <= 6
    width = high - low
    assert low - 1e-6 * width <= found[0] <= found[-1] <= high + 1e-6 * width
    step = found[1] - found[0]
    np.testing.assert_allclose(np.diff(found), step, rtol=1e-3)
    assert float(f"{step:.0e}"[0]) in (1, 2, 5)


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-3, 3, [-2, 0, 2]), (1, 8, [2, 4, 6, 8])]
)
def test_ticks_by_hand(low, high, expected):
    assert ticks(low, high) == expected


def test_an_axis_may_go_up():
    axis = Axis(10.0, 20.0, 100, 50)
    assert [axis.at(value) for value in (10, 15, 20)] == [100, 75, 50]


def test_a_picture_is_escaped_and_described():
    chart = picture(50, 'a "<b>"')
    text(chart, 1, 2, "<i>&", "small", "end")
    add(chart, "line", x1=0, stroke_width=3, class_="grid")
    written = markup(chart)
    assert 'viewBox="0 0 340 50"' in written
    assert 'aria-label="a &quot;&lt;b&gt;&quot;"' in written
    assert "&lt;i&gt;&amp;" in written
    assert '<line x1="0" stroke-width="3" class="grid" />' in written
    assert written.__html__() == written


def test_axes_have_lines_numbers_and_labels():
    chart = picture(100, "")
    add_axes(chart, Axis(0, 10, 40, 340, "epoch"), Axis(0, 1, 80, 20, "loss"), [0, 5, 10], [0.5])
    found = {element.text: (float(element.get("x")), float(element.get("y"))) for element in chart.iter("text")}
    assert set(found) == {"0", "5", "10", "0.5", "epoch", "loss"}
    assert found["5"][0] == 190
    (grid,) = [line for line in chart.iter("line") if line.get("class") == "grid"]
    assert (grid.get("y1"), grid.get("x1"), grid.get("x2")) == ("50.0", "40", "340")
