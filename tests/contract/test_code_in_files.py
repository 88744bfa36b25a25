"""Files are data: whatever code is in a file of any format, no entry point runs it unless the file is trusted."""

import contextlib
import sys

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress import CompressionError, UntrustedFileError
from keras_compress._keras import keras
from keras_compress_cli.main import main
from tests import zoo
from tests.contract import files_with_code

MODELS = [
    *("a lambda", "a module in a wrapped layer", "a module in an operation", "a module as the model"),
    *("a module under a known name", "a module of an initializer", "a module of a function"),
    *("an operator that writes at once", "an operator that writes", "an operator call that writes"),
    *("a vocabulary in a file", "a lambda (h5)", "an operator that writes at once (h5)", "a link to another file (h5)"),
    "a lambda (SavedModel)",
]
SAVED_MODELS = [
    f"{kind} (SavedModel)"
    for kind in (
        *("an initializer", "an operation that writes", "a branch", "a loop", "printing to a file", "saving"),
        "a summary",
    )
]
GRAPHS = [
    f"{kind} (graph)" for kind in ("an operation that writes", "a function", "a loop", "printing to a file", "Python")
]
OTHERS = [f"an operation of another kind ({name})" for name in ("custom.onnx", "extension.xml", "flex.tflite")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with all the files, and the marker that code would leave."""
    folder = tmp_path_factory.mktemp("code")
    marker = folder / "marker"
    written, module = files_with_code.write_keras_files(folder, marker)
    written |= files_with_code.write_saved_models(folder, marker)
    written |= files_with_code.write_graphs(folder, marker)
    written |= files_with_code.write_files_of_other_runtimes(folder, marker)
    zoo.compressed_once("dense")[0].model.save(folder / "sound.keras")
    np.save(folder / "samples.npy", zoo.samples(zoo.dense()))
    sys.path.insert(0, str(folder))
    yield folder, marker, written
    sys.path.remove(str(folder))
    sys.modules.pop(module, None)


@pytest.fixture
def file_of(place):
    folder, marker, written = place
    marker.unlink(missing_ok=True)
    yield written.__getitem__
    assert not marker.exists(), "code in the file was run"
    assert not list(folder.glob("marker*"))


def test_all_files_are_known_to_this_test(place):
    assert sorted(place[2]) == sorted([*MODELS, *SAVED_MODELS, *GRAPHS, *OTHERS])


def of_python(path, folder):
    """The entry points of Python that take a file, by name."""
    compressed = zoo.compressed_once("dense")[0].model
    inputs = files_with_code.samples()
    return {
        "audit": lambda: kc.audit(compressed, path),
        "benchmark": lambda: kc.benchmark([path], inputs, rounds=1),
        "compare": lambda: kc.compare(compressed, path),
        "report": lambda: kc.report(compressed, folder / "report.html", exports=path),
        "report of several": lambda: kc.report(
            compressed, folder / "report.html", exports=[path], data=zoo.samples(compressed)
        ),
    }


def of_the_command_line(path, folder):
    """The commands that take a file, with their arguments, by name."""
    data = ["--data", folder / "samples.npy"]
    return {
        "inspect": ["inspect", path],
        "inspect --config": ["inspect", path, "--integers", folder / "integers.npz", "--overwrite"],
        "inspect --of": ["inspect", path, "--of", folder / "sound.keras"],
        "inspect of": ["inspect", folder / "sound.keras", "--of", path],
        "benchmark": ["benchmark", path, "--shape", "1,4", "--rounds", "1"],
        "benchmark --float-model": ["benchmark", folder / "sound.keras", "--float-model", path, "--rounds", "1"],
        "compare": ["compare", folder / "sound.keras", path],
        "compare with": ["compare", path, folder / "none.onnx"],
        "export": ["export", path, folder / "out.pb", "--overwrite"],
        "quantize": ["quantize", path, folder / "out.pb", *data, "--overwrite"],
        "analyze": ["analyze", path, *data],
        "diagnose": ["diagnose", path, *data, "--quick"],
    }


@pytest.mark.parametrize("kind", MODELS)
def test_loading_refuses_code_by_name(kind, file_of):
    with pytest.raises(UntrustedFileError, match=r"is more than a model.*trust=True"):
        kc.load_model(file_of(kind))


@pytest.mark.parametrize("kind", [*MODELS, *SAVED_MODELS, *GRAPHS, *OTHERS])
def test_no_entry_point_of_python_runs_code(kind, file_of, tmp_path):
    for run in of_python(file_of(kind), tmp_path).values():
        with contextlib.suppress(CompressionError):
            run()


@pytest.mark.parametrize("kind", [*MODELS, *SAVED_MODELS, *GRAPHS, *OTHERS])
def test_no_command_runs_code(kind, file_of, place, capfd):
    for name, arguments in of_the_command_line(file_of(kind), place[0]).items():
        code = main([str(argument) for argument in arguments])
        said = capfd.readouterr().err
        assert code in (0, 1, 2), name
        assert "--traceback" not in said, f"{name}: a raw error: {said}"


@pytest.mark.parametrize("kind", [*SAVED_MODELS, *GRAPHS])
def test_files_of_tensorflow_are_refused_by_the_operation(kind, file_of):
    with pytest.raises(UntrustedFileError, match=r"operations without side effects|saves or restores files"):
        kc.benchmark([file_of(kind)], files_with_code.samples(), rounds=1)


@pytest.mark.parametrize("kind", ["an operation that writes (SavedModel)", "a function (graph)"])
def test_a_file_that_is_trusted_runs(kind, place):
    _, marker, written = place
    kc.benchmark([written[kind]], files_with_code.samples(), rounds=1, trust=True)
    assert marker.exists()
    marker.unlink()


@pytest.mark.parametrize("kind", ["a lambda", "a lambda (h5)", "a lambda (SavedModel)", "a module in a wrapped layer"])
def test_a_model_that_is_trusted_is_loaded(kind, place):
    _, marker, written = place
    with contextlib.suppress(CompressionError):  # a class that is no layer
        kc.load_model(written[kind], trust=True)
    assert marker.exists()
    marker.unlink()


def test_keras_itself_imports_nothing_for_a_wrapped_layer(file_of):
    for kind in ("a module in a wrapped layer", "a module in an operation"):
        with pytest.raises(UntrustedFileError, match="neither registered nor one that Keras keeps"):
            keras.models.load_model(file_of(kind))


def test_a_checkpoint_runs_no_code(place, tmp_path):
    _, marker, _ = place
    controller, compressed = zoo.compress(zoo.dense())
    state = controller.get_compression_state()
    module = next(path.stem for path in place[0].glob("code_of_*.py"))
    for part in state["edits"]:
        for edit in part:
            (edit.get("op") or edit["layer"]).update(module=module, class_name="Evil", registered_name=None)

    class Saved(tf.train.experimental.PythonState):
        def serialize(self):
            import json

            return json.dumps(state)

        def deserialize(self, text):
            raise NotImplementedError

    tf.train.Checkpoint(model=compressed, compression_state=Saved()).save(str(tmp_path / "ckpt"))
    with pytest.raises(kc.StateError, match="no registered operation"):
        kc.restore(zoo.dense(), tmp_path)
    assert not marker.exists()
