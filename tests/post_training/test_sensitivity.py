"""analyze: the worst layer first, and every number that of an independent computation."""

import csv
import json
import math
import sys

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.post_training.sensitivity_report import LayerSensitivity, SensitivityReport
from tests import zoo
from tests.post_training import models

UNCORRECTED = {"disable_bias_correction": True, "weights_quantization_params": {"num_bits": 4}}


def decibels(outputs, expected):
    return -10 * math.log10(models.relative_error(outputs, expected))


def rows(report):
    return {row.layer: row for row in report.rows}


@pytest.mark.first
def test_the_planted_layer_comes_first_and_does_the_damage():
    model = models.chain(bad=["d3"], length=5)
    inputs = zoo.samples(model, 32)
    report = kc.analyze(model, inputs, samples=32)
    assert report.rows[0].layer == "d3"
    assert report.rows[0].damage > 0.9
    assert sum(row.damage for row in report.rows) == pytest.approx(1)
    assert [row.only_one for row in report.rows] == sorted(row.only_one for row in report.rows)
    best = max(report.rows, key=lambda row: row.leave_one_out)
    assert best.layer == "d3"
    assert best.leave_one_out > report.sqnr + 10
    assert kc.analyze(kc.quantize(model, inputs), inputs).rows[0].layer == "d3"


@pytest.mark.parametrize("kind", ["dense", "transfer"])
def test_the_numbers_are_those_of_models_with_only_these_layers_quantized(kind):
    model = zoo.MODELS[kind]()
    data, inputs = zoo.samples(model, 24, seed=4), zoo.samples(model, 20)
    expected = zoo.predict(model, inputs)
    paths = {"dense": ["hidden", "out"], "transfer": ["backbone/conv", "pool", "out"]}[kind]

    def quantized(ignored=None):
        return kc.quantize(model, data, ignored_scope=ignored, advanced_parameters=UNCORRECTED)

    report = kc.analyze(quantized(), inputs, samples=20)
    found = rows(report)
    assert set(found) == set(paths)
    assert report.samples == 20
    assert report.sqnr == pytest.approx(decibels(zoo.predict(quantized(), inputs), expected), rel=1e-4)
    for path in paths:
        others = [other for other in paths if other != path]
        alone = decibels(zoo.predict(quantized(others), inputs), expected)
        without = decibels(zoo.predict(quantized([path]), inputs), expected)
        assert found[path].only_one == pytest.approx(alone, rel=1e-4)
        assert found[path].leave_one_out == pytest.approx(without, rel=1e-4)


def test_the_ratio_of_a_layer_is_that_of_its_output_in_the_quantized_model():
    model = zoo.residual()
    inputs = zoo.samples(model, 16)
    quantized = kc.quantize(model, inputs, advanced_parameters=UNCORRECTED)
    found = rows(kc.analyze(quantized, inputs, samples=16, only_one=False, leave_one_out=False))
    for path in ("stem", "body", "sum", "out"):
        outputs = [
            zoo.predict(keras.Model(some.input, some.get_layer(path).output), inputs) for some in (quantized, model)
        ]
        assert found[path].sqnr == pytest.approx(decibels(*outputs), rel=1e-3)
        assert (found[path].only_one, found[path].leave_one_out, found[path].damage) == (None, None, None)
    assert [row.sqnr for row in found.values()] == sorted(row.sqnr for row in found.values())


def test_a_plain_model_is_analyzed_as_it_is_quantized_without_correction_of_biases():
    model = models.chain(length=2)
    inputs = zoo.samples(model, 16)
    advanced = {"weights_quantization_params": {"num_bits": 4}}
    plain = kc.analyze(model, inputs, samples=16, advanced_parameters=advanced)
    compressed = kc.analyze(kc.quantize(model, inputs, advanced_parameters=UNCORRECTED), inputs, samples=16)
    assert plain == compressed
    assert {row.bits for row in plain.rows} == {4}


@pytest.mark.extended
def test_the_model_is_only_read():
    model = zoo.residual()
    inputs = zoo.samples(model, 16)
    quantized = kc.quantize(model, inputs)
    before = models.numbers(model), models.numbers(quantized), zoo.predict(quantized, inputs)
    kc.analyze(quantized, inputs, samples=8)
    kc.analyze(model, inputs, samples=8, only_one=False)
    models.assert_equal_numbers(models.numbers(model), before[0])
    models.assert_equal_numbers(models.numbers(quantized), before[1])
    np.testing.assert_array_equal(zoo.predict(quantized, inputs)[0], before[2][0])


@pytest.mark.parametrize("one", [True, False])
def test_each_kind_of_measurement_can_be_left_out_and_changes_no_other(one):
    model = zoo.dense()
    quantized = kc.quantize(model, zoo.samples(model, 16))
    everything = rows(kc.analyze(quantized, zoo.samples(model)))
    some = rows(kc.analyze(quantized, zoo.samples(model), only_one=one, leave_one_out=not one))
    for path, row in some.items():
        assert (row.only_one is None, row.leave_one_out is None) == (not one, one)
        assert (row.only_one, row.damage) == (
            (everything[path].only_one, everything[path].damage) if one else (None, None)
        )
        assert row.leave_one_out == (None if one else everything[path].leave_one_out)
        assert row.sqnr == everything[path].sqnr


def test_no_more_samples_are_read_than_asked_for_and_the_report_says_how_many_there_were():
    model = zoo.dense()
    quantized = kc.quantize(model, zoo.samples(model, 16))
    inputs = zoo.samples(model, 40)
    assert kc.analyze(quantized, inputs, samples=20) == kc.analyze(quantized, inputs[:20])
    assert kc.analyze(quantized, inputs[:20], samples=64).samples == 20


def test_a_model_with_other_compression_or_nothing_to_quantize_has_no_rows():
    model = zoo.dense()
    sparse = zoo.compress(model, "magnitude_sparsity", sparsity_init=0.5)[1]
    report = kc.analyze(sparse, zoo.samples(model))
    assert report == SensitivityReport((), math.inf, 8)
    assert str(report) == "outputs of the quantized model: no error on 8 samples"


def test_a_layer_whose_quantization_does_nothing_has_no_error():
    model = zoo.dense()
    model.get_layer("out").kernel.assign(np.zeros((8, 3)))
    report = kc.analyze(model, zoo.samples(model), only_one=True)
    assert all(math.isinf(row.only_one) and row.damage == 0 for row in report.rows)
    assert "no error" in str(report)


@pytest.mark.parametrize("samples", [0, -1, 1.5, "8", True, None])
def test_a_wrong_number_of_samples_is_refused(samples):
    with pytest.raises(
        kc.ConfigError, match=r"Wrong value for 'samples'\. Expected: a whole number, 1 or more\. Received"
    ):
        kc.analyze(zoo.dense(), zoo.samples(zoo.dense()), samples=samples)


def test_options_are_those_of_quantize_and_for_plain_models_only():
    model = zoo.dense()
    inputs = zoo.samples(model)
    with pytest.raises(
        kc.ConfigError, match=r"analyze has no option 'presset'\. Expected: one of .*'preset'.*Received: \['presset'\]"
    ):
        kc.analyze(model, inputs, presset="mixed")
    with pytest.raises(kc.ConfigError, match=r"compressed already, so \['preset'\] mean nothing.*Leave them out"):
        kc.analyze(kc.quantize(model, inputs), inputs, preset="mixed")
    assert [row.layer for row in kc.analyze(model, inputs, ignored_scope=["out"]).rows] == ["hidden"]


def test_what_is_no_model_is_refused():
    with pytest.raises(kc.UnsupportedModelError, match="Expected: a tf_keras model"):
        kc.analyze("model.keras", np.zeros((4, 4)))


REPORT = SensitivityReport(
    (
        LayerSensitivity("worst", 4, 100, 5.5, 10.0, 30.0, 0.75),
        LayerSensitivity("middle", 8, 0, 20.0, 14.77, None, 0.25),
        LayerSensitivity("best", 8, 7, math.inf, math.inf, 9.0, 0.0),
    ),
    8.25,
    64,
)


def test_a_report_prints_every_layer_with_its_numbers():
    printed = str(REPORT)
    assert printed.startswith("outputs of the quantized model: 8.2 dB on 64 samples\n\n")
    table = printed.splitlines()[2:]
    assert [line.split()[0] for line in (table[0], *table[2:])] == ["layer", "worst", "middle", "best"]
    assert table[2].split() == ["worst", "4", "100", "5.5", "dB", "10.0", "dB", "30.0", "dB", "75.0%"]
    assert table[4].count("no error") == 2


def test_a_report_comes_back_from_its_csv_file(tmp_path):
    path = REPORT.save(tmp_path / "new" / "report.CSV")
    with path.open(newline="") as file:
        read = list(csv.DictReader(file))

    def number(text):
        return None if text == "" else float(text)

    again = [
        LayerSensitivity(
            row["layer"],
            int(row["bits"]),
            int(row["parameters"]),
            *(number(row[key]) for key in ("sqnr", "only_one", "leave_one_out", "damage")),
        )
        for row in read
    ]
    assert tuple(again) == REPORT.rows


def test_a_report_comes_back_from_its_json_file_without_infinities(tmp_path):
    def refuse(name):
        raise ValueError(name)

    read = json.loads(REPORT.save(tmp_path / "report.json").read_text(), parse_constant=refuse)
    assert read == REPORT.to_dict()
    assert read["sqnr"] == 8.25
    assert read["samples"] == 64
    assert [layer["layer"] for layer in read["layers"]] == ["worst", "middle", "best"]
    assert read["layers"][0] == {
        "layer": "worst",
        "bits": 4,
        "parameters": 100,
        "sqnr": 5.5,
        "only_one": 10.0,
        "leave_one_out": 30.0,
        "damage": 0.75,
    }
    assert read["layers"][2]["sqnr"] is None


def test_a_plot_has_a_bar_for_each_layer_the_worst_on_top(tmp_path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    path = tmp_path / "new" / "bars.png"
    axes = REPORT.plot(path)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["worst", "middle", "best"]
    assert [bar.get_width() for bar in axes.patches] == [10.0, 14.77, 0.0]
    bottom, top = axes.get_ylim()
    assert bottom > top
    assert axes.get_title() == "Outputs of the model, one layer quantized"
    assert path.read_bytes().startswith(b"\x89PNG")
    rows_without = tuple(LayerSensitivity(row.layer, row.bits, row.parameters, row.sqnr) for row in REPORT.rows)
    axes = SensitivityReport(rows_without, 8.25, 64).plot()
    assert [bar.get_width() for bar in axes.patches] == [5.5, 20.0, 0.0]
    assert axes.get_title() == "Outputs of the layers"
    pyplot.close("all")


def test_a_plot_without_matplotlib_names_the_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(kc.CompressionError, match=r"pip install .keras_compress\[plots\]"):
        REPORT.plot()
