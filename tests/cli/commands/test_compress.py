"""``compress``: training by a configuration and an entry point, going on by itself, and export."""

import csv
import json
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.command_line import call, environment

TRAIN = ["compress", "int8.json", "training:load", "--loss", "sparse_categorical_crossentropy", "--metric", "accuracy"]


@pytest.mark.first
def test_training_exports_and_reports(folder, capfd):
    called = call(capfd, *TRAIN, "m.pb", "m.onnx", "--epochs", "2", "--log-dir", "logs", "--save-compressed", "c.keras",
                  "--learning-rate", "0.1", "--json")  # fmt: skip
    assert called.code == 0, called.err
    assert set(called.values["compressed"]) == {"loss", "accuracy"}
    assert called.values["compressed"]["loss"] < called.values["before"]["loss"]
    assert called.values["statistics"]["stage"] == "FULLY_COMPRESSED"
    assert [export["save_format"] for export in called.values["exports"]] == ["frozen_graph", "onnx"]
    with (folder / "logs" / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]
    assert list((folder / "logs" / "compression").iterdir())
    assert call(capfd, "inspect", "c.keras", "--json").values["compressed"] is True


@pytest.mark.extended
def test_the_same_command_goes_on_from_its_checkpoints(folder, capfd):
    arguments = [*TRAIN, "--checkpoints", "checkpoints", "--log-dir", "logs", "--keep", "1"]
    assert call(capfd, *arguments, "one.pb", "--epochs", "1").code == 0
    called = call(capfd, *arguments, "three.pb", "--epochs", "3", "--json")
    assert called.code == 0, called.err
    assert "going on from 'checkpoints/ckpt-1' after epoch 1" in called.err
    assert "Epoch 1/3" not in called.err
    assert "Epoch 2/3" in called.err
    with (folder / "logs" / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2"]
    assert len(list((folder / "checkpoints").glob("ckpt-*.index"))) == 1
    trained = called.values["compressed"]
    called = call(capfd, *arguments, "again.pb", "--epochs", "3", "--json")
    assert "all 3 epochs are done already" in called.err
    assert "Epoch" not in called.err
    assert called.values["compressed"] == trained


def test_the_history_of_another_training_is_not_overwritten_unasked(folder, capfd):
    (folder / "logs").mkdir()
    (folder / "logs" / "history.csv").write_text("mine")
    arguments = [*TRAIN, "m.pb", "--epochs", "1", "--log-dir", "logs"]
    called = call(capfd, *arguments)
    assert called.code == 2
    assert "history.csv' exists" in called.err
    assert (folder / "logs" / "history.csv").read_text() == "mine"
    assert call(capfd, *arguments, "--overwrite").code == 0
    assert (folder / "logs" / "history.csv").read_text().startswith("epoch,")


def test_a_compiled_model_and_names_for_what_is_returned(folder, capfd):
    called = call(
        capfd, "compress", "int8.json", "training:load_compiled", "m.pb", "--epochs", "1", "--batch-size", "16"
    )
    assert called.code == 0, called.err
    assert "3/3 [" in called.err
    assert "on validation data" not in called.out


def test_a_checkpoint_of_another_configuration_is_an_error(folder, capfd):
    assert call(capfd, *TRAIN, "m.pb", "--epochs", "1", "--checkpoints", "checkpoints").code == 0
    (folder / "int8.json").write_text('{"compression": {"algorithm": "magnitude_sparsity"}}')
    called = call(capfd, *TRAIN, "n.pb", "--epochs", "2", "--checkpoints", "checkpoints")
    assert called.code == 1
    assert "configuration" in called.err
    assert not (folder / "n.pb").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["int8.json", "training.py", "m.pb"], 2, "'training.py' names no function"),
        (["none.json", "training:load", "m.pb"], 2, "There is no configuration 'none.json'"),
        (["int8.json", "training:load", "m.pb"], 2, "The model is not compiled"),
        (["int8.json", "training:load", "m.pb", "--metric", "accuracy"], 2, "--metric needs --loss"),
        (["int8.json", "training:model", "m.pb"], 1, "'training:model' returned something else"),
        (["int8.json", "training:broken", "m.pb"], 1, "ZeroDivisionError: nothing to divide by"),
        (["int8.json", "training:NOT_A_FUNCTION", "m.pb"], 2, "is no function but a int"),
        (["int8.json", "training:interrupted", "m.pb"], 130, "error: interrupted"),
        (["wrong.json", "training:load", "m.pb"], 1, "Did you mean 'quantization'?"),
    ],
)
def test_what_cannot_be_trained(arguments, code, message, folder, capfd):
    (folder / "wrong.json").write_text('{"compression": {"algorithm": "quantisation"}}')
    called = call(capfd, "compress", *arguments, "--epochs", "1")
    assert called.code == code
    assert message in called.err
    assert "Traceback" not in called.err


#: A shell starts what runs in the background with interruptions ignored, and so would be what that starts.
INTERRUPTIBLE = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("keras_compress_cli", run_name="__main__", alter_sys=True)
"""


def interrupted(process):
    """Interrupt a process as the user would, again if nothing happens, and return what it wrote.

    Python loses an interruption that comes while it cleans up an object.
    """
    for _ in range(6):
        process.send_signal(signal.SIGINT)
        try:
            return process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("The process goes on although it was interrupted six times.")


@pytest.mark.extended
def test_an_interrupted_training_can_go_on(folder, capfd):
    command = [sys.executable, "-c", INTERRUPTIBLE, *TRAIN, "m.pb", "--epochs", "100000", "--checkpoints", "saved"]
    with subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            for _ in range(600):
                if (folder / "saved" / "checkpoint").exists() or process.poll() is not None:  # written last
                    break
                time.sleep(0.2)
            out, error = interrupted(process)
        finally:
            process.kill()
    assert process.returncode == 130, error.decode()
    assert out == b""
    assert error.decode().endswith("the same command goes on from 'saved'\nerror: interrupted\n")
    state = json.loads((folder / "int8.json").read_text())
    assert state == {"compression": {"algorithm": "quantization"}}
    called = call(capfd, *TRAIN, "m.pb", "--epochs", "1", "--checkpoints", "saved")
    assert called.code == 0, called.err
    assert "going on from 'saved/ckpt-" in called.err
