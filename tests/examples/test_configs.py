"""Every configuration beside a sample is right for the package and for the sample's network, and complete within ten epochs."""

from pathlib import Path

import pytest

import examples
import keras_compress as kc
from benchmarks.resnet8 import build_resnet8
from benchmarks.u_net import build_u_net
from examples.object_detection.detector import build_detector

FOLDER = Path(examples.__file__).parent
NETWORKS = {
    "classification": lambda: build_resnet8((32, 32, 3), 10),
    "object_detection": lambda: build_detector((96, 128, 3), 3),
    "semantic_segmentation": lambda: build_u_net((64, 64, 3), 4),
}
CONFIGS = sorted(FOLDER.glob("*/configs/*.json"))
EPOCHS = 10


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.parent.name}/{path.stem}")
def test_every_algorithm_of_a_configuration_compresses_a_part_of_the_network(path):
    config = kc.CompressionConfig.from_json(path)
    table = kc.coverage(NETWORKS[path.parent.parent.name](), config)
    compressed_by = " ".join(row.compressed_by or "" for row in table)
    for algorithm in config.compression:
        assert algorithm.name in compressed_by
        final_epoch = algorithm.final_epoch()
        assert final_epoch is not None
        assert final_epoch < EPOCHS


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.parent.name}/{path.stem}")
def test_a_configuration_has_no_key_without_effect(path, recwarn):
    kc.CompressionConfig.from_json(path).warn_about_foreign_keys()
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("sample", NETWORKS)
def test_every_sample_has_the_same_variants(sample):
    names = {path.stem for path in CONFIGS if path.parent.parent.name == sample}
    assert names >= {"int8", "int8_mixed", "w4a8", "magnitude", "rb", "magnitude_int8", "rb_int8"}


@pytest.mark.parametrize("name", ["xnor", "dorefa", "xnor_int8"])
def test_binarization_leaves_out_what_is_usually_left_out(name):
    config = kc.CompressionConfig.from_json(FOLDER / "classification" / "configs" / f"{name}.json")
    network = NETWORKS["classification"]()
    bare = {"compression": {"algorithm": "binarization", "mode": config.compression[0].mode}}
    proposed = kc.coverage(network, kc.keep_in_float(network, bare))
    written = kc.coverage(network, config)
    assert _binarized(written) == _binarized(proposed) != set()


def _binarized(table):
    return {row.layer for row in table if "binarization" in (row.compressed_by or "")}
