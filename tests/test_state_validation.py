"""States are checked whole before anything is built: each part of a decision, its place, the position, and all of them together."""

import copy

import pytest

from keras_compress import StateError, create_compressed_model
from tests import zoo


@pytest.fixture(scope="module")
def compressed():
    model = zoo.residual()
    return model, zoo.compress(model)[0]


def operations(state):
    return [edit.get("op") or edit["layer"] for part in state["edits"] for edit in part]


def first(state, kind):
    return next(edit for part in state["edits"] for edit in part if edit["edit"] == kind)


def settings(**changed):
    return lambda state: operations(state)[0]["config"].update(changed)


def weight(**changed):
    return lambda state: first(state, "WrapWeight").update(changed)


def layer(**changed):
    return lambda state: first(state, "InsertLayer").update(changed)


def position(**changed):
    return lambda state: state["scheduler"].update(changed)


def swapped(kind, key):
    def change(state):
        edits = [edit for edit in state["edits"][0] if edit["edit"] == kind]
        edits[0][key], edits[1][key] = edits[1][key], edits[0][key]

    return change


def internals(**changed):
    return lambda state: operations(state)[0].update(changed)


WRONG = {
    "internal class": internals(registered_name="keras_compress>CompressedLayer"),
    "unregistered class": internals(
        class_name="KerasTensor", module="tf_keras.src.engine.keras_tensor", registered_name=None
    ),
    "other class name": internals(class_name="LossesContainer"),
    "no configuration": internals(config=None),
    "half a bit": settings(num_bits=3.5),
    "one bit": settings(num_bits=1),
    "true bits": settings(num_bits=True),
    "bits as text": settings(num_bits="8"),
    "axis that is not there": settings(channel_axes=[99]),
    "axis twice": settings(channel_axes=[-1, -1]),
    "axis twice, counted from both ends": settings(channel_axes=[-1, 3]),
    "axes as text": settings(channel_axes="abc"),
    "half an axis": settings(channel_axes=[0.5]),
    "flag as text": settings(narrow_range="yes"),
    "no name": settings(name=7),
    "unknown setting": settings(nothing=1),
    "unknown layer": weight(layer="nowhere"),
    "list of layers": weight(layer=["stem"]),
    "unknown weight": weight(weight="nothing"),
    "unknown key": weight(extra=1),
    "no operation": weight(op=None),
    "unknown call of a source": layer(sources=[["image", 7, 0]]),
    "unknown output of a source": layer(sources=[["image", 0, 7]]),
    "text as a call": layer(sources=[["image", "x", 0]]),
    "unknown consumer": layer(consumers=[["nowhere", 0]]),
    "unknown call of a consumer": layer(consumers=[["stem", 9]]),
    "no source": layer(sources=[]),
    "no consumer": layer(consumers=[]),
    "unknown model": layer(scope="nowhere/"),
    "name that is taken": lambda state: first(state, "InsertLayer")["layer"]["config"].update(name="stem"),
    "axis of an activation": lambda state: first(state, "InsertLayer")["layer"]["config"].update(channel_axes=[99]),
    "decision twice": lambda state: state["edits"][0].append(copy.deepcopy(state["edits"][0][0])),
    "epoch without end": position(current_epoch=10**400),
    "step without end": position(current_step=10**400),
    "epoch before the start": position(current_epoch=-5),
    "half a step": position(current_step=0.5),
    "true step": position(first_step=True),
    "no steps in an epoch": position(steps_per_epoch=0),
    "no position": lambda state: state.update(scheduler=None),
    "skipped what is no weight": lambda state: state.update(skipped=[{"layer": 7, "weight": None, "reason": 3}]),
    "no dict of a configuration": lambda state: state.update(config=[["compression", 1]]),
    "true version": lambda state: state.update(version=True),
}
#: What each part allows by itself, and no training has written together.
TOGETHER = {
    "layers swapped": swapped("InsertLayer", "layer"),
    "decisions in another order": lambda state: state["edits"][0].reverse(),
    "decision left out": lambda state: state["edits"][0].pop(),
    "other module": internals(module="os"),
    "bits that another layer has": settings(num_bits=4),
    "digest of another": lambda state: state.update(digest="0" * 16),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_refused_with_and_without_the_digest(kind, compressed):
    model, controller = compressed
    for signed in (True, False):
        state = controller.get_compression_state()
        if not signed:
            state.pop("digest")
        WRONG[kind](state)
        with pytest.raises(StateError, match=r"compression state"):
            create_compressed_model(model, controller.config, state)


@pytest.mark.parametrize("kind", TOGETHER)
def test_decisions_that_were_changed_are_told_by_their_digest(kind, compressed):
    model, controller = compressed
    state = controller.get_compression_state()
    TOGETHER[kind](state)
    with pytest.raises(StateError, match=r"were changed since it was saved.*digest"):
        create_compressed_model(model, controller.config, state)


@pytest.mark.parametrize("kind", zoo.MODELS)
def test_what_was_saved_is_taken_back(kind):
    model = zoo.MODELS[kind]()
    controller, _ = zoo.compress(model)
    state = controller.get_compression_state()
    again, _ = create_compressed_model(model, controller.config, state)
    assert again.get_compression_state() == state


def test_a_state_without_a_digest_stays_one(compressed):
    model, controller = compressed
    state = controller.get_compression_state()
    state.pop("digest")
    again, _ = create_compressed_model(model, controller.config, state)
    assert again.get_compression_state() == state
