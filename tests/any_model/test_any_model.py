"""Every model is compressed, trained, saved, loaded and exported, and computes the same at each place. None is refused.

A failure names the step and the first layer that departs.
"""

import functools
from dataclasses import dataclass

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.data import pack_inputs
from keras_compress.export.frozen_graph import run_frozen_graph
from tests.levels import levels

from .awkward_models import AWKWARD_MODELS
from .domain_models import DOMAIN_MODELS
from .one_layer_models import BRANCH_MODELS, INPUTS, ONE_LAYER_MODELS, branches_of
from .running import draw_inputs, outputs_of
from .what_broke import assert_same_outputs, first_layer, first_layer_in_graph, mean_error

#: Inputs are drawn alike for every model, whatever its first layers expect.
pytestmark = pytest.mark.filterwarnings("ignore:The calibration data are far from what the model expects")

WHOLE = {**BRANCH_MODELS, **AWKWARD_MODELS, **DOMAIN_MODELS}
MODELS = {**ONE_LAYER_MODELS, **WHOLE}
CONFIG = {
    "compression": {
        "algorithm": "quantization",
        "initializer": {"batchnorm_adaptation": {"num_bn_adaptation_samples": 0}},
    }
}

#: Layers whose weights have no rule, on purpose: they are small, and their activation is computed in floating point.
LEFT_IN_FLOAT = {
    "PReLU": {"p_re_lu"},
    "branches of images": {"PReLU/p_re_lu"},
    "layer_without_config": {"without_config"},
}


def compress(model, arrays):
    by_name = dict(zip(model.input_names, arrays, strict=True))
    return kc.create_compressed_model(model, kc.register_default_init_args(CONFIG, by_name))


def test_there_are_as_many_models_as_promised():
    assert len(ONE_LAYER_MODELS) >= 61
    assert len(AWKWARD_MODELS) >= 25


def test_every_one_layer_model_is_a_branch():
    assert sum(len(branches_of(*given)) for given in INPUTS.values()) == len(ONE_LAYER_MODELS)


@dataclass(frozen=True)
class Case:
    """A model and its compressed copy, which have to compute the same."""

    name: str
    model: keras.Model
    arrays: list
    before: list
    controller: kc.CompressionController

    @property
    def compressed(self):
        return self.controller.model


def compressed_case(name):
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model = MODELS[name]()
    arrays = draw_inputs(model)
    before = outputs_of(model, arrays)
    controller, _ = compress(model, arrays)
    return Case(name, model, arrays, before, controller)


def check_function(case):
    """Compression keeps the function of the model within a tenth, its interface, and the original to the last bit."""
    model, compressed = case.model, case.compressed
    names = model.output_names
    now = outputs_of(model, case.arrays)
    assert_same_outputs("compressing, the original", names, case.before, now, 0.0, lambda: "every layer")
    received = outputs_of(compressed, case.arrays)
    departing = functools.partial(first_layer, model, compressed, case.arrays, 0.1, mean_error)
    assert_same_outputs("compressing", names, case.before, received, 0.1, departing, mean_error)
    assert type(compressed).__name__ == type(model).__name__
    assert compressed.input_names == model.input_names
    assert compressed.output_names == names


def check_coverage(case):
    """Nothing is left in floating point in silence."""
    coverage = case.controller.statistics().coverage
    assert {row.layer for row in coverage.unexplained} == LEFT_IN_FLOAT.get(case.name, set())
    assert all(row.reason for row in coverage.unexplained)


def check_training(case):
    """A step of training gives finite losses and moves the numbers of every trainable layer that reaches an output."""
    compressed = case.compressed
    compressed.compile(keras.optimizers.SGD(1e-3), "mse")
    untrained = outputs_of(compressed, case.arrays)
    structure = compressed.output if not isinstance(compressed.output, tf.Tensor) else None
    generator = np.random.default_rng(1)
    targets = [generator.normal(size=array.shape).astype(array.dtype) for array in untrained]
    packed = tf.nest.pack_sequence_as(structure, targets) if structure is not None else targets[0]
    history = compressed.fit(pack_inputs(compressed, case.arrays), packed, batch_size=4, verbose=0).history
    infinite = [name for name, values in history.items() if not np.isfinite(values).all()]
    assert infinite == [], "training"
    trained = zip(compressed.output_names, outputs_of(compressed, case.arrays), untrained, strict=True)
    still = {name for name, new, old in trained if np.array_equal(new, old)}
    assert still <= set(compressed.input_names), "training moves every output that is not an input"


#: What Keras itself cannot read back, compressed or not: a layer that cannot tell its configuration, a model class whose
#: __init__ has arguments of its own, a lambda as an activation.
KERAS_CANNOT_READ = ("layer_without_config", "own_train_step", "lambda_activation")


def keras_reads(model, path):
    """Whether Keras can save and load a model by itself."""
    try:
        model.save(path)
        keras.models.load_model(path, safe_mode=False)
    except Exception:  # whatever it is
        return False
    return True


def check_keras_file(case, folder):
    """A .keras file gives the same bits when loaded."""
    compressed = case.compressed
    if case.name in KERAS_CANNOT_READ:
        assert not keras_reads(case.model, folder / "float.keras")
        return
    compressed.save(folder / "model.keras")
    loaded = keras.models.load_model(folder / "model.keras", safe_mode=False)
    expected, received = outputs_of(compressed, case.arrays), outputs_of(loaded, case.arrays)
    departing = functools.partial(first_layer, compressed, loaded, case.arrays, 0.0)
    assert_same_outputs("reading the .keras file", compressed.output_names, expected, received, 0.0, departing)


def check_frozen_graph(case, folder):
    """The exported graph computes the same in TensorFlow."""
    compressed = case.compressed
    path = case.controller.export_model(folder / "model.pb").path
    by_name = dict(zip(compressed.input_names, case.arrays, strict=True))
    names = [f"{name}_output" if name in by_name else name for name in compressed.output_names]
    expected, received = outputs_of(compressed, case.arrays), run_frozen_graph(path, by_name, names)
    departing = functools.partial(first_layer_in_graph, compressed, path, case.arrays, 1e-5)
    assert_same_outputs("running the frozen graph", names, expected, received, 1e-5, departing)


@pytest.mark.whole
@pytest.mark.parametrize("name", ONE_LAYER_MODELS)
def test_a_layer_is_compressed_and_computes_the_same(name):
    case = compressed_case(name)
    check_function(case)
    check_coverage(case)


@pytest.mark.whole
@pytest.mark.first
@pytest.mark.parametrize("name", levels(WHOLE, first=["keyword_spotter"]))
def test_a_model_goes_through_everything(name, tmp_path):
    case = compressed_case(name)
    check_function(case)
    check_coverage(case)
    check_training(case)
    check_keras_file(case, tmp_path)
    check_frozen_graph(case, tmp_path)
