"""A class of the user's with the name of a Keras class is another class, for planning, passes, stripping and every format."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export import registered_formats
from keras_compress.graph import ModelGraph, build, take
from keras_compress.graph.passes.equalize_channels import equalize_channels
from keras_compress.graph.passes.fold_batch_norm import fold_batch_norm
from keras_compress.graph.passes.split_separable import split_separable
from tests import zoo
from tests.any_model.one_layer_models import ONE_LAYER_MODELS
from tests.any_model.running import draw_inputs, outputs_of
from tests.contract.impostors import impostor_of, with_impostors
from tests.levels import levels

#: A model for every class that passes and exporters know by its name.
MODELS = {
    "Conv2D": zoo.convolution,
    "BatchNormalization": zoo.convolution,
    "ReLU": zoo.convolution,
    "MaxPooling2D": zoo.convolution,
    "Flatten": zoo.convolution,
    "Dense": zoo.dense,
    "Add": zoo.residual,
    "GlobalAveragePooling2D": zoo.residual,
    "Concatenate": zoo.concatenation,
    "DepthwiseConv2D": zoo.odd_convolutions,
    "SeparableConv2D": zoo.odd_convolutions,
    "Conv2DTranspose": zoo.odd_convolutions,
    "Embedding": zoo.recurrent,
    "SimpleRNN": zoo.recurrent,
}
FILES = [name for name, each in registered_formats().items() if name not in ("keras", "h5")]
CONFIG = {
    "compression": {
        "algorithm": "quantization",
        "initializer": {"batchnorm_adaptation": {"num_bn_adaptation_samples": 0}},
    }
}


def error(expected, received):
    return np.sqrt(np.mean((received - expected) ** 2) / np.mean(expected**2))


def impostor_model(name):
    model = MODELS[name]()
    assert with_impostors(model, name)
    return rebuilt(model)


def rebuilt(model):
    """Return the model built anew, so that the graph is one of the impostor's calls."""
    return build(take(model))


@pytest.mark.parametrize("name", ONE_LAYER_MODELS)
def test_no_pass_takes_an_impostor_for_a_layer_of_keras(name):
    kinds = {type(layer).__name__ for layer in ONE_LAYER_MODELS[name]().layers} - {"InputLayer", "TFOpLambda"}
    for kind in sorted(kinds - {"SlicingOpLambda", "Lambda"}):
        model = ONE_LAYER_MODELS[name]()
        with_impostors(model, kind)
        snapshot = take(model)
        model = build(snapshot)
        arrays = draw_inputs(model)
        expected = outputs_of(model, arrays)
        for rewrite in (fold_batch_norm, equalize_channels, lambda given: split_separable(given, lambda path: True)):
            for one, other in zip(expected, outputs_of(build(rewrite(snapshot)), arrays), strict=True):
                np.testing.assert_allclose(other, one, atol=1e-4 * np.abs(one).max(), err_msg=f"{kind}")


@pytest.mark.filterwarnings("ignore:TensorFlow Lite runs loops over time only for a fixed number")
@pytest.mark.parametrize("name", levels(MODELS, first=["Conv2D", "SeparableConv2D"]))
def test_an_impostor_is_compressed_stripped_and_exported_as_what_it_computes(name, tmp_path):
    model = impostor_model(name)
    inputs = zoo.samples(model, 16)
    controller, compressed = kc.create_compressed_model(model, kc.register_default_init_args(CONFIG, inputs))
    [expected], [received] = zoo.predict(model, inputs), zoo.predict(compressed, inputs)
    assert error(expected, received) < 0.1
    [stripped] = zoo.predict(controller.strip(), inputs)
    assert error(expected, stripped) < 0.1
    for save_format in FILES:
        path = tmp_path / f"model{registered_formats()[save_format].suffix}"
        report = controller.export_model(path, save_format, data=inputs)
        assert report.problems == []
        assert report.comparison.sqnr > 20, save_format


def test_an_impostor_is_no_class_of_keras_in_the_graph():
    model = impostor_model("Conv2D")
    nodes = {node.ref.layer: node for node in ModelGraph(take(model)).nodes.values()}
    assert nodes["conv"].class_name == "Conv2D"
    assert not nodes["conv"].builtin
    assert nodes["out"].builtin
    assert impostor_of(keras.layers.Conv2D).__name__ == "Conv2D"
    assert tf.reduce_any(model(zoo.samples(model)) != zoo.convolution()(zoo.samples(model)))
