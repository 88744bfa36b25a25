"""``quantize``: from a model and samples to audited files, with and without control of accuracy."""

import json

import numpy as np
import pytest

from keras_compress import export_model, quantize
from keras_compress._keras import keras
from tests.cli.command_line import call, call_in_process


def weights_of(path):
    return [weight for layer in keras.models.load_model(path, compile=False).layers for weight in layer.get_weights()]


@pytest.mark.extended
def test_several_formats_at_once(folder, capfd):
    outputs = ["m.xml", "m.onnx", "m.tflite", "m.pb", "m.keras"]
    called = call(capfd, "quantize", "model.keras", *outputs, "--data", "samples.npy", "--compare", "--json")
    assert called.code == 0, called.err
    exports = called.values["exports"]
    assert [export["path"] for export in exports] == outputs
    assert [export["save_format"] for export in exports] == ["openvino", "onnx", "tflite", "frozen_graph", "keras"]
    assert {row["stored_as"] for export in exports[:3] for row in export["weights"]} == {"int8"}
    assert all(export["comparison"]["samples"] == 64 for export in exports)
    assert not [row["problem"] for export in exports for row in export["weights"] if row["problem"]]


@pytest.mark.first
def test_the_result_is_that_of_the_function(folder, capfd):
    called = call(
        capfd, "quantize", "model.keras", "m.h5", "--data", "samples.npy", "--preset", "mixed", "--ignore", "out"
    )
    assert called.code == 0, called.err
    model = keras.models.load_model("model.keras", compile=False)
    expected = quantize(model, np.load("samples.npy"), preset="mixed", ignored_scope=["out"])
    export_model(expected, "expected.h5")
    for one, other in zip(weights_of("m.h5"), weights_of("expected.h5"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_file_of_arguments_and_what_stands_before_it(folder, capfd):
    values = {
        "subset_size": 8,
        "preset": "mixed",
        "advanced_parameters": {"weights_quantization_params": {"num_bits": 4}},
    }
    (folder / "arguments.json").write_text(json.dumps(values) + " // four bits")
    call(capfd, "quantize", "model.keras", "m.pb", "--data", "samples.npy", "--config", "arguments.json")
    call(capfd, "quantize", "model.keras", "n.pb", "--data", "samples.npy", "--save-compressed", "n.keras",
         "--config", "arguments.json", "--preset", "performance", "--ignore", "{re}^ou")  # fmt: skip
    called = call(capfd, "inspect", "n.keras", "--json")
    assert [(row["layer"], row["bits"], row["mode"]) for row in called.values["quantizers"] if row["weight"]] == [
        ("conv", 4, "symmetric")
    ]
    assert {row["mode"] for row in called.values["quantizers"]} == {"symmetric"}


@pytest.mark.parametrize("data", ["images", "images/class0", "labelled.npz", "training:samples"])
def test_every_source_of_data(data, folder, capfd):
    called = call(capfd, "quantize", "training:model", "m.pb", "--data", data)
    assert called.code == 0, called.err
    warned = [
        line for line in called.err.splitlines() if not line.startswith("warning: The calibration data are far from")
    ]
    assert warned == []


def test_a_saved_model_folder_is_a_model_and_an_export(folder, capfd):
    keras.models.load_model("model.keras").save("saved")
    assert call(capfd, "quantize", "saved", "exported", "--data", "samples.npy").code == 0
    assert (folder / "exported" / "saved_model.pb").exists()


def test_nothing_is_overwritten_unasked(folder, capfd):
    (folder / "m.pb").write_text("mine")
    arguments = ["quantize", "model.keras", "n.pb", "m.pb", "--data", "samples.npy"]
    called = call(capfd, *arguments)
    assert called.code == 2
    assert "'m.pb' exists" in called.err
    assert (folder / "m.pb").read_text() == "mine"
    assert not (folder / "n.pb").exists()
    called = call(capfd, *arguments, "--overwrite")
    assert called.code == 0
    assert "'m.pb' exists and will be replaced" in called.err
    assert (folder / "m.pb").read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.keras", "m.pb", "--data", "samples.npy"], "There is no model 'none.keras'"),
        (["model.keras", "m.pb", "--data", "none.npy"], "There is no data 'none.npy'"),
        (["model.keras", "m.pb", "--data", "training:none"], "'training' has no 'none'"),
        (["model.keras", "m.pdf", "--data", "samples.npy"], "Unknown export format"),
        (["model.keras", "m.pb", "--data", "samples.npy", "--max-drop", "0"], "--max-drop needs --validate"),
        (["model.keras", "m.pb", "--data", "samples.npy", "--keep-best"], "--keep-best needs --validate"),
        (["model.keras", "m.pb", "m.pb", "--data", "samples.npy"], "written twice"),
        (["model.keras", "m.pb", "--data", "int8.json"], "'int8.json' is no file of samples"),
        (["model.keras", "m.pb", "--data", "training:samples", "--scale", "1/255"], "--scale and --preprocess are for files"),
        (["model.keras", "m.pb", "--data", "samples.npy", "--scale", "much"], "'much' is no number"),
        (["model.keras", "m.pb", "--data", "samples.npy", "--option", "opset=13"], "--option opset"),
        (["model.keras", "m.pb", "--data", "samples.npy", "--save-compressed", "m.h5"], "ends in .keras"),
        (["m.keras", "m.pb", "--data", "samples.npy", "--validate", "accuracy", "--validate-with", "openvino"], "no model"),
    ],
)  # fmt: skip
def test_wrong_usage(arguments, message, folder, capfd):
    called = call(capfd, "quantize", *arguments)
    assert called.code == 2
    assert message in called.err
    assert not (folder / "m.pb").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.keras", "m.pb", "--data", "samples.npy", "--ignore", "cnov"], "Nearest: conv"),
        (["compressed.keras", "m.pb", "--data", "samples.npy"], "already compressed"),
        (["model.keras", "m.pb", "--data", "samples.npy", "--config", "int8.json"], "'compression' is for"),
        (["training:broken", "m.pb", "--data", "samples.npy"], "ZeroDivisionError: nothing to divide by"),
        (["training:samples", "m.pb", "--data", "samples.npy"], "'training:samples' returned no model"),
        (["int8.json", "m.pb", "--data", "samples.npy"], "is no file of Keras"),
    ],
)
def test_work_that_fails(arguments, message, folder, capfd):
    called = call(capfd, "quantize", *arguments)
    assert called.code == 1
    assert message in called.err
    assert "Traceback" not in called.err
    assert called.out == ""


def test_accuracy_is_controlled(folder, capfd):
    arguments = ["quantize", "model.keras", "m.xml", "--data", "labelled.npz", "--validate", "accuracy"]
    called = call(capfd, *arguments, "--max-drop", "0.1", "--json")
    assert called.code == 0, called.err
    assert called.values["accuracy"]["met"] is True
    assert called.values["accuracy"]["original"] == 1.0  # the labels are the model's own
    assert called.values["accuracy"]["drop"] <= 0.1
    assert (folder / "m.xml").exists()


def test_a_target_that_is_not_met(folder, capfd):
    arguments = ["quantize", "model.keras", "m.pb", "--data", "labelled.npz", "--validate", "training:share"]
    arguments += ["--max-drop", "-0.5", "--max-evaluations", "3", "--record", "record.json"]
    called = call(capfd, *arguments)
    assert called.code == 1
    assert called.out.startswith("Accuracy target not met")
    assert "nothing was written" in called.err
    assert not (folder / "m.pb").exists()
    assert (folder / "record.json").exists()
    called = call(capfd, *arguments, "--keep-best", "--save-compressed", "best.keras")
    assert called.code == 1
    assert (folder / "m.pb").exists()
    assert (folder / "best.keras").exists()


def test_a_runtime_validates(folder, capfd):
    (folder / "runtimes.py").write_text(
        "def share(session, data):\n"
        "    inputs, labels = data\n"
        "    outputs = session.run(None, {session.get_inputs()[0].name: inputs})[0]\n"
        "    return float((outputs.argmax(-1) == labels).mean())\n"
    )
    called = call(capfd, "quantize", "model.keras", "m.onnx", "--data", "samples.npy", "--validation-data", "labelled.npz",
                  "--validate", "runtimes:share", "--validate-with", "onnxruntime", "--max-drop", "0.5")  # fmt: skip
    assert called.code == 0, called.err
    assert called.out.startswith("Accuracy target met")


@pytest.mark.parametrize("validate", ["training:interrupted", "training:broken"])
def test_what_stops_the_work_leaves_no_file(validate, folder, capfd):
    called = call(capfd, "quantize", "model.keras", "m.pb", "--data", "labelled.npz", "--validate", validate)
    assert called.code == (130 if "interrupted" in validate else 1)
    assert not (folder / "m.pb").exists()


@pytest.mark.extended
def test_another_process(folder):
    called = call_in_process("quantize", "model.keras", "m.xml", "--data", "samples.npy", cwd=folder)
    assert called.code == 0
    assert called.err == ""
    assert "int8" in called.out
    called = call_in_process(
        "quantize", "model.keras", "n.xml", "--data", "samples.npy", "--ignore", "cnov", cwd=folder
    )
    assert called.code == 1
    assert called.err.startswith("error: ")
    assert "Traceback" not in called.err
