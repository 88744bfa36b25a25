"""Every report is saved as JSON that any reader takes."""

import json
import math

import pytest

from keras_compress.export.latency import LatencyReport, LatencyRow
from keras_compress.post_training import AccuracyReport, SensitivityReport
from keras_compress.reports import ExportReport
from keras_compress.reports.json_report import JsonReport, json_values


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
