"""What converters and runtimes say reaches the user in full, with the layer it names and something that can help."""

import dataclasses
import re

import onnxruntime
import pytest

import keras_compress as kc
from keras_compress import ExportError
from keras_compress._keras import keras
from keras_compress.export import registered_formats, registry
from keras_compress.export.foreign_errors import explained, reason_of
from tests import zoo

LONG = "Exception from src/inference/src/cpp/core.cpp:117:\nException from src/plugin.cpp:53:\nReshape model/wide/Tensordot\nfailed here"


def test_places_are_left_out_and_the_rest_is_kept():
    assert reason_of(RuntimeError(LONG)) == "Reshape model/wide/Tensordot\nfailed here."


def test_layers_are_named_as_whole_words():
    assert reason_of(RuntimeError(LONG), ["wide", "id", "Tensor", "other"]).endswith("It names layer 'wide'.")
    assert "It names layers 'a', 'b'." in reason_of(ValueError("a and b"), ["a", "b", "c"])


@pytest.mark.parametrize(("error", "reason"), [(StopIteration(), "StopIteration."), (RuntimeError("Why?"), "Why?")])
def test_an_error_without_words_has_its_class(error, reason):
    assert reason_of(error) == reason


def test_errors_of_the_package_are_left_alone():
    with pytest.raises(ExportError, match=r"^mine$"), explained("problem"):
        raise ExportError("mine")


@pytest.mark.parametrize("name", sorted(registered_formats()))
def test_a_file_that_cannot_be_read_is_explained_in_every_format(name, tmp_path):
    from keras_compress.export import file_audit

    form = registered_formats()[name]

    def refuse(path):
        raise RuntimeError(LONG)

    broken = type(form)(**{**form.__dict__, "stored_weights": refuse, "isolated": None})
    with pytest.raises(
        ExportError, match=r"Reshape model/wide/Tensordot\nfailed here\. It names layer 'wide'\. .*batch_size=1"
    ):
        file_audit.stored_weights(tmp_path / "file", broken, ["wide"])


def test_a_runtime_that_refuses_is_quoted(tmp_path, monkeypatch):
    model = zoo.dense()
    x = zoo.samples(model, 8)

    class Refusing:
        def __init__(self, *_, **__):
            raise RuntimeError(LONG)

    kc.export_model(model, tmp_path / "model.onnx")
    monkeypatch.setattr(onnxruntime, "InferenceSession", Refusing)
    monkeypatch.setitem(registry._FORMATS, "onnx", dataclasses.replace(registered_formats()["onnx"], isolated=None))
    report = kc.audit(model, tmp_path / "model.onnx", data=x)
    assert re.search(
        r"its runtime cannot run it: Reshape model/wide/Tensordot\nfailed here.* another format", report.result_problem
    )


def test_an_operation_that_a_converter_lacks_is_named_with_its_layer(tmp_path):
    import tensorflow as tf

    x = keras.Input((4, 4))
    model = keras.Model(x, keras.layers.Lambda(tf.linalg.slogdet, name="odd")(x))
    with pytest.raises(ExportError, match=r"(?s)cannot be converted to ONNX.*LogMatrixDeterminant.*another format"):
        kc.export_model(model, tmp_path / "model.onnx")
    with pytest.raises(ExportError, match=r"(?s)Layer 'odd' computes with .*LogMatrixDeterminant.*another format"):
        kc.export_model(model, tmp_path / "model.xml")
