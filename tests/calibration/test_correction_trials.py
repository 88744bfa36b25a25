"""A correction stays where the outputs come nearer to those in floating point; else every number is as it was."""

import math
import warnings

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import Dataset, create_compressed_model, register_default_init_args
from keras_compress._keras import keras
from keras_compress.calibration import Correction, CorrectionTrials, hold_out
from keras_compress.data import input_specs
from keras_compress.graph.variables import leaf_layers
from tests import zoo

layers = keras.layers
CONFIG = {"compression": {"algorithm": "quantization", "weights": {"bits": 4}}}


def compressed(model, samples=80):
    data = zoo.samples(model, samples, seed=3)
    return create_compressed_model(model, register_default_init_args(CONFIG, data))[1], Dataset(data)


def trials_of(model, data, used=40):
    return CorrectionTrials(model, hold_out(data, input_specs(model), used))


def bias(model):
    return next(layer for path, layer in leaf_layers(model) if path == "out").layer.bias


def signal_to_error(model, float_model, inputs):
    expected, found = (np.asarray(m(inputs, training=False), np.float64) for m in (float_model, model))
    return 10 * math.log10(np.sum(expected**2) / np.sum((found - expected) ** 2))


def test_outputs_are_compared_with_the_float_model_on_the_samples_that_took_no_part():
    model = zoo.dense()
    quantized, data = compressed(model)
    found = trials_of(quantized, data).signal_to_error
    exact = keras.Model(model.inputs, model.outputs)
    biases = {path: layer.layer.bias for path, layer in leaf_layers(quantized) if hasattr(layer, "weight_ops")}
    for path, variable in biases.items():  # the reference has the present biases: it is the same model in float
        exact.get_layer(path).bias.assign(variable)
    assert found == pytest.approx(signal_to_error(quantized, exact, data.source[40:80]), abs=0.01)


def test_what_harms_is_undone_to_the_last_bit():
    model, data = compressed(zoo.dense())
    trials, before = trials_of(model, data), bias(model).numpy()
    trials.attempt(Correction("a shift", [bias(model)], lambda: bias(model).assign_add(np.ones(3))))
    np.testing.assert_array_equal(bias(model), before)
    [trial] = trials.done
    assert not trial.kept
    assert trial.after < trial.before == trials.signal_to_error
    assert str(trial) == f"a shift: {trial.before:.1f} → {trial.after:.1f} dB, not kept"


def test_what_helps_stays_and_is_what_the_next_is_compared_with():
    model, data = compressed(zoo.dense())
    trials, right = trials_of(model, data), bias(model).numpy()
    bias(model).assign(right + 1)
    trials.signal_to_error = trials._measured()
    trials.attempt(Correction("back", [bias(model)], lambda: bias(model).assign(right)))
    np.testing.assert_array_equal(bias(model), right)
    assert trials.done[0].kept
    assert trials.signal_to_error == trials.done[0].after > trials.done[0].before
    trials.attempt(Correction("nothing", [bias(model)], lambda: None))
    assert not trials.done[1].kept


def test_what_was_asked_for_stays_and_warns_where_it_harms():
    model, data = compressed(zoo.dense())
    trials, before = trials_of(model, data), bias(model).numpy()
    with pytest.warns(UserWarning, match=r"asked for.*a shift: .* dB, kept"):
        trials.attempt(Correction("a shift", [bias(model)], lambda: bias(model).assign_add(np.ones(3)), asked_for=True))
    np.testing.assert_array_equal(bias(model), before + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trials.attempt(Correction("back", [bias(model)], lambda: bias(model).assign(before), asked_for=True))
    assert [trial.kept for trial in trials.done] == [True, True]


def test_numbers_that_are_not_finite_are_not_kept():
    model, data = compressed(zoo.dense())
    trials, before = trials_of(model, data), bias(model).numpy()
    trials.attempt(Correction("NaN", [bias(model)], lambda: bias(model).assign(np.full(3, np.nan))))
    np.testing.assert_array_equal(bias(model), before)


@pytest.mark.parametrize("kind", ["dicts", "two_outputs", "recurrent", "nested"])
def test_models_of_other_kinds_are_judged_too(kind):
    model, data = compressed(zoo.MODELS[kind]())
    assert trials_of(model, data).signal_to_error > 0


def test_what_is_worth_nothing_at_this_distance_is_not_tried_unless_asked_for():
    model, data = compressed(zoo.dense())
    trials = trials_of(model, data)
    trials.attempt(Correction("a shift", [], lambda: None, below=trials.signal_to_error - 1))
    assert trials.done == []
    trials.attempt(Correction("a shift", [], lambda: None, below=trials.signal_to_error + 1))
    trials.attempt(Correction("a shift", [], lambda: None, True, below=trials.signal_to_error - 1))
    assert len(trials.done) == 2


@pytest.mark.parametrize("dtype", [tf.string, tf.complex64, tf.int32, tf.bool])
def test_outputs_of_any_type_are_compared_or_left_out(dtype):
    def other(x):
        return tf.strings.as_string(x) if dtype == tf.string else tf.cast(x > 0 if dtype == tf.bool else x, dtype)

    x = keras.Input((4,), name="x")
    made = layers.Dense(3, name="out")(x)
    model = keras.Model(x, [made, layers.Lambda(other, name="other")(made)])
    quantized, data = compressed(model)
    assert trials_of(quantized, data).signal_to_error > 10
