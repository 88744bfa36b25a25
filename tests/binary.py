"""Binarization written out in NumPy, and what the tests of it share: models, configurations, a convolution by hand."""

import math

import numpy as np

from keras_compress import CompressionConfig, create_compressed_model, register_default_init_args
from keras_compress._keras import keras
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import BinaryActivation, BinaryWeight, CompressedLayer
from tests import zoo

layers = keras.layers

#: Both stages from before training on.
AT_ONCE = {"activations_quant_start_epoch": 0, "weights_quant_start_epoch": 0}


def binary_weight(weight, axes):
    """Return ``mean(|w|) * sign(w)`` in float64, the mean over ``axes`` and the sign of zero negative."""
    weight = np.float64(weight)
    return np.mean(np.abs(weight), axis=axes, keepdims=True) * np.where(weight > 0, 1.0, -1.0)


def binary_activation(x, scale, thresholds):
    """Return ``s * H(x - s * t)``, where H(0) is 0. The product is rounded to float32, as every runtime has it."""
    return np.float64(scale) * (x > np.float32(scale) * np.asarray(thresholds, np.float32))


def activation_gradients(x, scale, thresholds, upstream):
    """Return the gradients to ``x``, ``scale`` and ``thresholds`` in float64, the last per channel (last axis)."""
    out = binary_activation(x, scale, thresholds)
    x, upstream = np.float64(x), np.float64(upstream)
    d_x = upstream * ((x >= 0) & (x <= scale))
    d_scale = np.sum(upstream * np.where(x > scale, 1.0, (out - x) / scale))
    d_thresholds = -np.sum(upstream * ((x > 0) & (x < scale)), axis=tuple(range(x.ndim - 1)))
    return d_x, d_scale, d_thresholds


def convolution(x, kernel, strides=(1, 1)):
    """Return the convolution of padded images with a kernel (height, width, in, out), in float64."""
    windows = np.lib.stride_tricks.sliding_window_view(np.float64(x), kernel.shape[:2], axis=(1, 2))
    return np.einsum("nyxcij,ijco->nyxo", windows[:, :: strides[0], :: strides[1]], np.float64(kernel))


def depthwise_convolution(x, kernel):
    """Return the depthwise convolution of images with a kernel (height, width, channels, multiplier), in float64."""
    windows = np.lib.stride_tricks.sliding_window_view(np.float64(x), kernel.shape[:2], axis=(1, 2))
    out = np.einsum("nyxcij,ijcm->nyxcm", windows, np.float64(kernel))
    return out.reshape(*out.shape[:3], -1)


def same_padding(x, kernel, strides=(1, 1)):
    """Return images with the zeros around them that 'same' stands for."""
    pads = [(0, 0)]
    for size, width, stride in zip(x.shape[1:3], kernel.shape[:2], strides, strict=True):
        total = max((math.ceil(size / stride) - 1) * stride + width - size, 0)
        pads.append((total // 2, total - total // 2))
    return np.pad(x, [*pads, (0, 0)])


def one_convolution(channels=4, filters=5, kernel=3, size=7, **options):
    """Sequential: one convolution with bias of an image, called ``conv``."""
    conv = layers.Conv2D(filters, kernel, bias_initializer="normal", name="conv", **options)
    return keras.Sequential([keras.Input((size, size, channels), name="image"), conv])


def residual(channels=16, classes=5, size=8):
    """Functional: a stem, a block with a convolution on its shortcut, a block without, a classifier."""
    image = keras.Input((size, size, 3), name="image")
    x = _unit(image, channels, "stem")
    shortcut = _unit(x, 2 * channels, "shortcut", kernel=1, strides=2, activated=False)
    x = _unit(_unit(x, 2 * channels, "one_a", strides=2), 2 * channels, "one_b", activated=False)
    x = layers.ReLU(name="one_relu")(layers.Add(name="one_sum")([x, shortcut]))
    y = _unit(_unit(x, 2 * channels, "two_a"), 2 * channels, "two_b", activated=False)
    x = layers.ReLU(name="two_relu")(layers.Add(name="two_sum")([x, y]))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(classes, name="head")(x), name="binary_residual_net")


#: What stays in floating point of :func:`residual` in a test that binarizes its body.
BORDERS = ["stem", "shortcut", "head"]


def _unit(x, filters, name, kernel=3, strides=1, activated=True):
    x = layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if activated else x


def algorithm(*, at_once=True, params=None, **settings):
    """Return the configuration of binarization, from before training on unless told otherwise."""
    stages = {**(AT_ONCE if at_once else {}), **(params or {})}
    return {"algorithm": "binarization", **({"params": stages} if stages else {}), **settings}


def configured(model, *algorithms, samples=32):
    """Return a configuration of several algorithms with random data to initialize them from."""
    config = CompressionConfig.from_dict({"compression": list(algorithms)})
    return register_default_init_args(config, zoo.samples(model, samples, seed=99))


def compress(model, *others, **settings):
    """Return the controller and the binarized copy of ``model``, everything initialized from random data."""
    return create_compressed_model(model, configured(model, algorithm(**settings), *others))


def binary_activations(model):
    """Return the binary activations of a model by path."""
    return {path: layer for path, layer in leaf_layers(model) if isinstance(layer, BinaryActivation)}


def binary_weights(model):
    """Return the operations that binarize a weight, by path of the layer."""
    return {
        path: op
        for path, layer in leaf_layers(model)
        if isinstance(layer, CompressedLayer)
        for _, op in layer.operations
        if isinstance(op, BinaryWeight)
    }


def switched_on(model):
    """Return the paths of what is binary now: layers with binary weights, and binary activations."""
    ops = {**binary_weights(model), **binary_activations(model)}
    return {path for path, op in ops.items() if op.active.numpy()}


def scatter_levels(model, seed=5):
    """Move scales and thresholds to random places, as training would, so that no two channels are the same."""
    generator = np.random.default_rng(seed)
    for op in binary_activations(model).values():
        op.log_scale.assign(op.log_scale + generator.normal(scale=0.2))
        op.threshold_logits.assign(generator.normal(size=op.threshold_logits.shape) - 0.5)
