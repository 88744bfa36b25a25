"""weight_coverage: the same rows as the coverage that the controller knows."""

import pytest

from keras_compress import create_compressed_model, register_default_init_args
from keras_compress_cli.weight_coverage import weight_coverage
from tests import zoo

CONFIG = {"compression": [{"algorithm": "magnitude_sparsity"}, {"algorithm": "quantization", "weights": {"bits": 4}}]}


@pytest.mark.parametrize("make", [zoo.convolution, zoo.residual, zoo.concatenation])
def test_it_is_what_the_controller_knows(make):
    model = make()
    controller, compressed = create_compressed_model(model, register_default_init_args(CONFIG, zoo.samples(model)))
    known = controller.statistics(quickly_collected_only=True).coverage
    found = weight_coverage(compressed)
    assert [(row.layer, row.class_name, row.weight, row.parameters) for row in found] == [
        (row.layer, row.class_name, row.weight, row.parameters) for row in known
    ]
    assert {row.compressed_by for row in found} == {"sparsity, quantization: 4 bits"}
    assert found.compressed_share == known.compressed_share


def test_what_is_left_alone_is_not_explained():
    model = zoo.convolution()
    config = {"compression": {"algorithm": "quantization", "ignored_scopes": "conv"}}
    _, compressed = create_compressed_model(model, register_default_init_args(config, zoo.samples(model)))
    assert [row.layer for row in weight_coverage(compressed).unexplained] == ["conv"]
