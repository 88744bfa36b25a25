"""Regular expressions find what Python's ``re`` finds, and none takes long on a long name."""

import re
import signal
import sys
from contextlib import contextmanager, suppress

import pytest

from keras_compress.algorithms.regular_expression import SIDE_BY_SIDE, _parsed, search
from keras_compress.algorithms.scope import Scope
from keras_compress.errors import ConfigError

#: Python 3.11 brought atomic groups and possessive repetitions.
NEW = sys.version_info >= (3, 11)
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


@contextmanager
def seconds(number):
    """Break off what takes longer."""

    def give_up(*_):
        raise TimeoutError(f"more than {number} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, number)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


#: Repetitions that can be tried in exponentially many ways, on many letters ``a``.
SLOW = ["(a+)+b", "(?:a|aa)+b", "(?:a?){40}b", "(?:(a|a)*c)*b", "(?:(?=a|aa)a+)+b"]
#: What an expression may stand in, by what is searched.
AROUND = {
    "group": "(?:%s)", "condition": "(x)?(?(1)y|%s)", "condition that holds": "()(?(1)%s|y)", "condition alone": "()(?(1)%s)",
    "in a name": "(?P<name>%s)", "flags": "(?i:%s)", "ahead": "(?=%s)", "not ahead": "(?!%s)x",
    **({"atomic": "(?>%s)", "possessive": "(?:%s)++", "possessive count": "(?:%s){1,9}+", "possessive option": "(?:%s)?+",
        "atomic in a repetition": "(?:(?>%s)c)*d", "possessive in an atomic group": "(?>(?:%s)*+)",
        "atomic in a condition": "(x)?(?(1)y|(?>%s))"} if NEW else {}),
}  # fmt: skip


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("expression", SLOW)
def test_the_time_is_bounded_inside_of_everything(expression, around):
    whole = AROUND[around] % expression
    with seconds(5), suppress(re.error):  # refused at once, or found not to match
        assert not search(whole, "c" + "a" * 200)


@pytest.mark.skipif(not NEW, reason="Python 3.10 has no atomic groups")
@pytest.mark.parametrize("expression", ["(?>(a+)+b)", "(?:((a+)+b))++", "(x)?(?(1)y|(a+)+b)", "a*a*a*a++b"])
def test_what_takes_long_is_refused_wherever_it_stands(expression):
    with seconds(5), pytest.raises(ConfigError, match=r"atomic group or a possessive repetition.*Write it without"):
        Scope(ignored=("{re}" + expression,))


@pytest.mark.skipif(not NEW, reason="Python 3.10 has no atomic groups")
@pytest.mark.parametrize(
    "expression", ["(?>a+)+b", "(?:a++b)+", r"(?>\w+)(?:/\w++)*", "(?>a|ab)c", "a?+b", "(?>(?>a|aa)(b|c)+)+"]
)
def test_what_is_tried_in_one_way_only_is_left_to_re(expression):
    assert _parsed(expression)[1] <= SIDE_BY_SIDE
    with seconds(5):
        assert not search(expression, "a" * 300 + "!") or re.search(expression, "a" * 300 + "!")


@pytest.mark.parametrize(
    "expression",
    ["(?:){100000000}", "(?:$){100000000}", "(?:(?:){100000}){100000}b", r"(?:\b|^){99999999}c", "(?:(?=a)){99999999}"],
)
def test_nothing_can_be_repeated_often(expression):
    few = expression.replace("00000", "").replace("9999999", "")
    with seconds(5):
        for text in TEXTS:
            assert search(expression, text) == (re.search(few, text) is not None), text


def test_plain_expressions_are_left_to_re_back_references_included():
    assert _parsed(r".*conv.*_(a|b)")[1] <= SIDE_BY_SIDE
    assert search(r"(ab)c\1", "abcab")


@pytest.mark.parametrize("expression", ["(", "a{99999999999999}", "(" * 5000 + ")" * 5000, r"(?<=(a+))b", "x(?i)"])
def test_what_is_no_expression_is_an_error(expression):
    with pytest.raises(ConfigError, match="not a regular expression"):
        Scope(ignored=("{re}" + expression,))


@pytest.mark.parametrize("expression", [".*.*.*!", "(a|aa)+!", r"\w*\w*b", "(?:a|b)?(?:a|b)?.*!", "a*a+?a*$!"])
def test_repetitions_side_by_side_take_no_time_on_a_very_long_name(expression):
    with seconds(10):
        assert not search(expression, "a" * 4000)
        assert search(".*a.*a", "a" * 4000)


def test_an_expression_that_cannot_be_bounded_on_a_very_long_name_is_an_error():
    with seconds(5), pytest.raises(ConfigError, match=r"4000 letters.*Write it without"):
        search(r"(a*)a*a*\1!", "a" * 4000)
