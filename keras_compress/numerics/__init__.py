"""Pure tensor arithmetic with gradients: fake quantization, range tuning, masks, stochastic gates, binarization.

Nothing here knows about Keras or owns a variable. Every function has a gradient that is written out in its docstring
and tested against an independent NumPy formula.
"""

from keras_compress.numerics.binarization import binarize, binary_scale, binary_threshold
from keras_compress.numerics.decibels import decibels, relative_error
from keras_compress.numerics.fake_quantization import (
    SMALLEST_RANGE,
    fake_quantize,
    fake_quantize_symmetric,
    number_of_steps,
    symmetric_bounds,
    tune_range,
)
from keras_compress.numerics.masks import apply_mask, hard_gates, sample_gates, scale_gradient

__all__ = [
    "SMALLEST_RANGE",
    "apply_mask",
    "binarize",
    "binary_scale",
    "binary_threshold",
    "decibels",
    "fake_quantize",
    "fake_quantize_symmetric",
    "hard_gates",
    "number_of_steps",
    "relative_error",
    "sample_gates",
    "scale_gradient",
    "symmetric_bounds",
    "tune_range",
]
