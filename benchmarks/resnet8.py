"""ResNet-8, the small residual network of the MLPerf Tiny image-classification task.

Three residual stages of 16, 32 and 64 channels, about 78 thousand parameters. The shortcut of the second and third
stage is a 1x1 convolution. Source: Banbury et al. 2021, arXiv:2106.07597.
"""

import tf_keras as keras


def build_resnet8(input_shape=(32, 32, 3), classes=10, width=1):
    """Return an untrained ResNet-8 whose output is a vector of class probabilities."""
    layers = keras.layers
    inputs = keras.Input(input_shape, name="image")
    x = _conv_bn(inputs, 16 * width, 3, 1, "stem")
    x = layers.ReLU(name="stem_relu")(x)
    for stage, (filters, stride) in enumerate([(16, 1), (32, 2), (64, 2)], start=1):
        shortcut = x
        x = _conv_bn(x, filters * width, 3, stride, f"stage{stage}_a")
        x = layers.ReLU(name=f"stage{stage}_a_relu")(x)
        x = _conv_bn(x, filters * width, 3, 1, f"stage{stage}_b")
        if stride > 1:
            shortcut = layers.Conv2D(
                filters * width, 1, stride, kernel_initializer="he_normal", name=f"stage{stage}_shortcut"
            )(shortcut)
        x = layers.Add(name=f"stage{stage}_add")([x, shortcut])
        x = layers.ReLU(name=f"stage{stage}_relu")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = layers.Dense(classes, activation="softmax", name="classifier")(x)
    return keras.Model(inputs, outputs, name="resnet8")


def _conv_bn(x, filters, size, stride, name):
    x = keras.layers.Conv2D(
        filters, size, stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)
    return keras.layers.BatchNormalization(name=f"{name}_bn")(x)
