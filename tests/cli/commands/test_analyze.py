"""``analyze``: the table of ``kc.analyze``, and its files."""

import json

import numpy as np
import pytest

from keras_compress import analyze
from keras_compress._keras import keras
from tests.cli.command_line import call


def test_the_table_is_that_of_the_function(folder, capfd):
    model = keras.models.load_model("model.keras", compile=False)
    expected = analyze(model, np.load("samples.npy"), preset="mixed", samples=16)
    called = call(
        capfd, "analyze", "model.keras", "--data", "samples.npy", "--preset", "mixed", "--samples", "16", "--json"
    )
    assert called.code == 0, called.err
    assert [row["layer"] for row in called.values["layers"]] == [row.layer for row in expected.rows]
    np.testing.assert_allclose(
        [row["only_one"] for row in called.values["layers"]], [r.only_one for r in expected.rows]
    )


def test_a_compressed_model_quickly_with_files(folder, capfd):
    arguments = [
        "analyze",
        "compressed.keras",
        "--data",
        "samples.npy",
        "--quick",
        "--save",
        "a.json",
        "--plot",
        "a.png",
    ]
    called = call(capfd, *arguments)
    assert called.code == 0, called.err
    assert {row["only_one"] for row in json.loads((folder / "a.json").read_text())["layers"]} == {None}
    assert (folder / "a.png").read_bytes().startswith(b"\x89PNG")
    assert call(capfd, *arguments).code == 2  # the files exist


@pytest.mark.parametrize("samples", ["0", "many"])
def test_wrong_usage(samples, folder, capfd):
    called = call(capfd, "analyze", "model.keras", "--data", "samples.npy", "--samples", samples)
    assert called.code == 2
    assert "no whole number above 0" in called.err
