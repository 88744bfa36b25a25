"""Bytes of a model against bytes counted by hand: dense, in the bits of the grid, packed, with zeros left out."""

import gzip

import numpy as np
import pytest

from keras_compress import create_compressed_model
from keras_compress._keras import keras
from keras_compress.reports.model_size import ModelSize, measure_size
from tests import zoo

layers = keras.layers
KERNELS, BIASES = (32, 24), (8, 3)
FLOAT32 = 4 * (32 + 8 + 24 + 3)


def ceil(value):
    return int(np.ceil(value))


def sparse(level, algorithm="magnitude_sparsity", *others):
    config = {"algorithm": algorithm, "sparsity_init": level, "params": {"sparsity_target": 0.95}}
    data = zoo.config(zoo.dense()).init_data
    values = zoo.config(zoo.dense()).from_dict({"compression": [config, *others]})
    return create_compressed_model(zoo.dense(), values.with_init_data(data))[1]


def seen(model):
    return [model.get_layer(name).compressed_weight("kernel").numpy() for name in ("hidden", "out")]


def biases(model):
    return [model.get_layer(name).bias.numpy() for name in ("hidden", "out")]


def test_a_plain_model_takes_four_bytes_a_number():
    model = zoo.dense()
    size = measure_size(model)
    assert (size.float32, size.dense, size.sparse) == (FLOAT32, FLOAT32, FLOAT32)
    assert size.gzip == len(gzip.compress(b"".join(array.tobytes() for array in model.get_weights())))


def test_moving_statistics_count():
    assert measure_size(zoo.convolution()).float32 == 4 * (108 + 4 + 4 * 4 + 108 + 3)


@pytest.mark.parametrize("algorithm", ["magnitude_sparsity", "rb_sparsity"])
@pytest.mark.parametrize("level", [0.0, 0.02, 0.5, 0.9])
def test_zeros_are_left_out_of_the_sparse_size_only(level, algorithm):
    model = sparse(level, algorithm)
    kernels = seen(model)
    nonzero = [int(np.count_nonzero(kernel)) for kernel in kernels]
    assert sum(nonzero) == 56 - round(level * 56)
    size = measure_size(model)
    assert size.float32 == size.dense == FLOAT32
    assert size.sparse == sum(min(4 * n, ceil(n / 8) + 4 * k) for n, k in zip(KERNELS, nonzero, strict=True)) + 4 * 11
    stored = [array.tobytes() for pair in zip(kernels, biases(model), strict=True) for array in pair]
    assert size.gzip == len(gzip.compress(b"".join(stored)))


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8])
def test_quantized_weights_take_the_bits_of_their_grid_and_a_scale_for_every_channel(bits):
    _, model = zoo.compress(zoo.dense(), weights={"bits": bits})
    size = measure_size(model)
    packed = [ceil(n * bits / 8) for n in KERNELS]
    assert size.dense == sum(packed) + 4 * sum(BIASES) + 4 * (8 + 3)


@pytest.mark.parametrize("mode", ["symmetric", "asymmetric"])
def test_the_size_as_float32_is_that_before_compression(mode):
    _, model = zoo.compress(zoo.dense(), weights={"mode": mode})
    assert measure_size(model).float32 == FLOAT32


def test_the_packed_bytes_are_the_integers():
    _, model = zoo.compress(zoo.dense())
    stored = b""
    for layer, bias in zip(("hidden", "out"), biases(model), strict=True):
        wrapper = model.get_layer(layer)
        scale = np.abs(wrapper.weight_ops[0].scale.numpy()).reshape(1, -1) / 127
        integers = np.rint(wrapper.compressed_weight("kernel").numpy() / scale).astype(np.int8)
        stored += integers.tobytes() + scale.astype(np.float32).tobytes() + bias.tobytes()
    assert abs(measure_size(model).gzip - len(gzip.compress(stored))) <= 12


@pytest.mark.parametrize("bits", [4, 8])
def test_zeros_and_bits_together(bits):
    model = sparse(0.75, "magnitude_sparsity", {"algorithm": "quantization", "weights": {"bits": bits}})
    nonzero = [int(np.count_nonzero(kernel)) for kernel in seen(model)]
    assert sum(nonzero) <= 14
    size = measure_size(model)
    others = 4 * sum(BIASES) + 4 * (8 + 3)
    assert size.dense == sum(n * bits // 8 for n in KERNELS) + others
    pairs = zip(KERNELS, nonzero, strict=True)
    assert size.sparse == sum(min(n * bits // 8, ceil(n / 8) + ceil(k * bits / 8)) for n, k in pairs) + others
    assert size.sparse < size.dense < size.float32


def test_asymmetric_weights_count_zeros_of_the_weight_and_not_of_the_integer():
    quantization = {"algorithm": "quantization", "weights": {"mode": "asymmetric"}}
    model = sparse(0.75, "magnitude_sparsity", quantization)
    nonzero = [int(np.count_nonzero(kernel)) for kernel in seen(model)]
    pairs = zip(KERNELS, nonzero, strict=True)
    size = measure_size(model)
    assert size.dense - size.sparse == sum(n - min(n, ceil(n / 8) + k) for n, k in pairs)
    assert size.dense > size.sparse


def test_many_zeros_pack_well():
    x = keras.Input((100,))
    model = keras.Model(x, layers.Dense(100, use_bias=False, name="wide")(x))
    config = {"algorithm": "magnitude_sparsity", "sparsity_init": 0.9, "params": {"sparsity_target": 0.9}}
    _, compressed = create_compressed_model(model, {"compression": config})
    size = measure_size(compressed)
    assert (size.float32, size.dense, size.sparse) == (40_000, 40_000, 1250 + 4000)
    assert 3000 < size.gzip < 8000


def test_the_text_names_all_four():
    text = str(ModelSize(float32=2_500_000, dense=640_000, gzip=1234, sparse=99))
    assert text == "bytes of the weights: float32 2.50 MB, dense 640.0 kB, gzip 1.2 kB, sparse 0.1 kB"
