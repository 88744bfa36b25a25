"""The core of the converter runs in a process of its own: the same bytes, and its end is an error and not the end of this process."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.lite.python import convert

import keras_compress as kc
from keras_compress import ExportError
from keras_compress.export import isolated_converter, isolated_runtime
from keras_compress.export.tflite import export_tflite
from keras_compress.export.tflite_audit import stored_in_tflite
from tests import zoo

HERE = convert.wrap_converter
STRANGE = """
    import os, time
    os.write(2, b"I0000 00:00:1 a note\\nThe graph is not as it should be.\\n")
    if "refuses to load" in {how!r}:
        raise ImportError("of another version")
    def ready():
        pass
    def call(function, *arguments):
        if "hangs" in {how!r}:
            time.sleep(600)
        os.kill(os.getpid(), {signal})
"""


def converter(outputs=1):
    """A converter of a product with a constant."""
    weights = tf.constant(np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec((None, 4))])
    def product(x):
        return [tf.matmul(x, weights) * float(number + 1) for number in range(outputs)]

    return tf.lite.TFLiteConverter.from_concrete_functions([product.get_concrete_function()])


@pytest.fixture
def strange(monkeypatch, tmp_path):
    """Return what exchanges the core for one that does not work."""
    folder = tmp_path / "runtimes"
    folder.mkdir()
    original = isolated_runtime.packages()
    real = dict(original)["keras_compress.export.runtimes"]
    (folder / "worker.py").write_text((isolated_runtime.Path(real) / "worker.py").read_text())

    def exchange(how, signal=11):
        (folder / "strange.py").write_text(textwrap.dedent(STRANGE.format(how=how, signal=signal)))
        packages = [*original[:2], ("keras_compress.export.runtimes", str(folder))]
        monkeypatch.setattr(isolated_runtime, "packages", lambda: packages)
        monkeypatch.setattr(isolated_converter, "_MODULE", "strange")

    yield exchange
    isolated_runtime._RUNTIMES.pop((os.getpid(), "strange")).close()


def test_it_writes_the_same_bytes_as_in_this_process():
    made = converter(2)
    here = made.convert()
    with isolated_converter.isolated_converter("m.tflite", "Do otherwise."):
        assert convert.wrap_converter is not HERE
        there = made.convert()
    assert here == there
    assert convert.wrap_converter is HERE


def test_what_it_says_of_a_graph_is_told_in_full_and_it_goes_on():
    @tf.function(input_signature=[tf.TensorSpec((None, 4))])
    def foreign(x):
        return tf.math.bessel_i0e(x)

    made = tf.lite.TFLiteConverter.from_concrete_functions([foreign.get_concrete_function()])
    with (
        pytest.raises(Exception, match=r"'tf\.BesselI0e' op is neither"),
        isolated_converter.isolated_converter("m.tflite", "Do otherwise."),
    ):
        made.convert()
    process = isolated_runtime.runtime_of("tflite_converter")._process
    with isolated_converter.isolated_converter("m.tflite", "Do otherwise."):
        assert len(converter().convert())
    assert isolated_runtime.runtime_of("tflite_converter")._process is process


@pytest.mark.parametrize(("signal", "name"), [(11, "SIGSEGV"), (6, "SIGABRT"), (8, "SIGFPE"), (9, "SIGKILL")])
def test_its_end_is_an_error_that_names_format_reason_and_a_way_out(signal, name, strange, tmp_path):
    strange("dies", signal)
    _, model = zoo.compressed_once("dense")
    with pytest.raises(
        ExportError,
        match=rf"TensorFlow Lite's converter has ended its process \({name}\n"
        r"The graph is not as it should be\.\) on the model for '.*m\.tflite'\. .*choose another format",
    ):
        kc.export_model(model, tmp_path / "m.tflite")
    assert convert.wrap_converter is HERE
    assert not (tmp_path / "m.tflite").exists()


def test_one_that_hangs_is_given_up(strange, monkeypatch):
    strange("hangs")
    monkeypatch.setattr(isolated_converter, "SECONDS", 3)
    with (
        pytest.raises(ExportError, match=r"was given up after 3 s on the model for 'm\.tflite'\. Do otherwise\."),
        isolated_converter.isolated_converter("m.tflite", "Do otherwise."),
    ):
        converter().convert()


def test_where_the_core_cannot_be_loaded_alone_this_process_converts(strange, tmp_path):
    strange("refuses to load")
    _, model = zoo.compressed_once("dense")
    path = export_tflite(model, tmp_path / "m.tflite")
    assert stored_in_tflite(path)


def test_weights_that_cannot_be_stored_sparsely_stay_dense(strange):
    content = converter().convert()
    assert isolated_converter.stored_sparsely(content) is None  # they have no zeros
    strange("dies")
    assert isolated_converter.stored_sparsely(content) is None


def test_its_process_imports_the_core_of_tensorflow_only():
    code = f"""
        import sys
        import types
        for name, folder in {isolated_runtime.packages()!r}:
            package = sys.modules[name] = types.ModuleType(name)
            package.__path__ = [folder]
        import keras_compress.export.runtimes.tflite_converter
        assert not {{"tensorflow.python.framework", "tf_keras", "keras", "numpy"}} & set(sys.modules), sorted(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=120)
