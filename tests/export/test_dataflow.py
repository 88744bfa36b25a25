"""What an operation computes with is read off a graph, through everything that only moves values."""

import pytest

from keras_compress.export.dataflow import Dataflow

MOVES = {"Reshape", "Transpose", "Concat"}


def flow(**nodes):
    """Return a graph from ``name=(kind, *inputs)``."""
    kinds = {name: kind for name, (kind, *_) in nodes.items()}
    inputs = {name: sources for name, (_, *sources) in nodes.items()}
    return Dataflow(
        kinds, inputs, MOVES, {"Conv", "ConvBackprop"}, {"Quantize"}, {"Concat"}, data_inputs={"ConvBackprop": 2}
    )


X, W, Q = ("Input",), ("Const",), ("Quantize", "x")


def test_an_operation_behind_a_quantizer_reads_integers():
    assert flow(x=X, q=Q, w=W, conv=("Conv", "q", "w")).input_quantized("w") is True


def test_an_operation_behind_anything_else_does_not():
    assert flow(x=X, w=W, conv=("Conv", "x", "w")).input_quantized("w") is False
    assert flow(x=X, q=Q, relu=("Relu", "q"), w=W, conv=("Conv", "relu", "w")).input_quantized("w") is False


def test_a_weight_that_nothing_computes_with_has_no_answer():
    assert flow(x=X, w=W, add=("Add", "x", "w")).input_quantized("w") is None
    assert flow(x=X, w=W).input_quantized("w") is None
    assert flow(x=X).input_quantized("elsewhere") is None


def test_values_that_are_only_moved_stay_on_their_grid():
    graph = flow(x=X, q=Q, a=("Reshape", "q", "shape"), b=("Transpose", "a"), w=W, shape=W, conv=("Conv", "b", "w"))
    assert graph.input_quantized("w") is True


def test_weights_are_followed_through_moves():
    graph = flow(x=X, q=Q, w=W, a=("Transpose", "w"), b=("Reshape", "a"), conv=("Conv", "q", "b"))
    assert graph.input_quantized("w") is True
    assert graph.readers("w") == ["conv"]
    assert flow(x=X, w=W, a=("Transpose", "w"), conv=("Conv", "x", "a")).input_quantized("w") is False


def test_every_reader_must_read_integers():
    nodes = {"x": X, "q": Q, "w": W, "one": ("Conv", "q", "w")}
    assert flow(**nodes, two=("Conv", "x", "w")).input_quantized("w") is False
    assert flow(**nodes, two=("Conv", "q", "w")).input_quantized("w") is True
    assert flow(**nodes, two=("Add", "x", "w")).input_quantized("w") is True


def test_every_part_of_a_concatenation_must_be_quantized():
    nodes = {"x": X, "y": X, "q": Q, "r": ("Quantize", "y"), "w": W, "conv": ("Conv", "joined", "w")}
    assert flow(**nodes, joined=("Concat", "q", "r")).input_quantized("w") is True
    assert flow(**nodes, joined=("Concat", "q", "y")).input_quantized("w") is False
    assert flow(**nodes, joined=("Concat", "y", "q")).input_quantized("w") is False


def test_constants_in_a_concatenation_are_no_data():
    nodes = {"x": X, "q": Q, "axis": W, "w": W, "conv": ("Conv", "joined", "w")}
    assert flow(**nodes, joined=("Concat", "q", "axis")).input_quantized("w") is True


def test_a_concatenation_of_constants_alone_is_no_quantized_input():
    graph = flow(x=X, a=W, b=W, joined=("Concat", "a", "b"), w=W, conv=("Conv", "joined", "w"))
    assert graph.input_quantized("w") is False


def test_only_the_first_input_of_other_moves_counts():
    graph = flow(x=X, q=Q, shape=("Shape", "x"), a=("Reshape", "q", "shape"), w=W, conv=("Conv", "a", "w"))
    assert graph.input_quantized("w") is True
    assert flow(x=X, q=Q, a=("Reshape", "x", "q"), w=W, conv=("Conv", "a", "w")).input_quantized("w") is False


def test_constants_in_front_of_what_is_moved_are_no_data():
    nodes = {"x": X, "q": Q, "axis": W, "w": W, "conv": ("Conv", "a", "w")}
    assert flow(**nodes, a=("Reshape", "axis", "q")).input_quantized("w") is True
    assert flow(**nodes, a=("Reshape", "axis", "x")).input_quantized("w") is False


@pytest.mark.parametrize(("source", "expected"), [("q", True), ("x", False)])
def test_the_place_of_the_data_is_known_by_kind(source, expected):
    graph = flow(x=X, q=Q, size=W, w=W, conv=("ConvBackprop", "size", "w", source))
    assert graph.input_quantized("w") is expected


@pytest.mark.parametrize("order", [("q", "w"), ("w", "q")])
def test_weight_and_data_may_come_in_any_order(order):
    assert flow(x=X, q=Q, w=W, conv=("Conv", *order)).input_quantized("w") is True


def test_a_product_of_a_weight_with_itself_reads_no_integers():
    assert flow(w=W, conv=("Conv", "w", "w")).input_quantized("w") is False


def test_readers_are_listed_once_and_in_order():
    graph = flow(x=X, a=("Transpose", "x"), one=("Add", "x", "x"), two=("Conv", "a", "x"), three=("Add", "a", "one"))
    assert graph.readers("x") == ["one", "two", "three"]
    assert graph.readers("two") == []


def test_a_long_chain_of_moves_is_followed():
    nodes = {f"m{i + 1}": ("Reshape", f"m{i}") for i in range(300)}
    assert flow(x=X, m0=Q, **nodes, w=W, conv=("Conv", "m300", "w")).input_quantized("w") is True
    assert flow(x=X, q=Q, m0=W, **nodes, conv=("Conv", "q", "m300")).input_quantized("m0") is True
