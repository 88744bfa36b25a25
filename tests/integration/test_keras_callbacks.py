"""Keras' own ways to save and resume work with compressed models, in any order of callbacks."""

import resource
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.errors import StateError
from tests import zoo

SPARSE = {"params": {"sparsity_target": 0.5, "sparsity_target_epoch": 2, "update_per_optimizer_step": True}}
EPOCHS, STEPS = 4, 4


class StopError(Exception):
    """A training that ends here."""


class StopAt(keras.callbacks.Callback):
    def __init__(self, epoch, batch):
        super().__init__()
        self._place, self._epoch = (epoch, batch), 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self._epoch, batch) == self._place:
            raise StopError


def created(algorithm="magnitude_sparsity", **settings):
    keras.utils.set_random_seed(3)
    model = zoo.dense()
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return zoo.compress(model, algorithm, **(settings or SPARSE if algorithm == "magnitude_sparsity" else {}))


def data():
    random = np.random.RandomState(0)
    arrays = random.rand(STEPS * 8, 4).astype(np.float32), random.rand(STEPS * 8, 3).astype(np.float32)
    return tf.data.Dataset.from_tensor_slices(arrays).batch(8)


def fit(controller, model, *callbacks, **options):
    options = {"epochs": EPOCHS, "verbose": 0, **options}
    return model.fit(data(), callbacks=[*kc.create_compression_callbacks(controller), *callbacks], **options)


def assert_same(model, expected):
    for received, value in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(received, value)


@pytest.mark.extended
@pytest.mark.parametrize("save_freq", ["epoch", 3])
def test_backup_and_restore_ends_with_the_bits_of_an_uninterrupted_training(save_freq, tmp_path):
    whole, expected = created()
    fit(whole, expected)
    first, stopped = created()
    with pytest.raises(StopError):
        fit(first, stopped, keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq), StopAt(2, 1))
    again, model = created()
    fit(again, model, keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq))
    assert again.scheduler.position == whole.scheduler.position
    assert again.compression_rate == whole.compression_rate == 0.5
    if save_freq == "epoch":  # after a restart inside an epoch Keras reads the data from their start again
        assert_same(model, expected)


@pytest.mark.extended
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("place", range(4))
def test_the_order_of_callbacks_makes_no_difference_to_what_is_saved(place, backwards, tmp_path):
    controller, model = created()
    callbacks = kc.create_compression_callbacks(controller)[:: -1 if backwards else 1]
    assert len(callbacks) == 3
    callbacks.insert(place, keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.keras")))
    model.fit(data(), epochs=3, verbose=0, callbacks=callbacks)
    loaded = keras.models.load_model(tmp_path / "3.keras")
    zeros = sum(np.count_nonzero(zoo_weight(loaded, name) == 0) for name in ("hidden", "out"))
    total = sum(zoo_weight(loaded, name).size for name in ("hidden", "out"))
    assert zeros == round(0.5 * total)


def zoo_weight(model, name):
    return model.get_layer(name).compressed_weight("kernel").numpy()


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5", ""])
@pytest.mark.parametrize("algorithm", ["quantization", "magnitude_sparsity", "rb_sparsity"])
def test_model_checkpoint_in_every_format(algorithm, suffix, tmp_path):
    controller, model = created(algorithm)
    path = str(tmp_path / f"model{suffix}")
    weights_only = suffix == ".weights.h5"
    fit_quietly(controller, model, keras.callbacks.ModelCheckpoint(path, save_weights_only=weights_only))
    if weights_only:
        _, loaded = created(algorithm)
        loaded.load_weights(path)
    else:
        loaded = keras.models.load_model(path)
    zoo.assert_same_predictions(loaded, model, zoo.samples(model))


def fit_quietly(controller, model, *callbacks):
    controller.scheduler.final_epoch = -1  # one epoch is enough here
    fit(controller, model, *callbacks, epochs=1)


def test_early_stopping_restores_masks_with_the_weights():
    controller, model = created()
    seen = []

    class Worse(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["badness"] = float(epoch)
            seen.append(model.get_weights())

    stop = keras.callbacks.EarlyStopping("badness", patience=2, restore_best_weights=True)
    fit(controller, model, Worse(), stop)
    for received, best in zip(model.get_weights(), seen[0], strict=True):
        np.testing.assert_array_equal(received, best)


def test_a_fit_that_was_interrupted_inside_an_epoch_starts_that_epoch_again(tmp_path):
    controller, model = created()
    checkpoint = tf.train.Checkpoint(model=model, compression_state=kc.TFCompressionState(controller))
    with pytest.raises(StopError):
        fit(controller, model, kc.CheckpointManagerCallback(checkpoint, tmp_path, save_freq=3), StopAt(1, 3))
    again, restored = kc.restore(zoo.dense, tmp_path)
    assert (again.scheduler.current_epoch, again.scheduler.current_step) == (1, 5)
    restored.compile("sgd", "mse")
    fit(again, restored, initial_epoch=1)
    assert (again.scheduler.current_epoch, again.scheduler.current_step) == (EPOCHS - 1, EPOCHS * STEPS - 1)


def test_numbers_of_checkpoints_go_on_after_those_in_the_folder(tmp_path):
    for _ in range(2):
        controller, model = created()
        checkpoint = tf.train.Checkpoint(model=model, compression_state=kc.TFCompressionState(controller))
        fit(controller, model, kc.CheckpointManagerCallback(checkpoint, tmp_path))
    found = sorted(int(path.stem.split("-")[1]) for path in tmp_path.glob("*.index"))
    assert found == list(range(1, 2 * EPOCHS + 1))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_asynchronous_saving_writes_the_same(asynchronous, tmp_path):
    controller, model = created()
    checkpoint = tf.train.Checkpoint(model=model, compression_state=kc.TFCompressionState(controller))
    fit(controller, model, kc.CheckpointManagerCallback(checkpoint, tmp_path, asynchronous=asynchronous))
    again, restored = kc.restore(zoo.dense, tmp_path)
    assert again.scheduler.position == controller.scheduler.position
    assert_same(restored, model)


FULL_DISK = """
    import resource, signal, sys
    import tensorflow as tf
    import keras_compress as kc
    from tests import zoo
    from tests.integration.test_keras_callbacks import created, fit

    controller, model = created()
    checkpoint = tf.train.Checkpoint(model=model, compression_state=kc.TFCompressionState(controller))
    callback = kc.CheckpointManagerCallback(checkpoint, sys.argv[1])
    controller.scheduler.final_epoch = -1
    fit(controller, model, callback, epochs=1)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        fit(controller, model, callback, epochs=1)
    except kc.StateError as error:
        print("REFUSED", str(error)[:60])
"""


@pytest.mark.extended
def test_a_disk_that_is_full_does_not_damage_the_previous_checkpoint(tmp_path):
    assert resource.RLIMIT_FSIZE is not None
    command = [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "REFUSED No checkpoint could be written" in output.stdout, output.stderr[-2000:]
    again, _ = kc.restore(zoo.dense, tmp_path)
    assert again.scheduler.current_epoch == 0
    assert {path.name.split(".")[0] for path in tmp_path.iterdir()} == {"checkpoint", "ckpt-1"}


def test_a_folder_without_permission_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("in the way")
    controller, model = created()
    checkpoint = tf.train.Checkpoint(model=model, compression_state=kc.TFCompressionState(controller))
    with pytest.raises(StateError, match="file"):
        fit(controller, model, kc.CheckpointManagerCallback(checkpoint, tmp_path / "file"))


def test_restore_says_what_is_wrong(tmp_path):
    with pytest.raises(StateError, match="no checkpoint in"):
        kc.restore(zoo.dense, tmp_path)
    controller, model = created()
    checkpoint = tf.train.Checkpoint(model=model, compression_state=kc.TFCompressionState(controller))
    checkpoint.save(str(tmp_path / "ckpt"))
    with pytest.raises(StateError, match="belongs to another model"):
        kc.restore(zoo.convolution, tmp_path)
    with pytest.raises(StateError, match="another configuration"):
        kc.restore(zoo.dense, tmp_path, kc.CompressionConfig.from_dict({"compression": {"algorithm": "quantization"}}))
    again, restored = kc.restore(zoo.dense(), tmp_path)
    assert_same(restored, model)
    assert again.config == controller.config
