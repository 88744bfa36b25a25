"""A frozen graph tells of every weight whether what is computed with it reads integers, whatever moves values in between."""

import pytest

import keras_compress as kc
from keras_compress._keras import keras
from tests import zoo

layers = keras.layers

VOLUME, IMAGE, SEQUENCE = (6, 6, 6, 2), (6, 6, 2), (6, 2)
MOVES = {
    "MaxPooling3D": (layers.MaxPooling3D(2), VOLUME),
    "UpSampling3D": (layers.UpSampling3D(2), VOLUME),
    "ZeroPadding3D": (layers.ZeroPadding3D(1), VOLUME),
    "Cropping3D": (layers.Cropping3D(1), VOLUME),
    "MaxPooling2D": (layers.MaxPooling2D(2), IMAGE),
    "UpSampling2D": (layers.UpSampling2D(2), IMAGE),
    "ZeroPadding2D": (layers.ZeroPadding2D(1), IMAGE),
    "Permute": (layers.Permute((2, 1, 3)), IMAGE),
    "MaxPooling1D": (layers.MaxPooling1D(2), SEQUENCE),
    "UpSampling1D": (layers.UpSampling1D(2), SEQUENCE),
    "Cropping1D": (layers.Cropping1D(1), SEQUENCE),
    "GlobalMaxPooling1D": (layers.GlobalMaxPooling1D(keepdims=True), SEQUENCE),
}
CONVOLUTIONS = {2: layers.Conv1D, 3: layers.Conv2D, 4: layers.Conv3D}


@pytest.mark.parametrize("kind", MOVES)
def test_a_layer_behind_one_that_moves_values_reads_integers(kind, tmp_path):
    move, shape = MOVES[kind]
    convolution = CONVOLUTIONS[len(shape)]
    first, last = convolution(3, 1, activation="relu", name="first"), convolution(2, 1, name="last")
    model = keras.Sequential([keras.Input(shape), first, type(move).from_config(move.get_config()), last])
    report = kc.export_model(kc.quantize(model, zoo.samples(model, 16)), tmp_path / "model.pb")
    assert report.faults == []
    assert {row.layer: row.input_quantized for row in report.weights} == {"first": True, "last": True}
