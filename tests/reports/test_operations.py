"""Multiply-accumulates and bits of every layer against numbers counted by hand."""

import json

import pytest

from keras_compress import create_compressed_model
from keras_compress._keras import keras
from keras_compress.reports.operations import OperationRow, count_operations
from keras_compress.reports.statistics import CompressionStatistics
from tests import binary, zoo

layers = keras.layers


def work(model):
    """Return the multiply-accumulates by layer."""
    return {row.layer: row.multiply_accumulates for row in count_operations(model)}


def work_of(layer, *shape):
    """Return the multiply-accumulates of a single layer on inputs of a shape."""
    (count,) = work(keras.Sequential([keras.Input(shape), layer])).values()
    return count


def in_order(model):
    return [(row.layer, row.bits) for row in count_operations(model)]


# Positions of the output times products in each; of a transposed convolution, positions of the input.
BY_HAND = {
    "Conv1D": (layers.Conv1D(5, 3), (9, 4), 7 * 3 * 4 * 5),
    "Conv2D": (layers.Conv2D(8, 3), (4, 4, 3), 4 * 27 * 8),
    "Conv2D same": (layers.Conv2D(8, (3, 2), padding="same"), (4, 5, 3), 20 * 18 * 8),
    "Conv2D strides": (layers.Conv2D(8, 3, strides=2, padding="same"), (5, 5, 3), 9 * 27 * 8),
    "Conv2D dilated": (layers.Conv2D(8, 3, dilation_rate=2), (7, 7, 3), 9 * 27 * 8),
    "Conv2D groups": (layers.Conv2D(8, 3, groups=2), (4, 4, 6), 4 * 27 * 8),
    "Conv3D": (layers.Conv3D(2, 2), (3, 3, 3, 4), 8 * 32 * 2),
    "DepthwiseConv1D": (layers.DepthwiseConv1D(3, depth_multiplier=2), (6, 4), 4 * 3 * 8),
    "DepthwiseConv2D": (layers.DepthwiseConv2D(3), (6, 6, 4), 16 * 9 * 4),
    "DepthwiseConv2D multiplier": (layers.DepthwiseConv2D(3, depth_multiplier=2), (6, 6, 4), 16 * 9 * 8),
    "Conv1DTranspose": (layers.Conv1DTranspose(5, 3, strides=2), (4, 3), 4 * 3 * 3 * 5),
    "Conv2DTranspose": (layers.Conv2DTranspose(5, 2, strides=2), (6, 6, 3), 36 * 4 * 3 * 5),
    "Dense": (layers.Dense(5), (7,), 35),
    "Dense of rows": (layers.Dense(5), (3, 4, 7), 12 * 35),
    "EinsumDense": (layers.EinsumDense("ab,bc->ac", output_shape=5), (7,), 35),
    "EinsumDense heads": (layers.EinsumDense("abc,cde->abde", output_shape=(None, 4, 5)), (7, 3), 7 * 3 * 20),
    "EinsumDense joins": (layers.EinsumDense("abcd,cde->abe", output_shape=(None, 6)), (7, 4, 5), 7 * 20 * 6),
    "EinsumDense by row": (layers.EinsumDense("abc,bcd->abd", output_shape=(7, 5)), (7, 3), 7 * 3 * 5),
    "TimeDistributed Dense": (layers.TimeDistributed(layers.Dense(5)), (4, 3), 4 * 15),
    "TimeDistributed Conv2D": (layers.TimeDistributed(layers.Conv2D(5, 3)), (4, 6, 6, 3), 4 * 16 * 27 * 5),
    "SeparableConv2D": (layers.SeparableConv2D(8, 3), (6, 6, 3), 16 * (9 * 3 + 3 * 8)),
    "LocallyConnected1D": (layers.LocallyConnected1D(5, 3), (8, 2), 6 * 6 * 5),
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_the_work_of_a_layer_is_what_is_counted_by_hand(kind):
    layer, shape, expected = BY_HAND[kind]
    assert work_of(layer, *shape) == expected


def test_an_open_size_counts_as_one():
    assert work_of(layers.Conv2D(8, 3, padding="same"), None, 5, 3) == 5 * 27 * 8
    assert work_of(layers.Dense(5), None, 3) == 15


def test_biases_normalization_and_pooling_are_no_operations():
    assert work(zoo.convolution()) == {"conv": 36 * 27 * 4, "out": 36 * 3}


def test_recurrent_layers_and_embeddings_are_left_out():
    assert work(zoo.recurrent()) == {"out": 12}


def test_every_call_of_a_shared_layer_counts():
    assert work(zoo.shared_layer()) == {"shared": 2 * 20, "out": 10}


def test_calls_from_another_model_do_not_count():
    x = keras.Input((6,))
    shared = layers.Dense(5, name="shared")
    model = keras.Model(x, layers.Dense(2, name="out")(shared(x)))
    keras.Model(other := keras.Input((6,)), shared(other))
    assert work(model) == {"shared": 30, "out": 10}


def test_layers_of_nested_models_count_under_their_path():
    assert work(zoo.nested()) == {"backbone/conv": 16 * 27 * 4, "head/dense": 64 * 3}


def test_a_nested_model_that_is_called_twice_counts_twice():
    inner = keras.Input((6,))
    tower = keras.Model(inner, layers.Dense(5, name="dense")(inner), name="tower")
    first, second = keras.Input((6,)), keras.Input((6,))
    model = keras.Model([first, second], layers.Add()([tower(first), tower(second)]))
    assert work(model) == {"tower/dense": 2 * 30}


def test_a_layer_that_cannot_tell_its_configuration_is_left_out():
    class Own(layers.Layer):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def call(self, inputs):
            return self.factor * inputs

    assert work(keras.Sequential([keras.Input((4,)), Own(2.0), layers.Dense(3, name="out")])) == {"out": 12}


def test_a_row_has_layer_work_and_bits():
    assert count_operations(zoo.dense()) == (OperationRow("hidden", 32, 32), OperationRow("out", 24, 32))


@pytest.mark.parametrize("bits", [2, 8])
def test_quantized_layers_have_the_bits_of_their_weights(bits):
    _, compressed = zoo.compress(zoo.convolution(), weights={"bits": bits}, ignored_scopes=["out"])
    assert in_order(compressed) == [("conv", bits), ("out", 32)]
    assert work(compressed) == work(zoo.convolution())


def test_masked_layers_are_in_floating_point():
    _, compressed = zoo.compress(zoo.dense(), "magnitude_sparsity", sparsity_init=0.5)
    assert in_order(compressed) == [("hidden", 32), ("out", 32)]


def test_a_binary_layer_has_one_bit_as_soon_as_its_weight_is_binary():
    params = {"activations_quant_start_epoch": 0, "weights_quant_start_epoch": 1}
    controller, compressed = binary.compress(zoo.convolution(), at_once=False, params=params)
    assert in_order(compressed) == [("conv", 32), ("out", 32)]
    controller.scheduler.epoch_step(1)
    assert in_order(compressed) == [("conv", 1), ("out", 32)]


def test_shares_by_bits_are_those_of_the_multiply_accumulates():
    model = binary.residual()
    controller, _ = binary.compress(
        model, {"algorithm": "quantization", "ignored_scopes": ["head"]}, ignored_scopes=binary.BORDERS
    )
    quantized = 64 * 27 * 16 + 16 * 16 * 32  # stem, shortcut
    binarized = 16 * 9 * 16 * 32 + 3 * 16 * 9 * 32 * 32
    total = quantized + binarized + 32 * 5
    found = controller.statistics(quickly_collected_only=True).operations_by_bits()
    assert list(found) == [1, 8, 32]
    assert found == pytest.approx({1: binarized / total, 8: quantized / total, 32: 160 / total})


def test_without_operations_there_are_no_shares():
    model = keras.Sequential([keras.Input((4,)), layers.ReLU()])
    assert zoo.compress(model)[0].statistics().operations_by_bits() == {}


def test_shares_come_with_the_fewest_bits_first():
    rows = (OperationRow("a", 30, 32), OperationRow("b", 10, 4), OperationRow("c", 20, 32), OperationRow("d", 40, 1))
    found = CompressionStatistics("", (), (), rows, None, zoo.compress(zoo.dense())[0].statistics().coverage, {})
    assert list(found.operations_by_bits().items()) == [(1, 0.4), (4, 0.1), (32, 0.5)]


def test_operations_are_in_the_dict_and_in_the_text():
    controller, _ = create_compressed_model(zoo.convolution(), binary.configured(zoo.convolution(), binary.algorithm()))
    found = controller.statistics(quickly_collected_only=True)
    rows = json.loads(json.dumps(found.to_dict()))["operations"]
    assert rows[0] == {"layer": "conv", "multiply_accumulates": 3888, "bits": 1}
    assert "97.3% in 1 bit, 2.7% in floating point" in str(found)
    assert next(line.split() for line in str(found).splitlines() if line.startswith("conv ")) == ["conv", "3888"]
