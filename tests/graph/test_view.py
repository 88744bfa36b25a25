"""The read-only graph of a snapshot: nodes, edges, consumers and paths."""

import pytest

from keras_compress.graph import ModelGraph, NodeRef, TensorRef, take
from keras_compress.graph.layer_spec import LayerRole
from keras_compress.graph.view import OUTPUT
from tests import zoo


def graph(make):
    return ModelGraph(take(make()))


@pytest.mark.parametrize(
    ("make", "node", "inputs"),
    [
        (zoo.dense, ("out", 0), [("hidden", 0, 0)]),
        (zoo.residual, ("sum", 0), [("stem_relu", 0, 0), ("body_norm", 0, 0)]),
        (zoo.shared_layer, ("shared", 1), [("second", 0, 0)]),
        (zoo.shared_layer, ("difference", 0), [("shared", 0, 0), ("shared", 1, 0)]),
        (zoo.dicts, ("join", 0), [("wide", 0, 0), ("hidden", 0, 0)]),
        (zoo.nested, ("backbone/norm", 0), [("backbone/conv", 0, 0)]),
        (zoo.nested, ("head/dense", 0), [("head/flat", 0, 0)]),
        (
            zoo.operators,
            ("tf.concat", 0),
            [("tf.__operators__.getitem", 0, 0), ("tf.math.subtract", 0, 0)],
        ),
    ],
)
def test_a_node_lists_the_tensors_it_reads_in_order(make, node, inputs):
    assert list(graph(make).nodes[NodeRef(*node)].inputs) == [TensorRef(*tensor) for tensor in inputs]


@zoo.every_kind
def test_every_tensor_has_a_producer_and_is_read_by_its_consumers(kind):
    view = graph(zoo.MODELS[kind])
    for node in view.nodes.values():
        for tensor in node.inputs:
            assert view.producer(tensor).ref.layer == tensor.layer
            assert node.ref in view.consumers(tensor)
    assert {node.class_name for node in view.nodes.values() if not node.inputs} == {"InputLayer"}


def test_the_layers_behind_a_nested_model_read_its_outputs():
    view = graph(zoo.transfer)
    (tensor,) = view.nodes[NodeRef("pool", 0)].inputs
    assert tensor.layer == "backbone"
    assert view.producer(tensor).inputs == (TensorRef("image", 0, 0),)


@pytest.mark.parametrize(
    ("make", "tensor", "consumers"),
    [
        (zoo.residual, ("stem_relu", 0, 0), [("body", 0), ("sum", 0)]),
        (zoo.dense, ("out", 0, 0), [(OUTPUT, 0)]),
        (zoo.nested, ("backbone/relu", 0, 0), [("backbone/" + OUTPUT, 0)]),
        (zoo.two_outputs, ("x", 0, 0), [("hidden", 0), ("near", 0)]),
        (zoo.dicts, ("rank", 0, 0), [(OUTPUT, 0)]),
        (zoo.shared_layer, ("no such layer", 0, 0), []),
    ],
)
def test_consumers_of_a_tensor_are_all_its_readers(make, tensor, consumers):
    assert sorted(graph(make).consumers(TensorRef(*tensor))) == sorted(NodeRef(*c) for c in consumers)


def test_a_slashed_layer_name_is_a_layer_and_not_a_nested_model():
    view = graph(zoo.slashed_names)
    assert [path for path, _ in view.layers()] == ["x", "block/expand", "block/project"]
    assert view.weight_shape("block/expand", "kernel") == (4, 6)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (zoo.dense, ("x",)),
        (zoo.shared_layer, ("first", "second")),
        (zoo.nested, ("image",)),
        (zoo.deferred, ("hidden_input",)),
    ],
)
def test_model_inputs_are_those_of_the_outer_model(make, names):
    assert graph(make).model_inputs == names


def test_every_layer_is_listed_once_with_its_path():
    paths = [path for path, _ in graph(zoo.shared_layer).layers()]
    assert sorted(paths) == sorted(set(paths))
    nested = [path for path, _ in graph(zoo.nested).layers()]
    assert {"backbone", "backbone/conv", "head", "head/dense"} <= set(nested)


def test_nodes_carry_the_row_of_their_class():
    nodes = graph(zoo.residual).nodes
    assert nodes[NodeRef("stem", 0)].spec.role is LayerRole.COMPUTE
    assert nodes[NodeRef("sum", 0)].spec.role is LayerRole.MERGE
    assert nodes[NodeRef("stem_norm", 0)].spec.role is LayerRole.OTHER


def test_shape_of_a_weight_and_of_none():
    view = graph(zoo.odd_convolutions)
    assert view.weight_shape("depthwise", "depthwise_kernel") == (3, 3, 3, 2)
    assert view.weight_shape("depthwise", "kernel") is None
    assert view.weight_shape("no such layer", "kernel") is None
