"""benchmark runs every file as often as asked for, and its numbers are those of the runs."""

import json

import numpy as np
import pytest

import keras_compress as kc
from keras_compress.errors import ExportError
from keras_compress.export import latency
from keras_compress.export.format import Format
from keras_compress.export.latency import measure_latency
from tests import zoo

SAMPLES = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    _, model = zoo.compress(zoo.convolution())
    return [kc.export_model(model, folder / name) for name in ("model.pb", "model.onnx")]


@pytest.fixture(scope="module")
def found(reports):
    return kc.benchmark(reports, SAMPLES, float_model=zoo.convolution(), rounds=5, threads=1)


def test_there_is_a_row_per_file_and_per_float_model(found, reports):
    assert [row.name for row in found.rows] == [
        *("model.pb", "model.onnx"),
        *("float model (frozen_graph)", "float model (onnx)"),
    ]
    assert [row.save_format for row in found.rows] == ["frozen_graph", "onnx"] * 2
    assert [row.size for row in found.rows[:2]] == [report.size for report in reports]
    assert all(row.size > 0 for row in found.rows)
    assert (found.rounds, found.batch_size) == (5, 4)


def test_times_are_in_order(found):
    for row in found.rows:
        assert 0 < row.low <= row.median <= row.high


def test_ratios_are_those_of_the_medians(found):
    floats = {row.save_format: row.median for row in found.rows if row.name.startswith("float model")}
    for row in found.rows:
        assert row.times_faster == pytest.approx(floats[row.save_format] / row.median)


def test_float_models_are_once_as_fast_as_themselves(found):
    assert [row.times_faster for row in found.rows[2:]] == [1.0, 1.0]


def test_a_float_model_runs_once_in_each_format(reports):
    rows = kc.benchmark({"one": reports[1], "other": reports[1]}, SAMPLES, float_model=zoo.convolution(), rounds=1).rows
    assert [row.name for row in rows] == ["one", "other", "float model (onnx)"]


def test_without_a_float_model_there_are_no_ratios(reports):
    rows = kc.benchmark(reports, SAMPLES, rounds=1).rows
    assert [(row.name, row.times_faster) for row in rows] == [("model.pb", None), ("model.onnx", None)]


def test_a_dict_gives_names(reports):
    rows = kc.benchmark({"graph": reports[0].path, "b": str(reports[1].path)}, SAMPLES, rounds=1).rows
    assert [(row.name, row.save_format) for row in rows] == [("graph", "frozen_graph"), ("b", "onnx")]


def test_files_of_one_name_in_two_folders_are_both_measured(reports, tmp_path):
    copy = tmp_path / "model.onnx"
    copy.write_bytes(reports[1].path.read_bytes())
    assert len(kc.benchmark([reports[1], copy], SAMPLES, rounds=1).rows) == 2


def test_a_report_of_a_format_that_its_suffix_does_not_tell(tmp_path):
    report = kc.export_model(zoo.convolution(), tmp_path / "model.bin", save_format="frozen_graph")
    [row] = kc.benchmark([report], SAMPLES, rounds=1).rows
    assert (row.name, row.save_format) == ("model.bin", "frozen_graph")


@pytest.mark.parametrize("file", ["model.pb", "model", "model.keras", "model.onnx", "model.xml", "model.tflite"])
def test_files_of_every_format_run(file, tmp_path):
    report = kc.export_model(zoo.convolution(), tmp_path / file)
    [row] = kc.benchmark([report], SAMPLES, rounds=1, threads=1).rows
    assert row.median > 0
    assert row.size == report.size


@pytest.mark.parametrize("name", ["missing.onnx", "missing.pb", "missing"])
def test_a_missing_file_is_an_error(reports, name, tmp_path):
    with pytest.raises(ExportError, match=rf"{name}' does not exist.*Export the model first"):
        kc.benchmark([reports[0], tmp_path / name], SAMPLES, rounds=1)


def test_a_file_of_no_known_format_is_an_error(tmp_path):
    (tmp_path / "model.abc").write_bytes(b"")
    with pytest.raises(ExportError, match=r"Unknown export format.*'model\.abc'"):
        kc.benchmark([tmp_path / "model.abc"], SAMPLES, rounds=1)


@pytest.mark.parametrize("kind", ["list", "tuple", "dict"])
@pytest.mark.parametrize("file", ["model.pb", "model.onnx"])
def test_several_inputs(kind, file, tmp_path):
    model = zoo.shared_layer()
    first, second = (np.random.default_rng(i).normal(size=(3, 4)).astype(np.float32) for i in range(2))
    data = {"list": [first, second], "tuple": (first, second), "dict": {"first": first, "second": second}}[kind]
    found = kc.benchmark([kc.export_model(model, tmp_path / file)], data, rounds=1)
    assert found.batch_size == 3
    assert found.rows[0].median > 0


def test_a_report_is_jsonable(found):
    values = json.loads(json.dumps(found.to_dict()))
    assert (values["rounds"], values["batch_size"]) == (5, 4)
    assert [row["name"] for row in values["rows"]] == [row.name for row in found.rows]
    assert values["rows"][0]["median"] == found.rows[0].median


def test_a_printed_report_has_a_line_per_file(found):
    first, empty, header, _, *lines = str(found).splitlines()
    assert first == "5 runs of 4 samples, in turn"
    assert empty == ""
    assert header.split("  ")[0] == "file"
    assert len(lines) == 4
    for line, row in zip(lines, found.rows, strict=True):
        assert line.startswith(row.name)
        assert f"{row.median:.3f}" in line
        assert f"{row.times_faster:.2f}" in line
        assert line.endswith(str(row.size))


def test_a_printed_report_without_ratios_has_none(reports):
    *_, line = str(kc.benchmark(reports[:1], SAMPLES, rounds=1)).splitlines()
    assert len(line.split()) == 6


# Runtimes and a clock of the test's own


class Clock:
    """A clock that only moves while a runtime runs."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def form(self, name, seconds):
        """Return a format whose runtime takes a second more at every run, times a factor."""

        def run(inputs):
            self.now += seconds * len([call for call in self.calls if call[0] == name])
            self.calls.append((name, inputs))
            return []

        return Format("frozen_graph", ".pb", None, None, lambda path, names, threads: run)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(latency.time, "perf_counter", lambda: clock.now)
    return clock


def files(folder, **forms):
    for name in forms:
        (folder / f"{name}.pb").write_bytes(b"four")
    return {name: (folder / f"{name}.pb", form) for name, form in forms.items()}


def test_files_run_in_turn_and_the_first_rounds_do_not_count(clock, tmp_path):
    forms = files(tmp_path, a=clock.form("a", 1.0), b=clock.form("b", 0.1))
    a, b = measure_latency(forms, [SAMPLES], None, rounds=20, threads=0).rows
    assert [name for name, _ in clock.calls] == ["a", "b"] * 22
    assert all(inputs[0] is SAMPLES for _, inputs in clock.calls)
    expected = np.quantile(1000.0 * np.arange(2, 22), [0.1, 0.5, 0.9])
    assert (a.low, a.median, a.high) == pytest.approx(tuple(expected))
    assert (b.low, b.median, b.high) == pytest.approx(tuple(0.1 * expected))
    assert (a.size, b.size) == (4, 4)


@pytest.mark.parametrize(("rounds", "runs"), [(1, 2), (9, 10), (30, 33)])
def test_a_tenth_more_runs_before_but_at_least_one(clock, rounds, runs, tmp_path):
    measure_latency(files(tmp_path, a=clock.form("a", 1.0)), [SAMPLES], None, rounds=rounds, threads=0)
    assert len(clock.calls) == runs


def test_the_number_of_threads_is_passed_on(tmp_path):
    asked = []

    def load(path, names, threads):
        asked.append((path, threads))
        return lambda inputs: []

    form = Format("frozen_graph", ".pb", None, None, load)
    measure_latency(files(tmp_path, a=form), [SAMPLES], None, rounds=1, threads=3)
    assert asked == [(tmp_path / "a.pb", 3)]
