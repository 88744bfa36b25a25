"""UserParameters: errors of this package where pydantic has its own, and objects of NNCF taken attribute by attribute."""

import dataclasses
import enum
import pickle

import pytest

import keras_compress as kc
from keras_compress.post_training.user_parameters import UserParameters, plain_values


class Inner(UserParameters):
    bits: int | None = None


class Outer(UserParameters):
    inner: Inner = Inner()
    kind: str = "plain"


class Kind(enum.Enum):
    NEW = "new"


@dataclasses.dataclass
class OthersInner:
    bits: int | None = None
    unknown_here: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class OthersOuter:
    required: str
    inner: OthersInner | None = None
    kind: Kind | None = None


def test_a_wrong_argument_is_an_error_that_names_it():
    with pytest.raises(
        kc.ConfigError, match=r"Wrong value at 'Outer\.inner\.bits'. Expected: .*integer.*Received: 'x'"
    ):
        Outer(inner={"bits": "x"})


def test_an_unknown_argument_is_an_error_that_offers_the_nearest():
    with pytest.raises(
        kc.ConfigError, match=r"Unknown key 'Outer\.innner'. Did you mean 'inner'\? Allowed: inner, kind"
    ):
        Outer(innner=1)


def test_an_object_of_another_package_is_read_attribute_by_attribute_without_its_defaults():
    taken = Outer.model_validate({"inner": OthersInner(bits=4), "kind": Kind.NEW})
    assert taken == Outer(inner=Inner(bits=4), kind="new")


def test_an_attribute_of_another_package_that_is_not_known_here_is_refused_by_name():
    with pytest.raises(kc.ConfigError, match=r"Unknown key 'Outer\.inner\.unknown_here'"):
        Outer(inner=OthersInner(unknown_here=[1]))


def test_only_what_differs_from_its_default_is_taken():
    assert plain_values(OthersOuter("given")) == {"required": "given"}
    assert plain_values(OthersOuter("given", OthersInner(3), Kind.NEW)) == {
        "required": "given",
        "inner": {"bits": 3},
        "kind": "new",
    }


def test_other_things_stay_as_they_are():
    assert plain_values(3) == 3
    assert plain_values(OthersInner) is OthersInner


def test_parameters_can_be_pickled():
    assert pickle.loads(pickle.dumps(Outer(kind="kept"))) == Outer(kind="kept")
