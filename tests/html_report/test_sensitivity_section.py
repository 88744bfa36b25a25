"""The damage by layer: the worst have bars, all have a row."""

import math

import pytest

from keras_compress.html_report.sensitivity_section import sensitivity_section
from keras_compress.post_training import SensitivityReport
from keras_compress.post_training.sensitivity_report import LayerSensitivity


def test_the_worst_layers_have_bars_and_all_have_a_row():
    rows = tuple(LayerSensitivity(f"layer{i}", 8, 1, 10.0, 10.0, 10.0, 1 / 30) for i in range(30))
    section = sensitivity_section(SensitivityReport(rows, 8.0, 4))
    assert len(section.table.rows) == 30
    chart = section.figures[0].chart
    assert chart.count('class="empty"') == 20
    assert ">layer19<" in chart
    assert ">layer20<" not in chart
    assert section.figures[0].note == "The 20 worst of 30 layers."


def test_without_measured_damage_errors_of_layers_are_drawn():
    rows = (
        LayerSensitivity("bad", 4, 9, 0.0),
        LayerSensitivity("fair", 8, 9, 20.0),
        LayerSensitivity("exact", 8, 9, math.inf),
    )
    section = sensitivity_section(SensitivityReport(rows, math.inf, 4))
    assert section.figures[0].title == "Error at the output of each layer, over its signal"
    widths = [float(part.split('"')[0]) for part in section.figures[0].chart.split('" width="')[1:]]
    assert widths[1::2] == pytest.approx([340, 34, 0])
    assert section.table.rows[0][4].words == ""  # not measured
    assert section.words[0].startswith("Outputs of the quantized model: no error")


def test_a_model_with_nothing_quantized_has_no_bars():
    section = sensitivity_section(SensitivityReport((), math.inf, 8))
    assert section.figures == ()
    assert section.table is None
