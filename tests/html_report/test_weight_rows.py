"""Rows of weights and activations: bits, zeros, ranges, errors and arithmetic as NumPy and the model itself have them."""

import math

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.html_report.activation_rows import activation_rows
from keras_compress.html_report.weight_rows import weight_rows
from tests import binary, zoo


def by_layer(model, reasons=None):
    return {row.layer: row for row in weight_rows(model, reasons)}


def quantized(model, **options):
    return kc.quantize(model, zoo.samples(model, 16), advanced_parameters={"disable_bias_correction": True, **options})


@pytest.mark.parametrize("bits", [8, 4])
def test_the_error_is_that_of_rounding_to_the_grid(bits):
    model = zoo.dense()
    row = by_layer(quantized(model, weights_quantization_params={"num_bits": bits}))["hidden"]
    kernel = np.float64(model.get_layer("hidden").kernel.numpy())
    scale = np.abs(kernel).max(axis=0) / (2 ** (bits - 1) - 1)
    rounded = np.round(kernel / scale) * scale
    assert row.sqnr == pytest.approx(10 * math.log10(np.sum(kernel**2) / np.sum((kernel - rounded) ** 2)), rel=1e-3)
    assert row.bits == bits
    assert (row.low, row.high) == pytest.approx((-np.abs(kernel).max(), np.abs(kernel).max()), rel=1e-5)
    assert row.zeros == np.mean(rounded == 0)
    assert (row.shape, row.parameters, row.class_name, row.weight) == ((4, 8), 32, "Dense", "kernel")
    assert (row.computes_in, row.reason) == ("integers", "")


def test_zeros_of_a_mask_are_no_error_of_the_grid():
    model = zoo.dense()
    algorithms = [{"algorithm": "magnitude_sparsity", "sparsity_init": 0.5}, {"algorithm": "quantization"}]
    config = kc.register_default_init_args({"compression": algorithms}, zoo.samples(model, 16))
    row = by_layer(kc.create_compressed_model(model, config)[1])["hidden"]
    assert row.zeros >= 0.4
    assert row.sqnr > 35
    sparse = by_layer(zoo.compress(model, "magnitude_sparsity", sparsity_init=0.5)[1])["hidden"]
    kernel = model.get_layer("hidden").kernel.numpy()
    assert sparse.bits == 32
    assert sparse.sqnr is None
    assert (sparse.low, sparse.high) == (kernel.min(), kernel.max())
    assert (sparse.computes_in, sparse.reason) == ("floating point", "it has zeros and no grid")
    assert sparse.histogram.before.sum() == 32
    assert sparse.histogram.after.sum() == round(32 * (1 - sparse.zeros))


def test_what_is_not_quantized_says_why():
    model = zoo.dense()
    data = zoo.samples(model, 16)
    no_inputs = {"compression": {"algorithm": "quantization", "activations": {"ignored_scopes": ["hidden"]}}}
    _, compressed = kc.create_compressed_model(model, kc.register_default_init_args(no_inputs, data))
    found = by_layer(compressed)
    assert (found["hidden"].computes_in, found["hidden"].reason) == ("floating point", "its input is not quantized")
    assert found["out"].computes_in == "integers"
    ignored = by_layer(kc.quantize(model, data, ignored_scope=["out"]))["out"]
    assert (ignored.bits, ignored.computes_in, ignored.reason) == (32, "floating point", "nothing compresses it")
    assert ignored.histogram is None
    asymmetric = by_layer(quantized(model, weights_quantization_params={"mode": "asymmetric"}))["hidden"]
    assert (asymmetric.computes_in, asymmetric.bits) == ("floating point", 8)
    assert "asymmetric" in asymmetric.reason


def test_a_reason_that_is_given_counts():
    model = quantized(zoo.dense())
    found = by_layer(model, {("hidden", "kernel"): "somebody said so", ("out", "kernel"): ""})
    assert (found["hidden"].computes_in, found["hidden"].reason) == ("floating point", "somebody said so")
    assert (found["out"].computes_in, found["out"].reason) == ("integers", "")


def test_layers_whose_arithmetic_is_not_in_integers():
    model = keras.Sequential(
        [keras.Input((5,)), keras.layers.Embedding(7, 6, name="words"), keras.layers.LSTM(4, name="memory")]
    )
    controller, _ = zoo.compress(model)
    rows = weight_rows(controller.model)
    assert [(row.layer, row.weight) for row in rows] == [
        ("words", "embeddings"),
        ("memory", "cell.kernel"),
        ("memory", "cell.recurrent_kernel"),
    ]
    assert {row.computes_in for row in rows} == {"floating point"}
    assert {row.reason for row in rows} == {"its weights are compressed, its arithmetic stays in floating point"}
    assert {row.bits for row in rows} == {8}


def test_a_binary_layer_computes_in_one_bit_once_it_is_binary():
    model = binary.one_convolution()
    params = {"activations_quant_start_epoch": 0, "weights_quant_start_epoch": 1}
    config = {"compression": {"algorithm": "binarization", "params": params}}
    config = kc.register_default_init_args(config, zoo.samples(model, 16))
    controller, compressed = kc.create_compressed_model(model, config)
    controller.scheduler.epoch_step()
    waiting = by_layer(compressed)["conv"]
    assert (waiting.bits, waiting.computes_in, waiting.reason) == (32, "floating point", "it is not binary yet")
    controller.scheduler.epoch_step()
    row = by_layer(compressed)["conv"]
    kernel = model.get_layer("conv").kernel.numpy()
    values = binary.binary_weight(kernel, (0, 1, 2))
    error = np.sum((kernel - values) ** 2) / np.sum(np.float64(kernel) ** 2)
    assert (row.bits, row.computes_in, row.reason) == (1, "one bit", "")
    assert row.sqnr == pytest.approx(-10 * math.log10(error), rel=1e-4)
    (activation,) = activation_rows(compressed)
    assert (activation.bits, activation.low, activation.readers) == (1, 0.0, ("conv",))
    assert activation.high > 0


@zoo.every_kind
def test_every_kind_of_model_has_the_rows_of_its_coverage(kind):
    controller, compressed = zoo.compressed_once(kind)
    reasons = {(row.layer, row.weight): row.reason for row in controller.statistics(True).coverage}
    rows = weight_rows(compressed, reasons)
    assert {(row.layer, row.weight) for row in rows} == set(reasons)
    for row in rows:
        assert row.computes_in == "floating point" or not row.reason
        assert row.computes_in != "floating point" or row.reason
        assert 0 <= row.zeros <= 1
    assert {row.path for row in activation_rows(compressed)} == {
        row.layer for row in controller.statistics(True).quantizers if row.weight is None
    }


def test_quantizers_of_activations_name_who_reads_them_and_their_range():
    model = zoo.residual()
    compressed = quantized(model)
    found = activation_rows(compressed)
    assert {reader for row in found for reader in row.readers} >= {"stem", "body", "sum", "pool", "out"}
    for row in found:
        low, high = (float(end) for end in compressed.get_layer(row.path).range())
        assert (row.low, row.high, row.ranges, row.bits) == (low, high, 1, 8)
