"""A plain model of a compressed one, with and without its quantizers of activations."""

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import CompressedLayer, FakeQuantize
from tests import zoo


@pytest.fixture(scope="module", params=["residual", "nested", "two_outputs"])
def pair(request):
    model = getattr(zoo, request.param)()
    return zoo.compress(model)


def test_without_its_controller_a_model_is_stripped_as_with_it(pair):
    controller, model = pair
    inputs = zoo.samples(model, 16)
    plain = kc.strip(model)
    assert not any(isinstance(layer, (CompressedLayer, FakeQuantize)) for _, layer in leaf_layers(plain))
    zoo.assert_same_predictions(plain, controller.strip(), inputs)


def test_with_its_quantizers_a_stripped_model_computes_what_the_compressed_one_computes(pair):
    controller, model = pair
    inputs = zoo.samples(model, 16)
    before = [array.copy() for array in model.get_weights()]
    for plain in (kc.strip(model, keep_activations=True), controller.strip(True, keep_activations=True)):
        assert not any(isinstance(layer, CompressedLayer) for _, layer in leaf_layers(plain))
        for one, other in zip(zoo.predict(plain, inputs), zoo.predict(model, inputs), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_stripped_model_with_quantizers_is_saved_and_read(pair, tmp_path):
    _, model = pair
    plain = kc.strip(model, keep_activations=True)
    plain.save(tmp_path / "plain.keras")
    zoo.assert_same_predictions(keras.models.load_model(tmp_path / "plain.keras"), plain, zoo.samples(model, 16))


def test_names_that_scripts_of_nncf_use_work(tmp_path):
    model = kc.quantize(zoo.dense(), zoo.samples(zoo.dense(), 16))
    x = zoo.samples(model, 4)
    np.testing.assert_array_equal(kc.strip(model, do_copy=False)(x), kc.strip(model, True)(x))
    assert kc.export_model(model, tmp_path / "folder", save_format="tf").save_format == "saved_model"
