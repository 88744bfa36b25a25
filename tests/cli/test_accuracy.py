"""top1: counted right for every form of labels."""

import numpy as np
import pytest

from keras_compress._keras import keras
from keras_compress.errors import DataError
from keras_compress_cli.accuracy import top1

SCORES = np.array([[0.1, 0.9], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]], np.float32)


def identity(size):
    return keras.Sequential([keras.Input((size,)), keras.layers.Activation("linear")])


@pytest.mark.parametrize(
    "labels", [np.array([1, 0, 1, 1]), np.array([[1], [0], [1], [1]]), np.eye(2)[[1, 0, 1, 1]], [1, 0, 1, 1]]
)
def test_classes(labels):
    assert top1(identity(2), (SCORES, labels)) == 0.75


def test_one_output():
    assert top1(identity(1), (SCORES[:, :1], np.array([0, 1, 1, 1]))) == 0.75


def test_batches():
    assert top1(identity(2), [(SCORES[:3], np.array([1, 0, 1])), (SCORES[3:], np.array([1]))]) == 0.75


@pytest.mark.parametrize(
    ("data", "message"),
    [([SCORES], "no labels"), ((SCORES, np.zeros((4, 3))), "do not fit"), ([], "empty")],
)
def test_what_cannot_be_counted(data, message):
    with pytest.raises(DataError, match=message):
        top1(identity(2), data)
