"""The commands of docs/command_line.md and of the README run, one after another, in a folder with the files they name."""

import json
import re
import shlex
from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.config.migration import Status
from keras_compress_cli.command import commands
from tests.cli.command_line import ROOT, call

PAGE = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
NNCF = {"input_info": {"sample_size": [1, 8, 8, 3]}, "compression": {"algorithm": "quantization", "preset": "mixed"}}


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """model.keras, images by class, test.npz, nncf.json and training.py."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, "softmax", name="head"),
        ]
    )
    model.save(tmp_path / "model.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 3)).astype(np.uint8)
    inputs = pixels.astype(np.float32) / 255
    np.savez(tmp_path / "test.npz", x=inputs, y=model.predict(inputs, verbose=0).argmax(-1))
    for number, image in enumerate(pixels):
        path = tmp_path / "images" / str(number % 3) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_png(image).numpy())
    (tmp_path / "nncf.json").write_text(json.dumps(NNCF))
    (tmp_path / "training.py").write_text(blocks(PAGE, "python")[0])
    (tmp_path / "arguments.json").write_text(blocks(PAGE, "json")[0])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(text, capfd):
    """Run the commands of a page and return how many there were; ``> FILE`` is understood."""
    lines = [line for block in blocks(text, "bash") for line in block.splitlines() if line.startswith("keras-compress")]
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        target = words[-1] if words[-2] == ">" else None
        called = call(capfd, *(words[:-2] if target else words))
        assert called.code == 0, f"{line}\n{called.err}"
        if target:
            with open(target, "w") as file:
                file.write(called.out)
    return len(lines)


@pytest.mark.extended
def test_the_commands_of_the_page_run(files, capfd):
    assert run(PAGE, capfd) >= 12
    assert (files / "trained.xml").exists()
    assert call(capfd, "config", "check", "int8_sparse.json").code == 0
    assert call(capfd, "config", "check", "migrated.json").code == 0
    called = call(capfd, "quantize", "model.keras", "bits.pb", "--data", "test.npz", "--config", "arguments.json")
    assert called.code == 0, called.err


@pytest.mark.first
def test_the_commands_of_the_readme_run(files, capfd):
    assert run(README, capfd) >= 2


def test_every_command_is_on_the_page():
    for command in commands():
        assert f"`{command.words[0]}" in PAGE
        assert f"{command.words[-1]}`" in PAGE or f"`{command.words[-1]} " in PAGE


def test_every_status_of_a_migration_is_on_the_page():
    assert re.findall(r"^\| ([a-z ]+) \| ", PAGE.partition("`migrate` reads")[2], re.MULTILINE)[1:] == list(
        get_args(Status)
    )
