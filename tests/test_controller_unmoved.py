"""A training that leaves the schedules where they are is told so at its first batch, once; no other one is."""

import copy
import pickle
import warnings
from functools import partial

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.algorithms import registered_algorithms

layers = keras.layers
MESSAGE = "does not move the schedule of the compression"
SAMPLES, TARGETS = np.random.default_rng(0).normal(size=(32, 8)).astype("float32"), np.zeros((32, 4), "float32")
PARAMS = {"params": {"sparsity_target": 0.5, "sparsity_target_epoch": 3}}
MAGNITUDE = {"algorithm": "magnitude_sparsity", **PARAMS}
QUANTIZATION = {"algorithm": "quantization"}
CASES = {
    "magnitude": MAGNITUDE,
    "gates": {"algorithm": "rb_sparsity", **PARAMS},
    "masks and quantizers": [MAGNITUDE, QUANTIZATION],
    "adaptive": {"algorithm": "magnitude_sparsity", "params": {"schedule": "adaptive", "sparsity_target": 0.5}},
    "binarization": {"algorithm": "binarization"},
}


def network():
    x = keras.Input((8,))
    return keras.Model(x, layers.Dense(4, name="out")(layers.Dense(16, activation="relu", name="hidden")(x)))


def compress(compression, **compile_options):
    model = network()
    config = kc.register_default_init_args({"compression": compression}, SAMPLES)
    controller, compressed = kc.create_compressed_model(model, config)
    compressed.compile("sgd", "mse", **compile_options)
    return controller, compressed


def told(train):
    """Return how often a training was told that it moves nothing."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        train()
    return sum(MESSAGE in str(warning.message) for warning in found)


def fit(model, controller=None, **options):
    callbacks = [] if controller is None else kc.create_compression_callbacks(controller, log_tensorboard=False)
    return lambda: model.fit(SAMPLES, TARGETS, verbose=0, callbacks=callbacks, **{"epochs": 2, **options})


@pytest.mark.parametrize("case", CASES)
def test_a_fit_without_the_callbacks_is_told_in_its_first_epoch_and_once(case):
    _, compressed = compress(CASES[case])
    epochs = []
    seen = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))

    def train():
        compressed.fit(SAMPLES, TARGETS, epochs=3, verbose=0, callbacks=[seen])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match=r"kc\.create_compression_callbacks\(controller\) to 'fit'"):
            train()
    assert epochs == []
    assert told(train) == 0


@pytest.mark.parametrize("case", CASES)
def test_a_fit_with_the_callbacks_is_not(case):
    controller, compressed = compress(CASES[case])
    assert told(fit(compressed, controller)) == 0
    assert told(fit(compressed, controller, initial_epoch=2, epochs=3)) == 0


def test_every_registered_algorithm_is_covered_by_whether_its_epochs_change_anything():
    for name, kind in registered_algorithms().items():
        if not kind.__module__.startswith("keras_compress."):
            continue
        settings = PARAMS if "params" in kind.model_fields and "sparsity_init" in kind.model_fields else {}
        controller, compressed = compress({"algorithm": name, **settings})
        assert told(fit(compressed, epochs=1)) == (controller.scheduler.final_epoch != -1), name


def test_a_second_fit_that_has_lost_the_callbacks_is_told_where_it_stays():
    controller, compressed = compress(MAGNITUDE)
    assert told(fit(compressed, controller)) == 0
    with pytest.warns(UserWarning, match="stays at epoch 1 whatever"):
        fit(compressed)()


def test_what_is_complete_needs_no_callbacks():
    controller, compressed = compress(MAGNITUDE)
    assert told(fit(compressed, controller, epochs=4)) == 0
    assert told(fit(compressed)) == 0


def test_a_level_that_was_set_by_hand_needs_none():
    controller, compressed = compress(MAGNITUDE)
    controller.set_sparsity_level(0.5)
    assert told(fit(compressed)) == 0


@pytest.mark.parametrize("steps", [True, False])
def test_a_loop_of_ones_own_that_moves_them_is_not_told_and_one_that_does_not_is(steps):
    controller, compressed = compress(MAGNITUDE)

    def loop():
        for _ in range(2):
            if steps:
                controller.scheduler.epoch_step()
            for _ in range(2):
                compressed.train_on_batch(SAMPLES, TARGETS)

    assert told(loop) == (not steps)


def test_a_loop_behind_a_fit_is_not_told():
    controller, compressed = compress(MAGNITUDE)
    assert told(fit(compressed, controller, epochs=1)) == 0
    controller.scheduler.epoch_step()
    assert told(lambda: compressed.train_on_batch(SAMPLES, TARGETS)) == 0


def test_a_restored_training_without_the_callbacks_is_told(tmp_path):
    controller, compressed = compress(MAGNITUDE)
    saved = tf.train.Checkpoint(model=compressed, compression_state=kc.TFCompressionState(controller))
    callbacks = [
        *kc.create_compression_callbacks(controller, log_tensorboard=False),
        kc.CheckpointManagerCallback(saved, tmp_path),
    ]
    assert told(lambda: compressed.fit(SAMPLES, TARGETS, verbose=0, callbacks=callbacks)) == 0
    controller, restored = kc.restore(network(), tmp_path)
    restored.compile("sgd", "mse")
    assert told(fit(restored)) == 1
    controller, restored = kc.restore(network(), tmp_path)
    restored.compile("sgd", "mse")
    assert told(fit(restored, controller, initial_epoch=1)) == 0
    controller, restored = kc.restore(network(), tmp_path)
    restored.compile("sgd", "mse")
    controller.scheduler.epoch_step()
    assert told(lambda: restored.train_on_batch(SAMPLES, TARGETS)) == 0


@pytest.mark.parametrize(
    "options", [{"run_eagerly": True}, {"steps_per_execution": 2}, {"jit_compile": False}], ids=str
)
def test_however_it_is_compiled(options):
    _, compressed = compress(MAGNITUDE, **options)
    assert told(fit(compressed, batch_size=8)) == 1


def test_evaluating_and_predicting_tell_nothing():
    _, compressed = compress(MAGNITUDE)
    assert told(lambda: (compressed.evaluate(SAMPLES, TARGETS, verbose=0), compressed.predict(SAMPLES, verbose=0))) == 0


def test_a_class_of_ones_own_keeps_its_way_to_train():
    made = []

    class Own(keras.Model):
        def make_train_function(self, force=False):
            made.append(force)
            return super().make_train_function(force)

    x = keras.Input((8,))
    model = Own(x, layers.Dense(4, name="out")(x))
    config = kc.register_default_init_args({"compression": MAGNITUDE}, SAMPLES)
    _, compressed = kc.create_compressed_model(model, config)
    compressed.compile("sgd", "mse")
    assert type(compressed) is Own
    assert told(fit(compressed)) == 1
    assert made == [False]


def test_copies_pickles_and_files_know_nothing_of_it(tmp_path):
    _, compressed = compress(MAGNITUDE)
    own = "make_train_function"
    assert type(compressed) is type(network())
    assert told(fit(compressed)) == 1
    assert type(compressed.train_function) is type(_trained_alone().train_function)
    for other in (pickle.loads(pickle.dumps(compressed)), copy.deepcopy(compressed), copy.copy(compressed)):
        assert own not in vars(other)
        for one, another in zip(compressed.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(one, another)
    for name in ("model.keras", "model.h5", "saved"):
        assert told(partial(compressed.save, str(tmp_path / name))) == 0
        assert own not in vars(keras.models.load_model(str(tmp_path / name)))


def _trained_alone():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(4)])
    model.compile("sgd", "mse")
    model.fit(SAMPLES, TARGETS, verbose=0)
    return model
