"""The figures that docs/choose_an_algorithm.md quotes are those of docs/measurements.md."""

import re

import pytest

from .pages import text_of

FIGURES = sorted(set(re.findall(r"\d+\.\d{2,}|\d+,\d{3}", text_of("docs/choose_an_algorithm.md"))))


def test_there_are_figures():
    assert len(FIGURES) >= 20


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_was_measured(figure):
    assert re.search(rf"(?<![\d.,]){re.escape(figure)}(?!\d)", text_of("docs/measurements.md"))
