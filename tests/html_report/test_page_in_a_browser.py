"""The report in a real browser, headless: no message on the console, no request, nothing wider than a phone."""

import pytest

import keras_compress as kc
from benchmarks.headless_browser import visit
from keras_compress._keras import keras
from keras_compress.export.latency import LatencyReport, LatencyRow
from tests import zoo

WIDTHS = "[innerWidth, document.documentElement.scrollWidth, document.body.scrollWidth]"
OVERFLOWING = (
    "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 0.5).length"
)
HIDDEN_TEXT = (
    "[...document.querySelectorAll('svg text')].filter(e => !e.getBoundingClientRect().width).map(e => e.textContent)"
)
OVERLAPPING = """[...document.querySelectorAll('svg')].flatMap(svg => {
  const texts = [...svg.querySelectorAll('text')].map(e => [e.textContent, e.getBoundingClientRect()]);
  return texts.flatMap(([one, a], i) => texts.slice(i + 1).filter(([_, b]) =>
    a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom).map(([other]) => [one, other]));
})"""
COLOURS = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
HEIGHTS = "[...document.querySelectorAll('svg')].map(e => e.getBoundingClientRect().height)"
OPENED = "(document.querySelectorAll('details').forEach(e => { e.open = true; }), 1)"
NAMES = "[...document.querySelectorAll('#weights tbody tr')].map(e => Number(e.cells[1].dataset.order))"
SORTED = (
    "(document.querySelectorAll('#weights th button')[1].click(), document.querySelectorAll('#weights th')[1].ariaSort)"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report with everything, and with names as long as they come."""
    folder = tmp_path_factory.mktemp("browser")
    name = "a_very_long_name_of_a_layer_without_any_place_to_break_it_that_is_wider_than_a_phone"
    layers = [keras.layers.Conv2D(4, 3, name=name), keras.layers.Flatten(), keras.layers.Dense(3, name="out")]
    model = keras.Sequential([keras.Input((6, 6, 1)), *layers], name=f"model_with_{name}")
    controller, compressed = zoo.compress(model, "quantization")
    data = zoo.samples(model, 8)
    long = "a_file_with_a_name_that_is_far_too_long_for_any_telephone_on_earth.onnx"
    row = LatencyRow(long, "onnx", 1.0, 0.5, 2.0, 3.0, 100)
    return controller.report(
        folder / "report.html",
        data=data,
        exports=controller.export_model(folder / long, data=data),
        history={"loss": [2.0, 1.0], "val_loss": [2.5, 1.5]},
        sensitivity=kc.analyze(compressed, data),
        latency=LatencyReport((row,), 3, 1),
        accuracy={"float": 0.9, long: 0.8},
    )


def test_it_fits_a_phone_without_errors_and_without_requests(page):
    scripts = [WIDTHS, OPENED, WIDTHS, OVERFLOWING, HIDDEN_TEXT, OVERLAPPING, HEIGHTS, COLOURS]
    seen = visit(page, width=375, scripts=scripts)
    assert seen["loaded"]
    assert seen["console"] == []
    assert seen["requests"] == [page.as_uri()]
    folded, _, opened, overflowing, hidden, overlapping, heights, colours = seen["answers"]
    assert folded == [375, 375, 375]
    assert opened == [375, 375, 375]
    assert overflowing == 0
    assert hidden == []
    assert overlapping == []
    assert len(heights) >= 8
    assert min(heights) > 20
    assert colours == ["rgb(255, 255, 255)", "rgb(27, 31, 36)"]


def test_it_is_dark_at_night_and_tables_sort_in_a_wide_window(page):
    seen = visit(page, width=1100, dark=True, scripts=[COLOURS, WIDTHS, NAMES, SORTED, NAMES, SORTED, NAMES])
    colours, widths, before, rising, up, falling, down = seen["answers"]
    assert seen["console"] == []
    assert colours == ["rgb(20, 24, 28)", "rgb(228, 232, 236)"]
    assert widths == [1100, 1100, 1100]
    assert (rising, falling) == ("ascending", "descending")
    assert up == sorted(before)
    assert down == sorted(before, reverse=True)
    assert len(set(before)) > 1


def test_the_browser_would_tell_of_errors_requests_and_overflow(tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><body style='margin:0'><div style='width:500px'>wide</div><img src='missing.png'>"
        "<script>console.log('said'); undefinedFunction();</script>"
    )
    seen = visit(bad, width=375, scripts=[WIDTHS, OVERFLOWING])
    assert "said" in seen["console"]
    assert any("undefinedFunction" in message for message in seen["console"])
    assert (tmp_path / "missing.png").as_uri() in seen["requests"]
    assert seen["answers"][0][1] == 500
    assert seen["answers"][1] == 1
