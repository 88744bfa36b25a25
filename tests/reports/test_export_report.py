"""An export report says in numbers, in JSON and in a table what a file holds."""

import json
import os
from pathlib import Path

import pytest

from keras_compress.reports import Comparison, ExportReport, WeightAudit

GOOD = WeightAudit("stem", "kernel", 100, 8, "int8", 100, 31, 0.25, True, True, "")
FLOAT = WeightAudit("head", "cell.kernel", 50, 4, "float32", 200, 15, 0.0, False, False, "its input is wrong")
MISSING = WeightAudit("lost", "kernel", 10, 8, "", 0, 0, 0.0, None, None, "not in the file")
COMPARED = Comparison(64, 0.0123, 1.5, 41.26, 0.984375)


def report(*weights, comparison=None, size=1500, float_size=6000):
    return ExportReport(Path("folder") / "model.onnx", "onnx", size, float_size, weights, comparison)


def strict(text):
    """Read JSON as other languages do, which know no infinity."""

    def refuse(name):
        raise ValueError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_problems_are_the_weights_that_have_one():
    assert report(GOOD, FLOAT, MISSING).problems == [FLOAT, MISSING]
    assert report(GOOD).problems == []
    assert report().problems == []


def test_the_ratio_of_the_sizes():
    assert report().size_ratio == 0.25
    assert report(float_size=0).size_ratio == 1500


def test_it_stands_for_its_path(tmp_path):
    found = ExportReport(tmp_path / "model.pb", "frozen_graph", 3, 3, ())
    found.path.write_bytes(b"abc")
    assert os.fspath(found) == str(tmp_path / "model.pb")
    assert Path(found) == tmp_path / "model.pb"
    assert os.path.getsize(found) == 3
    with open(found, "rb") as file:
        assert file.read() == b"abc"


def test_it_is_a_dict_of_plain_values():
    values = report(GOOD, FLOAT, comparison=COMPARED).to_dict()
    assert values["path"] == os.path.join("folder", "model.onnx")
    assert (values["save_format"], values["size"], values["float_size"], values["size_ratio"]) == (
        "onnx",
        1500,
        6000,
        0.25,
    )
    assert values["weights"][0]["layer"] == "stem"
    assert values["weights"][1]["problem"] == "its input is wrong"
    assert values["comparison"] == {
        "samples": 64,
        "relative_error": 0.0123,
        "steps": 1.5,
        "sqnr": 41.26,
        "same_top1": 0.984375,
        "source": "data",
        "flips": 0,
        "decided": 0,
        "problem": "",
        "note": "",
        "default_precision": "",
        "default_sqnr": None,
    }
    assert strict(json.dumps(values))["weights"][0] == values["weights"][0]


def test_without_samples_there_is_no_comparison():
    assert report(GOOD).to_dict()["comparison"] is None


@pytest.mark.parametrize("as_text", [True, False])
def test_it_is_written_to_a_file_in_a_new_folder(as_text, tmp_path):
    path = tmp_path / "a" / "b" / "report.json"
    found = report(GOOD, comparison=COMPARED).save(str(path) if as_text else path)
    assert found == path
    values = strict(path.read_text())
    assert values["size"] == 1500
    assert values["weights"][0]["levels"] == 31


def test_equal_outputs_are_written_as_json_too(tmp_path):
    equal = Comparison(8, 0.0, 0.0, float("inf"), 1.0)
    values = strict(report(GOOD, comparison=equal).save(tmp_path / "report.json").read_text())
    assert values["comparison"]["samples"] == 8


def test_printed_without_weights_it_is_one_line():
    assert str(report()) == f"{Path('folder') / 'model.onnx'} (onnx): 1,500 bytes, 0.250 of the float weights"


def test_printed_it_has_a_line_per_weight():
    first, _, header, rule, good, bad, missing = str(report(GOOD, FLOAT, MISSING)).splitlines()
    assert first.startswith(str(Path("folder") / "model.onnx"))
    assert header.split("  ")[0] == "layer"
    assert header.endswith("problem")
    assert set(rule) == {"-", " "}
    assert good.split() == ["stem", "kernel", "8", "int8", "100", "31", "25.0%", "yes", "integers"]
    assert bad.split(maxsplit=9)[:9] == ["head", "cell.kernel", "4", "float32", "200", "15", "0.0%", "no", "float"]
    assert bad.endswith("its input is wrong")
    assert missing.split(maxsplit=7) == ["lost", "kernel", "8", "missing", "0", "0", "0.0%", "not in the file"]


def test_printed_with_a_comparison_it_ends_in_one():
    *_, empty, last = str(report(GOOD, comparison=COMPARED)).splitlines()
    assert empty == ""
    assert "64 samples" in last
    assert "41.3 dB" in last
    assert "1.50 steps" in last
    assert "98.44%" in last


def test_outputs_of_one_number_are_printed_without_top1():
    *_, last = str(report(comparison=Comparison(3, 0.0, 0.0, 50.0, None))).splitlines()
    assert "3 samples" in last
    assert "top-1" not in last
