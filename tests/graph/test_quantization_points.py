"""Where activations are quantized, on small graphs: (sources) -> (consumers) of every point."""

import pytest
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.graph import LayerRole, ModelGraph, take
from keras_compress.graph.quantization_points import quantization_points
from tests import zoo

layers = keras.layers


def runs_in_integers(node):
    return node.spec.role in (LayerRole.COMPUTE, LayerRole.MERGE)


def points(model, wants=runs_in_integers, **options):
    """Return the points as pairs of sets of layer names."""
    found = quantization_points(ModelGraph(take(model)), wants, **options)
    return [({source.layer for source in p.sources}, {c.layer for c in p.consumers}) for p in found]


def functional(body, shape=(8, 8, 3)):
    image = keras.Input(shape, name="image")
    return keras.Model(image, body(image))


def convolution(name):
    return layers.Conv2D(3, 1, name=name)


def assert_points(found, expected):
    assert sorted(map(_sorted, found)) == sorted(map(_sorted, expected))


def _sorted(point):
    return [sorted(side) for side in point]


@pytest.mark.parametrize("activation", ["relu", "swish", "sigmoid"])
def test_convolution_normalization_and_activation_are_one_operation(activation):
    def body(x):
        x = layers.BatchNormalization(name="norm")(convolution("first")(x))
        return convolution("second")(layers.Activation(activation, name="activation")(x))

    assert_points(points(functional(body)), [({"image"}, {"first"}), ({"activation"}, {"second"})])


@pytest.mark.parametrize(
    "layer",
    [
        layers.MaxPooling2D(name="passing"),
        layers.ZeroPadding2D(name="passing"),
        layers.Dropout(0.5, name="passing"),
        layers.Reshape((8, 24, 1), name="passing"),
        layers.UpSampling2D(name="passing"),
        layers.Permute((2, 1, 3), name="passing"),
    ],
)
def test_a_layer_that_only_moves_values_is_passed(layer):
    found = points(functional(lambda x: convolution("after")(layer(convolution("before")(x)))))
    assert_points(found, [({"image"}, {"before"}), ({"before"}, {"passing"})])


def test_a_chain_of_moving_layers_is_passed_as_a_whole():
    def body(x):
        x = layers.MaxPooling2D(name="pool")(convolution("before")(x))
        return layers.Dense(2, name="after")(layers.Dropout(0.5, name="drop")(layers.Flatten(name="flat")(x)))

    assert_points(points(functional(body)), [({"image"}, {"before"}), ({"before"}, {"pool"})])


def test_moving_layers_at_the_end_need_no_quantizer():
    found = points(functional(lambda x: layers.Flatten(name="flat")(convolution("only")(x))))
    assert_points(found, [({"image"}, {"only"})])


def test_an_average_is_computed_in_integers_and_makes_new_values():
    assert ({"sum_relu"}, {"pool"}) in points(zoo.residual())
    assert ({"pool"}, {"out"}) in points(zoo.residual())


def test_a_convolution_and_the_sum_it_goes_into_are_one_operation():
    expected = [
        ({"image"}, {"stem"}),
        ({"stem_relu"}, {"body", "sum"}),
        ({"sum_relu"}, {"pool"}),
        ({"pool"}, {"out"}),
    ]
    assert_points(points(zoo.residual()), expected)


def residual_sum(side, *, activation=None, normalized=False, also_read=False):
    """Return a model with the sum of a tensor and a convolution of it, the convolution on the given side."""

    def body(x):
        base = layers.ReLU(name="base")(convolution("first")(x))
        branch = layers.Conv2D(3, 1, activation=activation, name="branch")(base)
        if normalized:
            branch = layers.BatchNormalization(name="norm")(branch)
        total = layers.Add(name="sum")([branch, base] if side == "left" else [base, branch])
        return [total, layers.Softmax()(branch)] if also_read else total

    return functional(body)


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_sum_reads_a_convolution_in_floating_point_and_the_rest_in_integers(side, normalized):
    found = points(residual_sum(side, normalized=normalized))
    assert_points(found, [({"image"}, {"first"}), ({"base"}, {"branch", "sum"})])


@pytest.mark.parametrize(("activation", "also_read"), [("relu", False), (None, True)])
def test_a_convolution_that_is_not_just_summed_is_quantized(activation, also_read):
    found = points(residual_sum("right", activation=activation, also_read=also_read))
    assert ({"branch"}, {"sum"}) in found


def test_of_two_convolutions_in_a_sum_the_one_computed_last_is_not_quantized():
    def body(x):
        short = convolution("short")(x)
        long = convolution("long")(layers.ReLU(name="relu")(convolution("inner")(x)))
        return layers.Add(name="sum")([long, short])

    found = points(functional(body))
    assert_points(found, [({"image"}, {"short", "inner"}), ({"relu"}, {"long"}), ({"short"}, {"sum"})])


def test_the_inputs_of_a_concatenation_share_one_range():
    expected = [({"image"}, {"left", "right"}), ({"left_relu", "right"}, {"join"})]
    assert_points(points(zoo.concatenation()), expected)


def test_concatenations_of_concatenations_share_one_range():
    def body(x):
        inner = layers.Concatenate(name="inner")([convolution("a")(x), convolution("b")(x)])
        outer = layers.Concatenate(name="outer")([layers.MaxPooling2D(1, name="pool")(inner), convolution("c")(x)])
        return convolution("after")(outer)

    found = points(functional(body))
    assert_points(found, [({"image"}, {"a", "b", "c"}), ({"a", "b", "c"}, {"inner", "outer"})])


def test_a_tensor_in_two_concatenations_ties_their_ranges():
    def body(x):
        a, b, c = (convolution(name)(x) for name in "abc")
        one = convolution("one")(layers.Concatenate(name="first_join")([a, b]))
        two = convolution("two")(layers.Concatenate(name="second_join")([b, c]))
        return layers.Activation("relu")(one) + layers.Activation("relu")(two)

    assert ({"a", "b", "c"}, {"first_join", "second_join"}) in points(functional(body))


def test_two_separate_concatenations_have_two_ranges():
    def body(x):
        for number in (1, 2):
            sides = [convolution(f"{side}{number}")(x) for side in ("left", "right")]
            x = convolution(f"after{number}")(layers.Concatenate(name=f"join{number}")(sides))
        return x

    found = points(functional(body))
    assert ({"left1", "right1"}, {"join1"}) in found
    assert ({"left2", "right2"}, {"join2"}) in found


def test_a_concatenation_that_nobody_reads_in_integers_is_left_alone():
    def body(x):
        return layers.Concatenate(name="join")([convolution("a")(x), convolution("b")(x)])

    assert_points(points(functional(body)), [({"image"}, {"a", "b"})])


def test_one_consumer_in_floating_point_keeps_its_float_input():
    def body(x):
        before = convolution("before")(x)
        return [convolution("integer")(before), layers.Softmax(name="float")(before)]

    assert_points(points(functional(body)), [({"image"}, {"before"}), ({"before"}, {"integer"})])


def test_a_moving_layer_with_a_float_consumer_is_not_passed():
    def body(x):
        pooled = layers.MaxPooling2D(name="pool")(convolution("before")(x))
        return [convolution("integer")(pooled), layers.Softmax(name="float")(pooled)]

    assert_points(points(functional(body)), [({"image"}, {"before"}), ({"pool"}, {"integer"})])


def test_a_moving_layer_that_is_also_an_output_is_not_passed():
    def body(x):
        pooled = layers.MaxPooling2D(name="pool")(convolution("before")(x))
        return [pooled, convolution("after")(pooled)]

    assert_points(points(functional(body)), [({"image"}, {"before"}), ({"pool"}, {"after"})])


def test_a_concatenation_with_a_float_consumer_is_quantized_behind_itself():
    def body(x):
        joined = layers.Concatenate(name="join")([convolution("a")(x), convolution("b")(x)])
        return [convolution("integer")(joined), layers.Softmax(name="float")(joined)]

    assert_points(points(functional(body)), [({"image"}, {"a", "b"}), ({"join"}, {"integer"})])


def test_only_nodes_that_want_integers_get_them():
    found = points(zoo.residual(), wants=lambda node: node.ref.layer == "body")
    assert_points(found, [({"stem_relu"}, {"body"})])
    assert points(zoo.residual(), wants=lambda node: False) == []


@pytest.mark.parametrize(
    ("make", "sources"),
    [(zoo.dense, [{"out"}]), (zoo.two_outputs, [{"near"}, {"far"}]), (zoo.dicts, [{"rank"}, {"score"}])],
)
def test_outputs_are_quantized_on_demand(make, sources):
    without, with_outputs = points(make()), points(make(), outputs=True)
    added = [point for point in with_outputs if point not in without]
    assert_points(added, [(source, {"<output>"}) for source in sources])


def test_moving_layers_before_a_quantized_output_are_passed():
    found = points(functional(lambda x: layers.Flatten(name="flat")(convolution("only")(x))), outputs=True)
    assert_points(found, [({"image"}, {"only"}), ({"only"}, {"flat"})])


def test_every_call_of_a_shared_layer_has_points_of_its_own():
    found = quantization_points(ModelGraph(take(zoo.shared_layer())), runs_in_integers)
    behind = [source for point in found for source in point.sources if source.layer == "shared"]
    assert sorted(source.node for source in behind) == [0, 1]


def test_nested_models_are_borders():
    expected = [({"backbone/inner_image"}, {"backbone/conv"}), ({"backbone"}, {"pool"}), ({"pool"}, {"out"})]
    assert_points(points(zoo.transfer()), expected)


@pytest.mark.parametrize(
    ("operator", "inputs"),
    [
        (lambda x, y: x - y, {"left", "right"}),
        (lambda x, y: tf.nn.relu(x) + tf.nn.relu(y), {"tf.nn.relu", "tf.nn.relu_1"}),
        (lambda x, y: tf.maximum(x, y), {"left", "right"}),
        (lambda x, y: tf.matmul(x, y, transpose_b=True), {"left", "right"}),
        (lambda x, y: tf.math.squared_difference(x, y), set()),
        (lambda x, y: x * 2.0, set()),
    ],
    ids=["difference", "sum", "maximum", "product", "unknown", "with a constant"],
)
def test_operators_of_two_tensors_are_computed_in_integers(operator, inputs):
    found = points(functional(lambda x: operator(convolution("left")(x), convolution("right")(x))))
    assert {source for sources, _ in found for source in sources} == {"image"} | inputs


def test_tensors_joined_by_an_operator_share_one_range():
    found = points(
        functional(lambda x: convolution("after")(tf.concat([convolution("a")(x), convolution("b")(x)], -1)))
    )
    assert ({"a", "b"}, {"tf.concat"}) in found


def test_operators_that_move_values_are_passed():
    found = points(
        functional(lambda x: convolution("after")(tf.transpose(convolution("before")(x)[:, 1:], [0, 2, 1, 3])))
    )
    assert ({"before"}, {"tf.__operators__.getitem"}) in found
    assert len(found) == 2


@pytest.mark.parametrize("gate", [tf.sigmoid, tf.tanh, lambda x: tf.nn.relu6(x + 3.0)])
def test_an_activation_written_out_stays_one_operation(gate):
    def body(x):
        x = convolution("before")(x)
        return convolution("after")(layers.Multiply(name="swish")([x, gate(x)]))

    assert_points(points(functional(body)), [({"image"}, {"before"}), ({"swish"}, {"after"})])


def readers(model):
    """Return the layers that read quantized tensors."""
    return {layer for _, consumers in points(model) for layer in consumers}


def logarithmic(steps):
    """A model whose signal goes through ``steps`` into a logarithm, and from there into a convolution."""
    signal = keras.Input((8, 8), name="signal")
    x = tf.math.log(steps(signal) + 1e-6)
    return keras.Model(signal, layers.Conv1D(4, 3, name="conv")(x))


STEPS = {
    "a product with a constant": lambda x: tf.matmul(x, tf.ones((8, 8))),
    "a sum of squares": lambda x: tf.square(x) + x * x,
    "a product of two tensors": lambda x: tf.matmul(x, x),
    "a product that is moved": lambda x: tf.transpose(x * tf.abs(x), [0, 2, 1]),
    "an average": lambda x: layers.AveragePooling1D(1)(x * x),
}


@pytest.mark.parametrize("steps", STEPS)
def test_signal_processing_in_front_of_a_logarithm_stays_in_floating_point(steps):
    assert readers(logarithmic(STEPS[steps])) == {"conv"}


SENSITIVE = {
    "root": lambda x: tf.sqrt(x + tf.abs(x)),
    "inverse root": lambda x: tf.math.rsqrt(x + tf.abs(x)),
    "power": lambda x: tf.pow(x + tf.abs(x), 0.3),
    "exponential": lambda x: tf.exp(x + tf.abs(x)),
    "divisor": lambda x: x / (x + tf.abs(x)),
}


@pytest.mark.parametrize("function", SENSITIVE)
def test_no_grid_in_front_of_functions_that_need_the_full_dynamic_range(function):
    signal = keras.Input((8, 8), name="signal")
    model = keras.Model(signal, layers.Conv1D(4, 3, name="conv")(SENSITIVE[function](signal)))
    assert readers(model) == {"conv"}


def test_the_dividend_may_be_quantized_and_so_may_what_a_trained_layer_reads():
    x = keras.Input((8, 8), name="x")
    total = layers.Add(name="total")([layers.Dense(8, name="one")(x), layers.Dense(8, name="two")(x)])
    model = keras.Model(x, tf.math.log(layers.Dense(4, name="head")(total / tf.abs(x))))
    assert readers(model) == {"one", "two", "total", "head"}


def test_a_product_with_a_constant_is_no_product_of_integers():
    x = keras.Input((8, 8), name="x")
    model = keras.Model(x, layers.Dense(4, name="head")(tf.matmul(x, tf.ones((8, 8)))))
    assert readers(model) == {"head"}
