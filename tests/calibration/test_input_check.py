"""Data that a model was probably not trained on are named in a warning, and all others are not."""

import contextlib
import re
import warnings

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.calibration.input_check import InputCheck
from keras_compress.calibration.statistics_pass import collect_statistics
from keras_compress.graph import ModelGraph, take

layers = keras.layers
RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal(size=(64, 6)).astype(np.float32)
PIXELS = RANDOM.integers(0, 256, (32, 6, 6, 3)).astype(np.uint8)


def calibrate(model, data, **settings):
    config = {"compression": {"algorithm": "quantization", **settings}}
    return kc.create_compressed_model(model, kc.register_default_init_args(config, data))


@contextlib.contextmanager
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def table_model(*before):
    return keras.Sequential([keras.Input((6,), name="x"), *before, layers.Dense(4, "relu"), layers.Dense(2)])


def image_model(*before, behind=()):
    stack = [keras.Input((6, 6, 3), name="image"), *before, layers.Conv2D(4, 3, name="conv"), *behind]
    return keras.Sequential([*stack, layers.ReLU(), layers.Flatten(), layers.Dense(2)])


def scaled(**columns):
    data = TABLE.copy()
    for name, factor in columns.items():
        data[:, int(name[1:])] *= factor
    return data


@pytest.mark.parametrize(("column", "lost"), [("c4", 5), ("c0", 5)])
def test_columns_that_a_shared_range_loses_are_named_with_the_remedy(column, lost):
    pattern = rf"{lost} of 6 input columns are lost.*column 1 of 'x'.*Normalization.*per_channel"
    with pytest.warns(UserWarning, match=pattern):
        calibrate(table_model(), scaled(**{column: 250_000}))


def test_columns_that_come_as_inputs_of_their_own_are_named_too():
    inputs = [keras.Input((1,), name=f"age_{index}") for index in range(3)]
    model = keras.Model(inputs, layers.Dense(2)(layers.Concatenate()(inputs)))
    data = scaled(c1=1e5)
    with pytest.warns(UserWarning, match=r"2 of 3 input columns.*'age_0', 'age_2'"):
        calibrate(model, [data[:, index] for index in range(3)])


def test_with_a_range_per_column_or_a_normalization_no_column_is_lost():
    data = scaled(c4=250_000)
    normalization = layers.Normalization()
    normalization.adapt(data)
    with no_warning():
        calibrate(table_model(), data, activations={"per_channel": True})
        calibrate(table_model(normalization), data)
        calibrate(table_model(), scaled(c4=20))
        calibrate(table_model(), np.where(np.arange(6) == 2, 0, TABLE))  # a column that is constant loses nothing


def test_one_sample_alone_is_named():
    with pytest.warns(UserWarning, match="one sample alone"):
        calibrate(table_model(), TABLE[0])


def adapted():
    layer = layers.Normalization()
    layer.adapt(TABLE * 30 + 1000)
    return table_model(layer)


def rescaling(scale, offset=0.0):
    return image_model(layers.Rescaling(scale, offset, name="scale"))


def trained(data):
    """Return a model with the statistics of its data in a batch normalization behind the first convolution."""
    model = image_model(behind=[layers.BatchNormalization(name="norm")])
    convolved = keras.Model(model.input, model.get_layer("conv").output)(data.astype(np.float32)).numpy()
    axes = (0, 1, 2)
    model.get_layer("norm").set_weights([np.ones(4), np.zeros(4), convolved.mean(axes), convolved.var(axes)])
    return model


FAR = {
    "0 to 1 into 1/255": (lambda: rescaling(1 / 255), PIXELS / 255, "'scale'.*up to about 255"),
    "0 to 1 into 1/127.5": (lambda: rescaling(1 / 127.5, -1), PIXELS / 255, "'scale'"),
    "0 to 255 into 255": (lambda: rescaling(255.0), PIXELS, "'scale'.*up to about 0.0039"),
    "16 bits into 1/255": (lambda: rescaling(1 / 255), PIXELS * 256.0, "'scale'"),
    "normalized twice": (adapted, TABLE, "'normalization.*scaled neither twice nor not at all"),
    "not normalized": (adapted, TABLE * 30_000 + 1000, "'normalization"),
    "pixels, trained on 0 to 1": (lambda: trained(PIXELS / 255), PIXELS, "'norm'"),
    "0 to 1, trained on pixels": (lambda: trained(PIXELS), PIXELS / 255, "'norm'"),
    "pixels into nothing that rescales": (image_model, PIXELS, "whole numbers from 0 to 255.*does not rescale"),
}
NEAR = {
    "pixels into 1/255": (lambda: rescaling(1 / 255), PIXELS),
    "pixels into 1/127.5": (lambda: rescaling(1 / 127.5, -1), PIXELS),
    "0 to 1 into 255": (lambda: rescaling(255.0), PIXELS / 255),
    "normalized once": (adapted, TABLE * 30 + 1000),
    "as trained": (lambda: trained(PIXELS / 255), PIXELS / 255),
    "as trained on pixels": (lambda: trained(PIXELS), PIXELS),
    "batch normalization that is new": (lambda: image_model(behind=[layers.BatchNormalization()]), PIXELS),
    "0 to 1": (image_model, PIXELS / 255),
}


@pytest.mark.parametrize("case", FAR)
def test_data_far_from_what_the_first_layers_expect_are_named(case):
    make, data, pattern = FAR[case]
    with pytest.warns(UserWarning, match=f"(?s){pattern}"):
        calibrate(make(), data)


@pytest.mark.parametrize("case", NEAR)
def test_data_as_in_training_are_not(case):
    make, data = NEAR[case]
    with no_warning():
        calibrate(make(), data)


@pytest.mark.parametrize(
    ("factor", "offset", "mean", "spread"),
    [(1.0, 25.0, 25, 1), (30.0, 0.0, 0, 30), (3.0, 25.0, 25, 3), (0.01, 0.0, 0, 0.01)],
)
def test_mean_and_spread_are_told_in_units_of_the_training(factor, offset, mean, spread):
    model = keras.Sequential(
        [keras.Input((4,), name="x"), layers.Dense(4, name="first"), layers.BatchNormalization(name="norm")]
    )
    model.get_layer("first").set_weights([np.eye(4), np.zeros(4)])
    data = RANDOM.normal(size=(200, 4))
    data = (data - data.mean(axis=0)) / data.std(axis=0) * 5 + 100
    model.get_layer("norm").set_weights([np.ones(4), np.zeros(4), np.full(4, 100.0), np.full(4, 25.0)])
    with no_warning():
        calibrate(model, data.astype(np.float32))
    with pytest.warns(UserWarning, match="far from what the model expects") as caught:
        calibrate(model, ((data - 100) * factor + 100 + 5 * offset).astype(np.float32))
    [message] = [str(one.message) for one in caught]
    found = re.search(r"'norm' their mean is (\S+) standard deviations .* and their spread (\S+) times that", message)
    assert found is not None, message
    np.testing.assert_allclose([float(number) for number in found.groups()], [mean, spread], rtol=0.02, atol=0.02)


def test_of_each_layer_no_more_is_kept_than_is_read():
    model = trained(PIXELS / 255)
    graph = ModelGraph(take(model))
    check = InputCheck(model, graph, {}, 32)
    collect_statistics(model, [check], kc.Dataset(PIXELS), "check")
    assert [layer.name for layer in check._moments] == ["norm"]
    assert not check._extremes
    model = rescaling(1 / 255)
    check = InputCheck(model, ModelGraph(take(model)), {}, 32)
    collect_statistics(model, [check], kc.Dataset(PIXELS), "check")
    assert [layer.name for layer in check._extremes] == ["scale"]
    assert not check._moments
