"""What the notebooks share: handwritten digits, a small residual network, and its training in floating point.

The digits are those that scikit-learn ships, 1,797 images of 8 x 8 pixels, made 32 x 32 here. Nothing is downloaded.
"""

import logging
import os

import numpy as np
import tensorflow as tf
import tf_keras as keras
from sklearn.datasets import load_digits as load_small_digits

layers = keras.layers

#: Channels in the stem of the network; few where the tests only see that the code runs.
WIDTH = 4 if "KERAS_COMPRESS_FAST" in os.environ else 16

for name in ("tensorflow", "absl"):
    logging.getLogger(name).setLevel("ERROR")  # their warnings are about TensorFlow's own deprecated functions


def load_digits(small=False):
    """Return (images, labels) to train and to test on: 2,594 and 2,000 digits with values around [0, 1].

    Every digit is there with different noise, twice to train on and four times to test on: so there is something to lose.
    With ``small`` there are 640 and 500, enough to see that the code runs.
    """
    images, labels = load_small_digits(return_X_y=True)
    generator = np.random.default_rng(0)
    order = generator.permutation(len(images))
    images, labels = images[order].reshape(-1, 8, 8, 1) / 16, labels[order]

    def noisy(part, copies):
        several = np.tile(images[part], (copies, 1, 1, 1))
        several = several + generator.normal(0, 0.2, several.shape)
        return tf.image.resize(several, (32, 32)).numpy().astype(np.float32), np.tile(labels[part], copies)

    if small:
        return noisy(slice(640), 1), noisy(slice(1297, None), 1)
    return noisy(slice(1297), 2), noisy(slice(1297, None), 4)


def residual_network(width=WIDTH):
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


def trained_network(images, labels, epochs, width=WIDTH):
    """Return a ResNet-8 that was trained in floating point; always from the same random seed."""
    keras.utils.set_random_seed(0)
    model = residual_network(width)
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    falling = keras.callbacks.LearningRateScheduler(lambda epoch: 2e-3 * (1 - epoch / epochs))
    model.fit(images, labels, batch_size=64, epochs=epochs, callbacks=[falling], verbose=0)
    return model


def accuracy(model, images, labels):
    """Return the share of images that a Keras model or a compiled OpenVINO model classifies as their labels say."""
    if isinstance(model, keras.Model):
        scores = [model(images[at : at + 250], training=False).numpy() for at in range(0, len(images), 250)]
    else:
        scores = [model(image[np.newaxis])[0] for image in images]
    return float(np.mean(np.concatenate(scores).argmax(axis=-1) == labels))


def spoilt(model, blocks, factor=1000.0):
    """Return a copy of a ResNet-8 that computes the same in floating point and is hard to quantize.

    In each of the blocks one channel between the two convolutions becomes ``factor`` times larger, and the weights that read
    it become as much smaller.
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for block in blocks:
        norm, reader = copy.get_layer(f"{block}_a_norm"), copy.get_layer(f"{block}_b")
        scales = np.ones(norm.gamma.shape[0], np.float32)
        scales[np.argmax(norm.gamma)] = factor
        norm.gamma.assign(norm.gamma * scales)
        norm.beta.assign(norm.beta * scales)
        reader.kernel.assign(reader.kernel / scales[:, np.newaxis])
    return copy


def _convolution(x, filters, name, size=3, strides=1):
    """Return a convolution and its batch normalization."""
    x = layers.Conv2D(filters, size, strides, padding="same", use_bias=False, name=name)(x)
    return layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
