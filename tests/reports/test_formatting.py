"""Tables, decibels and JSON files are written as they are said to be."""

import json
import math

import pytest

from keras_compress.export.latency import LatencyReport, LatencyRow
from keras_compress.numerics import decibels
from keras_compress.post_training import AccuracyReport, SensitivityReport
from keras_compress.reports import ExportReport
from keras_compress.reports.formatting import JsonReport, decibels_text, format_table, json_values


def test_columns_are_as_wide_as_they_need_to_be():
    lines = format_table(["name", "n"], [["a", 5], ["longer", 1234]]).splitlines()
    assert lines == ["name       n", "------  ----", "a          5", "longer  1234"]


@pytest.mark.parametrize("rows", [[], [["x", "y"]]])
def test_text_is_aligned_to_the_left_and_lines_end_clean(rows):
    lines = format_table(["first", "second"], rows).splitlines()
    assert lines[0] == "first  second"
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize(("error", "ratio"), [(1.0, 0.0), (0.1, 10.0), (1e-6, 60.0), (100.0, -20.0)])
def test_ten_decibels_are_a_tenth_of_the_power(error, ratio):
    assert decibels(error) == pytest.approx(ratio)


def test_no_error_is_infinite_and_no_measurement_stays_none():
    assert decibels(0.0) == math.inf
    assert math.isnan(decibels(math.nan))


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(12.34, "12.3 dB"), (-3.0, "-3.0 dB"), (math.inf, "no error"), (math.nan, "not measured"), (None, "")],
)
def test_text(ratio, text):
    assert decibels_text(ratio) == text


def refuse(name):
    raise ValueError(name)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_that_json_does_not_know_are_none_however_deep_they_lie(number):
    values = {"a": number, "b": ({"c": [number, 1.5]}, number), "d": "inf", "e": 3, "f": None, "g": True}
    found = json_values(values)
    assert found == {"a": None, "b": [{"c": [None, 1.5]}, None], "d": "inf", "e": 3, "f": None, "g": True}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("kind", [AccuracyReport, ExportReport, LatencyReport, SensitivityReport])
def test_all_reports_are_saved_in_the_same_way(kind):
    assert issubclass(kind, JsonReport)
    assert kind is SensitivityReport or kind.save is JsonReport.save


@pytest.mark.parametrize("as_text", [True, False])
def test_latencies_come_back_from_their_file(as_text, tmp_path):
    row = LatencyRow("model.onnx", "onnx", 1.5, 1.25, math.nan, None, 1000)
    path = tmp_path / "new" / "latency.json"
    report = LatencyReport((row,), rounds=7, batch_size=2)
    assert report.save(str(path) if as_text else path) == path
    read = json.loads(path.read_text(), parse_constant=refuse)
    assert read == report.to_dict()
    assert read == {
        "rows": [
            {
                "name": "model.onnx",
                "save_format": "onnx",
                "median": 1.5,
                "low": 1.25,
                "high": None,
                "times_faster": None,
                "size": 1000,
            }
        ],
        "rounds": 7,
        "batch_size": 2,
    }
