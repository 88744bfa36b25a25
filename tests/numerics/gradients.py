"""Values and gradients of a function, as NumPy arrays."""

import tensorflow as tf


def value_and_gradients(function, *arguments, upstream):
    tensors = [tf.constant(argument) for argument in arguments]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        out = function(*tensors)
    return [tensor.numpy() for tensor in (out, *tape.gradient(out, tensors, tf.constant(upstream)))]
