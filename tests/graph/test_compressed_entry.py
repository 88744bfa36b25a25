"""A wrapped layer as it is written down is read and written without loss, and computes what the living one computes."""

import copy

import numpy as np
import pytest

from keras_compress.graph import build, take
from keras_compress.graph.compressed_entry import CompressedEntry, inner_entry, is_compressed_entry
from keras_compress.graph.snapshot import entries
from keras_compress.layers import CompressedLayer
from tests import zoo

PARTS = [{"algorithm": "magnitude_sparsity", "sparsity_init": 0.5}, {"algorithm": "quantization"}]


@pytest.fixture(scope="module")
def compressed():
    """A model with two operations on every weight."""
    import keras_compress as kc

    model = zoo.convolution()
    config = kc.register_default_init_args({"compression": PARTS}, zoo.samples(model, 16))
    return kc.create_compressed_model(model, config)[1]


def wrapped_entries(model):
    """Return ``(path, entry, arrays)`` of every wrapped layer."""
    snapshot = take(model)
    return [
        (path, entry, snapshot.weights[path]) for path, entry in entries(snapshot.config) if is_compressed_entry(entry)
    ]


def test_reading_and_writing_changes_nothing(compressed):
    for _, entry, arrays in wrapped_entries(compressed):
        before = copy.deepcopy(entry)
        written = CompressedEntry.of(entry, arrays).write_to(entry)
        assert entry == before
        assert written.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(written[name], array)


def test_it_holds_the_layer_and_its_operations_in_order(compressed):
    for path, entry, arrays in wrapped_entries(compressed):
        wrapped = CompressedEntry.of(entry, arrays)
        layer: CompressedLayer = compressed.get_layer(path)
        assert wrapped.layer["class_name"] == type(layer.layer).__name__ == inner_entry(entry)["class_name"]
        assert [(op.weight, op.operation_class) for op in wrapped.operations] == [
            (weight, type(op)) for weight, op in layer.operations
        ]
        np.testing.assert_array_equal(wrapped.arrays["kernel"], layer.layer.kernel)
        mapped = wrapped.mapped_arrays()
        np.testing.assert_array_equal(mapped["kernel"], layer.compressed_weight("kernel"))
        np.testing.assert_array_equal(mapped["bias"], layer.layer.bias)


def test_carried_out_it_is_the_layer_by_itself(compressed):
    snapshot = take(compressed)
    weights = dict(snapshot.weights)
    for path, entry in entries(snapshot.config):
        wrapped = CompressedEntry.of(entry, weights.get(path, {}))
        if wrapped is not None:
            weights[path] = wrapped.carried_out().write_to(entry)
            assert not is_compressed_entry(entry)
            assert CompressedEntry.of(entry, weights[path]) is None
    inputs = zoo.samples(compressed)
    zoo.assert_same_predictions(build(snapshot.with_weights(weights)), compressed, inputs)


def test_a_layer_that_is_not_wrapped_is_none_and_stays_as_it_is():
    snapshot = zoo.snapshot("convolution")
    for path, entry in entries(snapshot.config):
        assert CompressedEntry.of(entry, snapshot.weights.get(path, {})) is None
        assert inner_entry(entry) is entry
