"""A runtime in a process of its own: it computes the same, is kept, and may hang or die without taking this process with it."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import openvino
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress.errors import ExportError
from keras_compress.export import isolated_runtime
from keras_compress.export.frozen_graph import tensor_names
from keras_compress.export.isolated_runtime import (
    isolated_load,
    isolated_load_by_default,
    isolated_stored_weights,
    isolated_tensors,
)
from keras_compress.export.registry import registered_formats
from tests import zoo

FILES = {"onnx": "model.onnx", "openvino": "model.xml", "tflite": "model.tflite"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A quantized model and its files, by format."""
    folder = tmp_path_factory.mktemp("isolated")
    model = kc.quantize(zoo.convolution(), zoo.samples(zoo.convolution(), 32))
    return model, {name: kc.export_model(model, folder / file).path for name, file in FILES.items()}


@pytest.mark.parametrize("name", FILES)
def test_it_reads_and_computes_what_this_process_does(exported, name):
    model, files = exported
    form, inputs = registered_formats()[name], [zoo.samples(model, 5)]
    here = form.load(files[name], None, 0)(inputs)
    there = isolated_load(form, files[name], None)(inputs)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    stored, isolated = form.stored_weights(files[name]), isolated_stored_weights(form, files[name])
    assert [weight.name for weight in stored] == [weight.name for weight in isolated]
    for one, other in zip(stored, isolated, strict=True):
        np.testing.assert_array_equal(one.values, other.values)


@pytest.mark.parametrize("name", FILES)
def test_its_process_is_kept_and_has_neither_tensorflow_nor_keras(exported, name):
    _, files = exported
    form = registered_formats()[name]
    isolated_load(form, files[name], None)
    runtime = isolated_runtime._RUNTIMES[os.getpid(), form.isolated]
    process = runtime._process
    isolated_load(form, files[name], None)
    assert runtime._process is process
    code = f"""
        import sys
        sys.argv = ["worker"]
        import builtins, types
        for name, folder in {isolated_runtime.packages()!r}:
            package = sys.modules[name] = types.ModuleType(name)
            package.__path__ = [folder]
        import keras_compress.export.runtimes.{form.isolated}
        assert not {{"tensorflow", "tf_keras", "keras"}} & set(sys.modules), sorted(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=120)


def test_a_file_that_was_loaded_before_another_one_is_loaded_again_and_not_mixed_up_with_it(exported, tmp_path):
    model, files = exported
    form, inputs = registered_formats()["onnx"], [zoo.samples(model, 2)]
    first = isolated_load(form, files["onnx"], None)
    expected = first(inputs)
    other = zoo.convolution()
    for variable in other.variables:
        variable.assign(tf.ones_like(variable))
    kc.export_model(other, tmp_path / "other.onnx")
    second = isolated_load(form, tmp_path / "other.onnx", None)
    assert not np.array_equal(second(inputs)[0], expected[0])
    assert np.array_equal(first(inputs)[0], expected[0])
    assert not np.array_equal(second(inputs)[0], expected[0])


RUNTIME = """
    import os, time
    def stored_weights(path):
        return []
    def load(path, names, threads):
        if "hangs" in path.name:
            time.sleep(600)
        if "dies" in path.name:
            print("the last words", flush=True)
            os.abort()
        if "raises" in path.name:
            raise ValueError("a reason\\nof two lines")
        return lambda arrays: [2 * array for array in arrays]
    def load_by_default(path, names):
        return ("bf16", lambda arrays: [3 * array for array in arrays]) if "rounds" in path.name else None
"""


@pytest.fixture
def form(monkeypatch, tmp_path):
    """A format whose runtime hangs, dies or raises by the name of the file."""
    folder = tmp_path / "runtimes"
    folder.mkdir()
    (folder / "strange.py").write_text(textwrap.dedent(RUNTIME))
    original = isolated_runtime.packages()
    real = dict(original)["keras_compress.export.runtimes"]
    (folder / "worker.py").write_text((isolated_runtime.Path(real) / "worker.py").read_text())
    packages = [*original[:2], ("keras_compress.export.runtimes", str(folder))]
    monkeypatch.setattr(isolated_runtime, "packages", lambda: packages)
    yield kc.export.Format("strange", ".strange", None, None, None, isolated="strange")
    isolated_runtime._RUNTIMES.pop((os.getpid(), "strange")).close()


def test_a_runtime_that_hangs_is_given_up(form, tmp_path):
    with pytest.raises(
        ExportError, match=r"hangs.strange' has kept its runtime busy for 3 s \(compiling\).*ignored_scopes"
    ):
        isolated_load(form, tmp_path / "hangs.strange", None, seconds=3)
    assert isolated_load(form, tmp_path / "right.strange", None)([np.ones(2)])[0].tolist() == [2.0, 2.0]


def test_a_runtime_that_dies_is_an_error_with_its_last_words(form, tmp_path):
    with pytest.raises(
        ExportError, match=r"dies.strange' has ended its runtime \(compiling\): SIGABRT\nthe last words"
    ):
        isolated_load(form, tmp_path / "dies.strange", None)
    assert isolated_load(form, tmp_path / "right.strange", None)([np.ones(2)])[0].tolist() == [2.0, 2.0]


def test_an_error_of_a_runtime_comes_in_full(form, tmp_path):
    with pytest.raises(RuntimeError, match="ValueError: a reason\nof two lines"):
        isolated_load(form, tmp_path / "raises.strange", None)


def test_an_interrupt_leaves_no_answer_behind_for_the_next_request(form, tmp_path, monkeypatch):
    run = isolated_load(form, tmp_path / "right.strange", None)

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(isolated_runtime.worker, "receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run([np.ones(2)])
    again = isolated_load(form, tmp_path / "right.strange", None)
    assert again([3 * np.ones(2)])[0].tolist() == [6.0, 6.0]


@pytest.mark.parametrize("name", FILES)
def test_its_process_lets_go_of_what_was_inside_of_a_file(exported, name):
    model, files = exported
    form, inputs = registered_formats()[name], [zoo.samples(model, 256)]
    names = tensor_names(model, None, None)
    taken = []
    for _ in range(6):
        inside = isolated_tensors(form, files[name], names, inputs)
        taken.append(memory_of(isolated_runtime._RUNTIMES[os.getpid(), form.isolated]._process.pid))
    size = sum(array.nbytes for _, array in inside.tensors)
    assert taken[-1] - taken[1] < 2 * size  # of four requests


def memory_of(process):
    """Return the bytes that a process has taken for itself."""
    status = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(re.search(r"RssAnon:\s+(\d+)", status).group(1))


def test_a_file_of_a_process_that_has_ended_is_loaded_again(form, tmp_path):
    first = isolated_load(form, tmp_path / "right.strange", None)
    isolated_runtime._RUNTIMES[os.getpid(), "strange"].close()
    isolated_load(form, tmp_path / "right.strange", None)
    assert first([np.ones(2)])[0].tolist() == [2.0, 2.0]
    assert isolated_runtime._RUNTIMES[os.getpid(), "strange"].loaded is not None


def test_a_runtime_tells_what_it_computes_by_default(form, tmp_path):
    exact = isolated_load(form, tmp_path / "rounds.strange", None)
    assert exact([np.ones(2)])[0].tolist() == [2.0, 2.0]
    precision, run = isolated_load_by_default(form, tmp_path / "rounds.strange", None)
    assert (precision, run([np.ones(2)])[0].tolist()) == ("bf16", [3.0, 3.0])
    assert isolated_load_by_default(form, tmp_path / "right.strange", None) is None


@pytest.mark.parametrize("name", FILES)
def test_only_openvino_has_a_default_below_float32(exported, name):
    _, files = exported
    found = isolated_load_by_default(registered_formats()[name], files[name], None)
    precision = openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name()
    assert (found is None) == (name != "openvino" or precision == "f32")
