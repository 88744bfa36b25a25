"""What pages may take as given: a small trained model, images, and what the page before it made of them."""

import numpy as np

import keras_compress as kc
from keras_compress._keras import keras


def images(samples=64):
    return np.random.default_rng(0).normal(size=(samples, 8, 8, 3)).astype(np.float32)


def labels(samples=64):
    return np.random.default_rng(1).integers(0, 4, samples)


def model():
    """Return a compiled model with a convolution, a batch normalization and a dense layer."""
    network = keras.Sequential(
        [
            keras.Input((8, 8, 3), name="x"),
            keras.layers.Conv2D(6, 3, use_bias=False, name="conv"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.ReLU(name="relu"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(4, activation="softmax", name="head"),
        ]
    )
    network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    network.fit(images(), labels(), epochs=1, verbose=0)
    return network


def values(names):
    """Return the values of the names that a page takes as given, and the modules every page may use."""
    made = {"kc": kc, "np": np, "keras": keras}
    if "model" in names or "controller" in names:
        made["model"] = model()
    if "controller" in names:
        made["controller"], made["compressed"] = kc.create_compressed_model(
            made["model"],
            kc.register_default_init_args({"compression": {"algorithm": "quantization"}}, images()),
        )
    arrays = {"images": images, "labels": labels, "test_images": images, "test_labels": labels}
    made.update({name: make() for name, make in arrays.items() if name in names})
    unknown = names - set(made)
    if unknown:
        raise ValueError(f"A page takes {sorted(unknown)} as given. Expected: some of {sorted({*made, *arrays})}.")
    return {name: value for name, value in made.items() if name in names}
