"""A SavedModel that is read without being loaded gives the numbers that TensorFlow's loader gives."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

import keras_compress as kc
from keras_compress import ExportError
from keras_compress.export.graph_def import stored_in_graph
from keras_compress.export.saved_model_reading import frozen_signature
from tests import zoo
from tests.levels import levels


def weights_of(graph_def):
    """Return what tells the weights of a graph from others, in an order that names do not matter for."""
    found = [
        (w.values.shape, w.on_grid, w.input_quantized, w.values.ravel().tolist()) for w in stored_in_graph(graph_def)
    ]
    return sorted(found, key=str)


@pytest.mark.parametrize("kind", levels(zoo.MODELS, first=["residual", "recurrent"]))
def test_the_numbers_are_those_of_the_loader(kind, tmp_path):
    kc.export_model(zoo.compressed_once(kind)[0].model, tmp_path / "model")
    module = tf.saved_model.load(str(tmp_path / "model"))
    loaded = convert_variables_to_constants_v2(module.signatures["serving_default"], aggressive_inlining=True)
    assert weights_of(frozen_signature(tmp_path / "model")) == weights_of(loaded.graph.as_graph_def())


@pytest.mark.extended
def test_another_process_reads_the_same(tmp_path):
    kc.export_model(zoo.compressed_once("nested")[0].model, tmp_path / "model")
    code = (
        "from pathlib import Path; from keras_compress.export.saved_model_reading import frozen_signature; "
        "from keras_compress.export.graph_def import stored_in_graph; "
        f"print(sum(float(w.values.sum()) for w in stored_in_graph(frozen_signature(Path({str(tmp_path / 'model')!r})))))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    here = sum(float(weight.values.sum()) for weight in stored_in_graph(frozen_signature(tmp_path / "model")))
    np.testing.assert_allclose(float(told.split()[-1]), here, rtol=1e-6)


def test_variables_have_their_names(tmp_path):
    tf.saved_model.save(zoo.dense(), str(tmp_path / "model"))
    names = {node.name for node in frozen_signature(tmp_path / "model").node if node.op == "Const"}
    assert {"hidden/kernel", "hidden/bias", "out/kernel", "out/bias"} <= names


def test_what_is_missing_is_told(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "empty"))
    with pytest.raises(ExportError, match="has no signature 'serving_default'"):
        frozen_signature(tmp_path / "empty")
    tf.saved_model.save(zoo.dense(), str(tmp_path / "model"))
    (tmp_path / "model" / "variables" / "variables.index").unlink()
    with pytest.raises(ExportError, match="variable 'hidden/kernel' is not in its checkpoint"):
        frozen_signature(tmp_path / "model")
