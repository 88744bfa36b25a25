"""The step of a grid, seen from values alone: found where there are enough of them, and never made up."""

import numpy as np
import pytest

from keras_compress.export.value_grid import step_of_grid


def on_grid(step, levels, count, seed=0):
    return (np.random.default_rng(seed).integers(0, levels, count) * step - 3 * step).astype(np.float32)


@pytest.mark.parametrize("step", [1e-6, 0.037, 12.5])
@pytest.mark.parametrize(("levels", "count"), [(16, 500), (128, 300), (255, 200), (256, 10_000)])
def test_the_step_is_found(step, levels, count):
    assert step_of_grid(on_grid(step, levels, count), levels) == pytest.approx(step, rel=1e-4)


@pytest.mark.parametrize(("levels", "count"), [(4, 500), (256, 20), (256, 1), (256, 0)])
def test_few_values_show_no_step(levels, count):
    assert step_of_grid(on_grid(0.1, levels, count), levels) is None


def test_values_on_no_grid_have_no_step():
    random = np.random.default_rng(0)
    assert step_of_grid(random.normal(size=5000).astype(np.float32), 256) is None
    assert step_of_grid(np.concatenate([on_grid(0.1, 256, 500), random.normal(size=5)]), 256) is None
    assert step_of_grid(np.full(100, np.nan, np.float32), 256) is None


def test_means_of_values_on_a_grid_have_too_many_levels():
    means = on_grid(0.1, 256, 40_000).reshape(-1, 4).mean(axis=1)
    assert step_of_grid(means, 1024) == pytest.approx(0.025, rel=1e-3)
    assert step_of_grid(means, 256) is None


def test_right_grids_are_never_taken_for_others():
    """With values that fall on levels by chance, in numbers at the limit."""
    for seed in range(500):
        found = step_of_grid(on_grid(0.1, 256, 80, seed), 256)
        assert found is None or found == pytest.approx(0.1, rel=1e-4)
