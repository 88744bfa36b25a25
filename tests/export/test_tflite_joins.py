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


def exported(join, path, **options):
    """Return the outputs of a model of one input in Keras and in the file, joined from what ``join`` makes."""
    keras.utils.set_random_seed(5)
    x = keras.Input((8,), name="x")
    model = keras.Model(x, join(x))
    for weight in model.weights:
        if "bias" in weight.name:
            weight.assign(np.random.default_rng(1).normal(size=weight.shape) * 0.3)
    compressed = kc.quantize(model, samples())
    report = kc.export_model(compressed, path, calibration_data=samples(), **options)
    run = format_of(path).load(path, tensor_names(compressed), 0)
    return report, np.asarray(compressed(samples(), training=False)), run([samples()])[0]


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


@pytest.mark.parametrize(("narrow", "wide", "join"), PAIRS)
def test_no_part_is_cut_off_by_the_range_of_another(narrow, wide, join, tmp_path):
    report, expected, received = exported(
        lambda x: JOINS[join](NARROW[narrow](x), WIDE[wide](x), x), tmp_path / "model.tflite"
    )
    assert report.problems == []
    errors = np.abs(expected - received).reshape(len(expected), -1).max(0)
    spans = np.ptp(expected, axis=0).reshape(-1)
    assert (errors <= 0.04 * spans + 1e-6).all()


@pytest.mark.parametrize("narrow", ["softmax", "tanh"])
def test_as_an_integer_output_the_whole_has_a_range_of_its_own(narrow, tmp_path):
    path = tmp_path / "model.tflite"
    report, expected, received = exported(
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

    report, expected, received = exported(join, tmp_path / "model.tflite")
    assert report.problems == []
    assert (np.abs(expected - received).max(0) <= 0.04 * np.ptp(expected, axis=0) + 1e-6).all()


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


@pytest.mark.parametrize("join", levels(JOINS, first=["concatenate", "stack"]))
@pytest.mark.parametrize("narrow", levels(FUSED, first=["unit length", "softmax by hand"]))
def test_no_part_is_cut_off_by_the_range_of_what_is_fused(narrow, join, tmp_path):
    def whole(x):
        return JOINS[join](FUSED[narrow](x), Dense(4)(x) * 50.0, x)

    report, expected, received = exported(whole, tmp_path / "model.tflite")
    assert report.problems == []
    assert np.abs(expected - received).max() <= 0.01 * np.ptp(expected)


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


def exported_images(join, path):
    keras.utils.set_random_seed(5)
    image = keras.Input((4, 4, 3), name="image")
    images = np.random.default_rng(3).normal(size=(64, 4, 4, 3)).astype(np.float32)
    compressed = kc.quantize(keras.Model(image, join(image)), images)
    report = kc.export_model(compressed, path, calibration_data=images)
    run = format_of(path).load(path, tensor_names(compressed), 0)
    return report, np.asarray(compressed(images, training=False)), run([images])[0]


@pytest.mark.parametrize("activation", levels(["sigmoid", "tanh", "linear"], first=["sigmoid"]))
@pytest.mark.parametrize("move", levels(MOVED, first=FIRST))
def test_no_part_is_cut_off_by_what_was_moved_from_another_grid(move, activation, tmp_path):
    def join(image):
        narrow = layers.Conv2D(4, 3, padding="same", activation=activation)(image)
        return layers.Concatenate()([flat(MOVED[move](narrow)), flat(layers.Conv2D(4, 1)(image) * 50.0)])

    report, expected, received = exported_images(join, tmp_path / "model.tflite")
    assert report.problems == []
    assert np.abs(expected - received).max() <= 0.01 * np.ptp(expected)


@pytest.mark.parametrize("activation", levels(["sigmoid", "linear"], first=["sigmoid"]))
@pytest.mark.parametrize("move", levels(MOVED, first=FIRST))
def test_a_quantizer_behind_the_join_takes_every_part_as_it_is(move, activation, tmp_path):
    def join(image):
        narrow = layers.Conv2D(4, 3, padding="same", activation=activation)(image)
        wide = layers.Conv2D(4, 1)(image) * 30.0
        return Dense(2)(layers.Concatenate()([flat(narrow), flat(wide), flat(MOVED[move](narrow))]))

    report, expected, received = exported_images(join, tmp_path / "model.tflite")
    assert report.problems == []
    assert np.abs(expected - received).max() <= 0.05 * np.ptp(expected)


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
