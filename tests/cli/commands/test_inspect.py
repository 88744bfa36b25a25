"""``inspect``: Keras models, compressed and not, and exported files, alone and beside their model."""

import numpy as np
import pytest

from keras_compress import quantization_parameters
from keras_compress._keras import keras
from tests.cli.command_line import call


@pytest.fixture
def exported(folder, capfd):
    assert call(capfd, "export", "compressed.keras", "m.onnx", "m.pb", "--data", "samples.npy").code == 0
    return folder


def test_a_compressed_model(folder, capfd):
    values = call(capfd, "inspect", "compressed.keras", "--json").values
    assert values["compressed"] is True
    assert values["compressed_share"] == 1.0
    assert [(row["layer"], row["compressed_by"]) for row in values["weights"]] == [
        ("conv", "quantization: 8 bits"),
        ("out", "quantization: 8 bits"),
    ]
    assert values["size"]["dense"] < values["size"]["float32"] / 2
    text = call(capfd, "inspect", "compressed.keras").out
    assert "convolution_net: " in text
    assert "input 'image': float32, 8x8x3" in text


def test_a_plain_model_and_what_a_configuration_would_do(folder, capfd):
    values = call(capfd, "inspect", "model.keras", "--json").values
    assert values["compressed"] is False
    assert {row["compressed_by"] for row in values["weights"]} == {"quantization: 8 bits"}
    (folder / "sparse.json").write_text('{"compression": {"algorithm": "magnitude_sparsity", "ignored_scopes": "out"}}')
    rows = call(capfd, "inspect", "model.keras", "--config", "sparse.json", "--json").values["weights"]
    assert [(row["compressed_by"], bool(row["reason"])) for row in rows] == [("magnitude_sparsity", False), ("", True)]


def test_the_integers_are_written(folder, capfd):
    called = call(capfd, "inspect", "compressed.keras", "--integers", "integers.npz")
    assert "saved 2 weights in 'integers.npz'" in called.err
    expected = quantization_parameters(keras.models.load_model("compressed.keras", compile=False))["conv/kernel"]
    with np.load("integers.npz") as found:
        assert found["conv/kernel/values"].dtype == np.int8
        np.testing.assert_array_equal(found["conv/kernel/values"], expected.values)
        np.testing.assert_array_equal(found["conv/kernel/scale"], expected.scale)
        assert len(found.files) == 6
    assert call(capfd, "inspect", "compressed.keras", "--integers", "integers.npz").code == 2
    assert call(capfd, "inspect", "model.keras", "--integers", "others.npz").code == 2


def test_a_file_shows_its_constants(exported, capfd):
    values = call(capfd, "inspect", "m.onnx", "--json").values
    assert values["save_format"] == "onnx"
    assert values["size"] == (exported / "m.onnx").stat().st_size
    compressed = [row for row in values["constants"] if row["stored_as"] == "int8"]
    assert [row["shape"] for row in compressed] == [[4, 3, 3, 3], [36, 3]]
    assert [row["bytes"] for row in compressed] == [108, 108]
    assert compressed[0]["runs_in_integers"] is True
    assert "int8" in call(capfd, "inspect", "m.onnx").out


def test_a_file_is_audited_beside_its_model(exported, capfd):
    called = call(capfd, "inspect", "m.onnx", "--of", "compressed.keras", "--data", "samples.npy", "--json")
    assert called.code == 0
    assert called.values["comparison"]["samples"] == 64


def test_a_file_of_another_model_fails_the_audit(exported, capfd):
    call(capfd, "quantize", "model.keras", "n.pb", "--data", "samples.npy", "--save-compressed", "n.keras", "--config",
         _four_bits(exported))  # fmt: skip
    called = call(capfd, "inspect", "m.pb", "--of", "n.keras")
    assert called.code == 1
    assert "other values than the model's" in called.out


def _four_bits(folder):
    path = folder / "four.json"
    path.write_text('{"advanced_parameters": {"weights_quantization_params": {"num_bits": 4}}}')
    return path


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.onnx"], 2, "There is no path 'none.onnx'"),
        (["compressed.keras", "--data", "samples.npy"], 2, "Pass --of MODEL"),
        (["int8.json"], 1, "Unknown export format"),
        (["broken.onnx"], 1, "cannot be read back as onnx"),
    ],
)
def test_what_cannot_be_inspected(arguments, code, message, folder, capfd):
    (folder / "broken.onnx").write_text("nothing")
    called = call(capfd, "inspect", *arguments)
    assert called.code == code
    assert message in called.err
