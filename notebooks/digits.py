"""What the notebooks share: handwritten digits, a small residual network, and its training in floating point.

The digits are those that scikit-learn ships, 1,797 images of 8 x 8 pixels, made 32 x 32 here. Nothing is downloaded.
"""

import numpy as np
import tensorflow as tf
import tf_keras as keras
from sklearn.datasets import load_digits as load_small_digits

layers = keras.layers


def load_digits():
    """Return (images, labels) to train and to test on: 1,297 and 500 digits with values in [0, 1]."""
    images, labels = load_small_digits(return_X_y=True)
    images = tf.image.resize(images.reshape(-1, 8, 8, 1) / 16, (32, 32)).numpy().astype(np.float32)
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    return (images[:1297], labels[:1297]), (images[1297:], labels[1297:])


def residual_network(width=16):
    """Return an untrained ResNet-8 of ``width`` channels in the stem, and 2, 4 and 8 times as many in its three blocks."""
    image = keras.Input((32, 32, 1), name="image")
    x = layers.ReLU(name="stem_relu")(_convolution(image, width, "stem"))
    for number, filters in enumerate((2 * width, 4 * width, 8 * width), start=1):
        shortcut = _convolution(x, filters, f"block{number}_shortcut", size=1, strides=2)
        y = layers.ReLU(name=f"block{number}_a_relu")(_convolution(x, filters, f"block{number}_a", strides=2))
        y = _convolution(y, filters, f"block{number}_b")
        x = layers.ReLU(name=f"block{number}_relu")(layers.Add(name=f"block{number}_sum")([shortcut, y]))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(10, "softmax", name="classifier")(x), name="digits_resnet")


def trained_network(epochs, width=16):
    """Return a ResNet-8 that was trained on the digits in floating point; always from the same random seed."""
    keras.utils.set_random_seed(0)
    images, labels = load_digits()[0]
    model = residual_network(width)
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images, labels, batch_size=64, epochs=epochs, verbose=0)
    return model


def accuracy(model, images, labels):
    """Return the share of images that a Keras model or a compiled OpenVINO model classifies as their labels say."""
    if isinstance(model, keras.Model):
        scores = model.predict(images, batch_size=250, verbose=0)
    else:
        scores = np.concatenate([model(images[at : at + 1])[0] for at in range(len(images))])
    return float(np.mean(scores.argmax(axis=-1) == labels))


def _convolution(x, filters, name, size=3, strides=1):
    """Return a convolution and its batch normalization."""
    x = layers.Conv2D(filters, size, strides, padding="same", use_bias=False, name=name)(x)
    return layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
