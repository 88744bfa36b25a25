"""Values joined in one tensor of a TensorFlow Lite file keep their own ranges, whatever stands beside them."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export.frozen_graph import tensor_names
from keras_compress.export.graph_editing import add_constant
from keras_compress.export.registry import format_of
from keras_compress.export.tflite_joins import keep_grids_apart
from keras_compress.export.tflite_weights import FLOAT_ZERO
from tests.levels import levels

layers = keras.layers
Dense = layers.Dense


def samples(count=64):
    return np.random.default_rng(3).normal(size=(count, 8)).astype(np.float32)


def exported(join, path, given=None, **options):
    """Return the report, and the outputs of a model of one input in Keras and in the file.

    Args:
        join: makes the output of the input, or a dict of outputs.
        given: the samples. Default: those of :func:`samples`.
    """
    keras.utils.set_random_seed(5)
    given = samples() if given is None else given
    x = keras.Input(given.shape[1:], name="x")
    model = keras.Model(x, join(x))
    for weight in model.weights:
        if "bias" in weight.name and given.ndim == 2:
            weight.assign(np.random.default_rng(1).normal(size=weight.shape) * 0.3)
    compressed = kc.quantize(model, given)
    report = kc.export_model(compressed, path, calibration_data=given, **options)
    run = format_of(path).load(path, tensor_names(compressed), 0)
    expected = [np.asarray(output) for output in tf.nest.flatten(compressed(given, training=False))]
    return report, expected, run([given])


def assert_near(joins, path, share, given=None, *, by_value=False):
    """Export a model with all these joins as outputs; none departs by more than a share of its span.

    Args:
        joins: functions of the input, by name.
        by_value: whether every value of an output has a span of its own. Default False.
    """
    report, expected, received = exported(lambda x: [make(x) for make in joins.values()], path, given)
    assert report.problems == []
    axis = 0 if by_value else None
    far = {
        name: float(np.abs(ours - theirs).max())
        for name, ours, theirs in zip(joins, expected, received, strict=True)
        if (np.abs(ours - theirs).max(axis) > share * np.ptp(ours, axis=axis) + 1e-6).any()
    }
    assert far == {}


#: What has a fixed range in TensorFlow Lite, or a range of its own.
NARROW = {
    "softmax": lambda x: Dense(4, "softmax")(x),
    "sigmoid": lambda x: Dense(4, "sigmoid")(x),
    "tanh": lambda x: Dense(4, "tanh")(x),
    "dense": lambda x: Dense(4)(x),
}
#: What has no quantizer, and values far from those.
WIDE = {
    "scaled": lambda x: Dense(4, "sigmoid")(x) * 640.0,
    "shifted": lambda x: Dense(4)(x) * 7.0 - 20.0,
    "exponential": lambda x: tf.exp(Dense(4)(x)) * 3.0,
    "another activation": lambda x: Dense(4, "tanh")(x),
    "softplus": lambda x: Dense(4, "softplus")(x) * 10.0,
    "a constant": lambda x: tf.ones_like(x[:, :4]) * 5.0 + x[:, :4] * 0.01,
}
JOINS = {
    "concatenate": lambda a, b, x: layers.Concatenate()([a, b]),
    "stack": lambda a, b, x: tf.stack([a, b], 1),
    "maximum": lambda a, b, x: layers.Maximum()([a, b]),
    "minimum": lambda a, b, x: tf.minimum(a, b),
    "where": lambda a, b, x: tf.where(x[:, :4] > 0.0, a, b),
    "reshaped": lambda a, b, x: layers.Concatenate(1)([layers.Reshape((2, 2))(a), layers.Reshape((2, 2))(b)]),
}
PAIRS = [(narrow, wide, "concatenate") for narrow in NARROW for wide in WIDE]
PAIRS += [(narrow, "scaled", join) for narrow in ("sigmoid", "dense") for join in JOINS if join != "concatenate"]


@pytest.mark.extended
@pytest.mark.parametrize("narrow", NARROW)
def test_no_part_is_cut_off_by_the_range_of_another(narrow, tmp_path):
    joins = {
        f"{join} with {wide}": lambda x, wide=wide, join=join: JOINS[join](NARROW[narrow](x), WIDE[wide](x), x)
        for one, wide, join in PAIRS
        if one == narrow
    }
    assert_near(joins, tmp_path / "model.tflite", 0.04, by_value=True)


def test_no_part_is_cut_off_by_the_range_of_another_of_a_few(tmp_path):
    joins = {join: lambda x, join=join: JOINS[join](Dense(4, "sigmoid")(x), WIDE["scaled"](x), x) for join in JOINS}
    assert_near(joins, tmp_path / "model.tflite", 0.04, by_value=True)


@pytest.mark.parametrize("narrow", ["softmax", "tanh"])
def test_as_an_integer_output_the_whole_has_a_range_of_its_own(narrow, tmp_path):
    path = tmp_path / "model.tflite"
    report, [expected], [received] = exported(
        lambda x: layers.Concatenate()([Dense(1, "tanh")(x) * 4.0, NARROW[narrow](x)]), path, io_type="int8"
    )
    [output] = report.outputs
    assert output.dtype == "int8"
    low, high = (output.scale * (end - output.zero_point) for end in (-128, 127))
    assert low <= expected.min() + output.scale
    assert high >= expected.max() - output.scale
    assert np.abs(expected - received).max() <= 3 * output.scale


def test_parts_of_one_grid_stay_integers(tmp_path):
    def join(x):
        return Dense(3)(layers.Concatenate()([Dense(4, "relu")(x), Dense(4, "relu")(x)]))

    exported(join, tmp_path / "model.tflite")
    operations = [
        one["op_name"] for one in format_of(tmp_path / "m.tflite").open(tmp_path / "model.tflite", 1)._get_ops_details()
    ]
    assert "CONCATENATION" in operations
    assert "ADD" not in operations


def graph(*quantized, constant=None, behind=False):
    """Return a graph that joins its inputs ``a`` and ``b``, those with a range in ``quantized`` behind a quantizer."""
    with tf.Graph().as_default() as made:
        parts = []
        for name, ends in zip("ab", quantized, strict=False):
            value = tf.compat.v1.placeholder(tf.float32, (2, 2), name=name)
            parts.append(value if ends is None else tf.quantization.fake_quant_with_min_max_vars(value, *ends))
        parts += [] if constant is None else [tf.constant(constant, tf.float32, (2, 2))]
        whole = tf.concat(parts, 0, name="whole")
        if behind:
            tf.quantization.fake_quant_with_min_max_vars(whole, -9.0, 9.0)
        graph_def = made.as_graph_def()
    add_constant(graph_def, FLOAT_ZERO, np.zeros(1, np.float32))
    return graph_def


@pytest.mark.parametrize(
    ("graph_def", "expected"),
    [
        (graph((-1.0, 1.0), None), 1),
        (graph((-1.0, 1.0), (-1.0, 1.0)), 0),
        (graph((-1.0, 1.0), (-2.0, 2.0)), 2),
        (graph(None, None), 0),
        (graph((-1.0, 1.0), None, behind=True), 0),
        (graph((-1.0, 1.0), constant=0.5), 0),
        (graph((-1.0, 1.0), constant=5.0), 1),
    ],
)
def test_only_parts_with_a_grid_that_others_do_not_have_become_floats(graph_def, expected):
    keep_grids_apart(graph_def)
    assert [node.op for node in graph_def.node].count("AddV2") == expected


def test_without_quantizers_a_graph_is_left_alone():
    graph_def = graph(None, None)
    del graph_def.node[-1]
    before = graph_def.SerializeToString(deterministic=True)
    keep_grids_apart(graph_def)
    assert graph_def.SerializeToString(deterministic=True) == before


def test_a_join_of_joins_keeps_every_range(tmp_path):
    def join(x):
        inner = layers.Concatenate()([Dense(2, "sigmoid")(x), Dense(2)(x) * 9.0])
        return layers.Concatenate()([layers.Maximum()([inner, Dense(4, "tanh")(x)]), Dense(4, "sigmoid")(x), inner])

    assert_near({"all": join}, tmp_path / "model.tflite", 0.04, by_value=True)


def softmax_of_exponentials(x):
    powers = tf.exp(x - tf.reduce_max(x, -1, keepdims=True))
    return powers / tf.reduce_sum(powers, -1, keepdims=True)


#: Functions of several operations that the converter makes one operation of, with a fixed range.
FUSED = {
    "unit length": lambda x: tf.math.l2_normalize(Dense(4)(x), -1),
    "divided by the length": lambda x: (lambda y: y / tf.sqrt(tf.reduce_sum(tf.square(y), -1, keepdims=True)))(
        Dense(4)(x)
    ),
    "times the reciprocal": lambda x: (
        lambda y: y * tf.math.rsqrt(tf.reduce_sum(tf.square(y), -1, keepdims=True) + 1e-5)
    )(Dense(4)(x)),
    "softmax by hand": lambda x: softmax_of_exponentials(Dense(4)(x)),
    "sigmoid by hand": lambda x: 1.0 / (1.0 + tf.exp(-Dense(4)(x))),
    "sigmoid times one": lambda x: tf.sigmoid(Dense(4)(x)) * 1.0,
}


@pytest.mark.parametrize("narrow", levels(FUSED, first=["unit length"]))
def test_no_part_is_cut_off_by_the_range_of_what_is_fused(narrow, tmp_path):
    joins = {join: lambda x, join=join: JOINS[join](FUSED[narrow](x), Dense(4)(x) * 50.0, x) for join in JOINS}
    assert_near(joins, tmp_path / "model.tflite", 0.02)


def flat(values):
    return layers.Flatten()(values)


#: What keeps the grid of what it reads, of values of shape (4, 4, 4).
MOVED = {
    "mean": lambda y: tf.reduce_mean(y, [1, 2]),
    "largest": lambda y: tf.reduce_max(y, 1),
    "smallest": lambda y: tf.reduce_min(y, 1),
    "average pooling": lambda y: layers.AveragePooling2D(2)(y),
    "maximum pooling": lambda y: layers.MaxPooling2D(2)(y),
    "bilinear": lambda y: layers.UpSampling2D(2, interpolation="bilinear")(y),
    "nearest": lambda y: layers.UpSampling2D(2)(y),
    "roll": lambda y: tf.roll(y, 1, 1),
    "roll of two axes": lambda y: tf.roll(y, [1, -1], [1, 3]),
    "reversed": lambda y: tf.reverse(y, [1]),
    "gathered": lambda y: tf.gather(y, [1, 2], axis=1),
    "gathered by index": lambda y: tf.gather_nd(y, tf.zeros_like(y[:, :2, 0, 0], tf.int32)[..., None], batch_dims=1),
    "split": lambda y: tf.split(y, 2, -1)[1],
    "split by sizes": lambda y: tf.split(y, [1, 3], -1)[1],
    "unstacked": lambda y: tf.unstack(y, axis=1)[1],
    "sliced": lambda y: y[:, 1:3],
    "transposed": lambda y: tf.transpose(y, [0, 2, 1, 3]),
    "repeated": lambda y: tf.repeat(y, 2, 1),
    "padded": lambda y: tf.pad(y, [[0, 0], [1, 1], [0, 0], [0, 0]]),
    "mirrored": lambda y: tf.pad(y, [[0, 0], [1, 1], [0, 0], [0, 0]], "REFLECT"),
    "padded by a half": lambda y: tf.pad(y, [[0, 0], [1, 1], [0, 0], [0, 0]], constant_values=0.5),
    "in blocks": lambda y: tf.nn.space_to_depth(y, 2),
    "largest ones": lambda y: tf.math.top_k(y, 2)[0],
    "clipped": lambda y: tf.clip_by_value(y, 0.2, 0.7),
    "einsum": lambda y: tf.einsum("abcd->acbd", y),
    "a band": lambda y: tf.linalg.band_part(y, -1, 0),
}
FIRST = ["split", "bilinear", "roll"]


def images(count=64):
    return np.random.default_rng(3).normal(size=(count, 4, 4, 3)).astype(np.float32)


def convolved(image, activation):
    return layers.Conv2D(4, 3, padding="same", activation=activation)(image)


def beside_wide_values(image, move, activation):
    return layers.Concatenate()(
        [flat(MOVED[move](convolved(image, activation))), flat(layers.Conv2D(4, 1)(image) * 50.0)]
    )


def in_front_of_a_layer(image, move, activation):
    narrow, wide = convolved(image, activation), layers.Conv2D(4, 1)(image) * 30.0
    return Dense(2)(layers.Concatenate()([flat(narrow), flat(wide), flat(MOVED[move](narrow))]))


@pytest.mark.parametrize("moves", [FIRST, pytest.param(list(MOVED), marks=pytest.mark.extended)], ids=["few", "all"])
@pytest.mark.parametrize("activation", levels(["sigmoid", "tanh", "linear"], first=["sigmoid"]))
def test_no_part_is_cut_off_by_what_was_moved_from_another_grid(activation, moves, tmp_path):
    joins = {move: lambda image, move=move: beside_wide_values(image, move, activation) for move in moves}
    assert_near(joins, tmp_path / "model.tflite", 0.01, images())


@pytest.mark.parametrize("moves", [FIRST, pytest.param(list(MOVED), marks=pytest.mark.extended)], ids=["few", "all"])
@pytest.mark.parametrize("activation", levels(["sigmoid", "linear"], first=["sigmoid"]))
def test_a_quantizer_behind_the_join_takes_every_part_as_it_is(activation, moves, tmp_path):
    joins = {move: lambda image, move=move: in_front_of_a_layer(image, move, activation) for move in moves}
    assert_near(joins, tmp_path / "model.tflite", 0.05, images())


def sliced(reads_others):
    """Return a graph in which a quantizer reads some values of a tensor, and what ``reads_others`` makes reads others."""
    with tf.Graph().as_default() as made:
        both = tf.compat.v1.placeholder(tf.float32, (2, 4), name="x") * 3.0
        tf.quantization.fake_quant_with_min_max_vars(both[:, :2], -1.0, 1.0)
        reads_others(both)
        graph_def = made.as_graph_def()
    add_constant(graph_def, FLOAT_ZERO, np.zeros(1, np.float32))
    return graph_def


@pytest.mark.parametrize(
    ("reads_others", "expected"),
    [
        (lambda both: tf.exp(both[:, 2:]), 1),
        (lambda both: tf.identity(both[:, 2:], name="output"), 1),
        (lambda both: tf.quantization.fake_quant_with_min_max_vars(both[:, 2:], -3.0, 3.0), 0),
        (lambda both: None, 0),
    ],
)
def test_a_quantizer_of_some_values_does_not_reach_others(reads_others, expected):
    graph_def = sliced(reads_others)
    keep_grids_apart(graph_def)
    assert [node.op for node in graph_def.node].count("AddV2") == expected
