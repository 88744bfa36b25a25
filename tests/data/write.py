"""Writes tests/data/<version>/: files, states and reports as this version of the package writes them.

    python -m tests.data.write

A later version has to read them: ``tests/integration/test_files_of_earlier_versions.py``. A folder is written once, before the
release whose name it has, and never again; :data:`CASES` may grow, but what is in it stays.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.graph import take

FOLDER = Path(__file__).parent
layers = keras.layers


def images():
    """Functional: convolutions with batch normalization around a sum, and a Dense layer."""
    image = keras.Input((8, 8, 3), name="image")
    stem = layers.Conv2D(4, 3, padding="same", use_bias=False, name="stem")(image)
    stem = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_norm")(stem))
    body = layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise")(stem)
    body = layers.Conv2D(4, 1, name="body")(body)
    total = layers.ReLU(name="sum_relu")(layers.Add(name="sum")([stem, body]))
    pooled = layers.GlobalAveragePooling2D(name="pool")(total)
    return keras.Model(image, layers.Dense(3, activation="softmax", name="out")(pooled), name="images")


def words():
    """Functional: an embedding, a recurrent layer and a nested Sequential model; variables of nested layers."""
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    x = layers.Embedding(10, 4, name="embedding")(tokens)
    x = layers.GRU(4, return_sequences=True, name="gru")(x)
    head = keras.Sequential(
        [keras.Input((6, 4), name="features"), layers.Flatten(name="flat"), layers.Dense(3, name="dense")], name="head"
    )
    return keras.Model(tokens, layers.Softmax(name="scores")(head(x)), name="words")


def attention():
    """Functional: attention, whose weights lie in layers inside it."""
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    x = layers.Embedding(10, 4, name="embedding")(tokens)
    x = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(tokens, layers.Dense(3, activation="softmax", name="out")(x), name="attention_net")


#: The network and the algorithms of each case.
CASES = {
    "quantization": (images, [{"algorithm": "quantization"}]),
    "quantization_low_bits": (
        images,
        [
            {
                "algorithm": "quantization",
                "weights": {"bits": 4, "mode": "asymmetric", "per_channel": False},
                "activations": {"bits": 4, "mode": "asymmetric"},
                "scope_overrides": {"weights": {"out": {"bits": 8, "mode": "symmetric"}}},
                "initializer": {"range": {"type": "mse", "num_init_samples": 16}},
            }
        ],
    ),
    "quantization_words": (words, [{"algorithm": "quantization"}]),
    "quantization_attention": (attention, [{"algorithm": "quantization"}]),
    "magnitude_sparsity": (
        images,
        [
            {
                "algorithm": "magnitude_sparsity",
                "sparsity_init": 0.3,
                "params": {"sparsity_target": 0.6, "sparsity_target_epoch": 2},
            }
        ],
    ),
    "rb_sparsity": (
        images,
        [
            {
                "algorithm": "rb_sparsity",
                "params": {"sparsity_target": 0.5, "sparsity_target_epoch": 2, "sparsity_freeze_epoch": 4},
            }
        ],
    ),
    "const_sparsity": (images, [{"algorithm": "const_sparsity"}]),
    "binarization": (
        images,
        [
            {
                "algorithm": "binarization",
                "layer_types": ["Conv2D"],
                "ignored_scopes": ["stem"],
                "params": {"weights_quant_start_epoch": 1},
            }
        ],
    ),
    "all_together": (
        images,
        [
            {"algorithm": "binarization", "target_scopes": ["body"]},
            {"algorithm": "magnitude_sparsity", "target_scopes": ["stem"], "sparsity_init": 0.5},
            {"algorithm": "rb_sparsity", "target_scopes": ["out"]},
            {"algorithm": "quantization"},
        ],
    ),
}
#: Version 0.1.0 cannot write the compressed model as a SavedModel: names of operations begin with an underscore there.
WITHOUT_SAVED_MODEL = ("quantization_attention",)
#: Files that are exported of the first case.
EXPORTS = ("model.pb", "model.onnx", "model.xml", "model.tflite", "exported.keras", "exported.h5", "exported")


def samples(make, count=16):
    """Return the inputs that a case was calibrated, trained and run on."""
    generator = np.random.default_rng(0)
    if make in (words, attention):
        return generator.integers(0, 10, (count, 6)).astype(np.int32)
    return generator.normal(size=(count, 8, 8, 3)).astype(np.float32)


def uncompressed(case):
    """Return the compiled network of a case before compression; where zeros are kept, with zeros in it."""
    make, parts = CASES[case]
    keras.utils.set_random_seed(5)
    model = make()
    if parts[0]["algorithm"] == "const_sparsity":
        for layer in model.layers:
            for variable in layer.trainable_variables:
                if "kernel" in variable.name:
                    variable.assign(tf.where(tf.abs(variable) < 0.2, 0.0, variable))
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    return model


def variables(model):
    """Return the variables of a model by the path of their layer and their name in it."""
    weights = take(model).weights
    return {f"{path}: {name}": array for path, arrays in weights.items() for name, array in arrays.items()}


def write(case, folder):
    """Train a case for two epochs and write every kind of file of it."""
    make, parts = CASES[case]
    inputs, labels = samples(make), np.arange(16) % 3
    config = kc.register_default_init_args({"compression": parts}, inputs)
    controller, model = kc.create_compressed_model(uncompressed(case), config)
    model.fit(inputs, labels, epochs=2, shuffle=False, callbacks=kc.create_compression_callbacks(controller), verbose=0)
    folder.mkdir(parents=True)
    model.save(folder / "model.keras")
    model.save(folder / "model.h5")
    if case not in WITHOUT_SAVED_MODEL:
        model.save(folder / "saved_model", save_format="tf")
    model.save_weights(folder / "model.weights.h5")
    checkpoint = tf.train.Checkpoint(model=model, compression_state=kc.TFCompressionState(controller))
    tf.train.CheckpointManager(checkpoint, str(folder / "checkpoints"), max_to_keep=1).save()
    _write_json(folder / "config.json", controller.config.to_dict())
    _write_json(folder / "state.json", controller.get_compression_state())
    _write_json(folder / "statistics.json", controller.statistics().to_dict())
    stripped = {f"stripped/{name}": array for name, array in variables(controller.strip()).items()}
    outputs = model(inputs, training=False).numpy()
    np.savez_compressed(folder / "expected.npz", **variables(model), **stripped, outputs=outputs)
    if case == next(iter(CASES)):
        for name in EXPORTS:
            report = controller.export_model(folder / name, data=inputs)
            _write_json(folder / f"{name}.report.json", {**report.to_dict(), "path": name})


def _write_json(path, values):
    path.write_text(json.dumps(values, indent=1))


if __name__ == "__main__":
    target = FOLDER / kc.__version__
    if target.exists():
        sys.exit(f"{target} is there already: what an earlier version wrote is not written again")
    for name in CASES:
        write(name, target / name)
