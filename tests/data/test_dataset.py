"""Calibration data in any form give the same batches, and data that do not fit are named."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import Dataset
from keras_compress._keras import keras
from keras_compress.data import InputSpec
from keras_compress.data.dataset import EMPTY_ELEMENTS
from keras_compress.errors import DataError
from tests.data.reading import rows, slices

SPECS = [InputSpec("x", (3,), "float32")]
TWO = [InputSpec("left", (3,), "float32"), InputSpec("right", (2, 2), "float32")]
ROWS = 10
X = np.arange(ROWS * 3, dtype=np.float32).reshape(ROWS, 3)
Z = np.arange(ROWS * 4, dtype=np.float32).reshape(ROWS, 2, 2) + 100
Y = np.arange(ROWS)


class TorchTensor:
    """Stands for a tensor of another framework: not an array, but turns into one."""

    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return self._array if dtype is None else self._array.astype(dtype)

    @property
    def shape(self):
        return self._array.shape

    def __len__(self):
        return len(self._array)


class Loader:
    """Stands for a data loader of another framework: an iterable that can be read many times."""

    def __init__(self, *arrays, size=4):
        self._arrays, self._size = arrays, size

    def __iter__(self):
        for start in range(0, ROWS, self._size):
            yield [TorchTensor(array[start : start + self._size]) for array in self._arrays]


class BatchSequence(keras.utils.Sequence):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return X[3 * index : 3 * index + 3], Y[3 * index : 3 * index + 3]


def generator_function():
    yield from zip(X, Y, strict=True)


SOURCES = {
    "tf.data batched": lambda: tf.data.Dataset.from_tensor_slices((X, Y)).batch(4),
    "tf.data single": lambda: tf.data.Dataset.from_tensor_slices((X, Y)),
    "tf.data without targets": lambda: tf.data.Dataset.from_tensor_slices(X).batch(3),
    "array": lambda: X,
    "tensor": lambda: tf.constant(X),
    "tuple": lambda: (X, Y),
    "list": lambda: [X, Y],
    "tuple with weights": lambda: (X, Y, Y),
    "dict": lambda: {"x": X, "other": Y},
    "generator function": lambda: generator_function,
    "generator": lambda: generator_function(),
    "iterator of tf.data": lambda: iter(tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)),
    "keras Sequence": BatchSequence,
    "loader of another framework": lambda: Loader(X, Y),
    "list of batches with targets": lambda: [(X[:7], Y[:7]), (X[7:], Y[7:])],
    "list of dicts": lambda: [{"x": X[:7]}, {"x": X[7:]}],
    "uneven batches": lambda: (X[a:b] for a, b in [(0, 1), (1, 6), (6, 6), (6, 10)]),
}

TWO_SOURCES = {
    "tuple": lambda: (X, Z),
    "tuple and target": lambda: ((X, Z), Y),
    "dict of arrays and target": lambda: ({"left": X, "right": Z}, Y),
    "dict": lambda: {"right": Z, "left": X},
    "dict and target": lambda: tf.data.Dataset.from_tensor_slices(({"left": X, "right": Z}, Y)).batch(3),
    "tf.data of tuples": lambda: tf.data.Dataset.from_tensor_slices(((X, Z), Y)).batch(4),
    "tf.data of single tuples": lambda: tf.data.Dataset.from_tensor_slices((X, Z)),
    "generator of dicts": lambda: ({"left": x, "right": z} for x, z in zip(X, Z, strict=True)),
    "loader of another framework": lambda: Loader(X, Z),
}


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 32])
@pytest.mark.parametrize("form", SOURCES)
def test_every_form_gives_the_same_batches(form, batch_size):
    batches = list(Dataset(SOURCES[form]()).batches(SPECS, batch_size))
    assert {len(batch.inputs[0]) for batch in batches} == {batch_size}
    assert [batch.samples for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    np.testing.assert_array_equal(np.concatenate([b.inputs[0][: b.samples] for b in batches]), X)


@pytest.mark.parametrize("form", SOURCES)
def test_every_form_can_be_read_twice(form):
    dataset = Dataset(SOURCES[form]())
    for _ in range(2):
        np.testing.assert_array_equal(rows(dataset, SPECS)[0], X)


@pytest.mark.parametrize("form", ["generator", "iterator of tf.data"])
def test_what_can_be_read_once_is_read_on_after_a_limit(form):
    dataset = Dataset(SOURCES[form]())
    np.testing.assert_array_equal(rows(dataset, SPECS, batch_size=4, limit=3)[0], X[:3])
    np.testing.assert_array_equal(rows(dataset, SPECS, batch_size=4, limit=9)[0], X[:9])
    np.testing.assert_array_equal(rows(dataset, SPECS)[0], X)


@pytest.mark.parametrize("form", TWO_SOURCES)
def test_several_inputs_in_every_form(form):
    left, right = rows(Dataset(TWO_SOURCES[form]()), TWO, batch_size=4)
    np.testing.assert_array_equal(left, X)
    np.testing.assert_array_equal(right, Z)


@pytest.mark.parametrize(("limit", "expected"), [(1, 1), (4, 4), (5, 5), (10, 10), (99, 10), (None, 10)])
def test_a_limit_stops_after_so_many_samples(limit, expected):
    np.testing.assert_array_equal(rows(Dataset((X, Y)), SPECS, batch_size=4, limit=limit)[0], X[:expected])


def test_a_limit_ends_data_without_end():
    endless = tf.data.Dataset.from_tensor_slices(X).batch(4).repeat()
    assert len(rows(Dataset(endless), SPECS, batch_size=4, limit=25)[0]) == 25


def test_no_more_is_read_than_the_limit_needs():
    taken = []

    def source():
        for number, row in enumerate(X):
            taken.append(number)
            yield row

    list(Dataset(source).batches(SPECS, batch_size=2, limit=4))
    assert taken == [0, 1, 2, 3]


def test_a_transformation_is_applied_to_every_element_first():
    source = [{"pixels": X[:4].astype(np.uint8), "id": 1}, {"pixels": X[4:].astype(np.uint8), "id": 2}]
    dataset = Dataset(source, transform_func=lambda element: element["pixels"].astype(np.float32) / 2)
    np.testing.assert_array_equal(rows(dataset, SPECS)[0], X / 2)


def test_unknown_sizes_take_any_size():
    specs = [InputSpec("image", (None, None, 1), "float32")]
    (batch,) = Dataset(np.zeros((2, 5, 7, 1), np.float32)).batches(specs, batch_size=2)
    assert batch.inputs[0].shape == (2, 5, 7, 1)


NAN = X.copy()
NAN[3, 1] = np.nan
INFINITE = X.copy()
INFINITE[0, :2] = [np.inf, -np.inf]

WRONG = {
    "shape": (
        np.zeros((4, 5), np.float32),
        SPECS,
        r"input 'x'.*wrong shape.*\(batch, 3\).*Received: \(4, 5\).*transform",
    ),
    "rank": (np.zeros((4, 3, 3), np.float32), SPECS, r"'x' have the wrong shape.*\(4, 3, 3\)"),
    "scalar": ([np.float32(1.0)], SPECS, r"wrong shape.*Received: \(\)"),
    "key": ({"left": X, "rihgt": Z}, TWO, r"no entry for input 'right'.*\['left', 'right'\].*\['left', 'rihgt'\]"),
    "key of one input": ({"y": X}, SPECS, r"no entry for input 'x'"),
    "NaN": (NAN, SPECS, r"'x' hold NaN or infinite values.*1 such values of 30"),
    "infinite": ((INFINITE, Y), SPECS, r"'x' hold NaN or infinite.*2 such values"),
    "infinite second input": ((X, Z * np.float32(np.inf)), TWO, r"'right' hold NaN"),
    "empty array": (X[:0], SPECS, r"are empty"),
    "empty list": ([], SPECS, r"are empty"),
    "empty generator": (lambda: iter(()), SPECS, r"are empty"),
    "too few inputs": (X, TWO, r"2 inputs \['left', 'right'\]. Received: 1"),
    "too many inputs": ([((X, Z, Z), Y)], TWO, r"2 inputs.*Received: 3"),
    "sample counts": ((X, Z[:4]), TWO, r"different numbers of samples.*'left': 10, 'right': 4"),
    "not data": (7, SPECS, r"must be a tf\.data\.Dataset.*Received: int"),
    "nothing": (None, SPECS, r"must be.*Received: NoneType"),
    "text": (["a", "b"], SPECS, r"'x' have the wrong shape"),
}


@pytest.mark.parametrize("problem", WRONG)
def test_data_that_do_not_fit_are_an_error_that_says_what_is_wrong(problem):
    source, specs, message = WRONG[problem]
    with pytest.raises(DataError, match=f"(?s){message}"):
        list(Dataset(source).batches(specs))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "uint8", "bool"])
def test_values_are_looked_at_once_and_no_further_than_the_limit(dtype, monkeypatch):
    looked, isfinite = [], np.isfinite
    monkeypatch.setattr(np, "isfinite", lambda array: looked.append(array.size) or isfinite(array))
    data = Dataset(np.ones((1000, 3), np.float32))
    for _ in range(2):
        looked.clear()
        assert sum(batch.samples for batch in data.batches([InputSpec("x", (3,), dtype)], 32, limit=300)) == 300
        assert (sum(looked), max(looked)) == (900, 96)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize(
    "form", [lambda array: array, lambda array: (array, Y), lambda array: {"x": array}, lambda array: [array]]
)
def test_values_behind_the_limit_do_no_harm(form, dtype, bad):
    array = X.astype(np.float64)
    array[7] = bad
    specs = [InputSpec("x", (3,), dtype)]
    for size in (1, 3, 32):
        np.testing.assert_array_equal(rows(Dataset(form(array)), specs, batch_size=size, limit=7)[0], X[:7])
        with pytest.raises(DataError, match="'x'"):
            rows(Dataset(form(array)), specs, batch_size=size, limit=8)


def test_an_error_in_the_users_generator_is_not_hidden():
    def source():
        yield X[0]
        raise ZeroDivisionError("the user's own")

    with pytest.raises(ZeroDivisionError, match="own"):
        list(Dataset(source).batches(SPECS))


def test_a_list_of_arrays_that_fit_is_a_list_of_batches():
    batches = list(Dataset([X[:7], X[7:]]).batches(SPECS, 10))
    np.testing.assert_array_equal(batches[0].inputs[0], X)


@pytest.mark.parametrize(
    ("indices", "expected"), [(None, [0, 1, 2]), ([1], [1]), ([2, 0, 2], [0, 2]), ([], []), ([1, 9], [1]), ((0,), [0])]
)
def test_elements_are_handed_out_as_they_are_in_ascending_order(indices, expected):
    elements = [(X[:2], "a"), (X[2:3], "b"), (X[3:], "c")]
    found = list(Dataset(elements, transform_func=lambda element: element[0]).get_data(indices))
    assert all(one is elements[index] for one, index in zip(found, expected, strict=True))


@pytest.mark.parametrize("indices", [None, [0, 2]])
def test_elements_for_inference_are_transformed(indices):
    dataset = Dataset([(1, "a"), (2, "b"), (3, "c")], transform_func=lambda element: element[0] * 10)
    assert list(dataset.get_inference_data(indices)) == ([10, 20, 30] if indices is None else [10, 30])
    assert list(Dataset([1, 2]).get_inference_data()) == [1, 2]


def test_only_the_elements_asked_for_are_transformed():
    seen = []
    dataset = Dataset(range(5), transform_func=seen.append)
    list(dataset.get_inference_data([3, 1]))
    assert seen == [1, 3]


@pytest.mark.parametrize(
    "form", ["generator function", "generator", "keras Sequence", "tf.data batched", "uneven batches"]
)
def test_elements_can_be_handed_out_twice_and_batches_read_between(form):
    dataset = Dataset(SOURCES[form]())

    def first_inputs():
        return [
            np.asarray(element[0] if isinstance(element, tuple) else element) for element in dataset.get_data([0, 2])
        ]

    before = first_inputs()
    assert len(before) == 2
    np.testing.assert_array_equal(rows(dataset, SPECS)[0], X)
    for one, other in zip(before, first_inputs(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_element_behind_the_last_one_asked_for_is_read():
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield taken[-1]

    assert list(Dataset(endless).get_data([3, 1])) == [1, 3]
    assert taken == [0, 1, 2, 3]
    assert list(Dataset(endless()).get_data([])) == []
    assert len(taken) == 4


def test_elements_of_what_are_no_data_are_refused():
    with pytest.raises(DataError, match="Received: int"):
        list(Dataset(7).get_data())


def endless(element):
    return lambda: itertools.repeat(element)


@pytest.mark.parametrize("source", [np.zeros((0, 3)), (np.zeros((0, 3)), np.zeros(0)), {"x": np.zeros((0, 3))}])
@pytest.mark.parametrize("form", ["function", "iterator", "transformed"])
def test_empty_batches_without_end_are_an_error(source, form):
    data = {
        "function": lambda: Dataset(endless(source)),
        "iterator": lambda: Dataset(endless(source)()),
        "transformed": lambda: Dataset(endless(0), lambda _: source),
    }[form]()
    with pytest.raises(DataError, match=rf"{EMPTY_ELEMENTS} elements in a row were empty.*'x'"):
        list(data.batches(SPECS, 4, 8))
    with pytest.raises(DataError, match="elements in a row"):
        data.first_element(SPECS)


def test_some_empty_batches_do_no_harm():
    elements = [np.zeros((0, 3))] * (EMPTY_ELEMENTS - 1) + [np.ones((2, 3))]
    assert len(rows(iter(elements * 2), SPECS)[0]) == 4


def test_the_first_element_with_samples_is_one_run():
    [found] = Dataset([(np.zeros((0, 3)), 0), (np.ones((2, 3)), 0), (np.ones((4, 3)), 0)]).first_element(SPECS)
    assert (found.shape, found.dtype) == ((2, 3), np.float32)
    with pytest.raises(DataError, match="empty"):
        Dataset([]).first_element(SPECS)


@pytest.mark.parametrize(("batch", "expected"), [(None, None), (4, 4)])
def test_batches_of_a_dataset_are_counted_if_all_its_inputs_are_batches(batch, expected):
    specs = [InputSpec("p", (), "float32"), InputSpec("s", (), "int64")]
    numbers = np.linspace(0, 1, 16, dtype=np.float32)
    source = slices({"p": numbers, "s": np.arange(16)}, numbers)
    assert Dataset(source if batch is None else source.batch(batch)).number_of_batches(specs) == expected


def test_a_fixed_batch_counts_for_every_source():
    spec = InputSpec("x", (3,), "float32", batch=4)
    for source in (np.ones((10, 3)), slices(np.ones((10, 3))).batch(3), iter(np.ones((10, 3)))):
        assert [(len(b.inputs[0]), b.samples) for b in Dataset(source).batches([spec], 32)] == [(4, 4), (4, 4), (4, 2)]
