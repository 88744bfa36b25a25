"""Results are wrong if they depart from the model's; not if samples are few, decisions are ties, or the model is noisy."""

import numpy as np
import pytest

from keras_compress._keras import keras
from keras_compress.export.audit_samples import AuditSamples
from keras_compress.export.result_comparison import Limits, compare_arrays, compare_outputs, judged
from keras_compress.export.runtimes.run import RunError
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


# The numbers of a comparison, against NumPy


def perturbed(model, errors):
    """A runtime that computes what the model does, and adds errors to its outputs; batches may be padded."""
    waiting = [np.concatenate([error, np.zeros((32, *error.shape[1:]), np.float32)]) for error in errors]

    def run(inputs):
        outputs, size = zoo.predict(model, inputs[0]), len(inputs[0])
        received = [output + error[:size] for output, error in zip(outputs, waiting, strict=True)]
        waiting[:] = [error[size:] for error in waiting]
        return received

    return run


def given(*inputs):
    return AuditSamples("data", inputs)


def test_the_numbers_of_a_comparison_are_those_of_numpy():
    model = zoo.dense()
    x = zoo.samples(model, 70)
    expected = zoo.predict(model, x)[0].astype(np.float64)
    error = np.random.default_rng(0).normal(scale=0.3, size=expected.shape).astype(np.float32)
    found = compare_outputs(model, perturbed(model, [error]), given(x))
    assert (found.samples, found.source) == (70, "data")
    assert found.relative_error == pytest.approx(np.abs(error).max() / np.abs(expected).max(), rel=1e-4)
    assert found.steps == pytest.approx(np.abs(error).max() * 255 / (expected.max() - expected.min()), rel=1e-4)
    assert found.sqnr == pytest.approx(10 * np.log10(np.sum(expected**2) / np.sum(error**2.0)), rel=1e-4)
    same = np.mean(np.argmax(expected, 1) == np.argmax(expected + error, 1))
    assert 0.5 < same < 1
    assert found.same_top1 == pytest.approx(same)


def test_of_several_outputs_the_worst_counts():
    model = zoo.two_outputs()
    x = zoo.samples(model, 40)
    near, far = (output.astype(np.float64) for output in zoo.predict(model, x))
    errors = [np.full(near.shape, 0.01, np.float32), np.random.default_rng(0).normal(size=far.shape).astype("float32")]
    found = compare_outputs(model, perturbed(model, errors), given(x))
    ratios = [np.sum(one**2) / np.sum(error**2.0) for one, error in zip((near, far), errors, strict=True)]
    assert found.sqnr == pytest.approx(10 * np.log10(min(ratios)), rel=1e-4)
    assert found.relative_error == pytest.approx(np.abs(errors[1]).max() / np.abs(far).max(), rel=1e-4)
    assert found.same_top1 == pytest.approx(np.mean(far.argmax(1) == (far + errors[1]).argmax(1)))


def test_equal_outputs_have_no_error():
    model = zoo.dense()
    found = compare_outputs(model, perturbed(model, [np.zeros((8, 3), np.float32)]), given(zoo.samples(model)))
    assert (found.samples, found.relative_error, found.steps, found.sqnr, found.same_top1) == (8, 0.0, 0.0, np.inf, 1.0)


def test_outputs_of_one_number_have_no_top1():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    found = compare_outputs(model, perturbed(model, [np.ones((8, 1), np.float32)]), given(zoo.samples(model)))
    assert found.same_top1 is None


def test_a_model_of_a_fixed_batch_is_compared_in_its_batches():
    x = keras.Input(batch_shape=(4, 3), name="x")
    model = keras.Model(x, layers.Dense(2, name="y")(x))
    sizes = []

    def run(inputs):
        sizes.append(len(inputs[0]))
        return [model(inputs[0]).numpy()]

    data = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    found = compare_outputs(model, run, given(data))
    assert found.samples == 10
    assert sizes == [4, 4, 4]
    assert found.sqnr == np.inf


@pytest.mark.parametrize("wrong", [lambda array: [array[:, :2]], lambda array: [array, array]], ids=["shape", "number"])
def test_other_outputs_than_the_models_are_an_error_of_the_file(wrong):
    model = zoo.dense()
    with pytest.raises(RunError, match=r"Expected: arrays of the shapes \[\(8, 3\)\]. Received: \[\(8"):
        compare_outputs(model, lambda inputs: wrong(zoo.predict(model, inputs[0])[0]), given(zoo.samples(model)))


def test_texts_are_decisions_and_empty_outputs_are_none():
    texts = np.array([[b"a"], [b"b"], [b"c"]], object)
    other = np.array([["a"], ["b"], ["d"]]).astype(bytes).astype(object)
    found = compare_arrays([texts, np.zeros((3, 0), np.float32)], [other, np.zeros((3, 0), np.float32)])
    assert (found.flips, found.decided, found.same_top1) == (1, 3, pytest.approx(2 / 3))
    assert found.sqnr == np.inf


@pytest.mark.parametrize("value", [-np.inf, np.nan, -1e9])
def test_what_a_mask_rules_out_hides_no_error_of_the_rest(value):
    random = np.random.default_rng(0)
    one = random.normal(size=(8, 30))
    noisy = one + 0.3 * random.normal(size=one.shape)
    ruled_out = random.uniform(size=one.shape) < 0.3
    expected = 10 * np.log10(np.mean(one[~ruled_out] ** 2) / np.mean((one - noisy)[~ruled_out] ** 2))
    one[ruled_out] = noisy[ruled_out] = value
    assert compare_arrays([one], [noisy]).sqnr == pytest.approx(expected)
    noisy[np.nonzero(ruled_out)[0][0], np.nonzero(ruled_out)[1][0]] = 0.0
    assert not compare_arrays([one], [noisy]).sqnr > expected


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_values_that_are_not_finite_in_both_do_not_depart(value):
    one = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    one[2, 1] = value
    assert compare_arrays([one], [one.copy()]).sqnr == np.inf
    other = one.copy()
    other[2, 1] = 0.0
    assert np.isnan(compare_arrays([one], [other]).sqnr)
    model = zoo.dense()
    samples = AuditSamples("data", (zoo.samples(model, 4),))
    assert "not finite on one side only" in judged(model, samples, compare_arrays([one], [other]), Limits()).problem
