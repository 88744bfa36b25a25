"""Sections of the configuration: frozen values, and errors that name the path, the value and the nearest key."""

from typing import Annotated

import pydantic
import pytest
from pydantic import Field

from keras_compress.errors import ConfigError, close_matches
from keras_compress.settings import OneOrMore, Settings, validated


class Inner(Settings):
    width: int = Field(3, ge=1)
    name: str = "a"


class Outer(Settings):
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    by_name: dict[str, Inner] = Field(default_factory=dict)
    needed: float


def test_values_become_a_frozen_section():
    section = validated(Outer, {"needed": 1, "inner": {"width": 5}})
    assert section.inner.width == 5
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        section.needed = 2.0


def test_a_section_passes_through():
    section = Outer(needed=1.0)
    assert validated(Outer, section) == section


@pytest.mark.parametrize(
    "values",
    [{"needed": 2.0}, {"needed": 2.0, "inner": {"width": 9}, "many": [{"name": "b"}], "by_name": {"k": {"width": 2}}}],
)
def test_the_dict_form_holds_what_differs_from_the_defaults(values):
    assert validated(Outer, values).to_dict() == values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"needed": 1, "iner": {}}, r"Unknown key 'root\.iner'\. Did you mean 'inner'\?.*Received: iner=\{\}"),
        ({"needed": 1, "inner": {"widht": 3}}, r"'root\.inner\.widht'\. Did you mean 'width'\?.*Allowed: name, width"),
        ({"needed": 1, "many": [{}, {"nam": 1}]}, r"'root\.many\[1\]\.nam'\. Did you mean 'name'\?"),
        ({"needed": 1, "by_name": {"conv": {"nam": 1}}}, r"'root\.by_name\.conv\.nam'\. Did you mean 'name'\?"),
        ({"inner": {}}, r"Missing key 'root\.needed'"),
        ({"needed": "much"}, r"Wrong value at 'root\.needed'\. Expected: .*number.*Received: 'much'"),
        (
            {"needed": 1, "inner": {"width": 0}},
            r"'root\.inner\.width'\. Expected: greater than or equal to 1.*Received: 0",
        ),
        ({"needed": 1, "inner": 7}, r"'root\.inner'.*Received: 7"),
        ([], r"Wrong value at 'root'.*Received: \[\]"),
    ],
)
def test_a_wrong_value_is_an_error_with_its_path(values, message):
    with pytest.raises(ConfigError, match=message):
        validated(Outer, values, "root")


def test_all_mistakes_are_named_at_once():
    with pytest.raises(ConfigError) as error:
        validated(Outer, {"needed": "much", "iner": 1})
    assert {"needed", "iner"} <= set(str(error.value).replace("'", " ").split())


class Listing(Settings):
    names: Annotated[tuple[str, ...], OneOrMore()] | None = None


@pytest.mark.parametrize(
    ("value", "expected"), [(None, None), ("a", ("a",)), (["a"], ("a",)), (("a", "b"), ("a", "b"))]
)
def test_one_item_may_stand_for_a_list(value, expected):
    assert validated(Listing, {"names": value}).names == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("conv_1", ["conv1"]), ("CONV1", ["conv1"]), ("dens", ["dense"]), ("zzzz", [])]
)
def test_the_nearest_name_comes_first(name, expected):
    assert close_matches(name, ["dense", "conv1", "pool"], 1) == expected
