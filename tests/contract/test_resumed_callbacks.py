"""Every callback of the package remembers across a resume what it knew, wherever it stands and whenever it was saved.

Each is compared, in all its plain attributes and in what it wrote, with one whose training was left alone.
"""

import json

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress import callbacks as ours
from keras_compress._keras import keras
from tests.resuming import BATCH, EPOCHS, STEPS, X, Y, build, checkpoint_of, compressed, numbers

SCORES = [5.0, 1.0, 3.0]
BINARIZATION = {
    "algorithm": "binarization",
    "params": {
        "activations_quant_start_epoch": 0,
        "weights_quant_start_epoch": 1,
        "base_lr": 0.1,
        "base_wd": 0.01,
        "lr_poly_drop_start_epoch": 1,
        "lr_poly_drop_duration_epochs": 2,
        "disable_wd_start_epoch": 2,
    },
}


class Scores(keras.callbacks.Callback):
    """Puts a number of its own into the logs of every epoch."""

    def on_epoch_end(self, epoch, logs=None):
        logs["score"] = SCORES[epoch]


#: How each callback is made of a controller and a folder.
CALLBACKS = {
    "BiasGridCallback": lambda controller, folder: ours.BiasGridCallback(controller),
    "CheckpointManagerCallback": lambda controller, folder: kc.CheckpointManagerCallback(
        checkpoint_of(controller), folder / "own", save_freq=3
    ),
    "FiniteLossCallback": lambda controller, folder: ours.FiniteLossCallback(controller),
    "OptimizerCallback": lambda controller, folder: ours.OptimizerCallback(controller),
    "RememberedCallbacks": lambda controller, folder: ours.RememberedCallbacks(controller, []),
    "SaveBestCompressed": lambda controller, folder: kc.SaveBestCompressed(controller, folder / "best.h5", "score"),
    "SchedulerCallback": lambda controller, folder: ours.SchedulerCallback(controller.scheduler, resume=True),
    "StatisticsCallback": lambda controller, folder: ours.StatisticsCallback(controller),
}
#: After how many batches in all the checkpoint is saved, and whether the end of an epoch has come then.
MOMENTS = {
    "inside an epoch": (STEPS + 2, False),
    "after the last batch": (2 * STEPS, False),
    "at the end": (2 * STEPS, True),
}


class SaveAt(keras.callbacks.Callback):
    """Saves one checkpoint."""

    def __init__(self, controller, folder, moment):
        super().__init__()
        self.checkpoint, self.folder = checkpoint_of(controller), str(folder / "ckpt")
        self.batches, self.at_the_end = MOMENTS[moment]
        self.path = None

    def _save_if(self, at_the_end):
        if at_the_end == self.at_the_end and int(self.model.optimizer.iterations) == self.batches and not self.path:
            self.path = self.checkpoint.save(self.folder)

    def on_train_batch_end(self, batch, logs=None):
        self._save_if(False)

    def on_epoch_end(self, epoch, logs=None):
        self._save_if(True)


def remembered(callback, folder):
    """Return what a callback knows and has written: plain attributes, logs, the best model, steps of its checkpoints."""
    plain = (bool, int, float, str, type(None), np.floating, np.integer)
    found = {name: value for name, value in vars(callback).items() if isinstance(value, plain) and name != "filepath"}
    found["steps"] = [
        int(
            tf.train.load_variable(
                str(file)[: -len(".index")], "model/optimizer/_iterations/.ATTRIBUTES/VARIABLE_VALUE"
            )
        )
        for file in sorted(folder.glob("own/*.index"), key=lambda file: int(file.stem.split("-")[1]))
    ]
    if (folder / "best.h5").exists():
        best = keras.models.load_model(folder / "best.h5", compile=False)
        found["best"] = [array.tolist() for array in best.get_weights()]
    return found


def train(controller, model, own, save, *, first):
    """Train with callbacks and, in front of them or behind them, the one that saves; return the learning rates as well."""
    rates = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda *_: rates.append(
            (float(model.optimizer.learning_rate), model.optimizer.weight_decay)
        )
    )
    classes = {type(callback) for callback in own}
    others = [c for c in kc.create_compression_callbacks(controller, resume=True) if type(c) not in classes]
    starting = [callback for callback in own if isinstance(callback, ours.SchedulerCallback)]
    rest = [callback for callback in own if callback not in starting]
    ordered = [save, *rest] if first else [*rest, save]
    callbacks = [*starting, *others, Scores(), *ordered, note]
    history = model.fit(X, Y, batch_size=BATCH, epochs=EPOCHS, callbacks=callbacks, verbose=0)
    return history.history, rates


def test_every_callback_is_tried():
    classes = {name for name in ours.__all__ if isinstance(getattr(ours, name), type)}
    assert classes == set(CALLBACKS)


def remove_checkpoints_after(batches, folder):
    """Delete what the callback with checkpoints of its own wrote after a number of batches."""
    for file in folder.glob("own/*.index"):
        name = "model/optimizer/_iterations/.ATTRIBUTES/VARIABLE_VALUE"
        if tf.train.load_variable(str(file.with_suffix("")), name) > batches:
            for part in folder.glob(f"own/{file.stem}.*"):
                part.unlink()


@pytest.mark.whole
@pytest.mark.first
@pytest.mark.parametrize("first", [False, True], ids=["saved behind them", "saved in front of them"])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("algorithm", ["quantization", "binarization"])
def test_every_callback_remembers(algorithm, moment, first, tmp_path):
    parts = [BINARIZATION] if algorithm == "binarization" else [{"algorithm": "quantization"}]

    def make():
        return build(keras.optimizers.AdamW(0.01, weight_decay=0.004))

    def made(controller):
        return {name: callback(controller, tmp_path) for name, callback in CALLBACKS.items()}

    controller, model = compressed(make, parts)
    callbacks, save = made(controller), SaveAt(controller, tmp_path, moment)
    history, rates = train(controller, model, list(callbacks.values()), save, first=first)
    expected = {name: remembered(callback, tmp_path) for name, callback in callbacks.items()}

    remove_checkpoints_after(save.batches, tmp_path)
    keras.backend.clear_session()
    again, restored = kc.restore(make, save.path)
    callbacks, later = made(again), SaveAt(again, tmp_path / "later", moment)
    received, later_rates = train(again, restored, list(callbacks.values()), later, first=first)
    assert {name: remembered(callback, tmp_path) for name, callback in callbacks.items()} == expected
    assert later_rates == rates[len(rates) - len(later_rates) :]
    for key, values in received.items():
        assert values == history[key][len(history[key]) - len(values) :], key


#: Callbacks of Keras with a memory.
OTHERS = {
    "EarlyStopping": lambda folder: keras.callbacks.EarlyStopping("score", patience=3),
    "ReduceLROnPlateau": lambda folder: keras.callbacks.ReduceLROnPlateau("score", patience=1),
    "ModelCheckpoint": lambda folder: keras.callbacks.ModelCheckpoint(
        str(folder / "best.h5"), "score", save_best_only=True
    ),
}


@pytest.mark.extended
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", OTHERS)
def test_callbacks_of_keras_that_are_named_remember(name, moment, tmp_path):
    parts = [{"algorithm": "quantization"}]

    def fit(controller, model, folder):
        other, save = OTHERS[name](tmp_path), SaveAt(controller, folder, moment)
        callbacks = kc.create_compression_callbacks(controller, resume=True, remember=[other])
        model.fit(X, Y, batch_size=BATCH, epochs=EPOCHS, callbacks=[*callbacks, Scores(), other, save], verbose=0)
        return other, save

    controller, model = compressed(parts=parts)
    other, save = fit(controller, model, tmp_path)
    expected = remembered(other, tmp_path)
    keras.backend.clear_session()
    again, restored = kc.restore(build, save.path)
    other, _ = fit(again, restored, tmp_path / "later")
    assert remembered(other, tmp_path) == expected
    for value, whole in zip(numbers(restored), numbers(model), strict=True):
        np.testing.assert_array_equal(value, whole)


@pytest.mark.extended
def test_weights_that_early_stopping_keeps_are_named(tmp_path):
    def fit(controller, model):
        stop = keras.callbacks.EarlyStopping("score", patience=9, restore_best_weights=True)
        save = SaveAt(controller, tmp_path, "at the end")
        callbacks = kc.create_compression_callbacks(controller, resume=True, remember=[stop])
        model.fit(X, Y, batch_size=BATCH, epochs=EPOCHS, callbacks=[*callbacks, Scores(), stop, save], verbose=0)
        return save

    path = fit(*compressed(parts=[{"algorithm": "quantization"}])).path
    keras.backend.clear_session()
    with pytest.warns(UserWarning, match="EarlyStopping has lost the best weights.*SaveBestCompressed"):
        fit(*kc.restore(build, path))


def test_what_callbacks_remember_is_json(tmp_path):
    controller, model = compressed(parts=[{"algorithm": "quantization"}])
    callback = CALLBACKS["SaveBestCompressed"](controller, tmp_path)
    callbacks = [*kc.create_compression_callbacks(controller), Scores(), callback]
    model.fit(X, Y, epochs=1, callbacks=callbacks, verbose=0)
    state = controller.get_compression_state()
    assert json.loads(json.dumps(state["callbacks"])) == state["callbacks"] != {}


@pytest.mark.parametrize("damage", [{"best": "small"}, {"seen": None}, {"last_batch": 10**400}])
def test_a_memory_that_is_damaged_is_an_error(damage, tmp_path):
    controller, model = compressed(parts=[{"algorithm": "quantization"}])
    callback = CALLBACKS["SaveBestCompressed"](controller, tmp_path)
    callbacks = [*kc.create_compression_callbacks(controller), Scores(), callback]
    model.fit(X, Y, epochs=1, callbacks=callbacks, verbose=0)
    state = controller.get_compression_state()
    for memory in state["callbacks"].values():
        memory.update(damage)
    controller.load_state(state)
    with pytest.raises(kc.StateError, match=f"What SaveBestCompressed remembers.*'{next(iter(damage))}' is"):
        model.fit(X, Y, epochs=2, callbacks=callbacks, verbose=0)


@pytest.mark.extended
def test_a_best_model_whose_file_is_gone_is_no_longer_the_best(tmp_path):
    controller, model = compressed(parts=[{"algorithm": "quantization"}])
    best = kc.SaveBestCompressed(controller, tmp_path / "best.h5", "score")
    save = SaveAt(controller, tmp_path, "at the end")
    train(controller, model, [best], save, first=False)
    (tmp_path / "best.h5").unlink()
    keras.backend.clear_session()
    again, restored = kc.restore(build, save.path)
    best = kc.SaveBestCompressed(again, tmp_path / "best.h5", "score")
    train(again, restored, [best], SaveAt(again, tmp_path, "at the end"), first=False)
    assert best.best == SCORES[2]
    assert (tmp_path / "best.h5").exists()
