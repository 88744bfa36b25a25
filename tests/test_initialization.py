"""The first numbers of a compressed model are measured once, from weights that are finite, and told without measuring again."""

import itertools
import warnings

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.algorithms import quantization
from keras_compress.calibration.calibration_record import calibration_of

layers = keras.layers
DATA = np.random.RandomState(0).normal(size=(64, 8)).astype(np.float32)


def model():
    return keras.Sequential([keras.Input((8,), name="x"), layers.Dense(4, "relu", name="a"), layers.Dense(2, name="b")])


def config(**settings):
    return kc.register_default_init_args({"compression": {"algorithm": "quantization", **settings}}, DATA)


@pytest.fixture
def collectors(monkeypatch):
    """A list of the collectors of ranges that are made."""
    made = []

    class Counted(quantization.ActivationRanges):
        def __init__(self, *args, **kwargs):
            made.append(self)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(quantization, "ActivationRanges", Counted)
    return made


def test_collectors_are_made_once_and_not_when_a_model_is_resumed(collectors):
    controller, compressed = kc.create_compressed_model(model(), config())
    assert len(collectors) == 1
    state = controller.get_compression_state()
    _, resumed = kc.create_compressed_model(model(), config(), state)
    assert len(collectors) == 1
    assert calibration_of(resumed).samples == calibration_of(compressed).samples == 256


@pytest.mark.parametrize(
    ("settings", "samples"),
    [
        ({}, 256),
        ({"initializer": {"range": {"num_init_samples": 17}}}, 17),
        ({"initializer": {"range": {"num_init_samples": 0}}}, 0),
        (
            {
                "initializer": {
                    "range": [
                        {"num_init_samples": 9, "target_scopes": "x", "target_quantizer_group": "activations"},
                        {"num_init_samples": 5, "target_quantizer_group": "activations"},
                    ]
                }
            },
            9,
        ),
    ],
)
def test_the_record_tells_how_many_samples_the_collectors_ask_for(settings, samples):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        controller, compressed = kc.create_compressed_model(model(), config(**settings))
    assert calibration_of(compressed).samples == samples
    for algorithm, ops in controller.parts:
        asked = [collector.samples for collector in algorithm.collectors(ops)]
        assert algorithm.calibration_samples(ops) == max(asked, default=0)


def test_an_algorithm_that_only_has_collectors_tells_their_samples():
    class Algorithm(quantization.Quantization):
        calibration_samples = kc.algorithms.CompressionAlgorithm.calibration_samples

    controller, _ = kc.create_compressed_model(model(), config())
    [(_, ops)] = controller.parts
    assert Algorithm().calibration_samples(ops) == 256


def broken_kernel(value):
    widths = {"first": 4, "second": 2, "third": 2}
    stack = [keras.layers.Dense(width, name=name) for name, width in widths.items()]
    model = keras.Sequential([keras.Input((3,), name="x"), *stack])
    kernel = model.get_layer("second").kernel
    kernel.assign(np.full(kernel.shape, value))
    return model


@pytest.mark.parametrize(
    ("algorithm", "value"),
    [
        ("binarization", np.nan),  # which leaves dense layers in floating point, where infinite values may be meant
        *itertools.product(["quantization", "magnitude_sparsity", "rb_sparsity"], [np.nan, np.inf, -np.inf]),
    ],
)
def test_weights_that_are_not_finite_are_an_error_that_names_them(algorithm, value):
    config = kc.register_default_init_args({"compression": {"algorithm": algorithm}}, np.ones((4, 3), np.float32))
    with pytest.raises(
        kc.UnsupportedModelError, match=r"'kernel' of the layer 'second'.*NaN or infinite.*8 such values"
    ):
        kc.create_compressed_model(broken_kernel(value), config)
