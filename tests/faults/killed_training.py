"""A training that can be killed at any moment and started again: what the child processes of the tests run."""

import json
import os
from pathlib import Path

import numpy as np
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras

EPOCHS = 6
QUANTIZATION = {"algorithm": "quantization"}
MAGNITUDE = {"algorithm": "magnitude_sparsity", "params": {"sparsity_target_epoch": 4, "sparsity_freeze_epoch": 5}}
RB = {"algorithm": "rb_sparsity", "params": {"sparsity_target_epoch": 4, "sparsity_freeze_epoch": 5}}
BINARIZATION = {
    "algorithm": "binarization",
    "params": {"weights_quant_start_epoch": 2, "lr_poly_drop_start_epoch": 3, "lr_poly_drop_duration_epochs": 3},
}
CONFIGURATIONS = {
    "quantization": [QUANTIZATION],
    "magnitude": [{**MAGNITUDE, "params": {**MAGNITUDE["params"], "update_per_optimizer_step": True}}],
    "rb": [RB],
    "binarization": [BINARIZATION],
    "mix": [
        {**BINARIZATION, "target_scopes": ["body"]},
        {**MAGNITUDE, "target_scopes": ["stem"]},
        {**RB, "target_scopes": ["head"]},
        QUANTIZATION,
    ],
}
#: What is killed: a configuration, its data, and how often and how it is saved.
CASES = {
    "quantization, every epoch": ("quantization", "dataset", {}),
    "magnitude, every 7 batches": ("magnitude", "shuffled dataset", {"save_freq": 7}),
    "rb, asynchronous": ("rb", "dataset", {"asynchronous": True}),
    "binarization, shuffled arrays": ("binarization", "arrays", {}),
    "quantization, shuffled arrays, every 7 batches": ("quantization", "arrays", {"save_freq": 7}),
    "mix, shuffled arrays, every 7 batches, asynchronous": ("mix", "arrays", {"save_freq": 7, "asynchronous": True}),
}
BATCH = 16


def build():
    keras.utils.set_random_seed(3)
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="stem")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="body")(x)
    x = layers.Dropout(0.2, name="dropout")(layers.GlobalAveragePooling2D(name="pool")(x))
    model = keras.Model(image, layers.Dense(4, "softmax", name="head")(x))
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    return model


def train(case, folder, result, started):
    """Train to the end, going on from the newest checkpoint in ``folder``; write all numbers to ``result``."""
    name, kind, saving = CASES[case]
    tf.config.experimental.enable_op_determinism()
    random = np.random.RandomState(0)
    images, labels = random.rand(256, 8, 8, 3).astype(np.float32), random.randint(0, 4, 256)
    os.makedirs(folder, exist_ok=True)
    keras.utils.set_random_seed(3)
    data = (images, labels)
    if kind != "arrays":
        rows = tf.data.Dataset.from_tensor_slices(data)
        data = ((rows.shuffle(256) if kind == "shuffled dataset" else rows).batch(BATCH),)
    if kc.latest_checkpoint(folder):
        controller, model = kc.restore(build, folder)
    else:
        config = kc.register_default_init_args({"compression": CONFIGURATIONS[name]}, images[:64])
        controller, model = kc.create_compressed_model(build(), config)
    checkpoint = tf.train.Checkpoint(model=model, compression_state=kc.TFCompressionState(controller))
    callbacks = [
        *kc.create_compression_callbacks(controller, resume=True),
        kc.SaveBestCompressed(controller, folder + "/best.keras", "loss"),
        kc.CheckpointManagerCallback(checkpoint, folder, max_to_keep=2, **saving),
        keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: Path(started).touch()),
    ]
    batch_size = {"batch_size": BATCH} if kind == "arrays" else {}
    model.fit(*data, epochs=EPOCHS, callbacks=callbacks, verbose=0, **batch_size)
    numbers = {f"{index} {v.name}": v.numpy() for index, v in enumerate(model.variables)}
    numbers.update({f"optimizer {index}": v.numpy() for index, v in enumerate(model.optimizer.variables)})
    with open(result + ".part", "wb") as file:
        state = controller.get_compression_state()
        kept = {key: state[key] for key in ("scheduler", "fit", "random")}
        kept["best"] = next(memory["best"] for memory in state["callbacks"].values() if "best" in memory)
        np.savez(file, state=json.dumps(kept), **numbers)
    os.replace(result + ".part", result)
