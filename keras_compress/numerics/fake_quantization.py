"""Fake quantization with gradients to the values and to the range, and the tuning of a range so that zero is exact."""

from __future__ import annotations

import tensorflow as tf

__all__ = [
    "SMALLEST_RANGE",
    "fake_quantize",
    "fake_quantize_symmetric",
    "number_of_steps",
    "symmetric_bounds",
    "tune_range",
]

#: Ranges narrower than this are treated as zero (guard against underflow of float32), which is no floor: real ranges
#: are far above it.
SMALLEST_RANGE = 1e-30


def symmetric_bounds(num_bits: int, *, signed: bool, narrow_range: bool) -> tuple[int, int]:
    """Return the smallest and largest integer of a symmetric quantizer.

    Of weights (narrow) ``-2**(b-1) + 1`` and ``2**(b-1) - 1``, of signed activations ``-2**(b-1)`` and
    ``2**(b-1) - 1``, of unsigned activations ``0`` and ``2**b - 1``.

    Args:
        num_bits: bits ``b`` of the integer, 2 to 8.
        signed: whether negative values are represented.
        narrow_range: leave out the most negative integer, so that the range is symmetric about zero (signed only).

    Example:
        >>> symmetric_bounds(8, signed=True, narrow_range=True)
        (-127, 127)
        >>> symmetric_bounds(4, signed=False, narrow_range=False)
        (0, 15)
    """
    if not signed:
        return 0, 2**num_bits - 1
    largest = 2 ** (num_bits - 1) - 1
    return (-largest if narrow_range else -largest - 1), largest


def number_of_steps(num_bits: int, *, narrow_range: bool) -> int:
    """Return the number of steps between the levels of a grid: ``2**num_bits - 1``, one less with ``narrow_range``.

    Example:
        >>> number_of_steps(8, narrow_range=True)
        254
    """
    return 2**num_bits - (2 if narrow_range else 1)


def fake_quantize(x, low, high, num_bits: int = 8, narrow_range: bool = False):
    """Round ``x`` to the levels of a uniform integer grid over ``[low, high]`` and return floating point numbers.

    Forward, with ``n = 2**num_bits - 1`` steps (one less with ``narrow_range``), ``s = (high - low) / n`` and the
    integer offset ``z = round(-low / s)``::

        out = s * (clip(round(x / s) + z, 0, n) - z)

    so that zero is always one of the levels. Per channel, halves round to even; the fused per-tensor kernel of
    TensorFlow rounds them up.

    Gradient (straight-through: the derivative of ``round`` is taken as one)::

        d out / d x    = 1 inside the range, else 0
        d out / d low  = 1 below the range, (x - out) / (high - low) inside, 0 above
        d out / d high = 1 above the range, (out - x) / (high - low) inside, 0 below

    Per tensor with 8 bits the terms 'inside' are left out: each is at most 1/510 of a term outside, they average out,
    and leaving them out saves a pass over the activations. With fewer bits they matter and are kept.

    Args:
        x: float32 tensor of any shape.
        low: smallest value of the range, at most 0. A scalar, or a tensor that broadcasts against ``x`` with one value
            per channel, as ``(1, 1, 1, channels)``.
        high: largest value of the range, at least 0; shape as ``low``.
        num_bits: bits of the integer grid, 2 to 8.
        narrow_range: use ``2**num_bits - 1`` levels instead of ``2**num_bits``.

    Returns:
        A float32 tensor of the shape of ``x``. A range of zero width gives zeros, and so does one below 1e-30, whose
        steps have no finite reciprocal in float32.

    Example:
        >>> fake_quantize([1.1, 1.6, 9.0], 0.0, 3.0, num_bits=2).numpy().tolist()
        [1.0, 2.0, 3.0]

    Source: Jacob et al. 2018, arXiv:1712.05877; gradient to the range as in Esser et al. 2019, arXiv:1902.08153, and
    Jain et al. 2019, arXiv:1903.08066.
    """
    x, low, high = (tf.convert_to_tensor(value, tf.float32) for value in (x, low, high))
    if low.shape.rank == 0:
        return _fake_quantize_tensor(x, low, high, num_bits, narrow_range)
    if low.shape.rank < x.shape.rank:
        shape = [1] * (x.shape.rank - low.shape.rank) + low.shape.as_list()
        low, high = tf.reshape(low, shape), tf.reshape(high, shape)
    return _fake_quantize_channels(x, low, high, number_of_steps(num_bits, narrow_range=narrow_range))


def _fake_quantize_tensor(x, low, high, num_bits, narrow_range):
    """One range for the whole tensor: the fused kernels of TensorFlow, twice as fast as the same rule composed."""

    @tf.custom_gradient
    def quantize(x, low, high):
        low, high = _without_vanishing(low, high)
        out = tf.quantization.fake_quant_with_min_max_vars(x, low, high, num_bits, narrow_range)

        def gradient(upstream):
            d_x, d_low, d_high = tf.raw_ops.FakeQuantWithMinMaxVarsGradient(
                gradients=upstream, inputs=x, min=low, max=high, num_bits=num_bits, narrow_range=narrow_range
            )
            if num_bits < 8:
                inside = tf.math.divide_no_nan(tf.reduce_sum(d_x * (out - x)), high - low)
                d_low, d_high = d_low - inside, d_high + inside
            return d_x, d_low, d_high

        return out, gradient

    return quantize(x, low, high)


def _fake_quantize_channels(x, low, high, steps):
    """One range per channel, as plain vectorised arithmetic: faster than TensorFlow's per-channel kernel on weights."""

    @tf.custom_gradient
    def quantize(x, low, high):
        low, high = _without_vanishing(low, high)
        width = high - low
        # Not ``width / steps``: the graph optimizer would multiply by 1 / steps, one bit off from the fused kernels.
        scale = tf.math.divide_no_nan(width, float(steps))
        offset = tf.round(tf.math.divide_no_nan(-low, scale))
        scaled = tf.math.divide_no_nan(x, scale)
        out = tf.clip_by_value(tf.round(scaled), -offset, steps - offset) * scale

        def gradient(upstream):
            below, above = scaled < -offset, scaled > steps - offset
            d_x = tf.where(below | above, 0.0, upstream)
            inside = tf.math.divide_no_nan(d_x * (out - x), width)
            d_low = tf.where(below, upstream, 0.0) - inside
            d_high = tf.where(above, upstream, 0.0) + inside
            axes = _shared_axes(low)
            return d_x, tf.reduce_sum(d_low, axes, keepdims=True), tf.reduce_sum(d_high, axes, keepdims=True)

        return out, gradient

    return quantize(x, low, high)


def fake_quantize_symmetric(x, high, num_bits: int = 8):
    """Round ``x`` to the levels of a grid that is symmetric about zero, per channel.

    The numbers, forward and backward, of :func:`fake_quantize` over ``[-high, high]`` with ``narrow_range``, for half
    of the arithmetic. Forward, with ``m = 2**(num_bits - 1) - 1`` and ``s = high / m``::

        out = s * round(clip(x / s, -m, m))

    Gradient (straight-through)::

        d out / d x    = 1 inside the range, else 0
        d out / d high = (out - x) / high inside, 1 above, -1 below

    Args:
        x: float32 tensor of any shape.
        high: the largest value of the range, at least 0, in the rank of ``x`` with size one along all but the channel
            axes.
        num_bits: bits of the integer grid, 2 to 8.

    Returns:
        A float32 tensor of the shape of ``x``. A range below 1e-30 gives zeros.

    Example:
        >>> fake_quantize_symmetric([[1.2, -9.0]], [[3.0, 3.0]], num_bits=3).numpy().tolist()
        [[1.0, -3.0]]

    Source: Jacob et al. 2018, arXiv:1712.05877; gradient to the range as in Esser et al. 2019, arXiv:1902.08153.
    """
    largest = float(2 ** (num_bits - 1) - 1)

    @tf.custom_gradient
    def quantize(x, high):
        vanishes = high < SMALLEST_RANGE
        scale = tf.math.divide_no_nan(tf.where(vanishes, 0.0, high), largest)  # as in _fake_quantize_channels
        scaled = tf.math.divide_no_nan(x, scale)
        clipped = tf.clip_by_value(scaled, -largest, largest)
        level = tf.round(clipped)

        def gradient(upstream):
            inside = tf.cast(clipped == scaled, upstream.dtype)  # a product is faster than a choice
            d_high = upstream * (level - clipped * inside)
            return upstream * inside, tf.reduce_sum(d_high, _shared_axes(high), keepdims=True) * (1 / largest)

        return level * scale, gradient

    return quantize(tf.convert_to_tensor(x, tf.float32), tf.convert_to_tensor(high, tf.float32))


def _without_vanishing(low, high):
    """Return the range, zero where it vanishes."""
    vanishing = high - low < SMALLEST_RANGE
    return tf.where(vanishing, 0.0, low), tf.where(vanishing, 0.0, high)


def _shared_axes(ends) -> list[int]:
    """Return the axes along which all values of a tensor share one of the ``ends``."""
    return [axis for axis, size in enumerate(ends.shape) if size == 1]


def tune_range(low, high, num_bits: int):
    """Move one end of an asymmetric range outwards so that zero falls on a level.

    Forward, with ``n = 2**num_bits - 1``, ``l1 = min(low, 0)``, ``h1 = max(high, 0)`` and
    ``z = round(-l1 * n / (h1 - l1))``: when ``z`` is 0 or ``n`` the range is ``[l1, h1]`` (:func:`fake_quantize` rounds
    its offset); otherwise, with ``t = (z - n) / z``, ``h2 = t * l1`` and ``l2 = h1 / t``, it is ``[l1, h2]`` if
    ``h2 - l1 > h1 - l2`` and else ``[l2, h1]``.

    Gradient: identity to ``low`` and to ``high``, so that an end that crossed zero can come back.

    Args:
        low, high: float32 tensors of the same shape, in the unit of the values that will be quantized.
        num_bits: bits of the integer grid, 2 to 8.

    Returns:
        The pair ``(low, high)`` with ``low <= 0 <= high``.

    Example:
        >>> low, high = tune_range(-1.0, 2.0, num_bits=2)
        >>> float(low), float(high)
        (-1.0, 2.0)

    Source: Kozlov et al. 2020, arXiv:2002.08679, section 4.1.
    """
    low, high = tf.convert_to_tensor(low, tf.float32), tf.convert_to_tensor(high, tf.float32)
    steps = float(2**num_bits - 1)
    l1, h1 = tf.minimum(low, 0.0), tf.maximum(high, 0.0)
    offset = tf.round(tf.math.divide_no_nan(-l1 * steps, h1 - l1))
    slope = tf.math.divide_no_nan(offset - steps, offset)
    h2, l2 = slope * l1, tf.math.divide_no_nan(h1, slope)
    at_end = (offset <= 0.0) | (offset >= steps)
    raise_high = h2 - l1 > h1 - l2
    tuned_low = tf.where(at_end | raise_high, l1, l2)
    tuned_high = tf.where(at_end, h1, tf.where(raise_high, h2, h1))
    return low + tf.stop_gradient(tuned_low - low), high + tf.stop_gradient(tuned_high - high)
