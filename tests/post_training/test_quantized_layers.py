"""Which operations belong to which layer, and a model that runs with any of its layers in floating point."""

import numpy as np
import pytest

import keras_compress as kc
from keras_compress.data import Batch, Dataset, input_specs
from keras_compress.post_training.quantized_layers import SwitchableModel, quantized_layers
from tests import zoo
from tests.post_training import models


def found(model, **options):
    quantized = kc.quantize(model, zoo.samples(model, 16), **options)
    return quantized, quantized_layers(quantized)


def test_a_layer_has_the_quantizers_of_its_weights_and_of_what_it_reads():
    quantized, layers = found(zoo.residual())
    by_path = {layer.path: layer for layer in layers}
    quantizers = models.activation_quantizers(quantized)
    assert list(by_path) == ["stem", "body", "sum", "pool", "out"]
    assert by_path["stem"].on_weights == tuple(models.wrapped(quantized)["stem"].weight_ops)
    assert by_path["stem"].on_inputs == (quantizers["image_quantizer"],)
    assert by_path["sum"].on_weights == ()
    assert by_path["sum"].on_inputs == by_path["body"].on_inputs == (quantizers["stem_relu_quantizer"],)
    assert set(by_path["body"].operations) == {*by_path["body"].on_weights, *by_path["body"].on_inputs}


def test_parameters_and_bits_are_those_of_the_weights():
    advanced = {"weights_quantization_params": {"num_bits": 4}, "activations_quantization_params": {"num_bits": 6}}
    _, layers = found(zoo.residual(), advanced_parameters=advanced)
    counted = {layer.path: (layer.parameters, layer.bits) for layer in layers}
    assert counted == {"stem": (108, 4), "body": (144, 4), "sum": (0, 6), "pool": (0, 6), "out": (12, 4)}


def test_a_layer_in_a_nested_model_has_its_path():
    assert [layer.path for layer in found(zoo.nested())[1]] == ["backbone/conv", "head/dense"]


def test_a_shared_layer_is_one_layer_with_the_quantizers_of_both_inputs():
    _, layers = found(zoo.shared_layer())
    [shared] = [layer for layer in layers if layer.path == "shared"]
    assert len(shared.on_inputs) == 2
    assert len(shared.on_weights) == 1


def test_a_layer_with_several_weights_has_all_their_quantizers():
    _, layers = found(zoo.recurrent())
    by_path = {layer.path: layer for layer in layers}
    assert len(by_path["rnn"].on_weights) == 2
    assert by_path["rnn"].parameters == 4 * 6 + 6 * 6
    assert by_path["embedding"].on_inputs == ()


def test_a_plain_model_has_none():
    assert quantized_layers(zoo.residual()) == []


@pytest.mark.parametrize("kind", ["residual", "shared_layer", "recurrent", "dicts"])
def test_a_switchable_model_computes_what_the_model_and_the_original_compute(kind):
    model = zoo.MODELS[kind]()
    advanced = {"disable_bias_correction": True, "weights_quantization_params": {"num_bits": 4}}
    quantized, layers = found(model, advanced_parameters=advanced)
    switchable = SwitchableModel(quantized, layers)
    inputs = zoo.samples(model)
    [batch] = Dataset(inputs).batches(input_specs(model), 8)
    for ours, theirs in zip(switchable.outputs(batch, layers), zoo.predict(quantized, inputs), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(switchable.outputs(batch, []), zoo.predict(model, inputs), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_one_layer_alone_is_the_model_with_all_others_ignored():
    model = zoo.dense()
    advanced = {"disable_bias_correction": True, "weights_quantization_params": {"num_bits": 3}}
    quantized, layers = found(model, advanced_parameters=advanced)
    alone = kc.quantize(model, zoo.samples(model, 16), ignored_scope=["hidden"], advanced_parameters=advanced)
    [out] = [layer for layer in layers if layer.path == "out"]
    [batch] = Dataset(zoo.samples(model)).batches(input_specs(model), 8)
    [ours] = SwitchableModel(quantized, layers).outputs(batch, [out])
    np.testing.assert_allclose(ours, zoo.predict(alone, zoo.samples(model))[0], rtol=1e-5, atol=1e-6)


def test_only_the_samples_of_a_batch_are_returned_and_the_model_is_as_it_was():
    model = zoo.dense()
    quantized, layers = found(model)
    before = zoo.predict(quantized, zoo.samples(model))
    [output] = SwitchableModel(quantized, layers).outputs(Batch((zoo.samples(model),), 3), layers)
    assert output.shape == (3, 3)
    for ours, theirs in zip(zoo.predict(quantized, zoo.samples(model)), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
