"""The report holds what the model, the files and the measurements say, in valid HTML that needs nothing beside it."""

import math
import re

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export.latency import LatencyReport, LatencyRow
from keras_compress.post_training import SensitivityReport
from keras_compress.post_training.sensitivity_report import LayerSensitivity
from keras_compress.reports import Comparison, ExportReport, WeightAudit, measure_size
from tests import zoo
from tests.html_report import pages

HISTORY = {"loss": [3.0, 2.0], "val_loss": [3.5, math.nan], "magnitude_sparsity/sparsity_level": [0.0, 0.5]}
SENSITIVITY = SensitivityReport(
    (
        LayerSensitivity("body", 8, 144, 20.5, 10.0, 30.0, 0.75),
        LayerSensitivity("out", 8, 12, math.inf, 15.0, 9.0, 0.25),
    ),
    8.25,
    64,
)
LATENCY = LatencyReport(
    (
        LatencyRow("model.xml", "openvino", 0.5, 0.4, 0.75, 2.0, 4000),
        LatencyRow("float model (openvino)", "openvino", 1.0, 0.9, 1.25, 1.0, 9000),
    ),
    rounds=7,
    batch_size=3,
)


@pytest.fixture(scope="module")
def compressed():
    """A controller of a residual network with half of its weights zero, in INT8, and samples."""
    keras.utils.set_random_seed(7)
    model = zoo.residual()
    algorithms = [
        {"algorithm": "magnitude_sparsity", "sparsity_init": 0.5, "params": {"sparsity_target": 0.75}},
        {"algorithm": "quantization", "ignored_scopes": ["out"]},
    ]
    data = zoo.samples(model, 16)
    config = kc.register_default_init_args({"compression": algorithms}, data)
    return kc.create_compressed_model(model, config)[0], data


@pytest.fixture(scope="module")
def written(compressed, tmp_path_factory):
    """The tree of a report with everything in it, and the audit of the file it is about."""
    controller, data = compressed
    folder = tmp_path_factory.mktemp("report")
    export = controller.export_model(folder / "model.xml", data=data)
    path = controller.report(
        folder / "new" / "report.html",
        data=data,
        exports=export,
        history=HISTORY,
        sensitivity=SENSITIVITY,
        latency=LATENCY,
        accuracy={"float": 0.9, "model.xml": 0.8, "elsewhere": (0.7, 123_000)},
    )
    assert path == folder / "new" / "report.html"
    return path, pages.parsed(path), export


@pytest.mark.first
def test_everything_given_has_its_section(written):
    expected = [
        "summary",
        "weights",
        "histograms",
        "accuracy",
        "training",
        "damage",
        "latency",
        "exports",
        "activations",
    ]
    assert pages.sections(written[1]) == expected
    links = [link.get("href") for link in written[1].iter("a")]
    assert links == [f"#{name}" for name in expected]


CALIBRATION = "calibration, signal over error of the outputs"


def test_what_is_not_given_is_left_out(compressed, tmp_path):
    tree = pages.parsed(compressed[0].report(tmp_path / "report.html"))
    assert pages.sections(tree) == ["summary", "weights", "histograms", "training", "activations"]
    assert not any("outputs beside" in name for name in pages.facts(tree))
    assert list(pages.pictures(pages.section(tree, "training"))) == ["Level of magnitude_sparsity"]


def test_the_summary_tells_what_the_statistics_tell(compressed, written):
    controller, _ = compressed
    statistics = controller.statistics()
    found = pages.facts(written[1])
    assert found["model"] == "residual_net"
    assert found["algorithms"] == "magnitude_sparsity, quantization"
    assert found["stage"] == statistics.stage.lower().replace("_", " ")
    assert found["weights compressed"] == f"{statistics.compressed_share:.1%} of 264"
    assert found["zeros in masked weights"] == f"{statistics.sparsity_level:.1%}"
    assert found["computed in integers or bits"] == "2 of 3 weights"
    size = statistics.size
    assert found["bytes of weights"].startswith(f"{size.float32:,} → {size.dense:,} (")
    bars = pages.words(pages.pictures(pages.section(written[1], "summary"))["Bytes"])
    for number in (size.float32, size.dense, size.gzip, size.sparse, written[2].size):
        assert f"{number:,}" in bars
    shares = pages.words(
        pages.pictures(pages.section(written[1], "summary"))["Multiply-accumulates by the bits of their weights"]
    )
    for bits, share in statistics.operations_by_bits().items():
        assert f"{'floating point' if bits == 32 else f'{bits} bits'} {share:.1%}".replace(" ", "") in shares.replace(
            " ", ""
        )
    assert '"algorithm": "quantization"' in pages.words(pages.section(written[1], "summary"))


def test_every_weight_has_a_row_with_its_numbers(compressed, written):
    controller, _ = compressed
    integers = kc.quantization_parameters(controller.model)
    rows = {pages.short_repr(row["weight"]): row for row in pages.table(pages.section(written[1], "weights"))}
    assert list(rows) == ["stem", "body", "out"]
    audits = {row.layer: row for row in written[2].weights}
    for name, row in rows.items():
        values = controller.model.get_layer(name).compressed_weight("kernel").numpy()
        assert pages.short_repr(row["zeros"]) == f"{np.mean(values == 0):.1%}"
        assert pages.short_repr(row["parameters"]) == f"{values.size:,}"
        quantized = f"{name}/kernel" in integers
        assert quantized == (name != "out")
        assert pages.short_repr(row["bits"]) == ("8" if quantized else "float")
        assert pages.short_repr(row["computes in"]) == ("integers" if quantized else "floating point")
        answer = "integers" if audits[name].runs_in_integers else "floating point"
        assert pages.short_repr(row["in its runtime"]) == f"model.xml: {answer}"
    reason = next(row.reason for row in controller.statistics().coverage if row.layer == "out")
    assert pages.note(rows["out"]["computes in"]) == (reason or "it has zeros and no grid")
    assert "alarm" in rows["out"]["computes in"].get("class")
    assert rows["stem"]["computes in"].get("class") is None
    assert pages.note(rows["stem"]["weight"]) == "Conv2D, kernel, 3 x 3 x 3 x 4"


def test_outputs_are_compared_with_those_of_switched_off_quantizers(compressed, written):
    controller, data = compressed
    sparse = zoo.residual()
    stripped = {layer.name: layer for layer in controller.model.layers}
    for layer in sparse.layers:
        if stripped[layer.name].get_weights():
            arrays = [variable.numpy() for variable in _stock_variables(stripped[layer.name])]
            if hasattr(stripped[layer.name], "weight_ops"):
                arrays[0] = arrays[0] * stripped[layer.name].weight_ops[0].mask.numpy()
            layer.set_weights(arrays)
    exact, made = (zoo.predict(model, data)[0].astype(np.float64) for model in (sparse, controller.model))
    ratio = 10 * math.log10(np.sum(exact**2) / np.sum((exact - made) ** 2))
    same = np.mean(exact.argmax(-1) == made.argmax(-1))
    found = pages.facts(written[1])["outputs beside those with quantizers switched off"]
    assert found == f"{ratio:.1f} dB signal to error, same top-1 on {same:.2%}, 16 samples"


def _stock_variables(layer):
    return (layer.layer if hasattr(layer, "weight_ops") else layer).weights


def test_exports_have_their_audit(written):
    part = pages.section(written[1], "exports")
    export = written[2]
    (row,) = pages.table(part, 0)
    assert (pages.short_repr(row["file"]), pages.note(row["file"])) == ("model.xml", "openvino")
    assert pages.short_repr(row["bytes"]) == f"{export.size:,}"
    assert pages.short_repr(row["problems"]) == "0"
    assert f"{export.comparison.sqnr:.1f} dB" in pages.short_repr(row["beside Keras"])
    audits = pages.table(part, 1)
    assert [pages.short_repr(row["weight"]) for row in audits] == [row.layer for row in export.weights]
    assert [pages.short_repr(row["stored as"]) for row in audits] == [row.stored_as for row in export.weights]


def test_problems_of_an_export_are_shown_in_alarm(compressed, tmp_path):
    audits = (
        WeightAudit("stem", "kernel", 108, 8, "", 0, 0, 0.0, None, None, "not in the file"),
        WeightAudit("body", "kernel", 144, 8, "int8", 144, 9, 0.0, True, True, ""),
    )
    comparison = Comparison(5, 0.0, 0.0, math.inf, None)
    reports = [ExportReport(tmp_path / name / "model.onnx", "onnx", 10, 40, audits, comparison) for name in "ab"]
    part = pages.section(pages.parsed(compressed[0].report(tmp_path / "report.html", exports=reports)), "exports")
    assert [pages.short_repr(row["problems"]) for row in pages.table(part)] == ["1", "1"]
    assert pages.short_repr(pages.table(part)[0]["beside Keras"]) == "no error signal to error, 5 samples"
    missing, present = pages.table(part, 1)
    assert pages.short_repr(missing["stored as"]) == "missing"
    assert pages.short_repr(missing["problem"]) == "not in the file"
    assert [row["problem"].get("class") for row in (missing, present)] == [" alarm", None]
    titles = [pages.words(title) for title in part.iter("summary")]
    assert titles == [f"Weights in {report.path}" for report in reports]  # equal names are told apart


def test_wrong_results_of_an_export_are_shown_in_alarm(compressed, tmp_path):
    wrong = Comparison(5, 1.0, 99.0, -2.0, None, problem="its outputs depart <from> the model's")
    reports = [
        ExportReport(tmp_path / "wrong.onnx", "onnx", 10, 40, (), wrong),
        ExportReport(tmp_path / "dead.xml", "openvino", 10, 40, (), run_error="its runtime cannot run it"),
    ]
    part = pages.section(pages.parsed(compressed[0].report(tmp_path / "report.html", exports=reports)), "exports")
    assert [pages.short_repr(row["problems"]) for row in pages.table(part)] == ["1", "1"]
    assert [row["problems"].get("class") for row in pages.table(part)] == ["number alarm"] * 2
    assert "wrong.onnx: its outputs depart <from> the model's." in pages.words(part)
    assert "dead.xml: its runtime cannot run it." in pages.words(part)


def test_a_file_given_by_path_is_audited(compressed, tmp_path):
    controller, data = compressed
    export = controller.export_model(tmp_path / "model.pb")
    one = controller.report(tmp_path / "one.html", exports=str(export.path), data=data)
    (row,) = pages.table(pages.section(pages.parsed(one), "exports"))
    assert pages.short_repr(row["bytes"]) == f"{export.size:,}"
    assert "16 samples" in pages.short_repr(row["beside Keras"])


def test_accuracies_stand_beside_their_bytes(compressed, written):
    rows = pages.table(pages.section(written[1], "accuracy"))
    size = measure_size(compressed[0].model)
    assert [
        (pages.short_repr(row["model"]), pages.short_repr(row["bytes"]), pages.short_repr(row["accuracy"]))
        for row in rows
    ] == [
        ("1: float", f"{size.float32:,}", "0.9"),
        ("2: model.xml", f"{written[2].size:,}", "0.8"),
        ("3: elsewhere", "123,000", "0.7"),
    ]


def test_damage_and_latency_are_those_of_the_reports(written):
    part = pages.section(written[1], "damage")
    assert "8.2 dB signal to error on 64 samples" in pages.words(part)
    bars = pages.words(pages.pictures(part)["Share in the errors that layers cause one by one"])
    assert "75.0%" in bars
    assert [pages.short_repr(row["layer"]) for row in pages.table(part)] == ["body", "out"]
    assert [pages.short_repr(row["SQNR of layer"]) for row in pages.table(part)] == ["20.5 dB", "no error"]
    part = pages.words(pages.section(written[1], "latency"))
    assert "7 runs of 3 samples" in part
    assert "0.500 ms (2.00)" in part
    assert "1.000 ms" in part


def test_a_training_has_its_level_and_its_metrics(written):
    figures = pages.pictures(pages.section(written[1], "training"))
    assert list(figures) == ["Level of magnitude_sparsity", "loss"]
    assert "at the end of each epoch" in pages.words(figures["Level of magnitude_sparsity"])
    assert "validation" in pages.words(figures["loss"])


def test_a_page_needs_nothing_beside_it(written):
    path, tree, _ = written
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"(src|srcset|action|poster|data)\s*=", text.split("<body>")[1].split("<script>")[0])
    assert all(link.get("href").startswith("#") for link in tree.iter("a"))
    assert not list(tree.iter("link"))
    assert "url(" not in text
    assert "@import" not in text
    assert not re.findall(r"https?://(?!www\.w3\.org/)", text)
    (policy,) = [meta.get("content") for meta in tree.iter("meta") if meta.get("http-equiv")]
    assert policy.startswith("default-src 'none'")
    assert [meta.get("content") for meta in tree.iter("meta") if meta.get("name") == "viewport"] == [
        "width=device-width, initial-scale=1"
    ]


def test_words_from_outside_are_escaped(compressed, tmp_path):
    controller, _ = compressed
    evil = "<script>alert('&\"')</script>"
    audit = WeightAudit(evil, evil, 1, 8, evil, 0, 0, 0.0, None, True, evil)
    path = controller.report(
        tmp_path / "report.html",
        title=evil,
        exports=ExportReport(tmp_path / evil.replace("/", "|"), evil, 1, 1, (audit,)),
        history={evil: [1.0, 2.0], f"val_{evil}": [2.0, 1.0]},
        sensitivity=SensitivityReport((LayerSensitivity(evil, 8, 1, 1.0, 1.0, 1.0, 1.0),), 1.0, 1),
        latency=LatencyReport((LatencyRow(evil, evil, 1.0, 1.0, 1.0, None, 1),), 1, 1),
        accuracy={evil: (0.5, 10)},
    )
    tree = pages.parsed(path)
    assert len(list(tree.iter("script"))) == 1
    assert "alert" not in "".join(tree.find(".//script").itertext())
    assert pages.words(tree.find(".//h1")) == evil
    assert pages.words(tree.find(".//title")) == evil
    assert pages.short_repr(pages.table(pages.section(tree, "damage"))[0]["layer"]) == evil
    assert evil in pages.pictures(pages.section(tree, "training"))
    assert pages.short_repr(pages.table(pages.section(tree, "accuracy"))[0]["model"]) == f"1: {evil}"
    assert evil in pages.words(pages.section(tree, "latency"))
    assert pages.short_repr(pages.table(pages.section(tree, "exports"), 1)[0]["problem"]) == evil


def test_the_same_arguments_give_the_same_bytes(compressed, written, tmp_path):
    controller, data = compressed
    pair = [controller.report(tmp_path / name, data=data, history=HISTORY, sensitivity=SENSITIVITY) for name in "ab"]
    assert pair[0].read_bytes() == pair[1].read_bytes()


def test_a_model_without_its_controller_has_the_same_weights(compressed, written, tmp_path):
    controller, data = compressed
    controller.model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    tree = pages.parsed(kc.report(model, tmp_path / "report.html", data=data))
    assert pages.sections(tree) == ["summary", "weights", "histograms", "activations"]
    names = ["weight", "parameters", "bits", "zeros", "range", "SQNR", "computes in"]
    one, other = (
        [[pages.short_repr(row[name]) for name in names] for row in pages.table(pages.section(part, "weights"))]
        for part in (tree, written[1])
    )
    assert one == other
    found, expected = pages.facts(tree), pages.facts(written[1])
    assert set(expected) - set(found) == {"algorithms", "stage", "zeros in masked weights", CALIBRATION}
    assert found.items() <= expected.items()


def test_a_quantized_model_and_one_with_nothing_compressed_have_reports_too(tmp_path):
    model = zoo.dense()
    quantized = kc.quantize(model, zoo.samples(model, 16))
    found = pages.facts(pages.parsed(kc.report(quantized, str(tmp_path / "report.html"))))
    assert found["computed in integers or bits"] == "2 of 2 weights"
    tree = pages.parsed(kc.report(model, tmp_path / "plain.html", data=zoo.samples(model)))
    assert pages.facts(tree)["weights compressed"] == "0.0% of 56"
    assert pages.sections(tree) == ["summary", "weights"]
    assert pages.note(pages.table(pages.section(tree, "weights"))[0]["computes in"]) == "nothing compresses it"


def test_the_model_is_only_read(compressed, tmp_path):
    controller, data = compressed
    before = [array.copy() for array in controller.model.get_weights()], zoo.predict(controller.model, data)[0]
    state = controller.get_compression_state()
    controller.report(tmp_path / "report.html", data=data)
    for one, other in zip(before[0], controller.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(before[1], zoo.predict(controller.model, data)[0])
    assert controller.get_compression_state() == state


@pytest.mark.parametrize("wrong", ["model.keras", None, 3, keras.layers.Dense(2)])
def test_what_is_no_model_is_refused(wrong, tmp_path):
    with pytest.raises(kc.UnsupportedModelError, match=r"Nothing to report on\. Expected: a controller.*Received: "):
        kc.report(wrong, tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sensitivity": "worst.csv"}, r"Wrong value for 'sensitivity'.*kc\.analyze.*Received: str"),
        ({"latency": {"a": 1.0}}, r"Wrong value for 'latency'.*kc\.benchmark.*Received: dict"),
        ({"exports": [3]}, r"Wrong value for 'exports'.*Received: int"),
        ({"history": [1.0]}, r"The history cannot be read.*Received: list"),
        ({"history": {"loss": [1.0], "accuracy": [1.0, 2.0]}}, r"history cannot be read.*several lengths"),
        ({"history": {"loss": ["low"]}}, r"history cannot be read.*could not convert"),
        (
            {"accuracy": {"unknown": 0.5}},
            r"accuracy of 'unknown' cannot be drawn.*\['compressed', 'float'\].*Received: 'unknown': 0\.5",
        ),
        ({"accuracy": {"float": math.nan}}, r"accuracy of 'float' cannot be drawn"),
        ({"accuracy": {"float": (0.5, 3, 4)}}, r"accuracy of 'float' cannot be drawn"),
        ({"accuracy": {"float": "good"}}, r"accuracy of 'float' cannot be drawn"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_arguments_are_refused_and_leave_the_old_report(compressed, options, message, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(kc.ConfigError, match=message):
        compressed[0].report(path, **options)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_report(compressed, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def refuse(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(kc.ExportError, match="no space left"):
        compressed[0].report(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_no_file(compressed, tmp_path):
    with pytest.raises(kc.ExportError, match="is a folder"):
        compressed[0].report(tmp_path)
