"""Scopes: which layers a name, a nested model's name or a regular expression stands for."""

import pytest

from keras_compress.algorithms.scope import Scope, matches, matching
from keras_compress.errors import ConfigError

PATHS = ["stem", "backbone", "backbone/conv1", "backbone/conv10", "backbone/inner/conv1", "head", "block/expand"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("stem", ["stem"]),
        ("backbone/conv1", ["backbone/conv1"]),
        ("conv1", []),
        ("backbone", ["backbone", "backbone/conv1", "backbone/conv10", "backbone/inner/conv1"]),
        ("backbone/inner", ["backbone/inner/conv1"]),
        ("back", []),
        ("{re}conv1$", ["backbone/conv1", "backbone/inner/conv1"]),
        ("{re}^(stem|head)$", ["stem", "head"]),
        ("{re}conv", ["backbone/conv1", "backbone/conv10", "backbone/inner/conv1"]),
        ("block/expand", ["block/expand"]),
        (".*", []),
    ],
)
def test_a_pattern_names_these_layers(pattern, expected):
    assert [path for path in PATHS if matches(pattern, path)] == expected


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (Scope(), PATHS),
        (Scope(ignored=("backbone",)), ["stem", "head", "block/expand"]),
        (Scope(target=("head", "stem")), ["stem", "head"]),
        (Scope(target=()), []),
        (Scope(ignored=("{re}conv1$",), target=("backbone",)), ["backbone", "backbone/conv10"]),
    ],
)
def test_a_scope_holds_its_targets_without_what_it_ignores(scope, expected):
    assert [path for path in PATHS if path in scope] == expected


@pytest.mark.parametrize(
    ("pattern", "near"),
    [("heda", "head"), ("backbone/conv_1", "backbone/conv1"), ("conv10", "backbone/conv10"), ("{re}stme", "stem")],
)
def test_a_pattern_that_names_nothing_is_an_error_with_the_nearest_names(pattern, near):
    with pytest.raises(ConfigError) as error:
        matching([pattern], PATHS, "ignored_scopes")
    message = str(error.value)
    assert f"ignored_scopes={pattern!r}" in message
    assert near in message.split("Nearest: ")[1]
    assert '"validate_scopes": false' in message


def test_all_patterns_together_name_a_set():
    assert matching(["head", "{re}stem|head"], PATHS, "target_scopes") == {"head", "stem"}


@pytest.mark.parametrize("key", ["ignored", "target"])
def test_checking_can_be_switched_off(key):
    with pytest.raises(ConfigError, match=f"{key}_scopes"):
        Scope(**{key: ("nothing",)}).check(PATHS)
    Scope(**{key: ("nothing",)}, validate=False).check(PATHS)
