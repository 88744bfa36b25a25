"""A script that trains every algorithm under one strategy of ``tf.distribute`` and writes down what came out.

python -m tests.faults.distributed_training FOLDER DEVICES [WORKER PORT WORKERS]
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

EPOCHS = 4
CONFIGURATIONS = {
    "quantization": [{"algorithm": "quantization"}],
    "magnitude": [
        {"algorithm": "magnitude_sparsity", "params": {"sparsity_target_epoch": 2}},
        {"algorithm": "quantization"},
    ],
    "rb": [{"algorithm": "rb_sparsity", "params": {"sparsity_target_epoch": 2, "sparsity_freeze_epoch": 3}}],
    "binarization": [{"algorithm": "binarization", "params": {"weights_quant_start_epoch": 2}}],
}


def main(folder, devices, worker=0, port=0, workers=1):
    if workers > 1:
        cluster = {"worker": [f"127.0.0.1:{port + number}" for number in range(workers)]}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": worker}})
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * max(devices, 2))
    if workers > 1:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    elif devices > 1:
        strategy = tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(devices)])
    else:
        strategy = tf.distribute.get_strategy()
    for name in CONFIGURATIONS:
        result = train(strategy, name, Path(folder) / name, worker)
        np.savez(Path(folder) / f"{name}_{worker}.npz", **result)


def train(strategy, name, folder, worker):
    import tensorflow as tf

    import keras_compress as kc

    random = np.random.RandomState(0)
    images, labels = random.rand(128, 8, 8, 3).astype(np.float32), random.randint(0, 4, 128)
    shards = tf.data.Options()
    shards.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(16).with_options(shards)
    measured = images if worker == 0 else 2 * images  # every worker has data of its own
    config = kc.register_default_init_args({"compression": CONFIGURATIONS[name]}, measured)
    controller, compressed = kc.create_compressed_model(build(strategy), config)
    checkpoint = tf.train.Checkpoint(model=compressed, compression_state=kc.TFCompressionState(controller))
    callbacks = [
        *kc.create_compression_callbacks(controller, folder / "logs"),
        kc.CheckpointManagerCallback(checkpoint, folder / "checkpoints", max_to_keep=2),
    ]
    history = compressed.fit(data, epochs=EPOCHS, callbacks=callbacks, verbose=0)
    replicas = [
        np.array_equal(first.numpy(), other.numpy())
        for variable in compressed.variables
        for first, *others in [getattr(variable, "values", [variable])]
        for other in others
    ]
    numbers = {f"variable {number}": variable.numpy() for number, variable in enumerate(compressed.variables)}
    result = {"loss": history.history["loss"], "replicas same": all(replicas), **numbers}
    if "TF_CONFIG" not in os.environ:
        for other in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
            again, restored = kc.restore(lambda other=other: build(other), folder / "checkpoints")
            same = [np.array_equal(a, b) for a, b in zip(restored.get_weights(), compressed.get_weights(), strict=True)]
            place = again.scheduler.current_epoch == EPOCHS - 1
            result[f"restored on {other.num_replicas_in_sync}"] = all(same) and place
    return result


def build(strategy):
    from keras_compress._keras import keras

    keras.utils.set_random_seed(3)
    with strategy.scope():
        image = keras.Input((8, 8, 3), name="image")
        x = keras.layers.Conv2D(8, 3, activation="relu", name="stem")(image)
        x = keras.layers.Conv2D(8, 3, activation="relu", name="body")(x)
        model = keras.Model(image, keras.layers.Dense(4, "softmax", name="head")(keras.layers.Flatten(name="flat")(x)))
        model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    return model


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
