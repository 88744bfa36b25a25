"""What a checkpoint gives back to callbacks of others: what they have counted, and never where they write."""

import copy

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras

DATA = np.random.default_rng(0)
X, Y = DATA.normal(size=(16, 4)).astype(np.float32), DATA.normal(size=(16, 2)).astype(np.float32)


class Phases(keras.callbacks.Callback):
    """A callback of a user's that knows a word and a number, and has a name among its arguments."""

    def __init__(self, target="mine"):
        super().__init__()
        self.target, self.phase, self.count = target, "first", 0

    def on_epoch_end(self, epoch, logs=None):
        self.phase, self.count = "second", self.count + 1


def compressed(state=None):
    keras.backend.clear_session()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])
    model.compile("sgd", "mse")
    return kc.create_compressed_model(model, {"compression": {"algorithm": "const_sparsity"}}, state)


def fit(controller, model, others, **options):
    callbacks = [*kc.create_compression_callbacks(controller, remember=others, **options), *others]
    model.fit(X, Y, epochs=2, callbacks=callbacks, verbose=0)


def resumed(make, changes):
    """Train, change what the state says that the callback remembers, and return the callback of a second training."""
    controller, model = compressed()
    fit(controller, model, [make()])
    state = copy.deepcopy(controller.get_compression_state())
    key = next(key for key in state["callbacks"] if key.startswith(type(make()).__name__))
    state["callbacks"][key].update(changes)
    other = make()
    fit(*compressed(state), [other])
    return other


def test_words_and_numbers_of_a_callback_come_back():
    other = resumed(Phases, {"phase": "third"})
    assert (other.phase, other.count) == ("second", 4)


FILES = {
    "ModelCheckpoint": (lambda folder: keras.callbacks.ModelCheckpoint(f"{folder}/mine.h5", "loss"), "filepath"),
    "CSVLogger": (lambda folder: keras.callbacks.CSVLogger(f"{folder}/mine.csv"), "filename"),
    "of a user": (lambda folder: Phases(f"{folder}/mine.txt"), "target"),
}


@pytest.mark.first
@pytest.mark.parametrize("name", FILES)
def test_a_checkpoint_does_not_say_where_callbacks_write(name, tmp_path):
    make, attribute = FILES[name]
    (tmp_path / "precious").write_text("precious")
    with pytest.warns(UserWarning, match=rf"another '{attribute}'.*does not change settings"):
        other = resumed(lambda: make(tmp_path), {attribute: str(tmp_path / "precious")})
    assert getattr(other, attribute).startswith(str(tmp_path / "mine"))
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize("value", ["a word", [1], {"a": 1}])
def test_a_value_of_another_kind_is_an_error(value):
    with pytest.raises(kc.StateError, match=r"EarlyStopping remembers.*'wait'.*Expected.*Use another checkpoint"):
        resumed(lambda: keras.callbacks.EarlyStopping("loss"), {"wait": value})
