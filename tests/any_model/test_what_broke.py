"""A failure of the matrix names the layer that departs and the step."""

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from tests import zoo
from tests.any_model.what_broke import assert_same_outputs, first_layer, first_layer_in_graph


def changed(model, layer):
    """Return a copy of a model with twice the weights in one layer."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    copy.get_layer(layer).set_weights([2 * array for array in model.get_layer(layer).get_weights()])
    return copy


@pytest.mark.parametrize("layer", ["stem", "body_norm", "out"])
def test_the_layer_that_departs_is_named_with_the_step(layer):
    model = zoo.residual()
    other, inputs = changed(model, layer), zoo.samples(model)
    with pytest.raises(
        pytest.fail.Exception, match=rf"reading the file: output 'out' differs by .* from layer '{layer}' on"
    ):
        assert_same_outputs(
            "reading the file",
            model.output_names,
            zoo.predict(model, inputs),
            zoo.predict(other, inputs),
            0.0,
            lambda: first_layer(model, other, [inputs], 0.0),
        )


@pytest.mark.parametrize("layer", ["stem", "out"])
def test_the_layer_of_a_frozen_graph_that_departs_is_named(layer, tmp_path):
    model = zoo.residual()
    path = kc.export_model(changed(model, layer), tmp_path / "model.pb").path
    assert first_layer_in_graph(model, path, [zoo.samples(model)], 1e-5) == f"layer '{layer}'"


def test_same_outputs_pass_and_shapes_count():
    same = [np.ones((2, 3))]
    assert_same_outputs("step", ["out"], same, same, 0.0, None)
    with pytest.raises(pytest.fail.Exception, match=r"has shape \(2, 1\), expected \(2, 3\), from layer 'x' on"):
        assert_same_outputs("step", ["out"], same, [np.ones((2, 1))], 0.0, lambda: "layer 'x'")
