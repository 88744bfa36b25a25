"""What sparsity algorithms share: schedules as the scheduler and fit drive them, freezing, stages, wrong settings."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import (
    CompressionConfig,
    ConfigError,
    create_compressed_model,
    create_compression_callbacks,
    register_default_init_args,
)
from keras_compress._keras import keras
from keras_compress.algorithms import CompressionStage
from tests import zoo

WEIGHTS = 4 * 8 + 8 * 3
ALGORITHMS = ["magnitude_sparsity", "rb_sparsity"]


def settings(algorithm="magnitude_sparsity", init=None, **params):
    values = {"algorithm": algorithm, "params": params}
    return {"compression": values if init is None else {**values, "sparsity_init": init}}


def compress(data=None, algorithm="magnitude_sparsity", init=None, **params):
    """Return the controller and the compressed dense model; without data unless some are given."""
    config = settings(algorithm, init, **params)
    return create_compressed_model(
        zoo.dense(), register_default_init_args(config, data) if data is not None else config
    )


def asked(controller):
    (numbers,) = controller.algorithm_statistics().values()
    return numbers["target_sparsity_level"]


class Recorder(keras.callbacks.Callback):
    """Notes the level asked for and the number of zeros before every step and after every epoch."""

    def __init__(self, controller):
        super().__init__()
        self.controller, self.steps, self.epochs = controller, [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.steps.append((asked(self.controller), zoo.zeros(self.controller.model)))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((asked(self.controller), zoo.zeros(self.controller.model)))


def fit(controller, data=None, epochs=4, samples=12, **options):
    """Fit on three batches an epoch, and return what the recorder saw."""
    model, recorder = controller.model, Recorder(controller)
    if data is None:
        data = (zoo.samples(model, samples), np.ones((samples, 3), np.float32))
        options.setdefault("batch_size", 4)
    x, y = data if isinstance(data, tuple) else (data, None)
    if not model.optimizer:
        model.compile(keras.optimizers.SGD(0.01), "mse")
    callbacks = [*create_compression_callbacks(controller), recorder]
    model.fit(x, y, epochs=epochs, shuffle=False, callbacks=callbacks, verbose=0, **options)
    return recorder


def polynomial(epoch, init, target, target_epoch, power=0.9, concave=True):
    share = np.minimum(np.asarray(epoch) / target_epoch, 1.0)
    return target - (target - init) * (1 - share) ** power if concave else init + (target - init) * share**power


def exponential(epoch, init, target, target_epoch):
    share = np.minimum(np.asarray(epoch) / target_epoch, 1.0)
    return 1 - (1 - init) ** (1 - share) * (1 - target) ** share


CURVES = {
    "polynomial": (
        {"sparsity_target": 0.7, "sparsity_target_epoch": 4},
        lambda epoch: polynomial(epoch, 0.1, 0.7, 4),
    ),
    "cubic": (
        {"sparsity_target": 0.7, "sparsity_target_epoch": 4, "power": 3.0},
        lambda epoch: polynomial(epoch, 0.1, 0.7, 4, 3.0),
    ),
    "convex": (
        {"sparsity_target": 0.7, "sparsity_target_epoch": 4, "power": 2.0, "concave": False},
        lambda epoch: polynomial(epoch, 0.1, 0.7, 4, 2.0, concave=False),
    ),
    "exponential": (
        {"schedule": "exponential", "sparsity_target": 0.9, "sparsity_target_epoch": 5},
        lambda epoch: exponential(epoch, 0.1, 0.9, 5),
    ),
    "multistep": (
        {"schedule": "multistep", "multistep_steps": [2, 3], "multistep_sparsity_levels": [0.1, 0.3, 0.85]},
        lambda epoch: np.select([epoch < 2, epoch < 3], [0.1, 0.3], 0.85),
    ),
}


@pytest.mark.parametrize("curve", CURVES)
def test_epochs_follow_the_curve_exactly(curve):
    params, level = CURVES[curve]
    controller, model = compress(init=None if curve == "multistep" else 0.1, **params)
    assert zoo.zeros(model) == round(0.1 * WEIGHTS)
    for epoch in range(8):
        controller.scheduler.epoch_step()
        expected = float(level(epoch))
        assert asked(controller) == pytest.approx(expected, abs=1e-6)
        assert zoo.zeros(model) == round(expected * WEIGHTS)
        for _ in range(3):
            controller.scheduler.step()
            assert zoo.zeros(model) == round(expected * WEIGHTS)


@pytest.mark.parametrize("curve", CURVES)
def test_the_planned_level_is_the_curve(curve):
    params, level = CURVES[curve]
    (algorithm,) = CompressionConfig.from_dict(
        settings(init=None if curve == "multistep" else 0.1, **params)
    ).compression
    for epoch in np.arange(0, 9, 0.25):
        assert algorithm.planned_level(epoch) == pytest.approx(float(level(np.floor(epoch))), abs=1e-12)


def test_a_target_epoch_of_zero_is_reached_at_once():
    controller, model = compress(sparsity_target=0.6, sparsity_target_epoch=0)
    assert zoo.zeros(model) == 0
    controller.scheduler.epoch_step()
    assert zoo.zeros(model) == round(0.6 * WEIGHTS)
    assert controller.compression_stage() is CompressionStage.FULLY_COMPRESSED


@pytest.mark.parametrize("schedule", ["polynomial", "exponential"])
def test_steps_of_fit_follow_the_curve_between_epochs(schedule):
    params = {"schedule": schedule, "sparsity_target": 0.6, "sparsity_target_epoch": 2}
    controller, _ = compress(update_per_optimizer_step=True, **params)
    recorder = fit(controller)
    assert controller.scheduler.steps_per_epoch == 3
    positions = np.array([epoch + step / 3 for epoch in range(4) for step in range(3)])
    curve = polynomial if schedule == "polynomial" else exponential
    expected = curve(positions, 0.0, 0.6, 2)
    np.testing.assert_allclose([level for level, _ in recorder.steps], expected, atol=1e-6)
    assert [zeros for _, zeros in recorder.steps] == [round(level * WEIGHTS) for level in expected]
    (algorithm,) = controller.config.compression
    np.testing.assert_allclose([algorithm.planned_level(at) for at in positions], expected, atol=1e-9)


def test_a_second_fit_goes_on_along_the_curve():
    controller, _ = compress(sparsity_target=0.6, sparsity_target_epoch=4, update_per_optimizer_step=True)
    with pytest.warns(UserWarning, match="Compression is complete at the start of epoch 4"):
        levels = [level for level, _ in fit(controller, epochs=2).steps]
    levels += [level for level, _ in fit(controller, initial_epoch=2, epochs=5).steps]
    positions = np.array([epoch + step / 3 for epoch in range(5) for step in range(3)])
    np.testing.assert_allclose(levels, polynomial(positions, 0.0, 0.6, 4), atol=1e-6)


def test_several_steps_in_one_call_arrive_at_the_same_level():
    controller, model = compress(sparsity_target=0.6, sparsity_target_epoch=2, update_per_optimizer_step=True)
    model.compile("sgd", "mse", steps_per_execution=2)
    recorder = fit(controller, epochs=3, samples=16)
    assert controller.scheduler.steps_per_epoch == 4
    positions = np.array([epoch + step / 4 for epoch in range(3) for step in (0, 2)])
    np.testing.assert_allclose([level for level, _ in recorder.steps], polynomial(positions, 0, 0.6, 2), atol=1e-6)
    positions = np.array([epoch + 3 / 4 for epoch in range(3)])
    np.testing.assert_allclose([level for level, _ in recorder.epochs], polynomial(positions, 0, 0.6, 2), atol=1e-6)


class Batches(keras.utils.Sequence):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return np.ones((4, 4), np.float32), np.ones((4, 3), np.float32)


def dataset(batches=3):
    return tf.data.Dataset.from_tensor_slices(np.ones((4 * batches, 4), np.float32)).batch(4)


@pytest.mark.parametrize("source", ["tf.data", "Sequence", "params", "by hand"])
def test_in_a_loop_of_ones_own_the_number_of_steps_is_found(source):
    data = {"tf.data": dataset(), "Sequence": Batches()}.get(source)
    given = {"steps_per_epoch": 3} if source == "params" else {}
    controller, model = compress(
        data, sparsity_target=0.6, sparsity_target_epoch=2, update_per_optimizer_step=True, **given
    )
    if source == "by hand":
        controller.scheduler.steps_per_epoch = 3
    for epoch in range(3):
        controller.scheduler.epoch_step()
        for step in range(3):
            controller.scheduler.step()
            level = float(polynomial(epoch + step / 3, 0.0, 0.6, 2))
            assert asked(controller) == pytest.approx(level, abs=1e-6)
            assert zoo.zeros(model) == round(level * WEIGHTS)


def test_the_number_of_steps_in_the_parameters_comes_first():
    controller, _ = compress(
        dataset(), sparsity_target=0.6, sparsity_target_epoch=2, update_per_optimizer_step=True, steps_per_epoch=6
    )
    levels = [level for level, _ in fit(controller, epochs=3).steps]
    positions = np.array([epoch + step / 6 for epoch in range(3) for step in range(3)])
    np.testing.assert_allclose(levels, polynomial(positions, 0.0, 0.6, 2), atol=1e-6)


def test_more_steps_than_an_epoch_has_do_not_go_beyond_it():
    controller, _ = compress(
        sparsity_target=0.6, sparsity_target_epoch=4, update_per_optimizer_step=True, steps_per_epoch=2
    )
    controller.scheduler.epoch_step()
    for _ in range(5):
        controller.scheduler.step()
    assert asked(controller) == pytest.approx(float(polynomial(1.0, 0.0, 0.6, 4)), abs=1e-6)


@pytest.mark.parametrize("data", [None, np.ones((12, 4), np.float32), dataset().repeat()])
def test_an_unknown_number_of_steps_is_an_error_with_a_remedy(data):
    controller, _ = compress(data, update_per_optimizer_step=True)
    with pytest.raises(ConfigError, match=r"'magnitude_sparsity'.*params\.steps_per_epoch.*scheduler\.steps_per_epoch"):
        controller.scheduler.epoch_step()


def test_registered_single_samples_are_not_taken_for_batches():
    data = tf.data.Dataset.from_tensor_slices(np.ones((12, 4), np.float32))
    controller, _ = compress(data, update_per_optimizer_step=True)
    with pytest.raises(ConfigError, match=r"params\.steps_per_epoch"):
        controller.scheduler.epoch_step()


def test_data_of_unknown_length_in_fit_are_an_error_with_a_remedy():
    controller, _ = compress(sparsity_target_epoch=1, update_per_optimizer_step=True)
    batch = (tf.TensorSpec((4, 4)), tf.TensorSpec((4, 3)))
    endless = tf.data.Dataset.from_generator(lambda: iter([Batches()[0]]), output_signature=batch)
    with pytest.raises(ConfigError, match=r"params\.steps_per_epoch"):
        fit(controller, endless)


def test_levels_by_epochs_need_no_number_of_steps():
    controller, model = compress(sparsity_target=0.5, sparsity_target_epoch=1)
    for _ in range(2):
        controller.scheduler.epoch_step()
        controller.scheduler.step()
    assert zoo.zeros(model) == WEIGHTS // 2


@pytest.mark.parametrize("schedule", ["polynomial", "exponential"])
def test_a_step_before_the_first_epoch_starts_at_the_initial_level(schedule):
    for target_epoch in (0, 4):
        controller, model = compress(
            schedule=schedule,
            sparsity_target=0.5,
            sparsity_target_epoch=target_epoch,
            update_per_optimizer_step=True,
            steps_per_epoch=3,
        )
        controller.scheduler.step()
        assert zoo.zeros(model) in (0, WEIGHTS // 2)


@pytest.mark.parametrize("per_step", [False, True])
def test_from_the_freeze_epoch_on_nothing_changes(per_step):
    params = {"sparsity_target": 0.8, "sparsity_target_epoch": 6, "sparsity_freeze_epoch": 2}
    with pytest.warns(UserWarning, match="frozen at epoch 2, before it reaches its target"):
        controller, model = compress(update_per_optimizer_step=per_step, steps_per_epoch=3, **params)
    final = float(polynomial(2, 0.0, 0.8, 6))
    generator = np.random.default_rng(0)
    masks = None
    for epoch in range(6):
        model.get_layer("hidden").kernel.assign(generator.normal(size=(4, 8)))
        controller.scheduler.epoch_step()
        controller.scheduler.step()
        found = [kept for _, _, kept in zoo.masked_weights(model).values()]
        if epoch >= 2:
            assert zoo.zeros(model) == round(final * WEIGHTS)
            masks = masks or found
            for now, before in zip(found, masks, strict=True):
                np.testing.assert_array_equal(now, before)
        else:
            assert zoo.zeros(model) == round(float(polynomial(epoch, 0.0, 0.8, 6)) * WEIGHTS)
    assert controller.compression_stage() is CompressionStage.PARTIALLY_COMPRESSED


def test_an_adaptive_level_rises_after_patience_epochs_that_meet_it():
    controller, model = compress(init=0.1, schedule="adaptive", sparsity_target=0.22, patience=2)
    levels = []
    for _ in range(8):
        controller.scheduler.epoch_step()
        controller.scheduler.step()
        levels.append(asked(controller))
        assert zoo.zeros(model) == round(levels[-1] * WEIGHTS)
    np.testing.assert_allclose(levels, [0.1, 0.1, 0.15, 0.15, 0.2, 0.2, 0.22, 0.22], atol=1e-6)
    assert controller.compression_stage() is CompressionStage.FULLY_COMPRESSED


def test_an_adaptive_level_that_is_missed_does_not_rise():
    controller, model = compress(init=0.3, schedule="adaptive", sparsity_target=0.5)
    controller.scheduler.epoch_step()
    for layer in ("hidden", "out"):
        op = model.get_layer(layer).weight_ops[0]
        op.mask.assign(np.ones(op.mask.shape, bool))
    for _ in range(3):
        controller.scheduler.epoch_step()
        assert asked(controller) == pytest.approx(0.3)
    controller.set_sparsity_level(0.3)
    controller.scheduler.epoch_step()
    assert asked(controller) == pytest.approx(0.35)


@pytest.mark.parametrize("target", [0.3, 0.5, 0.65, 0.8, 0.9])
def test_an_adaptive_level_that_is_always_met_reaches_its_target_in_the_planned_epoch(target):
    controller, _ = compress(schedule="adaptive", sparsity_target=target)
    (algorithm,) = controller.config.compression
    epochs = round(target / 0.05)
    for epoch in range(epochs + 1):
        controller.scheduler.epoch_step()
        expected = min(0.05 * epoch, target)
        assert asked(controller) == pytest.approx(expected, abs=1e-6)
        assert algorithm.planned_level(epoch) == pytest.approx(expected, abs=1e-9)
    assert asked(controller) == np.float32(target)


def test_an_adaptive_level_is_frozen_too():
    controller, _ = compress(schedule="adaptive", sparsity_target=0.5, sparsity_freeze_epoch=3)
    levels = []
    for _ in range(6):
        controller.scheduler.epoch_step()
        levels.append(asked(controller))
    np.testing.assert_allclose(levels, [0.0, 0.05, 0.1, 0.15, 0.15, 0.15], atol=1e-6)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"sparsity_target_epoch": 7}, 7),
        ({"sparsity_target_epoch": 0}, 0),
        ({"schedule": "multistep", "multistep_steps": [2, 5], "multistep_sparsity_levels": [0, 0.2, 0.3]}, 5),
        ({"schedule": "multistep", "multistep_steps": [], "multistep_sparsity_levels": [0.3]}, 0),
        ({"schedule": "adaptive"}, None),
    ],
)
def test_the_epoch_at_which_compression_is_complete(params, expected):
    controller, _ = compress(**params)
    assert controller.scheduler.final_epoch == expected


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_stage_goes_from_none_to_all(algorithm):
    controller, _ = compress(algorithm=algorithm, sparsity_target=0.5, sparsity_target_epoch=2)
    assert controller.compression_stage() is CompressionStage.UNCOMPRESSED
    assert controller.compression_rate == 0.0


def test_stage_rate_and_numbers_follow_the_zeros():
    controller, _ = compress(sparsity_target=0.5, sparsity_target_epoch=2, power=1.0)
    for zeros, stage in (
        (0, "UNCOMPRESSED"),
        (WEIGHTS // 4, "PARTIALLY_COMPRESSED"),
        (WEIGHTS // 2, "FULLY_COMPRESSED"),
    ):
        controller.scheduler.epoch_step()
        assert controller.compression_stage() is CompressionStage[stage]
        assert controller.compression_rate == pytest.approx(zeros / WEIGHTS)
        assert controller.algorithm_statistics() == {
            "magnitude_sparsity": {
                "sparsity_level": pytest.approx(zeros / WEIGHTS),
                "target_sparsity_level": pytest.approx(zeros / WEIGHTS, abs=1e-6),
            }
        }


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("init", "params", "message"),
    [
        (None, {"sparsity_target": 1.0}, r"sparsity_target'.*less than 1.*1\.0"),
        (None, {"sparsity_target": -0.1}, r"sparsity_target'.*-0\.1"),
        (1.0, {}, r"sparsity_init'.*less than 1"),
        (0.6, {"sparsity_target": 0.5}, r"sparsity_init at most params.sparsity_target.*0\.6.*0\.5"),
        (None, {"multistep_steps": [1, 2]}, r"one more of rising 'multistep_sparsity_levels'"),
        (None, {"multistep_steps": [3, 2], "multistep_sparsity_levels": [0, 0.1, 0.2]}, r"rising 'multistep_steps'"),
        (None, {"multistep_steps": [2, 2], "multistep_sparsity_levels": [0, 0.1, 0.2]}, r"rising 'multistep_steps'"),
        (None, {"schedule": "multistep", "update_per_optimizer_step": True}, r"'multistep' changes between epochs"),
        (None, {"schedule": "adaptive", "update_per_optimizer_step": True}, r"'adaptive' changes between epochs"),
        (None, {"schedule": "linear"}, r"schedule'.*'polynomial'.*'linear'"),
        (None, {"patience": 0}, r"patience'"),
        (None, {"power": 0}, r"power'"),
        (None, {"sparsity_target_epoch": -1}, r"sparsity_target_epoch'"),
        (None, {"steps_per_epoch": 0}, r"steps_per_epoch'"),
        (None, {"sparsity_level_setting_mode": "layerwise"}, r"sparsity_level_setting_mode'.*'global'.*'local'"),
        (None, {"sparsity_targets": 0.3}, r"Unknown key.*Did you mean 'sparsity_target'"),
    ],
)
def test_wrong_settings_are_explained(algorithm, init, params, message):
    with pytest.raises(ConfigError, match=message):
        CompressionConfig.from_dict(settings(algorithm, init, **params))


def test_adapting_before_every_step_is_refused():
    values = settings(update_per_optimizer_step=True)
    values["compression"]["initializer"] = {"batchnorm_adaptation": {"on_level_change": True}}
    with pytest.raises(ConfigError, match=r"cannot be adapted before every step.*Received: both true"):
        CompressionConfig.from_dict(values)


def test_an_initial_level_of_multistep_is_reported_to_have_no_effect():
    params = {"schedule": "multistep", "multistep_steps": [2], "multistep_sparsity_levels": [0.25, 0.5]}
    with pytest.warns(UserWarning, match="'sparsity_init' has no effect"):
        _, model = compress(init=0.1, **params)
    assert zoo.zeros(model) == WEIGHTS // 4


def test_a_plain_configuration_gives_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for algorithm in ALGORITHMS:
            compress(algorithm=algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_weights_outside_of_the_scope_stay_dense(algorithm):
    config = settings(algorithm, sparsity_target=0.75, sparsity_target_epoch=0)
    controller, model = create_compressed_model(zoo.dense(), {**config, "ignored_scopes": ["out"]})
    assert list(zoo.masked_weights(model)) == [("hidden", "kernel")]
    controller.scheduler.epoch_step()
    if algorithm == "magnitude_sparsity":
        assert zoo.zeros(model) == 24
    assert {row.layer: row.compressed_by for row in controller.statistics().coverage} == {
        "hidden": algorithm,
        "out": "",
    }


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_scope_without_weights_is_complete_and_empty(algorithm):
    config = settings(algorithm, sparsity_target=0.75, sparsity_target_epoch=0)
    controller, model = create_compressed_model(zoo.dense(), {**config, "ignored_scopes": ["{re}.*"]})
    controller.scheduler.epoch_step()
    controller.set_sparsity_level(0.5)
    controller.freeze()
    assert zoo.masked_weights(model) == {}
    assert controller.compression_stage() is CompressionStage.FULLY_COMPRESSED
    assert controller.compression_rate is None
    assert float(controller.loss()) == 0.0
