"""TensorFlow computes normalizations of a frozen graph with their own epsilon, run as users run it: in a session."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export.frozen_graph import tensor_names
from tests import zoo
from tests.export.compare import decibels
from tests.levels import levels

layers = keras.layers


def in_session(path, model, x):
    graph_def = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    names = tensor_names(model)
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    with tf.compat.v1.Session(graph=graph) as session:
        return session.run([f"{name}:0" for name in names.outputs], {f"{names.inputs[0]}:0": x})


def served(path, x):
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signature = tf.compat.v1.saved_model.load(session, ["serve"], str(path)).signature_def["serving_default"]
        [input_] = signature.inputs.values()
        return session.run([output.name for output in signature.outputs.values()], {input_.name: x})


def own(x):
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + 1e-6)


def normalized(kind, epsilon, shape):
    x = keras.Input(shape)
    make = {
        "layer": layers.LayerNormalization(epsilon=epsilon),
        "layer without scale": layers.LayerNormalization(epsilon=epsilon, scale=False, center=False),
        "group": layers.GroupNormalization(4, epsilon=epsilon),
        "unit": layers.UnitNormalization(),
        "batch": layers.BatchNormalization(epsilon=epsilon),
        "own": own,
    }[kind]
    return keras.Model(x, layers.Dense(4)(make(x)))


CASES = [("layer", e, s) for e in (1e-7, 1e-6, 1e-5, 1e-3, 1e-2) for s in ((16,), (10, 16), (6, 6, 16))]
CASES += [
    (kind, 1e-6, shape)
    for kind in ("layer without scale", "group", "unit", "batch", "own")
    for shape in ((16,), (10, 16))
]


@pytest.mark.parametrize("case", levels(CASES, first=[("layer", 1e-6, (16,)), ("layer", 1e-5, (10, 16))]))
@pytest.mark.parametrize("compress", [False, True])
def test_normalizations_have_their_own_epsilon(case, compress, tmp_path):
    kind, epsilon, shape = case
    model = normalized(kind, epsilon, shape)
    generator = np.random.default_rng(2)
    for variable in model.trainable_variables:
        variable.assign_add(generator.normal(0, 0.2, variable.shape))
    for scale in (0.02, 0.5, 3.0):
        x = (scale * generator.normal(size=(8, *shape))).astype(np.float32)
        complete = kc.quantize(model, x) if compress else model
        expected = zoo.predict(complete, x)
        kc.export_model(complete, tmp_path / "model.pb")
        assert decibels(expected, in_session(tmp_path / "model.pb", complete, x)) >= 100
        if scale == 0.02:
            kc.export_model(complete, tmp_path / "saved")
            assert decibels(expected, served(tmp_path / "saved", x)) >= 100
