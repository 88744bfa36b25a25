"""A small U-Net: a class for every pixel, from features of several resolutions that skip connections join.

Source: Ronneberger et al. 2015, arXiv:1505.04597.
"""

import tf_keras as keras

layers = keras.layers


def build_u_net(input_shape, classes=2, widths=(16, 32, 64)):
    """Return an untrained U-Net whose output is a vector of class probabilities for every pixel.

    ``widths`` are the channels from the full resolution to the coarsest; every step halves the image, whose sides must be
    divisible that often. With the default widths it has about 118 thousand parameters.
    """
    image = keras.Input(input_shape, name="image")
    *outer, bottom = widths
    skipped = []
    x = image
    for depth, filters in enumerate(outer, start=1):
        skipped.append(_block(x, filters, f"down{depth}"))
        x = layers.MaxPooling2D(name=f"pool{depth}")(skipped[-1])
    x = _block(x, bottom, "bottom")
    for depth, filters in reversed(list(enumerate(outer, start=1))):
        x = layers.Conv2DTranspose(filters, 2, 2, name=f"up{depth}")(x)
        x = layers.Concatenate(name=f"join{depth}")([x, skipped.pop()])
        x = _block(x, filters, f"up{depth}_block")
    return keras.Model(image, layers.Conv2D(classes, 1, activation="softmax", name="classes")(x))


def _block(x, filters, name):
    for number in (1, 2):
        x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv{number}")(x)
        x = layers.ReLU(name=f"{name}_relu{number}")(layers.BatchNormalization(name=f"{name}_norm{number}")(x))
    return x
