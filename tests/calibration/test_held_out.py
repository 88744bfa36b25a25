"""Samples to judge on stand behind those that calibrate, or are the last of them, and are read from any kind of data."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import Dataset
from keras_compress._keras import keras
from keras_compress.calibration import held_out as module
from keras_compress.calibration import hold_out
from keras_compress.data import input_specs

SPECS = input_specs(keras.Sequential([keras.Input((1,), name="x"), keras.layers.Dense(1)]))


def numbered(count):
    return np.arange(count, dtype=np.float32)[:, np.newaxis]


def judged(held_out):
    """Return the samples of the batches, by the numbers they hold."""
    return np.concatenate([batch.data[0][start:, 0] for batch, start in held_out.batches]).astype(int).tolist()


@pytest.mark.parametrize(
    ("count", "used", "positions"),
    [
        (1000, 300, range(300, 364)),
        (340, 300, range(300, 340)),
        (316, 300, range(300, 316)),
        (315, 300, range(251, 315)),  # too few behind: the last of all, at most 64
        (300, 300, range(236, 300)),
        (100, 300, range(75, 100)),
        (5, 300, range(4, 5)),
        (2, 300, range(1, 2)),
    ],
)
def test_positions_follow_the_number_of_samples(count, used, positions):
    held_out = hold_out(Dataset(numbered(count)), SPECS, used)
    assert judged(held_out) == list(held_out.positions)
    assert held_out.positions == positions
    assert held_out.corrected_on(used) == min(used, positions.start)


def test_one_sample_alone_judges_what_it_was_used_for():
    held_out = hold_out(Dataset(numbered(1)), SPECS, 300)
    assert list(held_out.positions) == []
    assert judged(held_out) == [0]
    assert held_out.corrected_on(300) == 1


@pytest.mark.parametrize(
    "source",
    [
        lambda: numbered(90),
        lambda: tf.data.Dataset.from_tensor_slices(numbered(90)).batch(7),
        lambda: [numbered(90)[start : start + 13] for start in range(0, 90, 13)],
        lambda: iter([numbered(90)[start : start + 40] for start in range(0, 90, 40)]),
        lambda: lambda: iter(numbered(90)),
    ],
    ids=["array", "dataset", "list", "iterator", "function"],
)
def test_the_form_of_the_data_makes_no_difference(source):
    assert judged(hold_out(Dataset(source()), SPECS, 60)) == list(range(60, 90))


def test_a_fixed_batch_is_kept_whole():
    model = keras.Sequential([keras.Input(batch_shape=(8, 1), name="x"), keras.layers.Dense(1)])
    held_out = hold_out(Dataset(numbered(50)), input_specs(model), 30)
    assert {len(batch.inputs[0]) for batch, _ in held_out.batches} == {8}
    assert judged(held_out) == list(range(30, 50))


def test_large_samples_are_not_all_kept(monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 40 * 4)
    held_out = hold_out(Dataset(numbered(1000)), SPECS, 300)
    assert judged(held_out) == list(held_out.positions)
    assert held_out.positions.stop == 364
    assert len(held_out.positions) < 64


def test_positions_that_are_left_out_of_batches_are_left_out_and_no_others():
    for source in (numbered(90), [numbered(90)[start : start + 13] for start in range(0, 90, 13)]):
        batches = list(Dataset(source).batches(SPECS, 32, limit=80, leave_out=range(20, 70)))
        kept = np.concatenate([batch.data[0][:, 0] for batch in batches]).astype(int).tolist()
        assert kept == [*range(20), *range(70, 80)]
