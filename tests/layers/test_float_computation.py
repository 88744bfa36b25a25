"""A compressed model computes what its float model computes while it is asked to, in that thread alone."""

import threading

import numpy as np
import pytest

import keras_compress as kc
from keras_compress.layers.float_computation import computing_in_float
from tests import binary, zoo

ALGORITHMS = {
    "quantization": {"algorithm": "quantization", "initializer": {"bias_correction": False}},
    "magnitude": {"algorithm": "magnitude_sparsity", "sparsity_init": 0.5},
    "gates": {"algorithm": "rb_sparsity", "sparsity_init": 0.5},
    "binarization": {"algorithm": "binarization", "params": binary.AT_ONCE},
}


def without_adaptation(algorithm):
    initializer = {**algorithm.get("initializer", {}), "batchnorm_adaptation": {"num_bn_adaptation_samples": 0}}
    return {**algorithm, "initializer": initializer}


@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
@pytest.mark.parametrize("kind", ["convolution", "shared_layer", "nested", "recurrent"])
def test_outputs_are_those_of_the_float_model_to_the_bit(kind, algorithm):
    model = zoo.MODELS[kind]()
    inputs = zoo.samples(model, 16)
    config = {"compression": without_adaptation(algorithm)}
    _, compressed = kc.create_compressed_model(model, kc.register_default_init_args(config, inputs))
    with computing_in_float():
        zoo.assert_same_predictions(model, compressed, inputs)


def test_other_threads_and_later_calls_are_compressed():
    model = zoo.dense()
    _, compressed = zoo.compress(model, weights={"bits": 2})
    inputs = zoo.samples(model)
    expected, found = zoo.predict(compressed, inputs)[0], []
    with computing_in_float():
        with computing_in_float():
            pass
        assert not np.array_equal(zoo.predict(compressed, inputs)[0], expected)
        thread = threading.Thread(target=lambda: found.append(zoo.predict(compressed, inputs)[0]))
        thread.start()
        thread.join()
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(zoo.predict(compressed, inputs)[0], expected)
