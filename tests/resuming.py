"""A small training that is saved at many moments and resumed from each: what tests of resuming share."""

import numpy as np
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras

SAMPLES, BATCH, EPOCHS = 30, 8, 3
STEPS = 4
SPARSE = {
    "algorithm": "magnitude_sparsity",
    "params": {
        "sparsity_target": 0.5,
        "sparsity_target_epoch": 2,
        "update_per_optimizer_step": True,
        "steps_per_epoch": 4,
    },
}
RANDOM = np.random.RandomState(0)
X, Y = RANDOM.rand(SAMPLES, 6).astype(np.float32), RANDOM.rand(SAMPLES, 2).astype(np.float32)


def build(optimizer="adam", **options):
    """Return a compiled model with all that is random in a step of training."""
    keras.utils.set_random_seed(3)
    layers = keras.layers
    inputs = keras.Input((6,), name="inputs")
    x = layers.Dense(8, activation="relu", name="hidden")(inputs)
    x = layers.Dropout(0.3, name="dropout")(x)
    x = layers.BatchNormalization(name="norm")(layers.GaussianNoise(0.1, name="noise")(x))
    model = keras.Model(inputs, layers.Dense(2, name="out")(x))
    model.compile(optimizer, "mse", metrics=["mae"], **options)
    return model


def compressed(make=build, parts=(SPARSE, {"algorithm": "quantization"})):
    """Return the controller and the compressed model of a fresh model."""
    config = kc.register_default_init_args({"compression": list(parts)}, X)
    return kc.create_compressed_model(make(), config)


def checkpoint_of(controller):
    return tf.train.Checkpoint(model=controller.model, compression_state=kc.TFCompressionState(controller))


class SaveEverywhere(keras.callbacks.Callback):
    """Saves a checkpoint at each of the given moments, whatever other callbacks have been told so far.

    Attributes:
        paths: the checkpoints.
    """

    def __init__(self, controller, folder, moment, *, asynchronous=False):
        super().__init__()
        self.checkpoint = checkpoint_of(controller)
        self.options = tf.train.CheckpointOptions(experimental_enable_async_checkpoint=asynchronous)
        self.folder = str(folder / "ckpt")
        self.paths = []
        setattr(
            self, moment, lambda *_, **__: self.paths.append(self.checkpoint.save(self.folder, options=self.options))
        )


def numbers(model):
    """Return every number of a model and of its optimizer."""
    return [variable.numpy() for variable in [*model.variables, *model.optimizer.variables]]


def assert_same_end(restored, received, expected, history, *, levels=True):
    """Check that a resumed training has the numbers of the whole one, and the last epochs of its logs.

    ``levels=False`` leaves out the stage and the level in the logs, for data of unknown size: how long an epoch is, and with it the
    place of a schedule by steps, is known to a resumed training earlier than to the whole one.
    """
    for index, (one, other) in enumerate(zip(numbers(restored), expected, strict=True)):
        np.testing.assert_array_equal(one, other, err_msg=f"{index}")
    for name, values in received.history.items():
        if not levels and (name == "compression_stage" or name.endswith("_level")):
            continue
        assert values == history.history[name][len(history.history[name]) - len(values) :], name


def assert_resumes(tmp_path, fit, moment="on_train_batch_end", *, first=False, places=(), make=build, **options):
    """Train once, saving at a moment, and go on from checkpoints: each ends with the bits of the whole training.

    Args:
        fit: a function that trains a model with callbacks and returns the history.
        moment: the method of a callback that saves.
        first: whether that callback stands in front of all others.
        places: indices of the checkpoints to go on from; all of them by default.
        options: parts of the compression, or asynchronous.
    """
    asynchronous, levels = options.pop("asynchronous", False), options.pop("levels", True)
    controller, model = compressed(make, **options)
    save = SaveEverywhere(controller, tmp_path, moment, asynchronous=asynchronous)
    callbacks = kc.create_compression_callbacks(controller)
    history = fit(model, [save, *callbacks] if first else [*callbacks, save])
    save.checkpoint.sync()
    expected = numbers(model)
    for place in places or range(len(save.paths)):
        keras.backend.clear_session()
        again, restored = kc.restore(make, save.paths[place])
        received = fit(restored, kc.create_compression_callbacks(again, resume=True))
        assert_same_end(restored, received, expected, history, levels=levels)
