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
