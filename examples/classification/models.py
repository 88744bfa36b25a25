"""The networks of the classification sample: any of ``tf_keras.applications``, the small ResNet-8, or one from a file."""

import inspect

import tf_keras as keras

from benchmarks.resnet8 import build_resnet8


def build_or_load(name, input_shape, classes, weights=None):
    """Return a model, and the function that makes its input of pixels from 0 to 255.

    Args:
        name: ``resnet8``, a ``.keras`` file, or a name in ``tf_keras.applications``, as ``MobileNetV2``. A model from a file gets
            pixels in [0, 1].
        input_shape, classes: what the model is for.
        weights: a ``.keras`` or ``.weights.h5`` file of the same architecture.
    """
    if name.endswith(".keras"):
        return keras.models.load_model(name, compile=False), _to_unit
    if name == "resnet8":
        model, preprocess = build_resnet8(input_shape, classes), _to_unit
    else:
        model, preprocess = _application(name, input_shape, classes)
    if weights:
        model.load_weights(weights)
    return model, preprocess


def _application(name, input_shape, classes):
    build = getattr(keras.applications, name, None)
    if build is None or inspect.ismodule(build):
        raise SystemExit(
            f"Unknown model. Expected: resnet8, a .keras file, or a name in tf_keras.applications. Received: {name}."
        )
    backbone = build(include_top=False, weights=None, input_shape=input_shape, pooling="avg")
    outputs = keras.layers.Dense(classes, activation="softmax", name="classifier")(backbone.output)
    return keras.Model(backbone.input, outputs, name=name.lower()), inspect.getmodule(build).preprocess_input


def _to_unit(pixels):
    return pixels / 255.0
