"""Ratios of signal to error in dB."""

import math

import pytest

from keras_compress.reports.decibels import decibels, decibels_text


@pytest.mark.parametrize(("error", "ratio"), [(1.0, 0.0), (0.1, 10.0), (1e-6, 60.0), (100.0, -20.0)])
def test_ten_decibels_are_a_tenth_of_the_power(error, ratio):
    assert decibels(error) == pytest.approx(ratio)


def test_no_error_is_infinite_and_no_measurement_stays_none():
    assert decibels(0.0) == math.inf
    assert math.isnan(decibels(math.nan))


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(12.34, "12.3 dB"), (-3.0, "-3.0 dB"), (math.inf, "no error"), (math.nan, "not measured"), (None, "")],
)
def test_text(ratio, text):
    assert decibels_text(ratio) == text
