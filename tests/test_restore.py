"""kc.restore: from before the first step, from beside a newest one that is missing, to the optimizer that was saved."""

import re

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress import StateError
from keras_compress._keras import keras
from keras_compress._keras_training import global_seed
from tests.resuming import BATCH, EPOCHS, X, Y, build, checkpoint_of, compressed, numbers

pytestmark = pytest.mark.filterwarnings("ignore:Compression is complete:UserWarning")


def made_with(optimizer):
    return lambda: build(optimizer)


OPTIMIZERS = {
    "SGD": lambda: keras.optimizers.SGD(0.1),
    "SGD with momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "Adam": lambda: keras.optimizers.Adam(0.01),
    "AdamW": lambda: keras.optimizers.AdamW(0.01),
    "Adagrad": lambda: keras.optimizers.Adagrad(0.01),
    "RMSprop": lambda: keras.optimizers.RMSprop(0.01),
    "Adam of Keras 2.10": lambda: keras.optimizers.legacy.Adam(0.01),
    "a schedule": lambda: keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.01, 5, 0.9)),
    "scaled losses": lambda: keras.mixed_precision.LossScaleOptimizer(keras.optimizers.Adam(0.01)),
}
FIRST = ("Adam",)
every_optimizer = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FIRST else pytest.mark.extended) for name in OPTIMIZERS]
)


def fit(controller, model, **options):
    callbacks = kc.create_compression_callbacks(controller, resume=True)
    return model.fit(X, Y, batch_size=BATCH, callbacks=callbacks, verbose=0, **{"epochs": EPOCHS, **options})


@every_optimizer
def test_a_checkpoint_from_before_the_first_step_restores_and_trains_as_if_it_had_not_been_saved(name, tmp_path):
    make = made_with(OPTIMIZERS[name]())
    controller, model = compressed(make)
    path = checkpoint_of(controller).save(str(tmp_path / "ckpt"))
    fit(controller, model)
    keras.backend.clear_session()
    again, restored = kc.restore(made_with(OPTIMIZERS[name]()), path)
    assert again.scheduler.fit_position is None
    fit(again, restored)
    for value, expected in zip(restored.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, expected)


@every_optimizer
def test_the_numbers_of_an_optimizer_come_back(name, tmp_path):
    controller, model = compressed(made_with(OPTIMIZERS[name]()))
    fit(controller, model, epochs=1)
    path = checkpoint_of(controller).save(str(tmp_path / "ckpt"))
    keras.backend.clear_session()
    again, restored = kc.restore(made_with(OPTIMIZERS[name]()), path)
    fit(controller, model, epochs=2, initial_epoch=1, shuffle=False)
    fit_again = kc.create_compression_callbacks(again)
    restored.fit(X, Y, batch_size=BATCH, epochs=2, initial_epoch=1, shuffle=False, callbacks=fit_again, verbose=0)
    for value, expected in zip(restored.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        ("Adam", "SGD", "saved with Adam.*Received: SGD"),
        ("SGD", "Adam", "saved with SGD.*Received: Adam"),
        ("RMSprop", "Adagrad", "saved with RMSprop.*Received: Adagrad"),
        ("Adam", "Adam of Keras 2.10", "saved with Adam.*Received: legacy.Adam"),
    ],
)
def test_another_optimizer_is_named(before, now, words, tmp_path):
    controller, model = compressed(made_with(OPTIMIZERS[before]()))
    fit(controller, model, epochs=1)
    path = checkpoint_of(controller).save(str(tmp_path / "ckpt"))
    keras.backend.clear_session()
    with pytest.raises(StateError, match=f"(?s){words}"):
        kc.restore(made_with(OPTIMIZERS[now]()), path)


@pytest.mark.filterwarnings("ignore:This training does not move the schedule")
def test_another_optimizer_is_named_after_a_loop_of_ones_own(tmp_path):
    controller, model = compressed(made_with(OPTIMIZERS["Adam"]()))
    model.fit(X, Y, verbose=0)
    path = checkpoint_of(controller).save(str(tmp_path / "ckpt"))
    keras.backend.clear_session()
    with pytest.raises(StateError, match=r"belongs to another optimizer.*Received: SGD"):
        kc.restore(made_with(OPTIMIZERS["SGD"]()), path)


def test_a_checkpoint_without_an_optimizer_restores_into_a_compiled_model(tmp_path):
    controller, model = compressed(lambda: keras.models.clone_model(build()))
    path = checkpoint_of(controller).save(str(tmp_path / "ckpt"))
    keras.backend.clear_session()
    again, restored = kc.restore(build, path)
    for value, expected in zip(restored.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, expected)
    fit(again, restored, epochs=1)
    assert int(restored.optimizer.iterations) > 0
    assert len(numbers(restored)) > len(restored.variables) + 1


def test_beside_a_newest_checkpoint_that_is_missing_the_one_before_it_is_taken(tmp_path):
    controller, model = compressed()
    manager = kc.CheckpointManagerCallback(checkpoint_of(controller), tmp_path)
    model.fit(
        X, Y, batch_size=BATCH, epochs=3, callbacks=[*kc.create_compression_callbacks(controller), manager], verbose=0
    )
    for file in tmp_path.glob("ckpt-3.*"):
        file.unlink()
    keras.backend.clear_session()
    with pytest.warns(UserWarning, match=r"'ckpt-3' is missing.*Going on from 'ckpt-2'"):
        again, restored = kc.restore(build, tmp_path)
    fit(again, restored)
    for value, expected in zip(numbers(restored), numbers(model), strict=True):
        np.testing.assert_array_equal(value, expected)


@pytest.mark.first
def test_a_damaged_checkpoint_names_those_beside_it(tmp_path):
    controller, _ = compressed()
    checkpoint = checkpoint_of(controller)
    paths = [checkpoint.save(str(tmp_path / "ckpt")) for _ in range(2)]
    data = tmp_path / "ckpt-2.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])
    keras.backend.clear_session()
    with pytest.raises(StateError, match=f"(?s)damaged.*Pass the path of an older one: .*{re.escape(paths[0])}"):
        kc.restore(build, tmp_path)


@pytest.mark.extended
def test_the_seed_of_the_training_comes_back_where_the_process_has_none(tmp_path):
    def make():
        model = build()
        tf.random.set_seed(None)
        return model

    keras.utils.set_random_seed(11)
    controller, model = compressed()
    keras.utils.set_random_seed(11)
    fit(controller, model, epochs=1)
    path = checkpoint_of(controller).save(str(tmp_path / "ckpt"))
    keras.backend.clear_session()
    kc.restore(make, path)
    assert global_seed() == 11
    kc.restore(build, path)
    assert global_seed() == 3
