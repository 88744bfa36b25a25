"""``benchmark``: files beside each other, and inputs from shapes, models and data."""

import pytest

from tests.cli.command_line import call


@pytest.fixture
def exported(folder, capfd):
    assert call(capfd, "export", "compressed.keras", "m.onnx", "m.xml", "--data", "samples.npy").code == 0
    return folder


def test_files_run_beside_the_float_model(exported, capfd):
    called = call(capfd, "benchmark", "m.onnx", "m.xml", "--float-model", "model.keras", "--rounds", "3", "--json")
    assert called.code == 0, called.err
    assert called.values["rounds"] == 3
    assert called.values["batch_size"] == 1
    rows = {row["name"]: row for row in called.values["rows"]}
    assert set(rows) == {"m.onnx", "m.xml", "float model (onnx)", "float model (openvino)"}
    assert all(row["median"] > 0 and row["times_faster"] > 0 for row in rows.values())


def test_a_shape_is_enough(exported, capfd):
    called = call(capfd, "benchmark", "m.onnx", "--shape", "4,8,8,3", "--rounds", "2", "--threads", "1")
    assert called.code == 0, called.err
    assert "2 runs of 4 samples" in called.out


def test_data_are_taken_in_batches(exported, capfd):
    called = call(capfd, "benchmark", "m.onnx", "--float-model", "model.keras", "--data", "samples.npy", "--batch-size",
                  "5", "--rounds", "2")  # fmt: skip
    assert called.code == 0, called.err
    assert "2 runs of 5 samples" in called.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["m.onnx"], "The shape of the inputs is not known"),
        (["none.onnx", "--shape", "1,2"], "There is no file 'none.onnx'"),
        (["m.onnx", "--shape", "1,x"], "'1,x' is no shape"),
        (["m.onnx", "--shape", "1,8,8,3", "--data", "samples.npy"], "--data needs --float-model"),
        (["m.onnx", "--shape", "1,2", "--shape", "1,2", "--float-model", "model.keras"], "The model has 1 inputs"),
    ],
)
def test_wrong_usage(arguments, message, exported, capfd):
    called = call(capfd, "benchmark", *arguments)
    assert called.code == 2
    assert message in called.err
