"""A copied layer keeps what its class drew, and gets the name, the precision and the training that a snapshot says."""

import numpy as np
import pytest

from keras_compress._keras import keras
from keras_compress.graph import build, take
from keras_compress.graph.passes.to_float32 import to_float32

layers = keras.layers


class Drawn(layers.Layer):
    """A layer that draws numbers, and holds one layer like itself and one in a precision of its own."""

    told = ("units", "name", "trainable", "dtype")

    def __init__(self, units, pinned="float32", **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.drawn = np.random.normal(size=units).astype("float32")
        self.like = layers.Dense(units, dtype=self.dtype_policy)
        self.pinned = layers.Dense(units, dtype=pinned)

    def call(self, inputs):
        inner = self.pinned(self.like(inputs))
        return keras.backend.cast(inner, self.compute_dtype) * keras.backend.cast(self.drawn, self.compute_dtype)

    def get_config(self):
        config = {**super().get_config(), "units": self.units}
        return {key: config[key] for key in self.told}


class WithoutType(Drawn):
    told = ("units", "name", "trainable")


class WithoutName(Drawn):
    told = ("units",)


CLASSES = [Drawn, WithoutType, WithoutName]


def model_of(layer):
    inputs = keras.Input((4,), name="x")
    return keras.Model(inputs, layers.Dense(2, dtype="float32", name="head")(layer(inputs)))


def edited(model, **settings):
    """Return the model built from a snapshot whose layer ``"mine"`` has other settings."""
    snapshot = take(model).edited()
    [entry] = [entry for entry in snapshot.config["config"]["layers"] if entry["name"] == "mine"]
    entry["config"] |= settings
    if "name" in settings:
        entry["name"] = settings["name"]
        [head] = [entry for entry in snapshot.config["config"]["layers"] if entry["name"] == "head"]
        head["inbound_nodes"][0][0][0] = settings["name"]
        weights = dict(snapshot.weights)
        weights |= {settings["name"]: weights.pop("mine")} if "mine" in weights else {}
        snapshot = snapshot.with_weights(weights)
    return build(snapshot).get_layer(settings.get("name", "mine"))


SETTINGS = {
    "a name": {"name": "other"},
    "no training": {"trainable": False},
    "precision": {"dtype": "mixed_bfloat16"},
    "all": {"name": "other", "trainable": False, "dtype": "mixed_float16"},
    "nothing": {},
}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("cls", CLASSES)
def test_a_copy_with_other_settings_keeps_what_was_drawn(cls, settings):
    layer = cls(4, name="mine")
    model, settings = model_of(layer), SETTINGS[settings]
    made = edited(model, **settings)
    np.testing.assert_array_equal(made.drawn, layer.drawn)
    for mine, theirs in zip(made.get_weights(), layer.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert made.name == settings.get("name", "mine")
    assert made.trainable is settings.get("trainable", True)
    assert len(made.trainable_variables) == (4 if made.trainable else 0)
    assert made.dtype_policy.name == settings.get("dtype", "float32")
    assert layer.name == "mine"
    assert layer.trainable
    assert layer.dtype_policy.name == "float32"


@pytest.mark.parametrize("cls", CLASSES)
def test_layers_inside_follow_but_for_those_with_a_precision_of_their_own(cls):
    layer = cls(4, "float32", dtype="mixed_float16", name="mine")
    made = edited(model_of(layer), dtype="mixed_bfloat16")
    assert made.like.dtype_policy.name == "mixed_bfloat16"
    assert made.pinned.dtype_policy.name == "float32"
    assert layer.like.dtype_policy.name == "mixed_float16"


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float16", "float64"])
@pytest.mark.parametrize("cls", CLASSES)
def test_in_float32_everything_is_and_computes_the_same(cls, policy):
    layer = cls(4, policy, dtype=policy, name="mine")
    model = model_of(layer)
    rebuilt = build(to_float32(take(model)))
    made = rebuilt.get_layer("mine")
    np.testing.assert_array_equal(made.drawn, layer.drawn)
    assert {one.dtype_policy.name for one in (made, made.like, made.pinned)} == {"float32"}
    assert {variable.dtype.name for variable in made.variables} == {"float32"}
    inputs = np.random.RandomState(0).normal(size=(8, 4)).astype(np.float32)
    np.testing.assert_allclose(rebuilt(inputs), model(inputs), atol=0.1)


def test_a_layer_that_is_described_inside_another_gets_its_own_settings():
    layer = layers.TimeDistributed(Drawn(4, name="inner", dtype="mixed_float16"), name="mine", dtype="mixed_float16")
    inputs = keras.Input((3, 4), name="x")
    model = keras.Model(inputs, layers.Dense(2, dtype="float32", name="head")(layer(inputs)))
    described = next(e for e in take(model).config["config"]["layers"] if e["name"] == "mine")["config"]["layer"]
    inner = {**described, "config": {**described["config"], "trainable": False, "dtype": "mixed_bfloat16"}}
    made = edited(model, layer=inner, dtype="mixed_bfloat16")
    np.testing.assert_array_equal(made.layer.drawn, layer.layer.drawn)
    assert (made.trainable, made.layer.trainable) == (True, False)
    assert made.layer.dtype_policy.name == made.layer.like.dtype_policy.name == "mixed_bfloat16"
    assert made.layer.pinned.dtype_policy.name == "float32"
    renamed = edited(model, name="other")
    assert (renamed.name, renamed.layer.name) == ("other", "inner")
    np.testing.assert_array_equal(renamed.layer.drawn, layer.layer.drawn)


def test_a_layer_with_another_argument_is_made_from_its_configuration():
    model = model_of(Drawn(4, name="mine"))
    snapshot = take(model).edited()
    snapshot.config["config"]["layers"][1]["config"]["units"] = 5
    head = {"kernel": np.zeros((5, 2), np.float32), "bias": np.zeros(2, np.float32)}
    made = build(snapshot.with_weights({"head": head})).get_layer("mine")
    assert made.drawn.shape == (5,)


def test_a_lambda_can_be_renamed_and_brought_to_float32():
    layer = layers.Lambda(lambda x: 2 * x, name="mine", dtype="mixed_float16")
    assert edited(model_of(layer), name="other").name == "other"
    assert build(to_float32(take(model_of(layer)))).get_layer("mine").compute_dtype == "float32"
