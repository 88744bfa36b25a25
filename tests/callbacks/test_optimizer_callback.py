"""The learning rate and weight decay that training really uses, read off the way a weight goes.

The loss is linear and its gradient is 1 for every weight, so that SGD and Adam alike move a weight by the learning rate
in each step, and decoupled weight decay by the learning rate times the decay times the weight besides.
"""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import create_compressed_model, create_compression_callbacks
from keras_compress._keras import deserialize, keras, serialize
from keras_compress.callbacks import OptimizerCallback
from keras_compress.callbacks.optimizer_callback import OverridableSchedule
from tests import binary, zoo

optimizers, schedules = keras.optimizers, keras.optimizers.schedules

STEPS = 2  # in an epoch

OPTIMIZERS = {
    "SGD": optimizers.SGD,
    "Adam": optimizers.Adam,
    "AdamW": lambda rate: optimizers.AdamW(rate, weight_decay=0.0),
    "legacy SGD": optimizers.legacy.SGD,
    "legacy Adam": optimizers.legacy.Adam,
    "loss scale": lambda rate: keras.mixed_precision.LossScaleOptimizer(optimizers.SGD(rate)),
}
RATES = {
    "constant": lambda: 0.05,
    "cosine": lambda: schedules.CosineDecay(0.05, 20),
    "piecewise": lambda: schedules.PiecewiseConstantDecay([1, 3], [0.05, 0.04, 0.03]),
}
DROP = {"lr_poly_drop_start_epoch": 2, "lr_poly_drop_duration_epochs": 4, "base_lr": 0.02}


def linear_loss(_, prediction):
    return prediction


def compress(params):
    """Return the controller of a model of one weight vector, which binarization has nothing to do with."""
    model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(1, use_bias=False, name="out")])
    config = {"compression": binary.algorithm(params=params)}
    return create_compressed_model(model, config)[0]


def train(controller, epochs, *, weight=0.0, compiled=None, **options):
    """Train with the callbacks of the package; return the weight before each epoch and at the end."""
    model = controller.model
    if compiled is not None:
        model.compile(compiled, linear_loss, **options)
        model.get_layer("out").set_weights([np.full((4, 1), weight, np.float32)])
    seen = [model.get_layer("out").kernel.numpy()]
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: seen.append(model.get_layer("out").kernel.numpy()),
    )
    ones = np.ones((8 * STEPS, 4), np.float32)
    callbacks = [*create_compression_callbacks(controller), watch]
    model.fit(ones, ones[:, :1], batch_size=8, epochs=epochs, callbacks=callbacks, verbose=0)
    assert all(len(np.unique(kernel)) == 1 for kernel in seen)
    return np.array([kernel[0, 0] for kernel in seen])


def rates(controller, epochs, **options):
    """Return the sum of the learning rates of the steps of each epoch, from the way of the weight."""
    return -np.diff(train(controller, epochs, **options))


def scheduled(rate, epochs):
    """Return the same sums of a learning rate that nobody touches."""
    rate = RATES[rate]()
    at = [float(rate(step)) if callable(rate) else rate for step in range(STEPS * epochs)]
    return np.reshape(at, (epochs, STEPS)).sum(1)


def falling(epochs, start=2, duration=4, base=0.02):
    """Return the same sums while the learning rate falls, for the epochs from ``start`` on."""
    return [STEPS * max(base * (1 - (epoch - start) / duration), 0.0) for epoch in range(start, epochs)]


@pytest.mark.parametrize(
    ("optimizer", "rate"),
    [*((optimizer, rate) for optimizer in OPTIMIZERS for rate in ("constant", "cosine")), ("Adam", "piecewise")],
)
def test_from_its_epoch_on_the_learning_rate_falls_to_zero_and_stays_there(optimizer, rate):
    found = rates(compress(DROP), 8, compiled=OPTIMIZERS[optimizer](RATES[rate]()))
    expected = [*scheduled(rate, 2), *falling(8)]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-7)
    assert expected[6:] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("optimizer", "rate"),
    [("SGD", "cosine"), ("AdamW", "piecewise"), ("legacy SGD", "constant"), ("loss scale", "cosine")],
)
def test_without_a_fall_nothing_happens(optimizer, rate):
    compiled = OPTIMIZERS[optimizer](RATES[rate]())
    np.testing.assert_allclose(rates(compress({}), 3, compiled=compiled), scheduled(rate, 3), rtol=1e-3)


@pytest.mark.parametrize("rate", ["constant", "cosine"])
def test_a_fall_from_the_first_epoch_on_leaves_nothing_of_the_schedule(rate):
    drop = {**DROP, "lr_poly_drop_start_epoch": 0}
    found = rates(compress(drop), 3, compiled=optimizers.SGD(RATES[rate]()))
    np.testing.assert_allclose(found, falling(3, start=0), rtol=1e-3)


@pytest.mark.parametrize("options", [{"run_eagerly": True}, {"jit_compile": True}, {"steps_per_execution": STEPS}])
def test_the_fall_reaches_every_way_of_training(options):
    found = rates(compress(DROP), 5, compiled=optimizers.Adam(RATES["cosine"]()), **options)
    np.testing.assert_allclose(found, [*scheduled("cosine", 2), *falling(5)], rtol=1e-3)


@pytest.mark.parametrize("rate", ["constant", "cosine"])
def test_a_second_fit_goes_on_falling(rate):
    controller = compress(DROP)
    found = [
        *rates(controller, 3, compiled=optimizers.SGD(RATES[rate]())),
        *rates(controller, 1),
        *rates(controller, 1),
    ]
    np.testing.assert_allclose(found, [*scheduled(rate, 2), *falling(5)], rtol=1e-3)


def test_a_model_that_is_compiled_again_goes_on_falling():
    controller = compress(DROP)
    rates(controller, 3, compiled=optimizers.SGD(RATES["cosine"]()))
    found = rates(controller, 2, compiled=optimizers.Adam(0.5))
    np.testing.assert_allclose(found, falling(5)[1:], rtol=1e-3)


def test_a_step_of_a_binary_network_is_the_gradient_times_the_falling_rate():
    drop = {"lr_poly_drop_start_epoch": 1, "lr_poly_drop_duration_epochs": 8, "base_lr": 0.3}
    model = binary.one_convolution()
    controller, compressed = binary.compress(model, params=drop)
    compressed.compile(optimizers.SGD(schedules.CosineDecay(0.1, 50)), "mse")
    x = zoo.samples(model)
    y = np.ones((8, *model.output_shape[1:]), np.float32)
    controller.scheduler.epoch_step(4)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(compressed(x, training=True) - y))
    gradients = [g.numpy() for g in tape.gradient(loss, compressed.trainable_variables)]
    before = [variable.numpy() for variable in compressed.trainable_variables]
    compressed.fit(x, y, batch_size=8, callbacks=create_compression_callbacks(controller), verbose=0)
    assert controller.scheduler.current_epoch == 5
    for variable, old, gradient in zip(compressed.trainable_variables, before, gradients, strict=True):
        np.testing.assert_allclose(variable - old, -0.3 * (1 - 4 / 8) * gradient, rtol=1e-3, atol=1e-6)


# Weight decay

DECAYING = {
    "AdamW": lambda: optimizers.AdamW(0.01, weight_decay=0.5),
    "Adam": lambda: optimizers.Adam(0.01, weight_decay=0.5),
    "SGD": lambda: optimizers.SGD(0.01, weight_decay=0.5),
    "loss scale": lambda: keras.mixed_precision.LossScaleOptimizer(optimizers.AdamW(0.01, weight_decay=0.5)),
}
PLAIN = {
    "Adam": lambda: optimizers.Adam(0.01),
    "SGD": lambda: optimizers.SGD(0.01),
    "legacy Adam": lambda: optimizers.legacy.Adam(0.01),
    "legacy SGD": lambda: optimizers.legacy.SGD(0.01),
}
every_decay = pytest.mark.parametrize("optimizer", DECAYING)


def decayed(weight, decays):
    """Return the weight before each epoch and at the end, for a rate of 0.01 and one decay per epoch."""
    way = [weight]
    for decay in decays:
        for _ in range(STEPS):
            weight -= 0.01 * decay * weight + 0.01
        way.append(weight)
    return way


@every_decay
def test_weight_decay_is_zero_from_its_epoch_on(optimizer):
    controller = compress({"disable_wd_start_epoch": 2})
    found = train(controller, 4, weight=2.0, compiled=DECAYING[optimizer]())
    np.testing.assert_allclose(found, decayed(2.0, [0.5, 0.5, 0.0, 0.0]), rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD"])
def test_weight_decay_before_its_end_can_be_given(optimizer):
    controller = compress({"disable_wd_start_epoch": 2, "base_wd": 0.8})
    found = train(controller, 4, weight=2.0, compiled=DECAYING[optimizer]())
    np.testing.assert_allclose(found, decayed(2.0, [0.8, 0.8, 0.0, 0.0]), rtol=1e-4)


@every_decay
def test_weight_decay_stays_unless_asked(optimizer):
    found = train(compress({}), 3, weight=2.0, compiled=DECAYING[optimizer]())
    np.testing.assert_allclose(found, decayed(2.0, [0.5, 0.5, 0.5]), rtol=1e-4)


@pytest.mark.parametrize("optimizer", PLAIN)
def test_an_optimizer_without_weight_decay_does_not_get_one(optimizer):
    controller, compiled = compress({"disable_wd_start_epoch": 1, "base_wd": 0.8}), PLAIN[optimizer]()
    found = train(controller, 3, weight=2.0, compiled=compiled)
    np.testing.assert_allclose(found, decayed(2.0, [0.0] * 3), rtol=1e-4)
    assert getattr(compiled, "weight_decay", None) is None


def test_rate_and_decay_change_together():
    controller = compress({**DROP, "lr_poly_drop_start_epoch": 1, "disable_wd_start_epoch": 1})
    optimizer = optimizers.AdamW(schedules.CosineDecay(0.05, 20), weight_decay=0.5)
    found = train(controller, 4, weight=0.0, compiled=optimizer)
    np.testing.assert_allclose(-np.diff(found)[1:], falling(4, start=1), rtol=1e-3)


@pytest.mark.parametrize(
    ("optimizer", "params", "tracings"),
    [
        (lambda: optimizers.Adam(0.01), {**DROP, "disable_wd_start_epoch": 1}, 0),
        (lambda: optimizers.AdamW(0.01), {"disable_wd_start_epoch": 1}, 1),
        (lambda: optimizers.Adam(schedules.CosineDecay(0.05, 20)), DROP, 1),
    ],
    ids=["nothing to change", "weight decay", "schedule"],
)
def test_the_training_step_is_traced_anew_only_if_it_has_to(optimizer, params, tracings, monkeypatch):
    controller = compress(params)
    forced, original = [], controller.model.make_train_function

    def make_train_function(force=False):
        forced.extend([force] * force)
        return original(force)

    monkeypatch.setattr(controller.model, "make_train_function", make_train_function)
    train(controller, 5, compiled=optimizer())
    assert len(forced) == tracings


# The schedule in a file


@pytest.mark.parametrize("override", [-1.0, 0.0, 0.25])
def test_an_overridable_schedule_survives_its_configuration(override):
    schedule = OverridableSchedule(schedules.CosineDecay(0.05, 20), override)
    again = deserialize(serialize(schedule))
    assert again.get_config() == schedule.get_config()
    for step in (0, 7, 100):
        expected = float(schedules.CosineDecay(0.05, 20)(step)) if override < 0 else override
        assert float(schedule(step)) == float(again(step)) == pytest.approx(expected)


@pytest.mark.extended
@pytest.mark.parametrize(
    ("optimizer", "rate"), [("SGD", "cosine"), ("AdamW", "piecewise"), ("legacy Adam", "cosine"), ("Adam", "constant")]
)
def test_a_model_saved_in_the_middle_of_the_fall_goes_on_at_the_same_rate(optimizer, rate, tmp_path):
    controller = compress(DROP)
    train(controller, 4, compiled=OPTIMIZERS[optimizer](RATES[rate]()))
    controller.model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", custom_objects={"linear_loss": linear_loss})
    before = loaded.get_layer("out").kernel.numpy()
    ones = np.ones((8 * STEPS, 4), np.float32)
    loaded.fit(ones, ones[:, :1], batch_size=8, verbose=0)
    rate_of_epoch_3 = 0.02 * (1 - (3 - 2) / 4)
    np.testing.assert_allclose(before - loaded.get_layer("out").kernel, STEPS * rate_of_epoch_3, rtol=1e-3)


def test_training_resumes_from_a_checkpoint_in_the_middle_of_the_fall(tmp_path):
    controller = compress(DROP)
    train(controller, 4, compiled=optimizers.SGD(RATES["cosine"]()))
    state = controller.get_compression_state()
    path = tf.train.Checkpoint(model=controller.model).save(str(tmp_path / "checkpoint"))
    resumed = compress(DROP)
    resumed.load_state(state)
    resumed.model.compile(optimizers.SGD(RATES["cosine"]()), linear_loss)
    tf.train.Checkpoint(model=resumed.model).restore(path)
    np.testing.assert_allclose(rates(resumed, 2), falling(6)[2:], rtol=1e-3)


def test_the_callback_is_there_for_algorithms_that_guide_the_optimizer_only():
    def kinds(controller):
        return [type(callback) for callback in create_compression_callbacks(controller)]

    assert OptimizerCallback in kinds(compress({}))
    assert OptimizerCallback not in kinds(zoo.compress(zoo.dense())[0])
