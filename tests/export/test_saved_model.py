"""A SavedModel loads in a process of plain TensorFlow; an old one is replaced by a complete one, or stays."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import keras_compress as kc
from keras_compress import ExportError
from keras_compress._keras import keras
from keras_compress.files import moves
from tests import zoo

layers = keras.layers

#: Runs every SavedModel of a folder on the arrays beside it, in a process that cannot import this package.
PROGRAM = """
import pathlib, sys
sys.modules["keras_compress"] = sys.modules["tf_keras"] = None
import numpy as np, tensorflow as tf
for inputs in sorted(pathlib.Path(sys.argv[1]).glob("*.in.npz")):
    name = inputs.name.partition(".")[0]
    module = tf.saved_model.load(str(inputs.parent / name))
    outputs = module.signatures["serving_default"](**{k: tf.constant(v) for k, v in np.load(inputs).items()})
    np.savez(inputs.parent / f"{name}.out.npz", **{k: v.numpy() for k, v in outputs.items()})
"""


def signature(path):
    module = tf.saved_model.load(str(path))
    inputs = module.signatures["serving_default"].structured_input_signature[1]
    outputs = module.signatures["serving_default"].structured_outputs
    return {k: v.shape.as_list() for k, v in inputs.items()}, {k: v.shape.as_list() for k, v in outputs.items()}


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def controller():
    return zoo.compress(zoo.dense())[0]


@pytest.fixture
def old(tmp_path, controller):
    """A SavedModel with a file of its own among its assets, which shows whether it was replaced."""
    path = controller.export_model(tmp_path / "model").path
    (path / "assets").mkdir(exist_ok=True)
    (path / "assets" / "more.txt").write_text("of the old one")
    saved = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    saved.meta_graphs[0].asset_file_def.add().filename = "more.txt"
    (path / "saved_model.pb").write_bytes(saved.SerializeToString())
    return path


@pytest.mark.extended
def test_plain_tensorflow_loads_it_in_a_process_of_its_own_and_gives_the_outputs_by_name(tmp_path):
    kinds = ("residual", "dicts", "recurrent")
    models = {}
    for kind in kinds:
        controller, models[kind] = zoo.compressed_once(kind)
        controller.export_model(tmp_path / kind)
        arrays = tf.nest.flatten(zoo.samples(models[kind]))
        names = models[kind].input_names
        np.savez(tmp_path / f"{kind}.in.npz", **dict(zip(names, arrays, strict=True)))
    subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], check=True, capture_output=True, cwd=tmp_path)
    for kind, model in models.items():
        received = np.load(tmp_path / f"{kind}.out.npz")
        expected = dict(zip(model.output_names, zoo.predict(model, zoo.samples(model)), strict=True))
        assert set(received) == set(expected)
        for name, array in expected.items():
            assert np.ptp(array) > 0
            np.testing.assert_allclose(received[name], array, rtol=1e-5, atol=1e-5 * np.abs(array).max())


def test_weights_lie_behind_quantizers(controller, tmp_path):
    report = controller.export_model(tmp_path / "model")
    assert (report.save_format, len(report.weights)) == ("saved_model", 2)
    assert {(row.stored_as, row.input_quantized) for row in report.weights} == {("float32", True)}
    graph = tf.saved_model.load(str(report.path)).signatures["serving_default"].graph.as_graph_def()
    functions = [node.op for function in graph.library.function for node in function.node_def]
    found = functions + [node.op for node in graph.node]
    assert found.count("FakeQuantWithMinMaxVarsPerChannel") >= 2
    assert found.count("FakeQuantWithMinMaxVars") >= 2
    assert report.size == sum(file.stat().st_size for file in report.path.rglob("*") if file.is_file())


@pytest.mark.parametrize(("batch_size", "expected"), [(None, None), (1, 1), (7, 7)])
def test_names_and_batch_are_those_asked_for(batch_size, expected, tmp_path):
    controller, _ = zoo.compress(zoo.shared_layer())
    names = {"input_names": ["left", "right"], "output_names": "answer"}
    path = controller.export_model(tmp_path / "model", batch_size=batch_size, **names).path
    assert signature(path) == ({"left": [expected, 4], "right": [expected, 4]}, {"answer": [expected, 2]})


def test_default_names_are_those_of_keras(tmp_path):
    controller, model = zoo.compress(zoo.dicts())
    inputs, outputs = signature(controller.export_model(tmp_path / "model").path)
    assert set(inputs) == set(model.input_names)
    assert set(outputs) == set(model.output_names)


def test_wrong_names_are_an_export_error(controller, tmp_path):
    with pytest.raises(ExportError, match="'input_names' takes 1 different names"):
        controller.export_model(tmp_path / "model", input_names=["a", "b"])
    assert list(tmp_path.iterdir()) == []


# Files that are there already


def test_an_old_model_is_replaced_as_a_whole_and_nothing_else_is_left(old, controller, tmp_path):
    controller.export_model(old, output_names="new")
    assert "assets/more.txt" not in contents(old)
    assert list(signature(old)[1]) == ["new"]
    assert list(tmp_path.iterdir()) == [old]


def test_an_empty_folder_is_filled(controller, tmp_path):
    (tmp_path / "model").mkdir()
    controller.export_model(tmp_path / "model")
    assert (tmp_path / "model" / "saved_model.pb").is_file()


def test_a_failed_save_leaves_the_old_model(old, controller, tmp_path, monkeypatch):
    before = contents(tmp_path)

    def refuse(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(tf.saved_model, "save", refuse)
    with pytest.raises(ExportError, match=r"no space left.*unchanged"):
        controller.export_model(old)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("exchanged", [True, False])
def test_a_failed_move_puts_the_old_model_back(exchanged, old, controller, tmp_path, monkeypatch):
    before, rename = contents(tmp_path), os.rename

    def refuse(source, target, *_):
        if str(target) == str(old):
            raise OSError("no space left")
        return rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    monkeypatch.setattr(moves, "exchange", refuse if exchanged else lambda *_: False)
    with pytest.raises(ExportError, match=r"no space left.*unchanged"):
        controller.export_model(old)
    assert contents(tmp_path) == before
    assert list(tmp_path.iterdir()) == [old]


def test_a_folder_with_other_content_is_refused_and_left_alone(controller, tmp_path):
    folder = tmp_path / "photos"
    (folder / "2024").mkdir(parents=True)
    (folder / "2024" / "cat.jpg").write_bytes(b"cat")
    before = contents(tmp_path)
    with pytest.raises(ExportError, match=r"no SavedModel.*new or an empty folder"):
        controller.export_model(folder)
    assert contents(tmp_path) == before


def test_a_file_in_its_place_is_refused_and_left_alone(controller, tmp_path):
    (tmp_path / "model").write_bytes(b"a file")
    with pytest.raises(ExportError, match="no SavedModel"):
        controller.export_model(tmp_path / "model")
    assert contents(tmp_path) == {"model": b"a file"}


def test_a_path_below_a_file_is_refused(controller, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExportError, match="cannot be written"):
        controller.export_model(tmp_path / "file" / "model")
    assert contents(tmp_path) == {"file": b"in the way"}


@pytest.mark.parametrize(
    "name",
    [
        *(
            "notes.txt",
            "variables/notes.txt",
            "variables/variables.data-00001-of-00002",
            "assets.extra/labels.txt",
            "folder/",
        ),
        *("assets/labels.txt", "assets/more.txt.old", "assets/more/labels.txt"),
    ],
)
def test_other_files_in_the_folder_of_an_old_model_are_named_and_left_alone(name, old, controller):
    (old / name).parent.mkdir(parents=True, exist_ok=True)
    if name.endswith("/"):
        (old / name).mkdir()
    else:
        (old / name).write_text("of the user")
    before = contents(old)
    with pytest.raises(
        ExportError, match=rf"holds other files: .*'{name.split('/')[-1] or name[:-1]}|{name}'.*Choose another name"
    ):
        controller.export_model(old)
    assert contents(old) == before
    assert (old / name).exists()


def test_a_model_that_keras_saved_is_replaced(controller, tmp_path):
    zoo.dense().save(tmp_path / "model", save_format="tf")
    controller.export_model(tmp_path / "model", output_names="new")
    assert list(signature(tmp_path / "model")[1]) == ["new"]


class Loaded(layers.Layer):
    """A layer around a SavedModel that it loads."""

    def __init__(self, path, **kwargs):
        super().__init__(**kwargs)
        self.path, self.module = path, tf.saved_model.load(path)

    def call(self, inputs):
        return self.module.function(inputs)

    def get_config(self):
        return {**super().get_config(), "path": self.path}


def test_variables_of_what_a_layer_has_loaded_are_saved(tmp_path):
    module = tf.Module()
    module.kernel = tf.Variable(np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32))
    module.function = tf.function(lambda x: x @ module.kernel, input_signature=[tf.TensorSpec((None, 8))])
    tf.saved_model.save(module, str(tmp_path / "module"))
    model = keras.Sequential([keras.Input((8,)), Loaded(str(tmp_path / "module")), layers.Dense(2)])
    compressed = kc.quantize(model, np.random.default_rng(1).normal(size=(32, 8)).astype(np.float32))
    assert kc.export_model(compressed, tmp_path / "exported").comparison.sqnr > 100
