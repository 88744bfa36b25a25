"""RB sparsity: one draw per step, the loss and its gradient against NumPy, and that plain training reaches the target."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import create_compressed_model, create_compression_callbacks
from keras_compress._keras import keras
from keras_compress.algorithms import CompressionStage
from keras_compress.data import pack_inputs
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import StochasticGate
from tests import zoo
from tests.any_model.one_layer_models import ONE_LAYER_MODELS
from tests.any_model.test_any_model import draw_inputs

layers = keras.layers
#: Gates alone are looked at here, at one level.
pytestmark = pytest.mark.filterwarnings("ignore:This training does not move the schedule")
WIDTH = 0.05


def compress(model, init=0.0, **params):
    algorithm = {"algorithm": "rb_sparsity", "sparsity_init": init, "params": params}
    return create_compressed_model(model, {"compression": algorithm})


def gate_ops(model):
    return {path: model.get_layer(path).weight_ops[0] for path, _ in zoo.masked_weights(model)}


def gates(model):
    """Return the trained variable of every layer's gates."""
    return {path: op.gates.numpy() for path, op in gate_ops(model).items()}


def draw_counts(model):
    return [int(op.draw[1]) for op in gate_ops(model).values()]


def set_random_gates(model, seed=0, scale=0.3):
    generator = np.random.default_rng(seed)
    for op in gate_ops(model).values():
        op.gates.assign(generator.normal(scale=scale, size=op.gates.shape))


def open_counts(model):
    return {path: (int(np.sum(values > 0)), values.size) for path, values in gates(model).items()}


@pytest.mark.parametrize("mode", ["global", "local"])
@pytest.mark.parametrize("init", [0.0, 0.25, 0.6])
def test_at_the_start_the_least_important_weights_are_closed_and_the_order_is_that_of_magnitude(init, mode):
    model = zoo.convolution()
    model.get_layer("out").kernel.assign(20 * model.get_layer("out").kernel)
    _, compressed = compress(model, init, sparsity_target=0.7, sparsity_level_setting_mode=mode)
    found, values = zoo.masked_weights(compressed), gates(compressed)
    importances = {
        layer: np.abs(weight) / np.linalg.norm(weight.astype(np.float64))
        for (layer, _), (weight, _, _) in found.items()
    }
    for group in [[layer] for layer in values] if mode == "local" else [list(values)]:
        flat = np.concatenate([importances[layer].ravel() for layer in group])
        trained = np.concatenate([values[layer].ravel() for layer in group])
        assert np.sum(trained <= 0) == round(init * flat.size)
        assert (np.diff(trained[np.argsort(flat)]) > 0).all()


def test_at_level_zero_every_gate_is_open():
    model = zoo.residual()
    _, compressed = compress(model)
    assert zoo.zeros(compressed) == 0
    zoo.assert_same_predictions(compressed, model, zoo.samples(model))


def test_the_global_loss_is_the_squared_miss_of_all_gates_together():
    controller, model = compress(zoo.dense())
    for seed, level in enumerate((0.0, 0.3, 0.5, 0.9)):
        set_random_gates(model, seed)
        controller.set_sparsity_level(level)
        counts = open_counts(model).values()
        share = sum(opened for opened, _ in counts) / sum(size for _, size in counts)
        assert float(controller.loss()) == pytest.approx(((share - (1 - level)) / WIDTH) ** 2, rel=1e-4)
        (added,) = model.losses
        assert float(added) == pytest.approx(((share - (1 - level)) / WIDTH) ** 2, rel=1e-4)


def test_the_local_loss_is_the_mean_over_the_weights():
    controller, model = compress(zoo.convolution(), sparsity_level_setting_mode="local")
    set_random_gates(model)
    gate_ops(model)["conv"].gates.assign_add(np.full((3, 3, 3, 4), 0.2))
    controller.set_sparsity_level(0.4)
    misses = [((opened / size - 0.6) / WIDTH) ** 2 for opened, size in open_counts(model).values()]
    assert len(misses) == 2
    assert float(controller.loss()) == pytest.approx(np.mean(misses), rel=1e-4)


@pytest.mark.parametrize("mode", ["global", "local"])
@pytest.mark.parametrize("level", [0.1, 0.9])
def test_the_gradient_of_the_loss_pulls_every_gate_towards_the_level(level, mode):
    controller, model = compress(zoo.dense(), sparsity_target=0.95, sparsity_level_setting_mode=mode)
    set_random_gates(model)
    controller.set_sparsity_level(level)
    ops = gate_ops(model)
    with tf.GradientTape() as tape:
        loss = controller.loss()
    found = tape.gradient(loss, [op.gates for op in ops.values()])
    counts = open_counts(model)
    total = sum(size for _, size in counts.values())
    for (layer, op), gradient in zip(ops.items(), found, strict=True):
        opened, size = counts[layer]
        if mode == "global":
            opened, size = sum(opened for opened, _ in counts.values()), total
        logits = op.pace * op.gates.numpy().astype(np.float64)
        q = 1 / (1 + np.exp(-logits))
        shares = 1 if mode == "global" else 2
        expected = 2 * (opened / size - (1 - level)) / WIDTH**2 / size / shares * op.gradient_scale * q * (1 - q)
        np.testing.assert_allclose(gradient, expected, rtol=2e-3, atol=1e-7)
        assert (np.sign(gradient) == (1 if level == 0.9 else -1)).all()


def test_a_shared_layer_called_twice_in_a_step_sees_the_same_gates():
    controller, model = compress(zoo.shared_layer())
    set_random_gates(model)
    x = zoo.samples(model)[0]
    step = tf.function(lambda: model([x, x], training=True))
    for _ in range(3):
        np.testing.assert_allclose(step(), np.tile(model.get_layer("out").bias, (len(x), 1)), atol=1e-6)
        controller.loss()
    assert draw_counts(model) == [3] * len(gate_ops(model))


def test_a_shared_layer_called_twice_sees_the_same_gates_inside_fit():
    first, second = keras.Input((4,)), keras.Input((4,))
    shared = layers.Dense(50, name="shared")
    model = keras.Model([first, second], layers.Subtract()([shared(first), shared(second)]))
    _, compressed = compress(model)
    gate_ops(compressed)["shared"].gates.assign(np.full((4, 50), 1e-3))
    compressed.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    history = compressed.fit([x, x], np.zeros((12, 50), np.float32), batch_size=4, epochs=2, verbose=0)
    assert history.history["loss"] == [0.0, 0.0]
    assert draw_counts(compressed) == [6]


def test_the_next_step_of_fit_sees_other_gates():
    _, model = compress(zoo.dense(50))
    for op in gate_ops(model).values():
        op.gates.assign(np.full(op.gates.shape, 1e-3))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x, y = zoo.samples(model), np.zeros((8, 3), np.float32)
    outputs, losses = [], []
    for _ in range(3):
        draws = [op.draw.numpy() for op in gate_ops(model).values()]
        outputs.append(model(x, training=True).numpy())
        for op, draw in zip(gate_ops(model).values(), draws, strict=True):
            op.draw.assign(draw)
        losses.append(model.train_on_batch(x, y))
    np.testing.assert_allclose(losses, [np.mean(np.square(out)) for out in outputs], rtol=1e-4)
    assert np.abs(outputs[0] - outputs[1]).max() > 0.01
    assert np.abs(outputs[1] - outputs[2]).max() > 0.01


def train(model, epochs=2, **options):
    x, y = zoo.samples(model, 32), np.ones((32, 3), np.float32)
    model.compile(keras.optimizers.SGD(0.05), "mse")
    model.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, **options)
    return model


def test_draws_are_those_of_the_seed():
    model = zoo.dense()
    first, again, other = (train(compress(model, seed=seed)[1]) for seed in (5, 5, 6))
    for one, two in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert np.abs(other.get_layer("hidden").kernel.numpy() - first.get_layer("hidden").kernel.numpy()).max() > 0


def test_two_layers_of_one_shape_draw_different_gates():
    x = keras.Input((6,))
    model = keras.Model(x, layers.Dense(6, name="second")(layers.Dense(6, name="first")(x)))
    _, compressed = compress(model)
    seeds = [op.draw.numpy().tolist() for op in gate_ops(compressed).values()]
    assert seeds[0] != seeds[1]


def hard_outputs(model, x):
    """Return what the dense model computes with closed gates as zeros, in NumPy."""
    kernels = [weight * kept for weight, _, kept in zoo.masked_weights(model).values()]
    hidden = np.maximum(x @ kernels[0] + model.get_layer("hidden").bias.numpy(), 0)
    return hidden @ kernels[1] + model.get_layer("out").bias.numpy()


def test_predict_and_evaluate_use_the_gates_without_chance():
    _, model = compress(zoo.dense(30))
    set_random_gates(model)
    for path, op in gate_ops(model).items():
        np.testing.assert_array_equal(zoo.masked_weights(model)[path, "kernel"][2], op.gates.numpy() > 0)
    x, y = zoo.samples(model, 16), np.ones((16, 3), np.float32)
    expected = hard_outputs(model, x)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)
    model.compile("sgd", "mse")
    counts = open_counts(model).values()
    share = sum(opened for opened, _ in counts) / sum(size for _, size in counts)
    loss = np.mean(np.square(expected - y)) + ((share - 1.0) / WIDTH) ** 2
    for _ in range(2):
        assert model.evaluate(x, y, verbose=0) == pytest.approx(loss, rel=1e-4)


def test_evaluating_and_predicting_change_nothing():
    _, model = compress(zoo.dense())
    model.compile("sgd", "mse")
    x, y = zoo.samples(model), np.ones((8, 3), np.float32)
    before = model.get_weights()
    model.predict(x, verbose=0)
    model.evaluate(x, y, verbose=0)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.extended
def test_training_is_the_same_with_and_without_validation():
    model = zoo.dense()
    x, y = zoo.samples(model), np.ones((8, 3), np.float32)
    plain = train(compress(model)[1])
    validated = train(compress(model)[1], validation_data=(x, y))
    np.testing.assert_array_equal(validated.get_layer("hidden").kernel, plain.get_layer("hidden").kernel)


def problem(samples=320, inputs=16, outputs=4):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(samples, inputs)).astype(np.float32)
    y = np.tanh(x @ generator.normal(size=(inputs, outputs))).astype(np.float32)
    return x, y


def network():
    stack = [keras.Input((16,)), layers.Dense(16, "relu", name="hidden"), layers.Dense(4, name="out")]
    return keras.Sequential(stack)


class Gates(keras.callbacks.Callback):
    """Notes after every epoch what is kept, the float weights and the added loss."""

    def __init__(self, controller):
        super().__init__()
        self.controller, self.kept, self.weights, self.losses = controller, [], [], []

    def on_epoch_end(self, epoch, logs=None):
        found = zoo.masked_weights(self.controller.model)
        self.kept.append([kept for _, _, kept in found.values()])
        self.weights.append([weight for weight, _, _ in found.values()])
        self.losses.append(float(self.controller.loss()))


@pytest.mark.extended
@pytest.mark.parametrize("mode", ["global", "local"])
def test_fit_with_adam_reaches_the_target_and_stays_there_once_frozen(mode):
    controller, model = compress(
        network(),
        sparsity_target=0.6,
        sparsity_target_epoch=10,
        sparsity_freeze_epoch=16,
        sparsity_level_setting_mode=mode,
    )
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    x, y = problem()
    recorder, frozen_at = Gates(controller), 16
    history = model.fit(
        x, y, batch_size=16, epochs=20, callbacks=[*create_compression_callbacks(controller), recorder], verbose=0
    ).history
    levels = history["rb_sparsity/sparsity_level"]
    assert levels[0] < 0.2
    if mode == "global":
        np.testing.assert_allclose(levels[frozen_at:], 0.6, atol=0.011)
    for kept in recorder.kept[-1]:
        if mode == "local":
            assert np.mean(~kept) == pytest.approx(0.6, abs=0.02)
    for epoch in range(frozen_at + 1, 20):
        for now, before in zip(recorder.kept[epoch], recorder.kept[frozen_at], strict=True):
            np.testing.assert_array_equal(now, before)
        for now, before in zip(recorder.weights[epoch], recorder.weights[epoch - 1], strict=True):
            assert np.abs(now - before).max() > 0
    for now, before in zip(recorder.kept[frozen_at], recorder.kept[frozen_at - 1], strict=True):
        np.testing.assert_array_equal(now, before)
    assert max(recorder.losses[:frozen_at]) > 0
    assert recorder.losses[frozen_at:] == [0.0] * (20 - frozen_at)
    assert history["loss"][-1] < np.mean(np.square(y))
    assert controller.compression_stage() is CompressionStage.FULLY_COMPRESSED
    np.testing.assert_array_equal(model(x[:5], training=True), model(x[:5], training=False))


@pytest.mark.parametrize("wrap", [tf.function, lambda step: step], ids=["graph", "eager"])
def test_a_training_loop_of_ones_own_trains_the_gates(wrap):
    controller, model = compress(network(), sparsity_target=0.5, sparsity_target_epoch=0)
    optimizer = keras.optimizers.Adam(2e-2)
    x, y = (tf.constant(array) for array in problem(64))
    of_gates = {variable.ref() for op in gate_ops(model).values() for variable in op.trainable_variables}

    @wrap
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x, training=True) - y)) + controller.loss()
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        pairs = zip(gradients, model.trainable_variables, strict=True)
        return [tf.reduce_max(tf.abs(gradient)) for gradient, variable in pairs if variable.ref() in of_gates]

    controller.scheduler.epoch_step()
    assert controller.compression_rate == 0.0
    assert all(float(size) > 0 for size in step())
    assert draw_counts(model) == [1, 1]
    for _ in range(69):
        step()
    assert controller.compression_rate == pytest.approx(0.5, abs=0.06)
    assert draw_counts(model) == [70, 70]


def test_only_a_level_that_the_gates_have_reached_is_complete():
    controller, model = compress(zoo.dense(), sparsity_target=0.5, sparsity_target_epoch=0)
    assert controller.compression_stage() is CompressionStage.UNCOMPRESSED
    controller.scheduler.epoch_step()
    assert controller.compression_stage() is not CompressionStage.FULLY_COMPRESSED
    for op in gate_ops(model).values():
        signs = np.where(np.arange(op.gates.shape.num_elements()) % 2, 0.5, -0.5)
        op.gates.assign(signs.reshape(op.gates.shape))
    assert controller.compression_rate == 0.5
    assert controller.compression_stage() is CompressionStage.FULLY_COMPRESSED


def test_frozen_gates_come_back_from_a_file_frozen(tmp_path):
    controller, model = compress(zoo.dense(40))
    set_random_gates(model)
    controller.freeze()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = zoo.samples(model)
    expected = hard_outputs(model, x)
    for training in (False, True):
        np.testing.assert_allclose(loaded(x, training=training), expected, rtol=1e-4, atol=1e-5)


def test_a_frozen_layer_that_is_not_trainable_keeps_its_gates():
    model = zoo.dense()
    model.get_layer("hidden").trainable = False
    _, compressed = compress(model)
    assert not compressed.get_layer("hidden").trainable_variables
    before = gates(compressed)["hidden"]
    train(compressed)
    np.testing.assert_array_equal(gates(compressed)["hidden"], before)


@pytest.mark.parametrize("kind", ["MultiHeadAttention", "Bidirectional", "TimeDistributed", "GRU", "Embedding"])
def test_gates_inside_of_unusual_layers_are_drawn_and_trained(kind):
    model = ONE_LAYER_MODELS[kind]()
    _, compressed = compress(model, 0.5)
    ops = [op for _, layer in leaf_layers(compressed) for op in getattr(layer, "weight_ops", [])]
    assert ops
    assert all(isinstance(op, StochasticGate) for op in ops)
    assert zoo.zeros(compressed) == round(0.5 * sum(op.gates.shape.num_elements() for op in ops))
    inputs = pack_inputs(compressed, [tf.constant(array) for array in draw_inputs(compressed)])
    with tf.GradientTape() as tape:
        outputs = tf.nest.flatten(compressed(inputs, training=True))
        loss = tf.add_n([tf.reduce_sum(tf.square(output - 1.0)) for output in outputs])
    for gradient in tape.gradient(loss, [op.gates for op in ops]):
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0
    assert np.abs(outputs[0] - tf.nest.flatten(compressed(inputs, training=False))[0]).max() > 0
