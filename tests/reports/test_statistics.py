"""Statistics read off a compressed model: rows, shares, reasons, as values and as text."""

import json

import numpy as np
import pytest

from keras_compress import create_compressed_model
from keras_compress._keras import keras
from tests import zoo


def statistics(make=zoo.convolution, **settings):
    return zoo.compress(make(), **settings)[0].statistics()


def test_a_row_for_every_quantizer_in_the_order_of_the_model():
    rows = [(row.layer, row.weight, row.bits, row.mode, row.ranges, row.signed) for row in statistics().quantizers]
    assert rows == [
        ("image_quantizer", None, 8, "symmetric", 1, True),
        ("conv", "kernel", 8, "symmetric", 4, True),
        ("relu_quantizer", None, 8, "symmetric", 1, False),
        ("out", "kernel", 8, "symmetric", 3, True),
    ]


def test_an_asymmetric_quantizer_is_signed_by_its_range():
    rows = {row.layer: row for row in statistics(preset="mixed").quantizers}
    assert (rows["image_quantizer"].mode, rows["image_quantizer"].signed) == ("asymmetric", True)
    assert rows["relu_quantizer"].signed is False


@pytest.mark.parametrize(
    ("settings", "share"),
    [({}, 1.0), ({"ignored_scopes": ["out"]}, 108 / 216), ({"ignored_scopes": ["{re}.*"]}, 0.0)],
)
def test_the_share_counts_parameters_of_matrices(settings, share):
    assert statistics(**settings).compressed_share == pytest.approx(share)


def test_layers_without_matrices_have_no_share():
    model = keras.Sequential([keras.Input((4,)), keras.layers.ReLU()])
    assert zoo.compress(model)[0].statistics().compressed_share == 0.0


def test_the_dict_is_json_and_the_text_names_every_layer():
    found = statistics(ignored_scopes=["out"])
    assert json.loads(json.dumps(found.to_dict()))["compressed_share"] == found.compressed_share
    for word in ("FULLY_COMPRESSED", "image_quantizer", "conv", "floating point", "out", "outside the scope"):
        assert word in str(found)
    assert str(found) == found.to_str()


def sparse(*others, level=0.5, **settings):
    """Return the controller of the dense model with magnitude sparsity at ``level``."""
    params = {"sparsity_target": 0.9}
    magnitude = {"algorithm": "magnitude_sparsity", "sparsity_init": level, "params": params, **settings}
    config = zoo.config(zoo.dense())
    values = type(config).from_dict({"compression": [magnitude, *others]}).with_init_data(config.init_data)
    return create_compressed_model(zoo.dense(), values)[0]


def test_a_row_for_every_weight_with_a_mask():
    controller = sparse()
    found = controller.statistics()
    rows = [(row.layer, row.weight, row.parameters, row.kept, row.level) for row in found.sparsity]
    expected = []
    for (layer, weight), (values, seen, _) in zoo.masked_weights(controller.model).items():
        kept = int(np.sum(seen != 0))
        expected.append((layer, weight, values.size, kept, pytest.approx(1 - kept / values.size)))
    assert rows == expected
    assert [row[:3] for row in rows] == [("hidden", "kernel", 32), ("out", "kernel", 24)]
    assert sum(row.kept for row in found.sparsity) == 28
    assert found.sparsity_level == pytest.approx(0.5)
    assert found.stage == "PARTIALLY_COMPRESSED"


def test_zeros_that_quantization_makes_count_too():
    controller = sparse({"algorithm": "quantization", "weights": {"bits": 2}}, level=0.25)
    found = controller.statistics()
    seen = [seen for _, seen, _ in zoo.masked_weights(controller.model).values()]
    assert [row.kept for row in found.sparsity] == [int(np.count_nonzero(values)) for values in seen]
    assert found.sparsity_level == pytest.approx(sum(np.sum(values == 0) for values in seen) / 56)
    assert found.sparsity_level > 0.25
    assert found.numbers["magnitude_sparsity"]["sparsity_level"] == pytest.approx(0.25)


def test_weights_without_a_mask_have_no_row():
    assert statistics().sparsity == ()
    assert statistics().sparsity_level == 0.0
    found = sparse(target_scopes=["out"]).statistics()
    assert [row.layer for row in found.sparsity] == ["out"]
    assert found.sparsity_level == 0.5


def test_the_size_is_that_of_the_model_as_it_stands():
    found = sparse(level=0.75).statistics()
    kept = [row.kept for row in found.sparsity]
    assert found.size.float32 == found.size.dense == 4 * (32 + 8 + 24 + 3)
    assert found.size.sparse == (4 + 4 * kept[0]) + 32 + (3 + 4 * kept[1]) + 12


def test_sparsity_is_in_the_dict_and_in_the_text():
    controller = sparse()
    found = controller.statistics()
    values = json.loads(json.dumps(found.to_dict()))
    assert values["sparsity_level"] == pytest.approx(0.5)
    assert values["sparsity"][0] == {
        "layer": "hidden",
        "weight": "kernel",
        "parameters": 32,
        "kept": found.sparsity[0].kept,
        "level": pytest.approx(1 - found.sparsity[0].kept / 32),
    }
    assert set(values["size"]) == {"float32", "dense", "gzip", "sparse"}
    (together,) = [line for line in str(found).splitlines() if line.startswith("(together)")]
    assert together.split() == ["(together)", "56", "28", "50.00%"]
    for word in ("bytes of the weights", "Zeros make a file smaller only", "CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE"):
        assert word in str(found)
    assert "(together)" in found.sparsity_table()


def test_quick_statistics_have_no_size():
    found = sparse().statistics(quickly_collected_only=True)
    assert found.size is None
    assert found.to_dict()["size"] is None
    assert "bytes of the weights" not in str(found)
