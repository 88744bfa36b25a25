"""A small MobileNetV2 for images of 32x32 pixels, with inverted residual blocks and linear bottlenecks.

Every block expands its input up to six times with a 1x1 convolution, filters each channel by itself, and projects to few
channels without an activation; a block that keeps shape and channels adds its input. About 137 thousand parameters.
Source: Sandler et al. 2018, arXiv:1801.04381.
"""

import tf_keras as keras

layers = keras.layers
BLOCKS = ((1, 24, 2), (2, 24, 1), (3, 40, 2), (4, 40, 1), (4, 40, 1), (4, 64, 2), (6, 64, 1))


def build_mobilenet(input_shape=(32, 32, 3), classes=10, blocks=BLOCKS, stem=16, last=256):
    """Return an untrained network whose output is a vector of class probabilities.

    ``blocks`` are (expansion, channels, stride) of each inverted residual block, ``stem`` and ``last`` the channels of the
    convolutions before and after them.
    """
    inputs = keras.Input(input_shape, name="image")
    x = _conv_bn_relu(inputs, stem, 3, "stem")
    for number, (expansion, channels, stride) in enumerate(blocks, start=1):
        x = _inverted_residual(x, expansion, channels, stride, f"block{number}")
    x = _conv_bn_relu(x, last, 1, "last")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax", name="classifier")(x), name="mobilenet")


def _inverted_residual(x, expansion, channels, stride, name):
    shortcut = x
    if expansion > 1:
        x = _conv_bn_relu(x, expansion * x.shape[-1], 1, f"{name}_expand")
    x = layers.DepthwiseConv2D(
        3, stride, padding="same", use_bias=False, depthwise_initializer="he_normal", name=f"{name}_depthwise"
    )(x)
    x = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(layers.BatchNormalization(name=f"{name}_depthwise_bn")(x))
    x = layers.Conv2D(channels, 1, use_bias=False, kernel_initializer="he_normal", name=f"{name}_project")(x)
    x = layers.BatchNormalization(name=f"{name}_project_bn")(x)
    if stride == 1 and shortcut.shape[-1] == channels:
        x = layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def _conv_bn_relu(x, channels, size, name):
    x = layers.Conv2D(
        channels, size, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(layers.BatchNormalization(name=f"{name}_bn")(x))
