"""Data from files, folders and functions, as a model takes them."""

import argparse

import numpy as np
import pytest

from keras_compress import Dataset
from keras_compress.data import InputSpec
from keras_compress.errors import DataError
from keras_compress_cli.command import UsageError
from keras_compress_cli.data_source import read_data

IMAGE = [InputSpec("image", (8, 8, 3), "float32")]
TWO = [InputSpec("a", (2,), "float32"), InputSpec("b", (3,), "float32")]


def read(source, specs=IMAGE, *, samples=None, labelled=False, **given):
    arguments = argparse.Namespace(**{"scale": None, "preprocess": None, "image_size": None, **given})
    return read_data(str(source), specs, arguments, samples=samples, labelled=labelled)


def all_inputs(data, specs=IMAGE):
    batches = list(Dataset.of(data).batches(specs, 8))
    return [np.concatenate([batch.inputs[i][: batch.samples] for batch in batches]) for i in range(len(specs))]


def test_an_array_and_a_part_of_it(folder):
    samples = np.load("samples.npy")
    np.testing.assert_array_equal(read("samples.npy"), samples)
    np.testing.assert_array_equal(read("samples.npy", samples=4), samples[[0, 21, 42, 63]])
    np.testing.assert_array_equal(read("samples.npy", samples=100), samples)


def test_inputs_are_scaled_and_preprocessed(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    samples = np.load("samples.npy")
    np.testing.assert_allclose(read("samples.npy", scale=0.5, preprocess="training:double"), samples)
    inputs, labels = read("labelled.npz", scale=2.0)
    np.testing.assert_allclose(inputs, 2 * samples)
    np.testing.assert_array_equal(labels, np.load("labelled.npz")["y"])


def test_arrays_by_name(tmp_path):
    a, b = np.zeros((5, 2), np.float32), np.ones((5, 3), np.float32)
    np.savez(tmp_path / "two.npz", b=b, a=a)
    found = all_inputs(read(tmp_path / "two.npz", TWO), TWO)
    np.testing.assert_array_equal(found[0], a)
    np.testing.assert_array_equal(found[1], b)


def test_arrays_by_the_keys_of_a_model_of_dicts(tmp_path):
    specs = [InputSpec("input_1", (2,), "float32", place=("y",)), InputSpec("input_2", (3,), "float32", place=("b",))]
    np.savez(tmp_path / "two.npz", b=np.ones((5, 3), np.float32), y=np.zeros((5, 2), np.float32))
    first, second = all_inputs(read(tmp_path / "two.npz", specs), specs)
    assert (first.shape, second.shape) == ((5, 2), (5, 3))


def test_the_folder_above_the_parts_of_a_data_set_is_named(folder, tmp_path):
    (tmp_path / "parts").mkdir()
    for part in ("train", "test"):
        (tmp_path / "parts" / part).symlink_to((tmp_path / "images" / "class1").resolve())
    with pytest.warns(UserWarning, match=r"holds \['test', 'train'\].*Pass one of them"):
        read(tmp_path / "parts")


def test_an_input_may_be_called_as_labels_are(tmp_path):
    np.savez(tmp_path / "y.npz", y=np.ones((5, 2), np.float32))
    found = read(tmp_path / "y.npz", [InputSpec("y", (2,), "float32")])
    assert found.shape == (5, 2)


@pytest.mark.parametrize(("place", "count"), [("images", 12), ("images/class1", 4)])
def test_images_of_a_folder_flat_or_by_class(place, count, folder):
    [found] = all_inputs(read(place, scale=1 / 255))
    assert found.shape == (count, 8, 8, 3)
    assert 0 <= found.min() < 0.1 < 0.9 < found.max() <= 1
    [again] = all_inputs(read(place, scale=1 / 255))
    np.testing.assert_array_equal(found, again)  # shuffled, the same way


def test_images_with_labels_are_those_of_the_classes(folder):
    known = (np.load("samples.npy")[:12] * 255).astype(np.uint8)
    for images, labels in read("images", labelled=True):
        for image, label in zip(images, labels, strict=True):
            [number] = np.flatnonzero((known == image.astype(np.uint8)).all(axis=(1, 2, 3)))
            assert number % 3 == label


def test_images_come_in_the_size_and_colours_of_the_model(folder):
    assert all_inputs(read("images", [InputSpec("x", (4, 6, 1), "float32")]), [InputSpec("x", (4, 6, 1), "float32")])
    open_size = [InputSpec("x", (None, None, 3), "float32")]
    [found] = all_inputs(read("images", open_size, image_size=[5, 7]), open_size)
    assert found.shape == (12, 5, 7, 3)
    with pytest.raises(UsageError, match="Pass --image-size"):
        read("images", open_size)


@pytest.mark.parametrize(
    ("source", "specs", "options", "error", "message"),
    [
        ("none.npy", IMAGE, {}, UsageError, "There are no data 'none.npy'"),
        ("training.py", IMAGE, {}, UsageError, "is no file of samples"),
        ("samples.npy", IMAGE, {"labelled": True}, DataError, "has no labels"),
        ("labelled.npz", TWO, {}, DataError, r"Expected: arrays \['a', 'b'\].*Received: \['image', 'y'\]"),
        ("images", TWO, {}, DataError, "Images do not fit the model"),
        ("images/class0/0.png", IMAGE, {}, UsageError, "is no file of samples"),
        ("empty", IMAGE, {}, DataError, "'empty' holds no images"),
        ("broken.npy", IMAGE, {}, DataError, "'broken.npy' cannot be read"),
    ],
)
def test_what_cannot_be_read(source, specs, options, error, message, folder):
    (folder / "empty").mkdir()
    (folder / "broken.npy").write_text("nothing")
    with pytest.raises(error, match=message):
        read(source, specs, **options)
