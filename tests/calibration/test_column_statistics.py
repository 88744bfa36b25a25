"""Extremes and moments of columns are those that NumPy finds in all batches together."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress.calibration.column_statistics import ColumnExtremes, ColumnMoments

RANDOM = np.random.default_rng(0)
DATA = {
    "centered": RANDOM.normal(size=(1000, 5)),
    "far from zero": 1e4 + 1e-2 * RANDOM.normal(size=(1000, 5)) * [1, 2, 3, 4, 5],
    "moving": np.linspace(0, 100, 1000)[:, np.newaxis] + RANDOM.normal(size=(1000, 5)),
    "constant": np.full((1000, 5), 3.0),
}


@pytest.mark.parametrize("parts", [[1000], [1, 999], [0, 500, 0, 500], [7] * 142 + [6]])
@pytest.mark.parametrize("name", DATA)
def test_batches_together_give_what_numpy_gives(name, parts):
    data = DATA[name].astype(np.float32)
    moments, extremes = ColumnMoments(5), ColumnExtremes(5)

    @tf.function(input_signature=[tf.TensorSpec([None, 5])])
    def add(values):
        moments.add(values)
        extremes.add(values)

    for part in np.split(data, np.cumsum(parts)[:-1]):
        add(part)
    mean, deviation = moments.numpy()
    np.testing.assert_allclose(mean, data.mean(axis=0, dtype=np.float64), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(deviation, data.std(axis=0, dtype=np.float64), rtol=0.05, atol=1e-6)
    np.testing.assert_array_equal(extremes.ends(), (data.min(axis=0), data.max(axis=0)))
    assert extremes.range() == (data.min(), data.max())


def test_no_tensor_of_all_rows_is_in_float64():
    moments = ColumnMoments(5)
    graph = tf.function(moments.add).get_concrete_function(tf.TensorSpec([None, 5])).graph
    made = [output for operation in graph.get_operations() for output in operation.outputs]
    doubles = [tensor for tensor in made if tensor.dtype == tf.float64]
    assert doubles
    assert all(tensor.shape.is_fully_defined() for tensor in doubles)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0, 10, 255]], True), ([[0, 10, 127]], False), ([[0, 10, 256]], False), ([[-1, 10, 255]], False),
        ([[0, 10.5, 255]], False), ([[0, 10, 255, 3]], True), ([[200]], True), ([[0, 10, 255, 3, 4]], False),
    ],
)  # fmt: skip
def test_pixels_are_whole_numbers_of_a_byte_in_one_three_or_four_channels(values, expected):
    values = np.float32(values)
    for pixels in (True, False):
        extremes = ColumnExtremes(values.shape[1], pixels=pixels)
        extremes.add(tf.constant(values))
        assert extremes.are_pixels() is (expected and pixels)
