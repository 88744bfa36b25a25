"""What every test shares: fixed random seeds and fresh automatic layer names, so that a failure comes again."""

import pytest

from keras_compress._keras import keras


@pytest.fixture(autouse=True)
def _fresh_start():
    keras.backend.reset_uids()
    keras.utils.set_random_seed(7)
