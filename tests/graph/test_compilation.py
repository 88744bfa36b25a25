"""A compressed model is compiled as its model is: the same names in the logs, before and after training, in every form."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.graph import build, take
from keras_compress.graph.compilation import copy_compilation

layers = keras.layers
Mean, Squared = keras.metrics.MeanAbsoluteError, keras.metrics.MeanSquaredError
DATA = np.random.RandomState(0).normal(size=(16, 4)).astype(np.float32)


def own_metric(y_true, y_pred):
    return tf.reduce_mean(tf.abs(y_true - y_pred))


class WithoutConfig(Mean):
    """A metric whose configuration lacks an argument."""

    def __init__(self, name, scale):
        super().__init__(name)
        self.scale = scale


def model_with(outputs):
    inputs = keras.Input((4,), name="x")
    heads = [layers.Dense(1, name=name)(inputs) for name in ("t", "t_t")]
    structures = {
        "one": lambda: heads[0],
        "list": lambda: heads,
        "dict": lambda: dict(zip(("t", "t_t"), heads, strict=True)),
    }
    return keras.Model(inputs, structures[outputs]())


def targets(outputs):
    zeros = np.zeros((16, 1), np.float32)
    return {"one": zeros, "list": [zeros, zeros], "dict": {"t": zeros, "t_t": zeros}}[outputs]


#: By name a function of the metrics of a model.
METRICS = {
    "objects by name": lambda: {"metrics": {"t": [Mean("kind")], "t_t": [Mean("kind")]}},
    "one has the name of an output": lambda: {"metrics": {"t": Mean("t_kind"), "t_t": Mean("t_t_kind")}},
    "one output only": lambda: {"metrics": {"t": Mean("t")}},
    "strings": lambda: {"metrics": ["mae"]},
    "a function": lambda: {"metrics": [own_metric]},
    "objects for all": lambda: {"metrics": [Mean("kind")]},
    "weighted": lambda: {
        "metrics": {"t": Mean("kind")},
        "weighted_metrics": {"t": Mean("kind"), "t_t": Squared("kind")},
    },
    "without get_config": lambda: {"metrics": {"t": WithoutConfig("kind", 2)}},
    "lists": lambda: {"metrics": [[Mean("kind"), "mse"], [Squared("kind")]]},
    "none": dict,
}
FORMS = [
    (outputs, metrics)
    for outputs in ("one", "list", "dict")
    for metrics in METRICS
    if (outputs != "one" or metrics in ("strings", "a function", "objects for all", "none"))
    and (outputs, metrics) != ("dict", "lists")
]


def logs(model, outputs):
    return list(model.fit(DATA, targets(outputs), verbose=0).history)


@pytest.mark.parametrize(("outputs", "metrics"), FORMS)
def test_logs_have_the_same_names_whether_the_model_was_trained_or_not(outputs, metrics):
    model = model_with(outputs)
    model.compile("sgd", "mse", **METRICS[metrics]())
    untrained, trained, second = (build(take(model)) for _ in range(3))
    copy_compilation(model, untrained)
    expected = logs(model, outputs)
    copy_compilation(model, trained)
    assert logs(untrained, outputs) == expected
    assert logs(trained, outputs) == expected
    copy_compilation(trained, second)
    assert logs(second, outputs) == expected
    assert logs(model, outputs) == expected
    assert not {id(metric) for metric in model.metrics} & {id(metric) for metric in trained.metrics}


def test_the_best_of_a_model_that_was_trained_before_is_saved(tmp_path):
    model = model_with("list")
    model.compile("sgd", "mse", metrics={"t": [Mean("kind")], "t_t": [Mean("kind")]})
    model.fit(DATA, targets("list"), verbose=0)
    config = kc.register_default_init_args({"compression": {"algorithm": "quantization"}}, DATA)
    controller, compressed = kc.create_compressed_model(model, config)
    best = kc.SaveBestCompressed(controller, tmp_path / "best.keras", monitor="t_kind", mode="min")
    callbacks = [*kc.create_compression_callbacks(controller), best]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compressed.fit(DATA, targets("list"), callbacks=callbacks, verbose=0)
    assert (tmp_path / "best.keras").exists()
