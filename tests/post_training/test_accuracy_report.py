"""AccuracyReport: prints and saves every layer and every evaluation."""

import json
import math

import pytest

from keras_compress.post_training import AccuracyReport, ControlledLayer, Evaluation

REPORT = AccuracyReport(
    met=True,
    reason="it is met with 1 of 3 layers in floating point.",
    max_drop=0.01,
    original=0.75,
    quantized=0.5,
    final=0.745,
    drop=0.005,
    layers=(
        ControlledLayer("bad", True, 8, 0.1, 300),
        ControlledLayer("good", False, 4, 1e-4, 350),
        ControlledLayer("exact", False, 8, 0.0, 0),
    ),
    evaluations=(
        Evaluation(None, 0.75, 0.0, 1.5),
        Evaluation((), 0.5, 0.25, 1.0),
        Evaluation(("bad",), 0.745, 0.005, 0.0),
    ),
)
UNMEASURED = AccuracyReport(
    False,
    "the budget is used up.",
    0.01,
    math.nan,
    math.nan,
    math.nan,
    math.inf,
    (ControlledLayer("bad", True, 8, math.nan, 300),),
    (),
)


def refuse(name):
    raise ValueError(name)


def test_it_prints_the_outcome_and_every_layer():
    printed = str(REPORT)
    assert printed.startswith("Accuracy target met: it is met with 1 of 3 layers in floating point.\n")
    assert "original 0.75, all quantized 0.5, result 0.745; drop 0.005, allowed 0.01; 1 of 3 layers" in printed
    assert "after 3 evaluations" in printed
    table = [line.split() for line in printed.split("\n\n")[2].splitlines()[2:]]
    assert table == [
        ["bad", "float", "10.0", "dB", "300"],
        ["good", "4", "bits", "40.0", "dB", "350"],
        ["exact", "8", "bits", "no", "error", "0"],
    ]


def test_it_prints_what_was_not_measured():
    assert "Accuracy target not met: the budget is used up." in str(UNMEASURED)
    assert "not measured" in str(UNMEASURED)


def test_layers_in_floating_point_are_listed():
    assert REPORT.float_layers == ("bad",)


@pytest.mark.parametrize("report", [REPORT, UNMEASURED], ids=["measured", "unmeasured"])
def test_it_is_saved_as_json_that_every_reader_takes(report, tmp_path):
    path = report.save(tmp_path / "new" / "report.json")
    read = json.loads(path.read_text(), parse_constant=refuse)
    assert read == report.to_dict()
    assert [layer["layer"] for layer in read["layers"]] == [row.layer for row in report.layers]


def test_saved_numbers_are_those_of_the_report(tmp_path):
    read = json.loads(REPORT.save(tmp_path / "report.json").read_text())
    assert (read["met"], read["original"], read["drop"]) == (True, 0.75, 0.005)
    assert read["layers"][1] == {"layer": "good", "in_float": False, "bits": 4, "cost": 1e-4, "saved_bytes": 350}
    assert [row["float_layers"] for row in read["evaluations"]] == [None, [], ["bad"]]
    assert UNMEASURED.to_dict()["layers"][0]["cost"] is None
    assert UNMEASURED.to_dict()["drop"] is None
