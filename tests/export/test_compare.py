"""Results are wrong if they depart from the model's; not if samples are few, decisions are ties, or the model is noisy."""

import numpy as np
import pytest

from keras_compress._keras import keras
from keras_compress.export.audit_samples import AuditSamples
from keras_compress.export.compare import Limits, compare_arrays, compare_outputs, judged
from tests import zoo

layers = keras.layers


def scores(count, classes=4, seed=0):
    values = np.exp(np.random.default_rng(seed).normal(size=(count, classes)) * 3)
    return (values / values.sum(-1, keepdims=True)).astype(np.float32)


def with_flips(values, flips):
    """Return scores in which the first clear decisions are turned around, and nothing else departs."""
    other = values.copy()
    order = np.argsort(values.max(-1))[::-1][:flips]
    other[order] = np.roll(values[order], 1, axis=-1)
    return other


def test_the_signal_to_error_ratio_is_that_of_the_worst_output():
    one = np.random.default_rng(0).normal(size=(10, 3))
    noise = 0.1 * np.random.default_rng(1).normal(size=(10, 3))
    found = compare_arrays([one, one], [one, one + noise])
    assert found.sqnr == pytest.approx(10 * np.log10(np.mean(one**2) / np.mean(noise**2)))


@pytest.mark.parametrize(
    ("samples", "flips", "shown"), [(32, 1, False), (64, 4, False), (64, 8, True), (1000, 40, False), (1000, 50, True)]
)
def test_flips_count_as_far_as_the_number_of_samples_shows_them(samples, flips, shown):
    expected = scores(samples)
    expected[:, 0] += 3 * (expected.argmax(-1) == 0)
    expected = np.eye(4, dtype=np.float32)[expected.argmax(-1)] * 0.9 + 0.025
    found = compare_arrays([expected], [with_flips(expected, flips)])
    assert (found.flips, found.decided) == (flips, samples)
    model = zoo.dense()
    samples = AuditSamples("data", (zoo.samples(model, 4),))
    problem = judged(model, samples, found, Limits(min_sqnr=0)).problem
    assert bool(problem) == shown


def test_ties_are_no_decisions():
    expected = np.full((50, 4), 0.25, np.float32)
    expected[:, 0] += 1e-4
    received = np.roll(expected, 1, axis=-1)
    assert compare_arrays([expected], [received]).decided == 0


def test_what_is_no_score_has_no_decisions():
    values = np.random.default_rng(0).normal(size=(50, 4))
    assert compare_arrays([values], [values[:, ::-1]]).decided == 0


def test_integers_are_compared_by_agreement():
    tokens = np.arange(100).reshape(10, 10)
    other = tokens.copy()
    other[0] += 1
    found = compare_arrays([tokens], [other])
    assert (found.same_top1, found.flips, found.decided) == (0.9, 10, 100)


def run_with(error):
    """Return a file that computes what the dense model computes, times a factor."""
    model = zoo.dense()
    return model, lambda arrays: [model(arrays[0]).numpy() * error]


def test_a_departure_is_a_problem():
    model, run = run_with(1.2)
    samples = AuditSamples("data", (zoo.samples(model, 40),))
    found = judged(model, samples, compare_outputs(model, run, samples), Limits())
    assert found.sqnr == pytest.approx(-20 * np.log10(0.2), abs=1e-3)
    assert "depart from the model's: 14.0 dB" in found.problem
    assert judged(model, samples, compare_outputs(model, run, samples), Limits(min_sqnr=13)).problem == ""


def test_on_drawn_samples_only_gross_departures_count():
    model, run = run_with(1.2)
    samples = AuditSamples("drawn", (zoo.samples(model, 40),))
    assert judged(model, samples, compare_outputs(model, run, samples), Limits()).problem == ""
    model, run = run_with(-1.0)
    assert "depart" in judged(model, samples, compare_outputs(model, run, samples), Limits()).problem


def test_numbers_that_are_none_are_a_problem():
    model, run = run_with(np.nan)
    samples = AuditSamples("data", (zoo.samples(model, 4),))
    assert judged(model, samples, compare_outputs(model, run, samples), Limits()).problem


def test_a_model_that_amplifies_rounding_is_told_apart():
    x = keras.Input((4,))
    model = keras.Model(x, layers.Lambda(lambda values: keras.backend.sin(values * 1e9))(x))
    inputs = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    samples = AuditSamples("data", (inputs,))
    found = compare_outputs(model, lambda arrays: [model(arrays[0] * np.float32(1 + 1e-6)).numpy()], samples)
    found = judged(model, samples, found, Limits())
    assert found.problem == ""
    assert "amplifies rounding" in found.note


def test_a_fixed_batch_is_filled_up_and_the_filling_does_not_count():
    x = keras.Input(batch_shape=(8, 3))
    model = keras.Model(x, layers.Dense(2)(x))
    seen = []
    samples = AuditSamples("data", (np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32),))
    found = compare_outputs(model, lambda arrays: (seen.append(len(arrays[0])), [model(arrays[0]).numpy()])[1], samples)
    assert seen == [8, 8]
    assert found.samples == 11
