"""Every model is compressed, trained, saved, loaded and exported, and computes the same at each place. None is refused."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.data import pack_inputs
from keras_compress.export.frozen_graph import run_frozen_graph

from .awkward_models import AWKWARD_MODELS
from .domain_models import DOMAIN_MODELS
from .one_layer_models import ONE_LAYER_MODELS

MODELS = {**ONE_LAYER_MODELS, **AWKWARD_MODELS, **DOMAIN_MODELS}
CONFIG = {
    "compression": {
        "algorithm": "quantization",
        "initializer": {"batchnorm_adaptation": {"num_bn_adaptation_samples": 0}},
    }
}

#: Layers whose weights have no rule, on purpose: they are small, and their activation is computed in floating point.
LEFT_IN_FLOAT = {"PReLU": {"p_re_lu"}, "layer_without_config": {"without_config"}}


def draw_inputs(model, samples=8):
    """Return one array per input of the model; open sizes become 8, integers stay below 7."""
    generator = np.random.RandomState(0)
    arrays = []
    for tensor in model.inputs:
        shape = (samples, *(size or 8 for size in tensor.shape[1:]))
        if tensor.dtype == tf.bool:
            arrays.append(np.ones(shape, bool))
        elif tensor.dtype.is_integer:
            arrays.append(generator.randint(0, 7, shape).astype(np.int32))
        else:
            arrays.append(generator.normal(size=shape).astype(np.float32))
    return arrays


def outputs_of(model, arrays):
    packed = pack_inputs(model, [tf.constant(array) for array in arrays])
    return [tensor.numpy() for tensor in tf.nest.flatten(model(packed, training=False))]


def compress(model, arrays):
    by_name = dict(zip(model.input_names, arrays, strict=True))
    return kc.create_compressed_model(model, kc.register_default_init_args(CONFIG, by_name))


def test_there_are_as_many_models_as_promised():
    assert len(ONE_LAYER_MODELS) >= 61
    assert len(AWKWARD_MODELS) >= 25


@pytest.fixture(scope="module", params=list(MODELS))
def case(request):
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model = MODELS[request.param]()
    arrays = draw_inputs(model)
    before = outputs_of(model, arrays)
    controller, compressed = compress(model, arrays)
    yield request.param, model, arrays, before, controller, compressed


def test_compression_keeps_the_function_and_the_original(case):
    _, model, arrays, before, _, compressed = case
    for original, expected, received in zip(
        outputs_of(model, arrays), before, outputs_of(compressed, arrays), strict=True
    ):
        np.testing.assert_array_equal(original, expected)
        assert received.shape == expected.shape
        noise = np.sqrt(np.mean((received - expected) ** 2))
        assert noise <= 0.1 * np.sqrt(np.mean(expected**2)) + 1e-6
    assert type(compressed).__name__ == type(model).__name__
    assert compressed.input_names == model.input_names
    assert compressed.output_names == model.output_names


def test_nothing_is_left_in_float_in_silence(case):
    name, *_, controller, _ = case
    coverage = controller.statistics().coverage
    left = {row.layer for row in coverage.unexplained}
    assert left == LEFT_IN_FLOAT.get(name, set())
    assert all(row.reason for row in coverage.unexplained)


def test_it_trains(case):
    _, _, arrays, before, _, compressed = case
    compressed.compile(keras.optimizers.SGD(1e-3), "mse")
    structure = compressed.output if not isinstance(compressed.output, tf.Tensor) else None
    targets = [np.zeros_like(array) for array in outputs_of(compressed, arrays)]
    packed = tf.nest.pack_sequence_as(structure, targets) if structure is not None else targets[0]
    history = compressed.fit(pack_inputs(compressed, arrays), packed, batch_size=4, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    trained = outputs_of(compressed, arrays)
    assert any(not np.array_equal(new, old) for new, old in zip(trained, before, strict=True))


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


def test_it_survives_a_keras_file(case, tmp_path):
    name, model, arrays, _, _, compressed = case
    if name in KERAS_CANNOT_READ:
        assert not keras_reads(model, tmp_path / "float.keras")
        return
    compressed.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=False)
    for one, other in zip(outputs_of(loaded, arrays), outputs_of(compressed, arrays), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_frozen_graph_computes_the_same(case, tmp_path):
    _, _, arrays, _, controller, compressed = case
    path = controller.export_model(tmp_path / "model.pb").path
    expected = outputs_of(compressed, arrays)
    by_name = dict(zip(compressed.input_names, arrays, strict=True))
    names = [f"{name}_output" if name in by_name else name for name in compressed.output_names]
    for one, other in zip(run_frozen_graph(path, by_name, names), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * max(np.abs(other).max(), 1e-6))
