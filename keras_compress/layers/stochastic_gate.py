"""StochasticGate: a gate on every weight, open with a trained probability.

The loss that trains the gates towards a level, and the moment when they are frozen, are decided elsewhere.
"""

from __future__ import annotations

import threading

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras, register
from keras_compress.layers.sparsity_mask import SparsityMask
from keras_compress.numerics import draw_gates, paced

__all__ = ["StochasticGate"]


@register
class StochasticGate(SparsityMask):
    """Multiplies every weight by a gate that is 1 or 0.

    Forward, with the logit ``s = pace * gates`` of each weight: in training the gate is drawn,
    ``z = 1[sigmoid(s + logit(u)) > 0.5]``, the same for all calls of one step; at inference ``z = 1[s > 0]``; once frozen
    it is the mask. ``out = weight * z``. Gradients are those of the product and of
    :func:`~keras_compress.numerics.draw_gates`.

    Args:
        seed: start of the random numbers. Default 0.
        pace: how far a logit moves when ``gates`` moves by one. Default 1.
        gradient_scale: factor of the gradient to ``gates``. Default 1.

    Attributes:
        gates: trainable variable in the shape of the weight.
        draw: int32 variable of two numbers, the seed and the number of the draw.

    Source: Kozlov et al. 2020, arXiv:2002.08679, section 4.3; Louizos et al. 2018, arXiv:1712.01312.
    """

    def __init__(self, seed: int = 0, pace: float = 1.0, gradient_scale: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.pace = pace
        self.gradient_scale = gradient_scale
        self._drawing_threads: set[int] = set()  # every replica is traced in a thread of its own

    def build(self, input_shape):
        super().build(input_shape)
        self.gates = self.add_weight("gates", input_shape, initializer="ones")
        first = keras.initializers.Constant([self.seed, 0])
        self.draw = self.add_weight(
            "draw",
            (2,),
            "int32",
            first,
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def logits(self) -> tf.Tensor:
        """Return the logits of the probabilities that the gates are open, differentiable."""
        return paced(self.gates, self.pace, self.gradient_scale)

    def call(self, inputs, training=None):
        gates = tf.cast(self._gates(training), inputs.dtype)
        return inputs * gates

    def _gates(self, training) -> tf.Tensor:
        fixed = tf.cast(tf.where(self.frozen, self.mask, self.gates > 0.0), tf.float32)
        if training is None or training is False:
            return fixed
        self._drawing_threads.add(threading.get_ident())
        logits = self.logits()
        uniform = tf.random.stateless_uniform(tf.shape(logits), tf.convert_to_tensor(self.draw))
        drawn = draw_gates(logits, uniform)
        return tf.where(tf.logical_and(tf.cast(training, tf.bool), tf.logical_not(self.frozen)), drawn, fixed)

    def draw_anew(self) -> None:
        """Make the next step draw other gates, if this one has drawn any; evaluation draws none.

        That is decided while a graph is traced: a graph of training holds the change of the number, one of evaluation not.
        """
        thread = threading.get_ident()
        if thread in self._drawing_threads:
            self._drawing_threads.remove(thread)
            self.draw.assign_add(tf.constant([0, 1]))

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
