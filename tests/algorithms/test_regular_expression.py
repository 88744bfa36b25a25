"""Regular expressions find what Python's ``re`` finds, and none takes long on a long name."""

import re

import pytest

from keras_compress.algorithms.regular_expression import _bounded, search
from keras_compress.algorithms.scope import Scope
from keras_compress.errors import ConfigError

TEXTS = ["", "a", "conv1", "backbone/conv12", "Block_3/conv_2/bn", "a-b.c", "aab", "xx\nyy", "block12_block12", "head"]
EXPRESSIONS = [
    r"(\w+)+!", r"(a|aa)+b", r"(a|a)*$", r"^(\w+/)*conv\d+$", r"(?i)(BLOCK_?\d*/?)+", r"(conv|bn)(_\d|\d)*$",
    r"(?:[a-z]+\d*){2,3}", r"(.*)*x", r"(x+x+)+y", r"\b(\w|_)+\b", r"(?=(\w+)+/)b", r"(?<=k)(1|2)+_", r"(?!(a|b)+$)c",
    r"(?s)(x|.)+y", r"(?m)^(y|z)+$", r"(a?){5}b", r"(a*)*b", r"(?i:(B|L)+)o", r"[^/]*/[^/]*/[^/]*/?b*n?", r"(^|/)(conv|bn)",
]  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_same_is_found_as_by_re(expression):
    for text in TEXTS:
        assert search(expression, text) == (re.search(expression, text) is not None), text


@pytest.mark.parametrize(
    "expression",
    [
        r"(\w+)+!", r"(a|a)+!", r"(\w|\d|_)*!", r"(.*)*!", r"(a+a+)+!", r"(?:(?:a+)+)+!", r"a*a*a*a*a*a*a*a*!", r"(a?){200}!",
        r"(a*?)*?!", "(a|a)" * 30 + "!", r"^(([a-z])+.)+[A-Z]([a-z])+$", r"(?=(a+)+!)a", r"(a{1,50}){1,50}!",
    ],
)  # fmt: skip
def test_no_expression_takes_long_on_a_long_name(expression):
    assert f"a{'a' * 300}" not in Scope(target=("{re}" + expression,))


@pytest.mark.parametrize("expression", [r"(a+)+\1!", r"((a)|b+)*(?(2)c|d)"])
def test_what_cannot_be_bounded_is_refused_with_the_remedy(expression):
    with pytest.raises(ConfigError, match=r"back-reference.*Write it without"):
        Scope(ignored=("{re}" + expression,))


def test_plain_expressions_are_left_to_re_back_references_included():
    assert isinstance(_bounded(r".*conv.*_(a|b)"), re.Pattern)
    assert search(r"(ab)c\1", "abcab")


def test_what_is_no_expression_is_an_error():
    with pytest.raises(ConfigError, match="not a regular expression"):
        Scope(ignored=("{re}(",))
