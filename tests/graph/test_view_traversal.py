"""Ways back from a tensor: to what it is made from, across the borders of nested models."""

from keras_compress._keras import keras
from keras_compress.graph import ModelGraph, TensorRef, take
from tests import zoo

layers = keras.layers


def graph(model):
    return ModelGraph(take(model))


def output_of(view, path):
    return next(TensorRef(*ref, 0) for ref in view.nodes if ref.layer == path)


def sources(view, path):
    return [tensor.layer for tensor in view.predecessors(output_of(view, path))]


def reached(view, path, stops=()):
    tensors = view.backward([output_of(view, path)], lambda node: node.ref.layer not in stops)
    return [tensor.layer for tensor in tensors]


def backbone():
    inner = keras.Input((4,), name="inner")
    hidden = layers.Dense(4, name="hidden")(inner)
    return keras.Model(inner, [layers.ReLU(name="near")(hidden), layers.Dense(4, name="far")(hidden)], name="backbone")


def test_a_layer_is_made_from_its_inputs():
    view = graph(zoo.residual())
    assert sources(view, "sum") == ["stem_relu", "body_norm"]
    assert sources(view, "image") == []


def test_a_nested_model_is_made_from_its_outputs_and_its_input_from_what_it_is_called_on():
    view = graph(zoo.nested())
    assert sources(view, "head/features") == ["backbone"]
    assert sources(view, "backbone") == ["backbone/relu"]
    assert sources(view, "backbone/inner_image") == ["image"]


def test_a_nested_sequential_model_is_entered_and_left():
    inside = keras.Sequential([layers.Dense(4, name="first"), layers.ReLU(name="last")], name="inside")
    x = keras.Input((4,), name="x")
    view = graph(keras.Model(x, layers.Dense(2, name="out")(inside(x))))
    assert sources(view, "inside") == ["inside/last"]
    assert "x" in reached(view, "out")


def test_the_input_of_a_model_that_is_called_twice_comes_from_both_calls():
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    inner = keras.Input((4,), name="inner")
    inside = keras.Model(inner, layers.Dense(4, name="dense")(inner), name="inside")
    view = graph(keras.Model([first, second], layers.Add(name="sum")([inside(first), inside(second)])))
    assert sources(view, "inside/inner") == ["first", "second"]


def test_inputs_of_a_nested_model_are_told_apart():
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    inside = keras.Model([left, right], layers.Subtract(name="difference")([left, right]), name="inside")
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    view = graph(keras.Model([first, second], inside([second, first])))
    assert sources(view, "inside/left") == ["second"]
    assert sources(view, "inside/right") == ["first"]


def test_outputs_of_a_nested_model_are_told_apart():
    x = keras.Input((4,), name="x")
    near, far = backbone()(x)
    view = graph(keras.Model(x, [layers.Dense(2, name="of_near")(near), layers.Dense(2, name="of_far")(far)]))
    for reader, made_by in (("of_near", "backbone/near"), ("of_far", "backbone/far")):
        [read] = view.predecessors(output_of(view, reader))
        assert [tensor.layer for tensor in view.predecessors(read)] == [made_by]


def test_the_order_of_outputs_counts_and_one_tensor_may_be_two_of_them():
    inner = keras.Input((4,), name="inner")
    early = layers.Dense(4, name="early")(inner)
    late = layers.Dense(4, name="late")(early)
    inside = keras.Model(inner, [late, early, late], name="inside")
    x = keras.Input((4,), name="x")
    outputs = [layers.ReLU(name=f"reader_{i}")(tensor) for i, tensor in enumerate(inside(x))]
    view = graph(keras.Model(x, outputs))
    found = [view.predecessors(view.predecessors(output_of(view, f"reader_{i}"))[0]) for i in range(3)]
    assert [[tensor.layer for tensor in tensors] for tensors in found] == [
        ["inside/late"],
        ["inside/early"],
        ["inside/late"],
    ]


def test_outputs_by_name_are_told_apart():
    inner = keras.Input((4,), name="inner")
    outputs = {"b": layers.Dense(4, name="one")(inner), "a": layers.Dense(4, name="other")(inner)}
    inside = keras.Model(inner, outputs, name="inside")
    x = keras.Input((4,), name="x")
    made = inside(x)
    view = graph(keras.Model(x, [layers.ReLU(name="of_b")(made["b"]), layers.ReLU(name="of_a")(made["a"])]))
    for reader, made_by in (("of_b", "inside/one"), ("of_a", "inside/other")):
        [read] = view.predecessors(output_of(view, reader))
        assert [tensor.layer for tensor in view.predecessors(read)] == [made_by]


def test_a_walk_ends_where_it_is_told_and_names_every_tensor_once():
    view = graph(zoo.residual())
    everything = reached(view, "out")
    assert len(everything) == len(set(everything)) == len(view.nodes)
    assert reached(view, "sum", stops=["stem_relu"]) == ["sum", "stem_relu", "body_norm", "body"]
    assert reached(view, "sum", stops=["sum"]) == ["sum"]


def test_a_walk_from_nowhere_reaches_nothing():
    assert graph(zoo.dense()).backward([], lambda node: True) == []
