"""SavedModels: those of Keras and of this package compute and nothing else; savers and assets are told from programs."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import keras_compress as kc
from keras_compress import CompressionError, UntrustedFileError
from keras_compress._keras import keras
from keras_compress.safe_mode import parsed_saved_model, refuse_programs_in_saved_model, trusting
from tests import zoo
from tests.levels import levels

layers = keras.layers

#: Layers of every kind, with the shape of their input.
LAYERS = {
    "Conv1D": (lambda: layers.Conv1D(2, 3), (8, 3)),
    "Conv2D": (lambda: layers.Conv2D(2, 3), (8, 8, 3)),
    "Conv3D": (lambda: layers.Conv3D(2, 3), (4, 4, 4, 2)),
    "Conv2DTranspose": (lambda: layers.Conv2DTranspose(2, 3), (8, 8, 3)),
    "DepthwiseConv2D": (lambda: layers.DepthwiseConv2D(3), (8, 8, 3)),
    "SeparableConv2D": (lambda: layers.SeparableConv2D(2, 3), (8, 8, 3)),
    "LocallyConnected1D": (lambda: layers.LocallyConnected1D(2, 3), (8, 3)),
    "LSTM": (lambda: layers.LSTM(3, return_sequences=True), (6, 3)),
    "GRU": (lambda: layers.GRU(3), (6, 3)),
    "stateful": (lambda: layers.LSTM(3, unroll=True), (6, 3)),
    "Bidirectional": (lambda: layers.Bidirectional(layers.GRU(2)), (6, 3)),
    "ConvLSTM2D": (lambda: layers.ConvLSTM2D(2, 3), (3, 6, 6, 2)),
    "TimeDistributed": (lambda: layers.TimeDistributed(layers.Dense(2)), (6, 3)),
    "BatchNormalization": (lambda: layers.BatchNormalization(), (8, 8, 3)),
    "LayerNormalization": (lambda: layers.LayerNormalization(), (6, 3)),
    "GroupNormalization": (lambda: layers.GroupNormalization(groups=1), (6, 3)),
    "Dropout": (lambda: layers.Dropout(0.5), (6,)),
    "RandomFlip": (lambda: layers.RandomFlip(), (8, 8, 3)),
    "RandomRotation": (lambda: layers.RandomRotation(0.1), (8, 8, 3)),
    "RandomZoom": (lambda: layers.RandomZoom(0.1), (8, 8, 3)),
    "GaussianNoise": (lambda: layers.GaussianNoise(0.1), (6,)),
    "Resizing": (lambda: layers.Resizing(4, 4), (8, 8, 3)),
    "UpSampling2D": (lambda: layers.UpSampling2D(), (4, 4, 3)),
    "MaxPooling2D": (lambda: layers.MaxPooling2D(), (4, 4, 3)),
    "EinsumDense": (lambda: layers.EinsumDense("abc,cd->abd", (None, 4)), (6, 3)),
    "PReLU": (lambda: layers.PReLU(), (6,)),
    "UnitNormalization": (lambda: layers.UnitNormalization(), (6,)),
    "Discretization": (lambda: layers.Discretization([0.0, 1.0]), (6,)),
    "CategoryEncoding": (lambda: layers.CategoryEncoding(4), (2,)),
    "Hashing": (lambda: layers.Hashing(4), (2,)),
    "Normalization": (lambda: layers.Normalization(mean=0.0, variance=1.0), (6,)),
}


@pytest.mark.parametrize("name", levels(LAYERS, first=["Conv2D", "LSTM", "RandomRotation"]))
def test_ordinary_layers_compute_and_nothing_else(name, tmp_path):
    make, shape = LAYERS[name]
    keras.Sequential([keras.Input(shape, dtype="int64" if name == "Hashing" else None), make()]).save(
        tmp_path / "model"
    )
    refuse_programs_in_saved_model(parsed_saved_model(tmp_path / "model"), tmp_path / "model")


def test_a_compiled_and_trained_model_computes_and_nothing_else(tmp_path):
    model = zoo.dense()
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(zoo.samples(model), np.ones((8, 3), np.float32), verbose=0)
    model.save(tmp_path / "model")
    refuse_programs_in_saved_model(parsed_saved_model(tmp_path / "model"), tmp_path / "model")


def test_words_are_looked_up_in_a_table_of_the_file(tmp_path):
    (tmp_path / "words.txt").write_text("a\nb\n")
    for name, vocabulary in {"listed": ["a", "b"], "asset": str(tmp_path / "words.txt")}.items():
        model = keras.Sequential([keras.Input((1,), dtype="string"), layers.StringLookup(vocabulary=vocabulary)])
        tf.saved_model.save(model, str(tmp_path / name))
        report = kc.benchmark([tmp_path / name], np.array([["b"]]), rounds=1)
        assert len(report.rows) == 1


@pytest.mark.parametrize("kind", levels(zoo.MODELS, first=["residual", "recurrent"]))
def test_what_this_package_exports_computes_and_nothing_else(kind, tmp_path):
    model = zoo.compressed_once(kind)[0].model
    for name in ("model", "model.pb"):
        kc.export_model(model, tmp_path / name)
        assert kc.audit(model, tmp_path / name).faults == []


@pytest.fixture
def saved(tmp_path):
    tf.saved_model.save(zoo.dense(), str(tmp_path / "model"))
    return tmp_path / "model"


def edited(path, edit):
    content = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    edit(content.meta_graphs[0])
    (path / "saved_model.pb").write_bytes(content.SerializeToString())


def refused(path, words):
    with pytest.raises(UntrustedFileError, match=words):
        refuse_programs_in_saved_model(parsed_saved_model(path), path)
    with trusting(True):
        refuse_programs_in_saved_model(parsed_saved_model(path), path)


def test_a_function_that_calls_the_saver_is_refused(saved):
    def call_saver(graph):
        functions = graph.graph_def.library.function
        saver = next(one for one in functions if any(n.op == "SaveV2" for n in one.node_def))
        other = next(one for one in functions if one.signature.name in graph.object_graph_def.concrete_functions)
        node = other.node_def.add(name="again", op="StatefulPartitionedCall")
        node.attr["f"].func.name = saver.signature.name

    edited(saved, call_saver)
    refused(saved, "saves or restores files when it is called")


def test_a_saver_that_can_be_called_from_outside_is_refused(saved):
    def publish(graph):
        saver = next(one for one in graph.graph_def.library.function if any(n.op == "SaveV2" for n in one.node_def))
        graph.object_graph_def.concrete_functions[saver.signature.name].SetInParent()

    edited(saved, publish)
    refused(saved, "saves or restores files when it is called")


def test_an_asset_outside_of_the_folder_is_refused(saved):
    edited(saved, lambda graph: setattr(graph.asset_file_def.add(), "filename", "../../etc/passwd"))
    refused(saved, r"reads '\.\./\.\./etc/passwd' outside of its folder")


def test_a_saved_model_of_tensorflow_1_is_refused(saved):
    edited(saved, lambda graph: graph.ClearField("object_graph_def"))
    refused(saved, "runs operations while it is loaded")


def test_damage_is_told(saved):
    (saved / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    with pytest.raises(CompressionError, match="is damaged"):
        parsed_saved_model(saved)
    shutil.rmtree(saved)
    with pytest.raises(CompressionError, match="is no SavedModel"):
        parsed_saved_model(saved)
