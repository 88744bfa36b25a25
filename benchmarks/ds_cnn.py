"""DS-CNN, the small network of depthwise separable convolutions of the MLPerf Tiny keyword-spotting task.

A 10x4 convolution and four depthwise separable blocks, all of 64 channels, about 24 thousand parameters. Sources: Zhang et
al. 2017, arXiv:1711.07128; Banbury et al. 2021, arXiv:2106.07597.
"""

import tf_keras as keras


def build_ds_cnn(input_shape=(49, 10, 1), classes=12):
    """Return an untrained DS-CNN whose output is a vector of class probabilities."""
    layers = keras.layers
    stack = [keras.Input(input_shape, name="spectrogram")]
    stack += [layers.Conv2D(64, (10, 4), 2, padding="same"), layers.BatchNormalization(), layers.ReLU()]
    for _ in range(4):
        stack += [layers.DepthwiseConv2D(3, padding="same"), layers.BatchNormalization(), layers.ReLU()]
        stack += [layers.Conv2D(64, 1), layers.BatchNormalization(), layers.ReLU()]
    return keras.Sequential([*stack, layers.GlobalAveragePooling2D(), layers.Dense(classes, "softmax")])
