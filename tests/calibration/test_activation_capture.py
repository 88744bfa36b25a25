"""ActivationCapture: what goes into single layers, computed without the rest of the model."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import Dataset
from keras_compress._keras import flat_layers, keras
from keras_compress.calibration.activation_capture import ActivationCapture
from keras_compress.calibration.model_states import ModelStates
from keras_compress.graph.variables import leaf_layers
from tests import zoo
from tests.calibration.corrections import at, uneven
from tests.calibration.counter import Counter

layers = keras.layers


def inputs_of(model, names):
    known = dict(leaf_layers(model))
    return ActivationCapture(model, {name: known[name] for name in names}, lambda name, inputs: (inputs, -inputs))


def gathered(tensors, name, data, samples=64):
    """Return, for every call, the first of the tensors over all batches."""
    run = tensors.function(name)
    with tensors.fresh():
        calls = list(zip(*(run(batch) for batch in tensors.batches(Dataset(data), samples)), strict=True))
    return [np.concatenate([first.numpy() for first, _ in call]) for call in calls]


def test_the_input_of_a_layer_is_computed_for_all_samples():
    model, x = zoo.residual(), uneven((6, 6, 3))
    tensors = inputs_of(model, ["stem", "body", "out"])
    [image] = gathered(tensors, "stem", x)
    [body] = gathered(tensors, "body", x)
    [pooled] = gathered(tensors, "out", x, 10)
    np.testing.assert_array_equal(image, x)
    np.testing.assert_allclose(body, at(model, "stem_relu", x), atol=1e-5)
    np.testing.assert_allclose(pooled, at(model, "pool", x[:10]), atol=1e-5)


def test_all_tensors_of_a_call_can_be_asked_for():
    model, x = zoo.dense(), uneven((4,), 3)
    tensors = inputs_of(model, ["hidden"])
    [batch] = tensors.batches(Dataset(x), 3)
    [(inputs, negative)] = tensors.function("hidden")(batch)
    np.testing.assert_array_equal(inputs, x)
    np.testing.assert_array_equal(negative, -x)


def test_every_call_of_a_shared_layer_has_tensors_of_its_own():
    model = zoo.shared_layer()
    x = (uneven((4,)), uneven((4,), seed=1))
    first, second = gathered(inputs_of(model, ["shared"]), "shared", x)
    np.testing.assert_array_equal(first, x[0])
    np.testing.assert_array_equal(second, x[1])


def test_inputs_that_are_not_read_may_stay():
    model = zoo.dicts()
    x = zoo.samples(model, 5)
    [deep] = gathered(inputs_of(model, ["hidden"]), "hidden", x)
    np.testing.assert_array_equal(deep, x["deep"])


def test_a_changed_weight_is_seen_and_the_layers_behind_are_not_computed():
    x = keras.Input((4,), name="x")
    first = layers.Dense(4, name="first")(x)
    checked = layers.Lambda(lambda y: tf.debugging.check_numerics(y, "computed"), name="checked")
    model = keras.Model(x, layers.Dense(2, name="out")(checked(layers.Dense(4, name="second")(first))))
    tensors = inputs_of(model, ["second", "out"])
    data = uneven((4,), 5)
    model.get_layer("first").bias.assign([1.0, 2.0, 3.0, 4.0])
    [inputs] = gathered(tensors, "second", data)
    np.testing.assert_allclose(inputs, data @ model.get_layer("first").kernel.numpy() + [1, 2, 3, 4], atol=1e-5)
    model.get_layer("second").bias.assign([np.nan] * 4)
    gathered(tensors, "second", data)
    with pytest.raises(tf.errors.InvalidArgumentError, match="computed"):
        gathered(tensors, "out", data)


def test_layers_are_named_in_the_order_in_which_they_are_called():
    model = zoo.nested()
    names = ["head/dense", "backbone/conv", "backbone/relu"]
    assert inputs_of(model, names).names == ["backbone/conv", "backbone/relu", "head/dense"]


def test_a_layer_that_is_not_called_is_not_named():
    model = zoo.dense()
    stranger = layers.Dense(2)
    tensors = ActivationCapture(
        model, {"out": model.get_layer("out"), "stranger": stranger}, lambda _, inputs: (inputs,)
    )
    assert tensors.names == ["out"]


def test_the_model_computes_as_before():
    model, x = zoo.residual(), uneven((6, 6, 3))
    before = model(x).numpy()
    inputs_of(model, ["stem", "out"])
    assert all("call" not in vars(layer) for _, layer in leaf_layers(model))
    np.testing.assert_array_equal(model(x), before)


def lstm(x):
    return layers.LSTM(4, stateful=True)(x)


def counted(x):
    return Counter()(layers.Dense(3)(x[:, 0]))


def between(x):
    return Counter()(layers.Dense(3)(layers.GRU(4, stateful=True)(layers.Dense(3)(x))))


def nested(x):
    inner = keras.Input(batch_shape=(2, 3, 2))
    return keras.Model(inner, layers.Bidirectional(layers.SimpleRNN(3, stateful=True))(inner))(x)


def in_front(x):
    return layers.Dense(3)(x[:, 0])


@pytest.mark.parametrize("make", [lstm, counted, between, nested, in_front])
def test_memory_is_carried_from_batch_to_batch_and_given_back(make):
    x = keras.Input(batch_shape=(2, 3, 2), name="x")
    out = layers.Dense(2, name="out")
    model = keras.Model(x, layers.LSTM(3, stateful=True)(out(make(x))[:, tf.newaxis]))
    data = np.random.default_rng(0).normal(size=(7, 3, 2)).astype(np.float32)
    front = keras.Model(model.input, out.input)
    for layer in front._flatten_layers(include_self=False):
        if isinstance(layer, (layers.RNN, Counter)) and layer.stateful:
            layer.reset_states()
    expected = np.concatenate([front(data[np.minimum([at, at + 1], 6)]) for at in range(0, 8, 2)])[:7]
    weights = [weight.numpy() for weight in states_of(model)]
    tensors = inputs_of(model, ["out"])
    for _ in range(2):
        [found] = gathered(tensors, "out", data)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    for one, other in zip(states_of(model), weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other)


def states_of(model):
    return ModelStates(model).variables


def test_layers_with_a_memory_are_looked_for_once(monkeypatch):
    walks = []
    monkeypatch.setattr(
        "keras_compress.calibration.model_states.flat_layers", lambda model: walks.append(model) or flat_layers(model)
    )
    model = zoo.dense()
    tensors = inputs_of(model, ["hidden", "out"])
    for name in ("hidden", "out"):
        gathered(tensors, name, uneven((4,), 70), 70)
    assert walks == [model]
