"""Models quantized after training with chosen corrections, and what single layers make of single inputs."""

import numpy as np
import tensorflow as tf

from keras_compress import CompressionConfig, Dataset
from keras_compress._keras import keras
from keras_compress.calibration import (
    FastBiasCorrection,
    collect_statistics,
    correct_biases_in_sequence,
    corrected_layers,
    observable,
    round_adaptively,
)
from keras_compress.graph import ModelGraph, build
from keras_compress.graph.batch_norm_fusion import bias_locations, linear_kernels
from keras_compress.graph.variables import leaf_layers, named_variables
from keras_compress.initialization import Corrections
from keras_compress.layers import CompressedLayer, observed
from keras_compress.post_training.calibrated_model import calibrated

layers = keras.layers

#: Only weights are quantized.
WEIGHTS_ONLY = {"activations": {"ignored_scopes": ["{re}.*"]}}
FLOAT_NORMALIZATIONS = {"batchnorm_adaptation": {"num_bn_adaptation_samples": 0}}


def quantized(model, data, samples=64, *, bits=4, bias=None, rounding=None, equalize=False, **settings):
    """Return ``model`` quantized with weights of few bits, without any correction but those asked for, which all samples are for."""
    settings = {"initializer": FLOAT_NORMALIZATIONS, "weights": {"bits": bits}, **settings}
    config = CompressionConfig.from_dict({"compression": {"algorithm": "quantization", **settings}})
    data = Dataset(data)
    made = calibrated(model, config, data, Corrections(None, None, samples), equalize=equalize)
    graph = ModelGraph(made.snapshot)
    correctable = corrected_layers(made.model, bias_locations(graph))
    if rounding is not None:
        kernels = {path: weight for path, weight in linear_kernels(graph).items() if path in _compressed(made.model)}
        number = rounding.num_samples or samples
        round_adaptively(made.model, build(made.snapshot), kernels, data, number, rounding)
    elif bias == "fast":
        collector = FastBiasCorrection(correctable, samples)
        with observed({}, observable(made.model)):
            collect_statistics(made.model, [collector], data, "")
        collector.assign()
    if bias == "sequential":
        correct_biases_in_sequence(made.model, build(made.snapshot), correctable, data, samples)
    return made.model


def _compressed(model):
    return {path for path, layer in leaf_layers(model) if isinstance(layer, CompressedLayer)}


def uneven(shape, count=37, seed=0):
    """Return inputs that are not centered, of which the last sample is far larger than all others."""
    values = np.random.default_rng(seed).uniform(0, 1, (count, *shape)).astype(np.float32)
    values[-1] *= 10
    return values


def at(model, name, inputs):
    """Return what the layer with a name makes in inference mode, in float64."""
    tensor = model.get_layer(name).output
    return keras.Model(model.inputs, tensor)(inputs, training=False).numpy().astype(np.float64)


def plain(layer, kernel=None, bias=None):
    """Return a new float32 layer as ``layer`` without activation function, with another kernel and bias."""
    inner = layer.layer if isinstance(layer, CompressedLayer) else layer
    config = {**inner.get_config(), "dtype": "float32", "activation": "linear"}
    config.pop("batch_input_shape", None)
    copy = type(inner).from_config(config)
    shape = inner.get_input_shape_at(0) if not isinstance(layer, CompressedLayer) else layer.get_input_shape_at(0)
    copy.build(tf.TensorShape(shape))
    for name, variable in named_variables(copy).items():
        replaced = bias if name == "bias" else kernel
        variable.assign(named_variables(inner)[name] if replaced is None else replaced)
    return copy


def means(outputs, bias_shape):
    """Return the mean over samples and positions, in the shape of a bias."""
    axes = tuple(range(outputs.ndim - len(bias_shape)))
    mean = outputs.astype(np.float64).mean(axis=axes)
    shared = tuple(axis for axis, size in enumerate(bias_shape) if size == 1 != mean.shape[axis])
    return mean.mean(axis=shared, keepdims=True) if shared else mean


def numbers(model):
    """Return the arrays of every layer that is not compressed, or is inside a compressed one, by path and name."""
    return {
        (path, name.removeprefix("layer.")): variable.numpy()
        for path, layer in leaf_layers(model)
        for name, variable in named_variables(layer).items()
    }


def kernel_name(layer):
    [(name, _)] = layer.operations
    return name
