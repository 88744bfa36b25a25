"""The data of a calibration stay with the live model that was calibrated, and are never copied."""

import gc
import warnings
import weakref

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.calibration.calibration_record import calibration_of
from keras_compress.graph import build, take

layers = keras.layers


class Samples:
    """Batches that count how often they are copied."""

    copies = 0

    def __iter__(self):
        return iter([np.random.RandomState(0).normal(size=(4, 8)).astype(np.float32)])

    def __deepcopy__(self, memo):
        Samples.copies += 1
        return self


@keras.saving.register_keras_serializable("calibration_record")
class Mine(keras.Model):
    """A model class of the user's, which also keeps a layer and a list."""

    def __init__(self, **kwargs):
        inputs = keras.Input((8,), name="x")
        dense = layers.Dense(4, name="dense")
        super().__init__(inputs, layers.Dense(2, name="head")(dense(inputs)), **kwargs)
        self.kept = [dense]


def functional():
    inputs = keras.Input((8,), name="x")
    return keras.Model(inputs, layers.Dense(2, name="head")(layers.Dense(4, name="dense")(inputs)))


@pytest.mark.parametrize("make", [Mine, functional])
def test_copies_of_a_calibrated_model_have_no_record_and_copy_no_data(make, tmp_path):
    Samples.copies = 0
    data = kc.Dataset(Samples())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = kc.quantize(make(), data, subset_size=4)
        record = calibration_of(quantized)
        assert record is not None
        assert record.samples == 4
        stripped = kc.strip(quantized)
        rebuilt = build(take(quantized))
        around = keras.Input((8,))
        held = build(take(keras.Model(around, layers.Dense(2)(quantized(around)))))
        report = kc.export_model(quantized, tmp_path / "model.onnx")
    assert report.comparison.sqnr > 30
    assert calibration_of(quantized) is record
    for made in (stripped, rebuilt, *held.layers):
        assert calibration_of(made) is None
    assert Samples.copies == 0


def test_a_record_does_not_keep_a_model_alive():

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = kc.quantize(functional(), np.ones((4, 8), np.float32), subset_size=4)
    reference = weakref.ref(quantized)
    del quantized
    keras.backend.clear_session()
    gc.collect()
    assert reference() is None
