"""``compare``: a file and its model, layer by layer; the exit code says whether a layer departs."""

import pytest

from keras_compress._keras import keras
from tests.cli.command_line import call


@pytest.fixture
def exported(folder, capfd):
    assert call(capfd, "export", "compressed.keras", "m.onnx", "--data", "samples.npy").code == 0
    return folder


def test_a_right_file(exported, capfd):
    called = call(capfd, "compare", "compressed.keras", "m.onnx", "--data", "samples.npy")
    assert called.code == 0
    assert "no layer departs" in called.out


def test_a_file_of_another_model(exported, capfd):
    model = keras.models.load_model("compressed.keras", compile=False)
    bias = model.get_layer("out").layer.bias
    bias.assign(bias + 3)
    model.save("changed.keras")
    called = call(capfd, "compare", "changed.keras", "m.onnx", "--json")
    assert called.code == 1
    assert called.values["reason"].startswith("layer 'out' departs first")
