"""The samples of an audit: the user's, registered ones that did not calibrate, or drawn ones that fit the inputs."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.errors import ExportError
from keras_compress.export.audit_samples import audit_samples
from tests import zoo

layers = keras.layers


def test_samples_that_are_given_are_taken():
    model = kc.quantize(zoo.dense(), zoo.samples(zoo.dense(), 40))
    given = zoo.samples(model, 70, seed=5)
    found = audit_samples(model, given)
    assert found.source == "data"
    np.testing.assert_array_equal(found.inputs[0], given)


def test_registered_samples_that_did_not_calibrate_come_first():
    data = zoo.samples(zoo.dense(), 200)
    model = kc.quantize(zoo.dense(), data, subset_size=100)
    found = audit_samples(model)
    assert found.source == "registered"
    np.testing.assert_array_equal(found.inputs[0], data[100:164])


def test_else_those_of_the_calibration():
    data = zoo.samples(zoo.dense(), 40)
    for model in (
        kc.quantize(zoo.dense(), data),
        kc.create_compressed_model(
            zoo.dense(), kc.register_default_init_args({"compression": {"algorithm": "quantization"}}, data)
        )[1],
    ):
        found = audit_samples(model)
        assert found.source == "calibration"
        np.testing.assert_array_equal(found.inputs[0], data)


def loaded(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.models.load_model(tmp_path / "model.keras")


def test_drawn_samples_lie_within_the_range_of_the_quantizer_that_reads_them(tmp_path):
    image = keras.Input((6, 6, 3))
    x = layers.Conv2D(2, 3)(layers.Rescaling(1 / 127.5, -1.0)(image))
    data = np.random.default_rng(0).uniform(0, 255, (40, 6, 6, 3)).astype(np.float32)
    model = loaded(kc.quantize(keras.Model(image, layers.Flatten()(x)), data), tmp_path)
    found = audit_samples(model)
    assert found.source == "drawn"
    assert found.inputs[0].shape == (64, 6, 6, 3)
    assert -10 < found.inputs[0].min() < 10
    assert 245 < found.inputs[0].max() < 265


def test_drawn_integers_are_rows_of_their_table_and_open_sizes_are_filled(tmp_path):
    words = keras.Input((None,), dtype="int32")
    model = keras.Model(words, layers.Dense(2)(layers.Embedding(7, 3)(words)))
    compressed = loaded(kc.quantize(model, np.ones((4, 5), np.int32)), tmp_path)
    found = audit_samples(compressed)
    assert found.inputs[0].shape == (64, 16)
    assert found.inputs[0].dtype == np.int32
    assert set(np.unique(found.inputs[0])) == set(range(7))


def test_samples_have_the_type_of_the_input():
    words = keras.Input((5,))
    model = keras.Model(words, layers.Dense(2)(layers.Embedding(7, 3)(words)))
    assert audit_samples(model, np.ones((4, 5), np.int64)).inputs[0].dtype == np.float32


@pytest.mark.filterwarnings("ignore")
def test_no_text_is_drawn():
    text = keras.Input((), dtype="string")
    lookup = layers.StringLookup(vocabulary=["a", "b"])
    model = keras.Model(text, layers.Dense(2)(layers.Embedding(4, 3)(lookup(text))))
    assert audit_samples(model) is None


def open_image_model():
    image = keras.Input((None, None, 3), name="image")
    outputs = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="conv")(image))
    return keras.Model(image, layers.Dense(2)(outputs))


def images(size, count=8):
    return np.random.default_rng(size).normal(size=(count, size, size, 3)).astype(np.float32)


def test_samples_have_the_sizes_that_the_file_fixes():
    model = kc.quantize(open_image_model(), images(12))
    assert audit_samples(model, shapes=[(12, 12, 3)]).source == "calibration"
    drawn = audit_samples(model, shapes=[(20, None, 3)])  # none of the registered ones fits
    assert drawn.source == "drawn"
    assert drawn.inputs[0].shape == (64, 20, 16, 3)
    with pytest.raises(ExportError, match=r"None of the samples of 'data' fits .*\(20, 20, 3\)"):
        audit_samples(model, images(12), shapes=[(20, 20, 3)])


def test_samples_that_are_passed_over_do_not_set_the_size():
    data = [images(10, 32)] * 2 + [images(14, 32)]
    model = kc.quantize(
        open_image_model(),
        tf.data.Dataset.from_generator(lambda: iter(data), output_signature=tf.TensorSpec((None, None, None, 3))),
        subset_size=64,
    )
    found = audit_samples(model)
    assert found.source == "registered"
    assert found.inputs[0].shape == (32, 14, 14, 3)


@pytest.mark.parametrize("ending", [".onnx", ".tflite", ".pb", ".xml"])
def test_a_file_of_fixed_sizes_is_run_on_samples_of_these(tmp_path, ending):
    model = kc.quantize(open_image_model(), images(12))
    report = kc.export_model(model, tmp_path / f"model{ending}", input_shapes=(20, 20, 3))
    assert report.comparison.source == "drawn"
    assert report.comparison.sqnr > 15
    again = kc.audit(model, report.path, input_shapes=(20, 20, 3))
    assert again.comparison == report.comparison
