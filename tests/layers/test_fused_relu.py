"""In a traced step of training, a quantizer whose range begins at zero does the work of the ReLU before it."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.layers import SymmetricFakeQuantize, range_following
from keras_compress.layers.fused_relu import before_relu

ACTIVATIONS = {"relu": tf.nn.relu, "relu6": tf.nn.relu6}
GENERATOR = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _ranges_stay(monkeypatch):
    """So few values have large shares beyond a range, and numbers are compared at one range."""
    monkeypatch.setattr(range_following, "SHARE", 1.0)


def quantizer(high, **settings):
    made = SymmetricFakeQuantize(signed=False, **settings)
    made.build((4, 5, 6))
    made.set_range(np.float32(0), np.float32(high))
    return made


def results(made, activation, values, upstream, training):
    """Return output, gradient of the values and gradient of the scale."""
    with tf.GradientTape() as tape:
        tape.watch(values)
        out = made(activation(values), training=training)
        loss = tf.reduce_sum(out * upstream)
    return [out, *tape.gradient(loss, [values, made.scale])]


def kinds(function, *arguments):
    """Return the kinds of operations that are left once nobody reads the others."""
    graph_def = tf.function(function).get_concrete_function(*arguments).graph.as_graph_def()
    nodes = {node.name: node for node in graph_def.node}
    waiting = [node.name for node in graph_def.node if node.op == "Identity" and node.name.startswith("Identity")]
    found = set()
    while waiting:
        node = nodes[waiting.pop().lstrip("^").split(":")[0]]
        if node.name not in found:
            found.add(node.name)
            waiting += node.input
    return {nodes[name].op for name in found}


@pytest.mark.parametrize("num_bits", [4, 8])
@pytest.mark.parametrize(
    ("name", "high"), [("relu", 2.0), ("relu", 60.0), ("relu6", 2.0), ("relu6", 6.0), ("relu6", 9.0)]
)
def test_numbers_and_gradients_are_those_behind_the_activation(name, high, num_bits):
    made = quantizer(high, num_bits=num_bits, max_value=6.0 if name == "relu6" else None)
    values = tf.constant(GENERATOR.normal(0, 4, size=(4, 5, 6)), tf.float32)
    upstream = tf.constant(GENERATOR.normal(size=(4, 5, 6)), tf.float32)
    plain = results(made, ACTIVATIONS[name], values, upstream, True)
    traced = tf.function(lambda v, u: results(made, ACTIVATIONS[name], v, u, True))(values, upstream)
    np.testing.assert_array_equal(traced[0], plain[0])
    np.testing.assert_array_equal(traced[1], plain[1])
    np.testing.assert_allclose(traced[2], plain[2], rtol=1e-5, atol=1e-6)


def test_eager_and_traced_gradients_differ_where_a_value_is_exactly_zero_and_nowhere_else():
    made = quantizer(2.0, max_value=6.0)
    values, upstream = tf.constant([[[-1.0, 0.0, 1e-6, 1.0, 2.0, 3.0]]]), tf.ones((1, 1, 6))
    for activation in ACTIVATIONS.values():
        eager = results(made, activation, values, upstream, True)[1]
        traced = tf.function(lambda v, u, f=activation: results(made, f, v, u, True))(values, upstream)[1]
        assert eager.numpy().reshape(-1).tolist() == [0, 0, 1, 1, 1, 0]
        assert traced.numpy().reshape(-1).tolist() == [0, 1, 1, 1, 1, 0]


def test_a_gradient_of_the_output_of_the_activation_is_that_of_its_other_readers_when_traced():
    made = quantizer(2.0)

    def gradient(values, training):
        with tf.GradientTape() as tape:
            activated = tf.nn.relu(values)
            tape.watch(activated)
            loss = tf.reduce_sum(made(activated, training=training)) + 10.0 * tf.reduce_sum(activated)
        return tape.gradient(loss, activated)

    values = tf.constant([0.5, 1.0])
    for run, training, expected in (
        (gradient, True, [11.0, 11.0]),
        (tf.function(gradient), False, [11.0, 11.0]),
        (tf.function(gradient), True, [10.0, 10.0]),
    ):
        assert run(values, training).numpy().tolist() == expected


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_activation_is_not_computed_in_training_and_is_at_inference(name):
    made = quantizer(2.0, max_value=6.0)
    values = tf.zeros((4, 5, 6))
    kind = {"relu": "Relu", "relu6": "Relu6"}[name]
    assert kind not in kinds(lambda v: made(ACTIVATIONS[name](v), training=True), values)
    assert kind in kinds(lambda v: made(ACTIVATIONS[name](v), training=False), values)


def test_relu6_stays_where_the_range_may_pass_it():
    unbounded, wide = quantizer(2.0), quantizer(2.0, max_value=8.0)
    for made in (unbounded, wide):
        assert "Relu6" in kinds(lambda v, made=made: made(tf.nn.relu6(v), training=True), tf.zeros((4, 5, 6)))


def test_a_grid_that_may_hold_negative_values_keeps_the_activation():
    made = SymmetricFakeQuantize()
    made.build((4, 5, 6))
    assert "Relu" in kinds(lambda v: made(tf.nn.relu(v), training=True), tf.zeros((4, 5, 6)))


def test_an_activation_with_a_gradient_of_its_own_stays():
    @tf.RegisterGradient("TestOfFusedRelu")
    def _gradient(op, upstream):
        return upstream

    @tf.function
    def kept(values):
        with tf.compat.v1.get_default_graph().gradient_override_map({"Relu": "TestOfFusedRelu"}):
            activated = tf.nn.relu(values)
        return before_relu(activated) is activated

    assert kept(tf.zeros(3))


def test_a_tensor_that_is_observed_is_the_one_behind_the_activation():
    from keras_compress.layers.calibrated_op import observed

    made = quantizer(2.0)
    with observed({}, [made]):
        found = tf.function(lambda v: made(tf.nn.relu(v), training=True))(tf.constant([-1.0, 1.0]))
    assert found.numpy().tolist() == [0.0, 1.0]


@pytest.mark.extended
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("jit", [False, True])
def test_a_model_trains_as_it_does_eagerly(jit, policy):
    dtype = keras.mixed_precision.Policy(policy)
    image = keras.Input((6, 6, 4))
    x = keras.layers.Conv2D(8, 3, activation="relu", dtype=dtype)(image)
    x = keras.layers.ReLU(6.0, dtype=dtype)(keras.layers.DepthwiseConv2D(3, dtype=dtype)(x))
    x = keras.layers.Dense(2, dtype="float32")(keras.layers.Flatten()(x))
    model = keras.Model(image, x)
    images = GENERATOR.normal(size=(32, 6, 6, 4)).astype(np.float32)
    targets = GENERATOR.normal(size=(32, 2)).astype(np.float32)
    config = kc.register_default_init_args({"compression": {"algorithm": "quantization"}}, images)
    losses = []
    for settings in ({"run_eagerly": True}, {"jit_compile": jit}):
        _, compressed = kc.create_compressed_model(model, config)
        compressed.compile(keras.optimizers.SGD(0.01), "mse", **settings)
        losses.append(compressed.fit(images, targets, batch_size=8, epochs=3, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-3 if policy == "float32" else 3e-2)
