"""Models that compute in another type of floating point: exported, audited, compared and benchmarked in every format."""

import contextlib
import functools
import warnings

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export import registered_formats

layers = keras.layers
SAMPLES = np.random.default_rng(0).normal(size=(16, 6, 6, 3)).astype(np.float32)
TYPES = ("float16", "float64", "mixed_float16", "mixed_bfloat16")
MAKERS = {
    "quantize": lambda model: kc.quantize(model, SAMPLES),
    "magnitude_sparsity": lambda model: kc.create_compressed_model(
        model, {"compression": {"algorithm": "magnitude_sparsity", "sparsity_init": 0.5}}
    )[1],
}


@contextlib.contextmanager
def computing_in(kind):
    """Layers made inside compute in a type."""
    try:
        if kind.startswith("mixed"):
            keras.mixed_precision.set_global_policy(kind)
        else:
            keras.backend.set_floatx(kind)
        yield
    finally:
        keras.mixed_precision.set_global_policy("float32")
        keras.backend.set_floatx("float32")


@functools.cache
def compressed(kind, maker):
    with computing_in(kind), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inputs = keras.Input((6, 6, 3))
        hidden = layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu", name="conv")(inputs))
        model = keras.Model(inputs, layers.Dense(5, name="out")(layers.Flatten()(hidden)))
    return model, MAKERS[maker](model)


@pytest.mark.parametrize("name", sorted(registered_formats()))
@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("kind", TYPES)
def test_a_model_in_another_type_is_exported_compared_and_benchmarked(kind, maker, name, tmp_path):
    original, model = compressed(kind, maker)
    form = registered_formats()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = kc.export_model(model, tmp_path / f"model{form.suffix}", name, data=SAMPLES)
        assert report.comparison.sqnr > 35
        assert report.faults == []
        assert kc.audit(model, report.path, name, data=SAMPLES).faults == []
        if form.isolated is not None:
            assert kc.compare(model, report.path, SAMPLES, save_format=name).rows
        of_inputs = np.asarray(SAMPLES, original.inputs[0].dtype.as_numpy_dtype)
        for data in (SAMPLES, of_inputs):
            assert kc.benchmark([report], data, rounds=1).rows
        assert len(kc.benchmark([report], SAMPLES, rounds=1, float_model=original).rows) == 2
