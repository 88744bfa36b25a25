"""ResNet-18 in its ImageNet form: 1.8 billion multiply-accumulates at 224x224. Source: He et al. 2015, arXiv:1512.03385."""

import tf_keras as keras

layers = keras.layers


def build_resnet18(input_shape=(224, 224, 3), classes=1000):
    """Return an untrained ResNet-18 whose output is a vector of class probabilities."""
    image = keras.Input(input_shape, name="image")
    x = layers.ReLU(name="stem_relu")(_conv_bn(image, 64, 7, 2, "stem"))
    x = layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)
    for stage, (filters, stride) in enumerate([(64, 1), (128, 2), (256, 2), (512, 2)], start=1):
        for block in (1, 2):
            x = _block(x, filters, stride if block == 1 else 1, f"stage{stage}_block{block}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(classes, "softmax", name="classifier")(x), name="resnet18")


def _block(x, filters, stride, name):
    shortcut = x if stride == 1 else _conv_bn(x, filters, 1, stride, f"{name}_shortcut")
    x = layers.ReLU(name=f"{name}_relu_a")(_conv_bn(x, filters, 3, stride, f"{name}_a"))
    x = _conv_bn(x, filters, 3, 1, f"{name}_b")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, shortcut]))


def _conv_bn(x, filters, size, stride, name):
    x = layers.Conv2D(filters, size, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return layers.BatchNormalization(name=f"{name}_bn")(x)
