"""The parts of the classification sample: networks by name, images by class."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from sklearn.datasets import load_digits

from examples.classification.images_by_class import read_images, training_batches, write_digits
from examples.classification.models import build_or_load


def test_an_application_is_built_by_its_name_with_its_own_preprocessing():
    model, preprocess = build_or_load("MobileNetV2", (32, 32, 3), 7)
    assert model.output_shape == (None, 7)
    np.testing.assert_allclose(preprocess(tf.constant([0.0, 127.5, 255.0])), [-1.0, 0.0, 1.0])


def test_a_model_from_a_file_and_weights_from_a_file_predict_the_same(tmp_path):
    model, preprocess = build_or_load("resnet8", (32, 32, 3), 4)
    model.save(tmp_path / "model.keras")
    image = preprocess(tf.random.uniform((1, 32, 32, 3), 0, 255))
    loaded, _ = build_or_load(str(tmp_path / "model.keras"), (32, 32, 3), 4)
    filled, _ = build_or_load("resnet8", (32, 32, 3), 4, tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(image), model(image))
    np.testing.assert_array_equal(filled(image), model(image))
    assert float(tf.reduce_max(image)) <= 1


@pytest.mark.parametrize("name", ["ResNet9000", "resnet50", "mobilenet_v2"])
def test_an_unknown_network_is_refused(name):
    assert not callable(getattr(keras.applications, name, None))
    with pytest.raises(SystemExit, match="Expected: resnet8"):
        build_or_load(name, (32, 32, 3), 4)


def test_digits_come_back_from_their_folders(tmp_path):
    classes, training, test = read_images(write_digits(tmp_path, 50, 60), (8, 8), seed=0)
    assert classes == [str(digit) for digit in range(10)]
    assert (int(training.cardinality()), int(test.cardinality())) == (50, 60)
    pixels, labels = load_digits(return_X_y=True)
    expected = sorted(
        (int(label), *np.trunc(image * 255 / 16)) for image, label in zip(pixels[50:110], labels[50:110], strict=True)
    )
    received = sorted((int(label), *image.numpy()[..., 0].reshape(-1)) for image, label in test)
    np.testing.assert_array_equal(received, expected)


def test_a_folder_without_test_images_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(SystemExit, match="'test' \\(or 'val'\\)"):
        read_images(tmp_path, (8, 8), seed=0)


def test_a_class_without_test_images_is_refused_rather_than_counted_as_the_next_one(tmp_path):
    write_digits(tmp_path, 50, 5)
    with pytest.raises(ValueError, match="class_names"):
        read_images(tmp_path, (8, 8), seed=0)


@pytest.mark.parametrize("flip", [False, True])
def test_training_images_are_moved_and_flipped_only_if_asked(flip):
    ramp = np.tile(np.arange(1, 17, dtype=np.uint8)[:, np.newaxis], (40, 16, 1, 3)).reshape(
        40, 16, 16, 3
    )  # brighter to the right
    images = tf.data.Dataset.from_tensor_slices((ramp, np.zeros(40, int)))
    batches = training_batches(images, (16, 16), lambda pixels: pixels, 40, seed=0, flip=flip)
    rows = next(iter(batches))[0].numpy()[:, 8, 4:12, 0]
    steps = np.diff(rows, axis=1)[:, 2:-2]
    assert set(np.unique(steps)) == ({-1.0, 1.0} if flip else {1.0})
    assert len({tuple(row) for row in rows}) > 2
