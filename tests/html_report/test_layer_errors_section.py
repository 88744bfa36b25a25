"""Errors by layer: a bar for each of the worst layers, as they arrive and by themselves; all have a row."""

from pathlib import Path

import numpy as np
import pytest

import keras_compress as kc
from keras_compress import ConfigError
from keras_compress.export.layer_departure import LayerComparison, LayerDeparture
from keras_compress.html_report.layer_errors_section import ARRIVING, OWN, layer_errors_section
from tests import zoo


def comparison(rows, **more):
    return LayerComparison(Path("model.xml"), 16, len(rows), tuple(rows), (), 20.0, **more)


def row(layer, steps, *fed):
    return LayerDeparture(layer, f"{layer}:0", 40.0, steps, 0.0, (0.0, 1.0), (0.0, 1.0), *fed)


def test_both_errors_are_drawn_and_all_layers_have_a_row():
    found = comparison([row(f"layer{at}", at / 100, at / 1000, 1.0) for at in range(30)], fed=True)
    section = layer_errors_section([found])
    assert [figure.title for figure in section.figures] == [f"model.xml: {ARRIVING}", f"model.xml: {OWN}"]
    for figure in section.figures:
        assert figure.chart.count('class="empty"') == 20
        assert ">layer29<" in figure.chart
        assert ">layer9<" not in figure.chart
        assert figure.chart.index(">layer10<") < figure.chart.index(">layer29<")  # in the order of the model
        assert figure.note == "The 20 largest of 30 layers."
    table = section.more["Layers in model.xml"]
    assert len(table.rows) == 30
    assert [cell.words for cell in table.rows[29]] == ["layer29", "40.0 dB", "0.290", "0.029", "1.000"]


def test_without_fed_layers_there_is_one_picture_and_no_number():
    section = layer_errors_section([comparison([row("dense", 0.1)])])
    assert len(section.figures) == 1
    assert [cell.words for cell in section.more["Layers in model.xml"].rows[0]][-2:] == ["", ""]


def test_what_was_read_in_another_way_and_what_departs_is_said():
    wrong = LayerDeparture("dense", "t", 3.0, 9.0, 0.0, (0.0, 1.0), (0.0, 1.0))
    words = " ".join(layer_errors_section([comparison([wrong], cut=("t",))]).words)
    assert "layer 'dense' departs first" in words
    assert "model.xml: read from files that end there: t." in words


def test_the_report_takes_what_compare_returns(tmp_path):
    model = zoo.dense()
    data = zoo.samples(model, 32)
    compressed = kc.quantize(model, data)
    kc.export_model(compressed, tmp_path / "model.onnx", data=data)
    found = kc.compare(compressed, tmp_path / "model.onnx", data, fed=True)
    page = kc.report(compressed, tmp_path / "report.html", comparisons=found).read_text(encoding="utf-8")
    assert "<h2>Errors by layer</h2>" in page
    assert OWN in page
    assert "hidden" in page
    assert np.isfinite([one.fed_steps for one in found.rows if one.fed_steps is not None]).all()
    with pytest.raises(ConfigError, match="Wrong value for 'comparisons'"):
        kc.report(compressed, tmp_path / "report.html", comparisons=["model.onnx"])
