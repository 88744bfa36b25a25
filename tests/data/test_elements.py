"""What an element holds is decided once for all inputs, and values that an input cannot hold are named."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress.data import Dataset, InputSpec
from tests.data.reading import rows, slices

SCALARS = [InputSpec("p", (), "float32"), InputSpec("s", (), "int64")]
ROWS = 16
P, S = np.linspace(0, 1, ROWS, dtype=np.float32), np.arange(ROWS) % 5
VECTOR, OPEN = InputSpec("x", (3,), "float32"), InputSpec("x", (None,), "float32")


@pytest.mark.parametrize("targets", [P, S, np.zeros((ROWS, 2)), np.zeros((ROWS, 1))])
@pytest.mark.parametrize("inputs", [{"p": P, "s": S}, (P, S)])
@pytest.mark.parametrize("batch", [None, 1, 5, ROWS])
def test_scalars_of_a_batch_are_as_many_samples(inputs, batch, targets):
    source = slices(inputs, targets) if batch is None else slices(inputs, targets).batch(batch)
    for ours, expected in zip(rows(source, SCALARS), (P, S), strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((ROWS,), (1,)),
        ((ROWS, 1), ()),
        ((ROWS, 5), (5, 1)),
        ((ROWS, 5, 1), (5,)),
        ((ROWS, 4, 4), (4, 4, 1)),
        ((ROWS, 1), (1,)),
    ],
)
def test_a_last_axis_of_one_may_be_missing_or_too_many_as_in_keras(shape, spec):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    [found] = rows(values, [InputSpec("x", spec, "float32")])
    assert found.shape == (ROWS, *spec)
    np.testing.assert_array_equal(found.ravel(), values.ravel())


def test_inputs_of_one_element_are_all_batches_or_all_single_samples():
    specs = [InputSpec("a", (3,), "float32"), InputSpec("b", (3,), "float32")]
    with pytest.raises(kc.DataError, match=r"batches, others single samples.*'a': \(4, 3\), 'b': \(3,\)"):
        rows([{"a": np.zeros((4, 3)), "b": np.zeros(3)}], specs)


KEYS = [InputSpec("first", (3,), "float32", place=("a",)), InputSpec("second", (3,), "float32", place=("b",))]
A, B = np.arange(12, dtype=np.float32).reshape(4, 3), np.arange(12, 24, dtype=np.float32).reshape(4, 3)
NUMBERS = [InputSpec("first", (3,), "float32"), InputSpec("second", (3,), "float32")]


@pytest.mark.parametrize("names", [("a", "b"), ("a", "second"), ("first", "b"), ("first", "second")], ids="-".join)
@pytest.mark.parametrize("form", [np.asarray, list, lambda array: [tuple(row) for row in array.tolist()]])
@pytest.mark.parametrize("targets", [False, True])
def test_every_input_is_named_by_its_key_or_by_its_layer(names, form, targets):
    together = dict(zip(names, (form(A), form(B)), strict=True))
    for ours, expected in zip(rows([(together, S)] if targets else together, KEYS), (A, B), strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("form", [np.asarray, list, tuple, np.ndarray.tolist, lambda row: tuple(row.tolist())])
@pytest.mark.parametrize("targets", [False, True])
@pytest.mark.parametrize("names", [("a", "b"), ("a", "second"), ("first", "second"), None])
def test_a_single_sample_comes_in_plain_python_too(form, targets, names):
    pairs = [(form(a), form(b)) for a, b in zip(A, B, strict=True)]
    elements = [pair if names is None else dict(zip(names, pair, strict=True)) for pair in pairs]
    elements = [(element, 0) for element in elements] if targets or names is None else elements
    for ours, expected in zip(rows(elements, KEYS if names else NUMBERS), (A, B), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_one_sample_in_plain_python_has_a_target_behind_it():
    for form in (list, tuple):
        np.testing.assert_array_equal(rows([(form(row.tolist()), 1) for row in A], [VECTOR])[0], A)
    for ours, expected in zip(
        rows([((0.5, 1), (0, 1)), ((0.25, 2), (1, 1))], SCALARS), ([0.5, 0.25], [1, 2]), strict=True
    ):
        np.testing.assert_array_equal(ours, expected)


def test_keys_come_before_layers_and_no_entry_is_read_twice():
    crossed = [InputSpec("b", (3,), "float32", place=("a",)), InputSpec("a", (3,), "float32", place=("b",))]
    for ours, expected in zip(rows({"a": A, "b": B}, crossed), (A, B), strict=True):
        np.testing.assert_array_equal(ours, expected)
    with pytest.raises(kc.DataError, match="no entry for input 'b'"):
        rows([{"a": A, "c": B}], crossed)


ENTRIES = {
    "missing": ({"a": A}, r"no entry for input 'b'.*by layer \['first', 'second'\].*Received: \['a'\]"),
    "missing of layers": ({"second": A}, r"no entry for input 'a'"),
    "nothing": ({"a": A, "b": None}, r"nothing to read for input 'b'.*Received: NoneType"),
    "nothing at all": ({"a": None, "b": None}, r"nothing to read for input 'a'.*Received: NoneType"),
    "nothing by layer": ({"first": A, "second": None}, r"nothing to read for input 'b'"),
    "dict": ({"a": A, "b": {"c": B}}, r"nothing to read for input 'b'.*Received: dict"),
    "tuple of arrays": ({"a": (A, A), "b": B}, r"nothing to read for input 'a'.*Received: tuple"),
    "mixed and a tuple of arrays": ({"a": A, "second": (B, B)}, r"nothing to read for input 'b'.*Received: tuple"),
    "tuple of nothing": ({"a": A, "b": ()}, r"nothing to read for input 'b'"),
    "text": ({"a": A, "b": "text"}, r"'b' have the wrong shape"),
}


@pytest.mark.parametrize("problem", ENTRIES)
@pytest.mark.parametrize("form", ["array", "generator", "batches"])
def test_an_entry_that_cannot_be_read_is_an_error_that_names_its_input(problem, form):
    element, message = ENTRIES[problem]
    source = {"array": element, "generator": (item for item in [element]), "batches": [(element, 0)]}[form]
    with pytest.raises(kc.DataError, match=message):
        rows(source, KEYS)


HUGE = np.full((4, 3), 1e39)
VALUES = {
    "too large for float32": (HUGE, VECTOR, r"input 'x' hold NaN or infinite values in float32.*12 such values"),
    "too large for float16": (np.full((4, 3), 1e5, np.float32), InputSpec("x", (3,), "float16"), r"'x'.*float16"),
    "too large for bfloat16": (HUGE, InputSpec("x", (3,), "bfloat16"), r"'x'.*bfloat16"),
    "complex": (np.ones((4, 3)) * 1j, VECTOR, r"input 'x' are complex.*imaginary part.*complex128"),
    "complex tensor": (tf.complex(tf.ones((4, 3)), tf.ones((4, 3))), VECTOR, r"'x' are complex"),
    "text": (np.array([["a", "b", "c"]]), VECTOR, r"input 'x' are no numbers"),
    "objects": (np.array([[None, 1, 2]], object), VECTOR, r"input 'x' are no numbers"),
    "bytes": (np.zeros((4, 3), "V4"), VECTOR, r"input 'x' are no numbers"),
    "records": (np.zeros(3, [("a", "f4")]), VECTOR, r"input 'x' are no numbers"),
    "dates": (np.array([["2020-01-01"] * 3], "datetime64[D]"), VECTOR, r"input 'x' are no numbers"),
    "too large for int32": (np.full((4, 3), 2**40), InputSpec("x", (3,), "int32"), r"'x' do not fit.*int32"),
    "negative for uint8": (np.full((4, 3), -1), InputSpec("x", (3,), "uint8"), r"'x' do not fit.*uint8"),
    "too large for uint8, of 16 bits": (
        tf.fill((4, 3), tf.constant(300, tf.bfloat16)),
        InputSpec("x", (3,), "uint8"),
        r"'x' do not fit.*uint8",
    ),
    "NaN for truth": (np.full((4, 3), np.nan), InputSpec("x", (3,), "bool"), r"'x' hold NaN or infinite values\."),
    "NaN for float16": (np.full((4, 3), np.nan), InputSpec("x", (3,), "float16"), r"'x' hold NaN or infinite values\."),
    "NaN for integers": (np.full((4, 3), np.nan), InputSpec("x", (3,), "int32"), r"'x' hold NaN"),
    "infinite and complex": (np.full((4, 3), np.inf * 1j), InputSpec("x", (3,), "complex64"), r"'x' hold NaN"),
    "key of the model": (HUGE, InputSpec("input_1", (3,), "float32", place=("pixels",)), r"input 'pixels'"),
}


@pytest.mark.filterwarnings("ignore:invalid value encountered in multiply")
@pytest.mark.parametrize("problem", VALUES)
@pytest.mark.parametrize("form", ["array", "generator", "batches"])
def test_values_that_an_input_cannot_hold_are_an_error_that_names_it(problem, form):
    values, spec, message = VALUES[problem]
    source = {"array": values, "generator": (value for value in [values]), "batches": [(values, 0)]}[form]
    with pytest.raises(kc.DataError, match=f"(?s){message}"):
        rows(source, [spec])


def test_batches_come_in_the_type_of_the_input():
    for dtype in (np.uint8, np.int64, np.float64, bool):
        (batch,) = Dataset(np.ones((4, 3), dtype)).batches([VECTOR], 4)
        assert batch.inputs[0].dtype == np.float32
    (batch,) = Dataset(np.array([["a"], ["b"]])).batches([InputSpec("x", (1,), "string")], 2)
    assert batch.inputs[0].tolist() == [["a"], ["b"]]


def test_open_lengths_are_single_samples_or_batches_by_their_rank():
    assert rows([np.ones(5)], [OPEN])[0].shape == (1, 5)
    assert rows([np.ones((2, 5))], [OPEN])[0].shape == (2, 5)
