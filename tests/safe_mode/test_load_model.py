"""Models from files: what is sound is read, in every format, and what is not is refused in words."""

import zipfile

import numpy as np
import pytest

from keras_compress import CompressionError, UntrustedFileError, load_model
from keras_compress._keras import keras
from keras_compress.safe_mode import is_trusted, trusting
from tests import zoo
from tests.contract.files_with_code import rewritten
from tests.levels import levels

FORMATS = (".keras", ".h5", "")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kind", levels(zoo.MODELS, first=["operators", "nested", "recurrent"]))
def test_sound_models_are_read_in_safe_mode(kind, suffix, tmp_path):
    model = zoo.MODELS[kind]()
    path = tmp_path / f"model{suffix}"
    model.save(path)
    again = load_model(path)
    samples = zoo.samples(model)
    for expected, found in zip(zoo.predict(model, samples), zoo.predict(again, samples), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("suffix", FORMATS)
def test_compressed_models_are_read_in_safe_mode(suffix, tmp_path):
    model = zoo.compressed_once("residual")[0].model
    model.save(tmp_path / f"model{suffix}")
    samples = zoo.samples(model)
    found = zoo.predict(load_model(tmp_path / f"model{suffix}"), samples)
    np.testing.assert_allclose(found[0], zoo.predict(model, samples)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("suffix", FORMATS)
def test_trust_is_asked_for_by_name_and_lifts_the_refusal(suffix, tmp_path):
    path = tmp_path / f"model{suffix}"
    keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x + 1, name="more")]).save(path)
    with pytest.raises(UntrustedFileError, match=r"layer 'more' holds Python code.*trust=True.*--trust"):
        load_model(path)
    assert load_model(path, trust=True)(np.zeros((1, 2), np.float32)).numpy().tolist() == [[1.0, 1.0]]
    with trusting(True):
        assert load_model(path).name
    assert not is_trusted()


def test_classes_that_are_given_are_known(tmp_path):
    class Twice(keras.layers.Layer):
        def call(self, inputs):
            return inputs * 2

    keras.Sequential([keras.Input((2,)), Twice()]).save(tmp_path / "own.keras")
    with pytest.raises(UntrustedFileError, match=r"Twice.*neither registered nor one that Keras keeps in files"):
        load_model(tmp_path / "own.keras")
    model = load_model(tmp_path / "own.keras", custom_objects={"Twice": Twice})
    assert model(np.ones((1, 2), np.float32)).numpy().tolist() == [[2.0, 2.0]]


def test_a_model_larger_than_its_file_is_refused_before_memory_is_taken(tmp_path):
    zoo.dense().save(tmp_path / "model.keras")

    def enlarge(config):
        config["config"]["layers"][1]["config"]["units"] = 10**10

    rewritten(tmp_path / "model.keras", tmp_path / "large.keras", enlarge)
    with pytest.raises(CompressionError, match=r"asks for 160,000,000,\d+ bytes of variables"):
        load_model(tmp_path / "large.keras")


def test_what_a_model_was_compiled_with_is_not_looked_at(tmp_path):
    def own_loss(expected, found):
        return found

    model = zoo.dense()
    model.compile("sgd", own_loss)
    model.save(tmp_path / "model.keras")
    assert load_model(tmp_path / "model.keras").optimizer is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(
            ("none.keras", None),
            ("junk.keras", b"junk"),
            ("junk.h5", b"junk"),
            ("junk", b""),
            ("empty.keras", b"PK\x05\x06" + bytes(18)),
        ),
        ("folder", "folder"),
    ],
)
def test_what_is_no_model_is_refused_in_words(name, content, tmp_path):
    if content == "folder":
        (tmp_path / name).mkdir()
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CompressionError, match="Expected"):
        load_model(tmp_path / name)


def test_a_configuration_nested_without_end_is_refused(tmp_path):
    zoo.dense().save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "deep.keras", "w") as archive:
        archive.writestr("config.json", "[" * 100_000)
    with pytest.raises(CompressionError):
        load_model(tmp_path / "deep.keras")
