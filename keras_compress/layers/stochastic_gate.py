"""StochasticGate: a gate on every weight, open with a trained probability.

The loss that trains the gates towards a level, and the moment when they are frozen, are decided elsewhere.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras, register
from keras_compress.layers.settings_check import checked_number, checked_whole
from keras_compress.layers.sparsity_mask import SparsityMask
from keras_compress.numerics import sample_gates, scale_gradient

__all__ = ["StochasticGate"]


@register
class StochasticGate(SparsityMask):
    """Multiplies every weight by a gate that is 1 or 0.

    Forward, with the logit ``s = pace * gates`` of each weight: in training the gate is sampled,
    ``z = 1[sigmoid(s + logit(u)) > 0.5]``, the same for all calls in one traced step; at inference ``z = 1[s > 0]``;
    once frozen it is the mask. ``out = weight * z``. Gradients are those of the product and of
    :func:`~keras_compress.numerics.sample_gates`.

    Args:
        seed: start of the random numbers. Default 0.
        pace: learning-rate multiplier of the logits. Default 1.
        gradient_scale: factor of the gradient to ``gates``. Default 1.

    Attributes:
        gates: trainable float32 variable in the shape of the weight.
        draw: int32 variable of two numbers, the seed and the number of the draw.

    Example:
        >>> gate = StochasticGate()
        >>> gate.build((2,))
        >>> gate.gates.assign([1.0, -1.0]).numpy().tolist()
        [1.0, -1.0]
        >>> gate(tf.constant([3.0, 4.0])).numpy().tolist()
        [3.0, 0.0]

    Source: Kozlov et al. 2020, arXiv:2002.08679, section 4.3; Louizos et al. 2018, arXiv:1712.01312.
    """

    def __init__(self, seed: int = 0, pace: float = 1.0, gradient_scale: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.seed = checked_whole(seed, "seed", self.name, -(2**31), 2**31 - 1)
        self.pace = checked_number(pace, "pace", self.name)
        self.gradient_scale = checked_number(gradient_scale, "gradient_scale", self.name)

    def build(self, input_shape):
        super().build(input_shape)
        self.gates = self.add_weight(name="gates", shape=input_shape, initializer="ones")
        first = keras.initializers.Constant([self.seed, 0])
        self.draw = self.add_weight(
            name="draw",
            shape=(2,),
            dtype="int32",
            initializer=first,
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def logits(self) -> tf.Tensor:
        """Return the logits of the probabilities that the gates are open, differentiable."""
        return scale_gradient(self.gates, self.pace, self.gradient_scale)

    def call(self, inputs, training=None):
        gates = tf.cast(self._gates(training), inputs.dtype)
        return inputs * gates

    def _gates(self, training) -> tf.Tensor:
        fixed = tf.cast(tf.where(self.frozen, self.mask, self.gates > 0.0), tf.float32)
        if training is None or training is False:
            return fixed
        training = tf.cast(training, tf.bool)
        drawn = sample_gates(self.logits(), self._uniform(training))
        return tf.where(tf.logical_and(training, tf.logical_not(self.frozen)), drawn, fixed)

    def _uniform(self, training: tf.Tensor) -> tf.Tensor:
        """Return the random numbers of a step of training, and count the draw.

        Within a traced graph all calls of one replica share them, so a graph holds one step; run eagerly, every call
        draws its own.
        """
        drawn = []
        if not tf.executing_eagerly():
            context = tf.distribute.get_replica_context()
            replica = None if context is None else tf.get_static_value(context.replica_id_in_sync_group)
            graph = id(tf.compat.v1.get_default_graph())  # an inner function has the collections of the outer one
            drawn = tf.compat.v1.get_collection_ref(f"draw of {self.name} {id(self)} in {graph} of replica {replica}")
        if not drawn:
            drawn.append(tf.random.stateless_uniform(tf.shape(self.gates), tf.identity(self.draw)))
            self.draw.assign_add(tf.stack([0, tf.cast(training, tf.int32)]))
        return drawn[0]

    def freeze(self, frozen: bool = True) -> None:
        """Fix the gates as they are, or let them train again."""
        if frozen:
            self.mask.assign(self.kept())
        self.frozen.assign(frozen)

    def kept(self) -> np.ndarray:
        return self.mask.numpy() if self.frozen.numpy() else self.gates.numpy() > 0.0

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "seed": self.seed,
            "pace": self.pace,
            "gradient_scale": self.gradient_scale,
        }
