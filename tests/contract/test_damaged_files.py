"""Files that are damaged, empty or something else: an error that names the file, at every entry that reads one."""

import shutil
import warnings

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export import registered_formats

SAMPLES = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)

DAMAGES = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "noise": lambda content: np.random.default_rng(1).bytes(len(content)),
    "text": lambda content: b"no model",
    "changed": lambda content: content[:40] + np.random.default_rng(2).bytes(200) + content[240:],
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    layers = keras.layers
    model = keras.Sequential([keras.Input((4,), name="x"), layers.Dense(16, "relu"), layers.Dense(2)])
    compressed = kc.quantize(model, SAMPLES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = {
            name: kc.export_model(compressed, folder / f"{name}{form.suffix}", name).path
            for name, form in registered_formats().items()
        }
    return compressed, files


def damaged(path, damage, folder):
    """Return the path of a copy with every file of it damaged."""
    target = folder / path.name
    if path.is_dir():
        shutil.copytree(path, target)
    else:
        shutil.copy2(path, target)
        beside = path.with_suffix(".bin")
        if path.suffix == ".xml":
            shutil.copy2(beside, target.with_suffix(".bin"))
    changed = [file for file in target.rglob("*") if file.is_file()] if target.is_dir() else [target]
    for file in changed:
        file.write_bytes(DAMAGES[damage](file.read_bytes()))
    return target


def taken(call):
    """Return what a call returns, or the message of an error of the package."""
    try:
        return call(), None
    except kc.CompressionError as error:
        return None, str(error)


@pytest.mark.first
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", sorted(registered_formats()))
def test_a_damaged_file_is_named_in_an_error(name, damage, exported, tmp_path):
    model, files = exported
    path = damaged(files[name], damage, tmp_path)
    calls = {
        "benchmark": lambda: kc.benchmark([path], SAMPLES, rounds=1),
        "audit": lambda: kc.audit(model, path, name),
        "report": lambda: kc.report(model, tmp_path / "report.html", exports=path),
    }
    if registered_formats()[name].isolated is not None:
        calls["compare"] = lambda: kc.compare(model, path, save_format=name)
    for entry, call in calls.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result, message = taken(call)
        assert message is None or path.name in message, (entry, message)
        if entry == "audit" and damage != "changed" and message is None:
            assert result.faults


@pytest.mark.parametrize("name", sorted(registered_formats()))
def test_data_that_a_file_does_not_take_are_named_in_an_error(name, exported):
    _, files = exported
    taken(lambda: kc.benchmark([files[name]], np.ones((2, 4, 4), np.float32), rounds=1))  # some runtimes take it
    for data in (np.ones((2, 9), np.float32), [np.ones((2, 4), np.float32)] * 3):
        with pytest.raises(kc.CompressionError, match=r"Expected|Pass data"):
            kc.benchmark([files[name]], data, rounds=1)
