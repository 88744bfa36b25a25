"""What every test shares: fixed random seeds, so that a failure comes again."""

import pytest

from keras_compress._keras import keras


@pytest.fixture(autouse=True)
def _fixed_seeds():
    keras.utils.set_random_seed(7)
