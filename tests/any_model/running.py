"""Inputs that fit a model, and the outputs it gives for them."""

import numpy as np
import tensorflow as tf

from keras_compress.data import pack_inputs


def draw_inputs(model, samples=8):
    """Return one array per input of the model; open sizes become 8, integers stay below 7."""
    generator = np.random.RandomState(0)
    arrays = []
    for tensor in model.inputs:
        shape = (samples, *(size or 8 for size in tensor.shape[1:]))
        if tensor.dtype == tf.bool:
            arrays.append(np.ones(shape, bool))
        elif tensor.dtype.is_integer:
            arrays.append(generator.randint(0, 7, shape).astype(np.int32))
        else:
            arrays.append(generator.normal(size=shape).astype(np.float32))
    return arrays


def outputs_of(model, arrays):
    packed = pack_inputs(model, [tf.constant(array) for array in arrays])
    return [tensor.numpy() for tensor in tf.nest.flatten(model(packed, training=False))]
