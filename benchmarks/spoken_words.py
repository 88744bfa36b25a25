"""Generated spectrograms of twelve keyword-like classes: a data set that needs no download and is not too easy.

A class is a pattern of three moving formants and two bursts, drawn once. A sample of it begins at any moment, runs faster or
slower, is shifted in pitch, bends its formants, is louder or softer, and stands in noise of changing colour; some have a
click, some a constant hum. The values are logarithms of energies per band, like log-mel spectrograms: a wide range, a
long tail, and standardized over the training set. It makes no claim about speech.
"""

import numpy as np

CLASSES = 12
FRAMES, BANDS = 49, 10
KNOTS = 5
FLOOR = 1e-5


def generate_spoken_words(train=16_000, test=3_000, seed=0):
    """Return ``(x_train, y_train), (x_test, y_test)``: spectrograms float32 ``(samples, 49, 10, 1)``, labels int64."""
    rng = np.random.default_rng(seed)
    words = _draw_words(rng)
    labels = rng.integers(CLASSES, size=train + test)
    spectrograms = np.log(_speak(words, labels, rng) + _noise(len(labels), rng) + FLOOR)
    mean, deviation = spectrograms[:train].mean(), spectrograms[:train].std()
    spectrograms = ((spectrograms - mean) / deviation).astype(np.float32)[..., np.newaxis]
    return (spectrograms[:train], labels[:train]), (spectrograms[train:], labels[train:])


def _draw_words(rng):
    """Return per class the formants' bands and loudness at the knots ``(class, formant, knot)`` and its bursts' moments."""
    middle = np.array([1.5, 4.5, 7.5])[:, np.newaxis]
    bands = middle + rng.normal(0, 1.0, (CLASSES, 3, KNOTS))
    loudness = rng.uniform(-2.0, 1.0, (CLASSES, 3, KNOTS))
    bursts = rng.uniform(0, 1, (CLASSES, 2))
    return bands, loudness, bursts


def _speak(words, labels, rng):
    """Return the energy ``(sample, frame, band)`` of one utterance per label."""
    bands, loudness, bursts = (part[labels] for part in words)
    samples = len(labels)
    frames = rng.uniform(20, 38, (samples, 1))
    onset = rng.uniform(0, 1, (samples, 1)) * (FRAMES - frames)
    position = (np.arange(FRAMES) - onset) / frames  # in the word: 0 at its beginning, 1 at its end
    position = position + rng.uniform(-0.15, 0.15, (samples, 1)) * np.sin(np.pi * position)
    spoken = 1 / (1 + np.exp(-25 * np.minimum(position, 1 - position)))

    pitch_shift = rng.uniform(-1, 1, (samples, 1, 1))
    bands = _between_knots(bands + pitch_shift + rng.normal(0, 0.7, bands.shape), position)
    loudness = _between_knots(loudness + rng.normal(0, 0.7, loudness.shape), position)
    width = rng.uniform(0.5, 0.9, (samples, 1, 1, 1))
    formants = np.exp(-(((np.arange(BANDS) - bands[..., np.newaxis]) / width) ** 2))
    energy = np.einsum("sft,sftb->stb", np.exp(loudness) * spoken[:, np.newaxis], formants)

    moments = (bursts + rng.normal(0, 0.06, bursts.shape))[..., np.newaxis]
    pulses = np.exp(-(((position[:, np.newaxis] - moments) / 0.03) ** 2)).sum(axis=1)
    energy += pulses[..., np.newaxis] * np.linspace(0.2, 1.5, BANDS)
    return energy * np.exp(rng.normal(0, 1.2, (samples, 1, 1)))


def _noise(samples, rng):
    """Return the energy of coloured noise of any level, in a tenth of the samples with a hum, in a tenth with a click."""

    def in_a_tenth(mean, deviation):
        return (rng.random((samples, 1, 1)) < 0.1) * np.exp(rng.normal(mean, deviation, (samples, 1, 1)))

    level = np.exp(rng.uniform(-5.5, -0.5, (samples, 1, 1)))
    colour = np.exp(rng.normal(0, 0.5, (samples, 1, BANDS)))
    noise = level * colour * rng.exponential(1, (samples, FRAMES, BANDS))
    noise += in_a_tenth(0, 1) * (np.arange(BANDS) == rng.integers(BANDS, size=(samples, 1, 1)))
    noise += in_a_tenth(4, 1.5) * (np.arange(FRAMES)[:, np.newaxis] == rng.integers(FRAMES, size=(samples, 1, 1)))
    return noise


def _between_knots(values, position):
    """Interpolate ``(sample, formant, knot)`` at positions ``(sample, frame)``; beyond the ends the end knots hold."""
    knot = np.clip(position, 0, 1)[:, np.newaxis] * (KNOTS - 1)
    below = np.minimum(knot.astype(np.int64), KNOTS - 2)
    below = np.broadcast_to(below, (*values.shape[:2], below.shape[-1]))
    left, right = np.take_along_axis(values, below, 2), np.take_along_axis(values, below + 1, 2)
    return left + (knot - below) * (right - left)
