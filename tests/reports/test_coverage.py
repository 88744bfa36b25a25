"""Coverage: every matrix of a model is listed once, with what compresses it or why nothing does."""

import json

import pytest

from keras_compress import UnsupportedModelError, coverage, create_compressed_model
from keras_compress._keras import keras
from tests import zoo

PLAIN = {"compression": {"algorithm": "quantization"}}


class Unknown(keras.layers.Layer):
    def build(self, input_shape):
        self.table = self.add_weight("table", (input_shape[-1], 2))

    def call(self, inputs):
        return inputs @ self.table


def with_unknown_layer():
    return keras.Sequential([keras.Input((4,), name="x"), Unknown(name="own"), keras.layers.Dense(3, name="out")])


def rows(make, **settings):
    found = coverage(make(), {"compression": {"algorithm": "quantization", **settings}})
    return {(row.layer, row.weight): row for row in found}


@zoo.every_kind
def test_every_matrix_of_every_model_is_listed_and_compressed(kind):
    found = coverage(zoo.MODELS[kind](), PLAIN)
    assert len({(row.layer, row.weight) for row in found}) == len(found)
    assert found.compressed_share == 1.0
    assert found.unexplained == ()


def test_it_foretells_what_the_controller_reports():
    model = zoo.residual()
    controller, _ = zoo.compress(model, ignored_scopes=["body"])
    foretold = coverage(model, {"compression": {"algorithm": "quantization", "ignored_scopes": ["body"]}})
    assert foretold == controller.statistics().coverage


def test_a_row_tells_the_bits_and_the_size():
    row = rows(zoo.residual, weights={"bits": 4})["stem", "kernel"]
    assert row.compressed_by == "quantization: 4 bits"
    assert row.parameters == 3 * 3 * 3 * 4
    assert row.class_name == "Conv2D"


def test_a_weight_left_by_a_scope_is_explained():
    row = rows(zoo.residual, ignored_scopes=["body"])["body", "kernel"]
    assert (row.compressed_by, row.explained) == ("", True)
    assert "scope" in row.reason


def test_a_weight_without_a_rule_is_unexplained_with_a_remedy():
    row = rows(with_unknown_layer)["own", "table"]
    assert (row.compressed_by, row.explained) == ("", False)
    assert "Unknown" in row.reason
    assert "register_layer_spec" in row.reason


def test_a_strict_configuration_refuses_what_is_unexplained():
    with pytest.raises(UnsupportedModelError, match=r"1 weights would stay.*\n *own: table.*\n.*strict"):
        coverage(with_unknown_layer(), {"strict": True, **PLAIN})
    with pytest.raises(UnsupportedModelError, match="own: table"):
        create_compressed_model(with_unknown_layer(), {"strict": True, **PLAIN})
    assert len(coverage(zoo.dense(), {"strict": True, **PLAIN})) == 2


def test_a_strict_configuration_takes_what_was_ignored_on_purpose():
    ignored = {"algorithm": "quantization", "ignored_scopes": ["own"]}
    found = coverage(with_unknown_layer(), {"strict": True, "compression": ignored})
    assert found.unexplained == ()


def test_an_input_in_floating_point_is_noted():
    note = rows(zoo.dense, activations={"ignored_scopes": ["hidden"]})["hidden", "kernel"]
    assert note.compressed_by
    assert "input is not quantized" in note.reason


def test_dict_and_text():
    found = coverage(zoo.residual(), PLAIN)
    assert json.loads(json.dumps(found.to_dict()))["weights"][0]["layer"] == "stem"
    assert "100.0% of the weights are compressed" in str(found)
    assert "stem" in str(found)
