"""FitPosition: what was written is read; what is no place in a training is refused."""

import json

import pytest

from keras_compress.fit_position import FitPosition

PLACE = FitPosition(
    1, 3, 20, steps=57, entered=True, seed=7, optimizer="Adam", metrics=[1.5, [1, 2]], logs={"loss": 0.25}
)


def test_a_place_goes_through_json():
    assert FitPosition.from_dict(json.loads(json.dumps(PLACE.to_dict()))) == PLACE
    assert FitPosition.from_dict(FitPosition(0, 0).to_dict()) == FitPosition(0, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("first_epoch", None),
        ("first_epoch", 4),
        ("epoch", 1.5),
        ("epoch", -1),
        ("epoch", 10**400),
        ("epoch", True),
        ("batch", "20"),
        ("steps", [57]),
        ("entered", 1),
        ("seed", "7"),
        ("optimizer", 3),
        ("metrics", {"a": 1}),
        ("logs", [1.0]),
        ("logs", {"loss": "small"}),
        ("another", 1),
    ],
)
def test_what_is_no_place_is_refused(name, value):
    with pytest.raises((TypeError, ValueError)):
        FitPosition.from_dict({**PLACE.to_dict(), name: value})


@pytest.mark.parametrize(
    ("batch", "steps", "whole"), [(57, 57, True), (56, 57, False), (20, None, False), (0, 0, False)]
)
def test_an_epoch_is_whole_after_its_last_batch(batch, steps, whole):
    assert FitPosition(0, 0, batch, steps=steps).whole_epoch is whole
