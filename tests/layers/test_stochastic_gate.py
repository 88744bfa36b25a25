"""StochasticGate: drawn in training, fixed at inference, the mask once it is frozen; gradients against NumPy."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import deserialize, keras, serialize
from keras_compress.layers import CompressedLayer, StochasticGate

SHAPE = (30, 40)


def gate(values=None, shape=SHAPE, **options):
    op = StochasticGate(**options)
    op.build(tf.TensorShape(shape))
    if values is not None:
        op.gates.assign(values)
    return op


def drawn(op):
    """Return the gates of one training step, seen through weights of one."""
    return op(tf.ones(op.gates.shape), training=True).numpy()


def normal(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def sigmoid(values):
    return 1.0 / (1.0 + np.exp(-np.asarray(values, np.float64)))


@pytest.mark.parametrize("training", [None, False])
def test_at_inference_the_gates_with_positive_logits_are_open(training):
    op, weights = gate(normal()), normal(1)
    np.testing.assert_array_equal(op(weights, training=training), weights * (normal() > 0))
    np.testing.assert_array_equal(op.kept(), normal() > 0)


@pytest.mark.parametrize("pace", [1.0, 4.0])
def test_in_training_gates_are_open_as_often_as_their_logit_says(pace):
    op, draws = gate(normal(), pace=pace), 300
    mean = np.zeros(SHAPE)
    for _ in range(draws):
        gates = drawn(op)
        assert set(np.unique(gates)) <= {0.0, 1.0}
        mean += gates / draws
    probability = sigmoid(pace * normal())
    deviation = np.sqrt(probability * (1 - probability) / draws)
    assert (np.abs(mean - probability) <= 6 * deviation + 0.02).all()
    assert abs(mean.mean() - probability.mean()) < 0.005


def test_calls_of_one_step_see_the_same_gates_and_the_next_step_others():
    op = gate(np.zeros(SHAPE, np.float32))
    step = tf.function(lambda: (op(tf.ones(SHAPE), training=True), op(2 * tf.ones(SHAPE), training=True)))
    first, doubled = step()
    np.testing.assert_array_equal(2 * first, doubled)
    second, doubled = step()
    np.testing.assert_array_equal(2 * second, doubled)
    assert 0.4 < np.mean(first != second) < 0.6
    np.testing.assert_array_equal(op.draw, [0, 2])


def test_a_traced_step_draws_what_an_eager_one_draws():
    traced, eager = gate(normal()), gate(normal())
    step = tf.function(lambda: traced(tf.ones(SHAPE), training=True))
    for _ in range(3):
        np.testing.assert_array_equal(step(), drawn(eager))


def test_evaluation_counts_no_draw():
    op, ones = gate(normal()), tf.ones(SHAPE)
    call = tf.function(lambda training: op(ones, training=training))
    for training in (None, False, tf.constant(False)):
        call(training)
        op(ones, training=training)
    np.testing.assert_array_equal(op.draw, [0, 0])
    call(tf.constant(True))
    np.testing.assert_array_equal(op.draw, [0, 1])


def test_draws_are_those_of_the_seed():
    def steps(seed):
        op = gate(np.zeros(SHAPE, np.float32), seed=seed)
        return np.stack([drawn(op) for _ in range(3)])

    np.testing.assert_array_equal(steps(5), steps(5))
    assert 0.4 < np.mean(steps(5) != steps(6)) < 0.6


def test_a_draw_is_restored_with_the_variables():
    op, other = gate(normal()), gate()
    for _ in range(3):
        drawn(op)
    other.set_weights(op.get_weights())
    np.testing.assert_array_equal(drawn(other), drawn(op))


@pytest.mark.parametrize(("pace", "gradient_scale"), [(1.0, 1.0), (10.0, 0.1), (3.0, 120.0)])
def test_gradients_to_weights_and_gates(pace, gradient_scale):
    values, weights, upstream = 0.3 * normal(), normal(1), normal(2)
    op = gate(values, seed=3, pace=pace, gradient_scale=gradient_scale)
    uniform = tf.random.stateless_uniform(SHAPE, op.draw.numpy()).numpy().astype(np.float64)
    inputs = tf.constant(weights)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        out = op(inputs, training=True)
    to_weights, to_gates = tape.gradient(out, [inputs, op.gates], tf.constant(upstream))
    q = sigmoid(pace * values + np.log(uniform / (1.0 - uniform)))
    np.testing.assert_array_equal(out, weights * (q > 0.5))
    np.testing.assert_array_equal(to_weights, upstream * (q > 0.5))
    expected = gradient_scale * upstream * weights * q * (1.0 - q)
    np.testing.assert_allclose(to_gates, expected, rtol=2e-3, atol=1e-6 * gradient_scale)


def test_inference_and_frozen_gates_have_no_gradient():
    op, weights = gate(normal()), tf.constant(normal(1))
    with tf.GradientTape() as tape:
        out = op(weights, training=False)
    assert tape.gradient(out, op.gates) is None
    op.freeze()
    with tf.GradientTape() as tape:
        out = op(weights, training=True)
    gradient = tape.gradient(out, op.gates)
    assert gradient is None or not np.any(gradient)


def test_frozen_gates_are_fixed_whatever_is_trained_or_drawn():
    op = gate(normal())
    op.freeze()
    for _ in range(3):
        np.testing.assert_array_equal(drawn(op), normal() > 0)
    op.gates.assign(-normal())
    np.testing.assert_array_equal(drawn(op), normal() > 0)
    np.testing.assert_array_equal(op.kept(), normal() > 0)
    np.testing.assert_array_equal(op(tf.ones(SHAPE)), normal() > 0)


def test_thawed_gates_are_drawn_again():
    op = gate(normal())
    op.freeze()
    op.gates.assign(-normal())
    op.freeze(False)
    np.testing.assert_array_equal(op.kept(), -normal() > 0)
    assert np.any(drawn(op) != (-normal() > 0))


def test_a_training_flag_that_is_a_tensor_decides_when_the_graph_runs():
    op, ones = gate(np.zeros(SHAPE, np.float32)), tf.ones(SHAPE)
    call = tf.function(lambda training: op(ones, training=training))
    np.testing.assert_array_equal(call(tf.constant(False)), np.zeros(SHAPE))
    assert 0.4 < float(tf.reduce_mean(call(tf.constant(True)))) < 0.6


def test_logits_are_paced():
    op = gate(normal(), pace=10.0, gradient_scale=0.5)
    with tf.GradientTape() as tape:
        logits = op.logits()
    np.testing.assert_allclose(logits, 10.0 * normal(), rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(logits, op.gates), np.full(SHAPE, 0.5))


def test_only_the_gates_are_trained():
    op = gate()
    assert [id(variable) for variable in op.trainable_variables] == [id(op.gates)]
    np.testing.assert_array_equal(op.draw, [0, 0])
    np.testing.assert_array_equal(gate(seed=7).draw, [7, 0])


def test_its_description_survives_json():
    op = StochasticGate(seed=5, pace=10.0, gradient_scale=33.5, name="kernel_mask")
    again = deserialize(json.loads(json.dumps(serialize(op))))
    assert type(again) is StochasticGate
    assert again.get_config() == op.get_config()
    assert (again.seed, again.pace, again.gradient_scale) == (5, 10.0, 33.5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_weights_of_other_types_keep_their_type(dtype):
    op = gate(normal())
    for training in (False, True):
        assert op(tf.cast(normal(1), dtype), training=training).dtype == dtype


def test_a_wrapped_layer_passes_the_mode_of_the_model_on():
    layer = CompressedLayer(keras.layers.Dense(40, use_bias=False), [("kernel", StochasticGate(name="gate"))])
    model = keras.Sequential([keras.Input((30,)), layer])
    layer.weight_ops[0].gates.assign(np.zeros(SHAPE))
    layer.layer.kernel.assign(np.ones(SHAPE))
    eye = np.eye(30, dtype=np.float32)
    np.testing.assert_array_equal(model(eye), np.zeros(SHAPE))
    np.testing.assert_array_equal(model.predict(eye, verbose=0), np.zeros(SHAPE))
    assert 0.4 < float(tf.reduce_mean(model(eye, training=True))) < 0.6
