"""The file is read back and run by TensorFlow alone: no variables, the names asked for, the outputs of the Keras model."""

import os

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import ExportError
from keras_compress._keras import keras
from tests import binary, zoo

VARIABLE_OPS = ("Variable", "VarHandleOp", "ReadVariableOp", "Assign")
CONTROL_OPS = ("If", "StatelessIf", "Switch", "Merge", "While", "StatelessWhile", "PartitionedCall")


def read(path):
    return tf.compat.v1.GraphDef.FromString(path.read_bytes())


def ops(graph_def):
    """Return the names of all operations, inside of functions too."""
    nodes = [*graph_def.node, *(node for function in graph_def.library.function for node in function.node_def)]
    return {node.op for node in nodes}


def run(path, model, inputs):
    """Run the file on ``inputs``; the nodes are found by the names Keras gives."""
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(read(path), name="")
        feeds = {f"{name}:0": array for name, array in zip(model.input_names, tf.nest.flatten(inputs), strict=True)}
        with tf.compat.v1.Session(graph=graph) as session:
            return session.run([f"{name}:0" for name in model.output_names], feeds)


def placeholders(path):
    return {n.name: n.attr["shape"].shape for n in read(path).node if n.op == "Placeholder"}


@pytest.fixture
def controller():
    return zoo.compress(zoo.dense())[0]


@zoo.every_kind
def test_the_file_computes_what_the_model_computes_without_variables_and_control_flow(kind, tmp_path):
    controller, model = zoo.compressed_once(kind)
    path = controller.export_model(tmp_path / "model.pb").path
    inputs = zoo.samples(model, 5)
    for ours, theirs in zip(run(path, model, inputs), zoo.predict(model, inputs), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())
    found = ops(read(path))
    assert not {op for op in found if op.startswith(VARIABLE_OPS)}
    assert {op for op in found if op.startswith("FakeQuantWithMinMaxVars")}
    if kind != "recurrent":  # a recurrent layer is a loop
        assert not {op for op in found if op in CONTROL_OPS or op.endswith("PartitionedCall")}


def test_dropout_and_training_branches_are_gone(tmp_path):
    x = keras.Input((4,), name="x")
    hidden = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(keras.layers.Dense(6, name="hidden")(x)))
    controller, model = zoo.compress(keras.Model(x, keras.layers.Dense(2, name="out")(hidden)))
    path = controller.export_model(tmp_path / "model.pb").path
    assert not {op for op in ops(read(path)) if "Random" in op}
    np.testing.assert_allclose(run(path, model, zoo.samples(model))[0], zoo.predict(model, zoo.samples(model))[0], 1e-5)


def test_every_weight_has_a_quantizer_of_eight_bits(tmp_path):
    controller, _ = zoo.compress(zoo.convolution(), weights={"bits": 4})
    nodes = read(controller.export_model(tmp_path / "model.pb").path).node
    quantizers = [node for node in nodes if node.op == "FakeQuantWithMinMaxVarsPerChannel"]
    assert [(q.attr["num_bits"].i, q.attr["narrow_range"].b) for q in quantizers] == [(8, True), (8, True)]


def test_names_are_those_asked_for(controller, tmp_path):
    path = controller.export_model(tmp_path / "model.pb", input_names=["data"], output_names=["answer"]).path
    names = {node.name for node in read(path).node}
    assert {"data", "answer"} <= names
    assert set(placeholders(path)) == {"data"}
    model = controller.model
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(read(path), name="")
        with tf.compat.v1.Session(graph=graph) as session:
            out = session.run("answer:0", {"data:0": zoo.samples(model)})
    np.testing.assert_allclose(out, zoo.predict(model, zoo.samples(model))[0], rtol=1e-5, atol=1e-6)


def test_a_single_name_needs_no_list(controller, tmp_path):
    assert set(placeholders(controller.export_model(tmp_path / "model.pb", input_names="data").path)) == {"data"}


@pytest.mark.parametrize(("batch_size", "expected"), [(None, -1), (1, 1), (7, 7)])
def test_the_batch_is_open_or_fixed(controller, tmp_path, batch_size, expected):
    (shape,) = placeholders(controller.export_model(tmp_path / "model.pb", batch_size=batch_size).path).values()
    assert [dim.size for dim in shape.dim] == [expected, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_names": ["a", "b"]}, r"'input_names' takes 1 different names.*\['a', 'b'\]"),
        ({"output_names": []}, r"'output_names' takes 1 different names"),
        ({"input_names": ["same"], "output_names": ["same"]}, r"same"),
        ({"save_format": "caffe"}, r"save_format one of \['frozen_graph', 'h5', 'keras', 'onnx', .*'caffe'"),
        ({"batchsize": 3}, r"batchsize"),
    ],
)
def test_wrong_options_are_an_export_error(controller, tmp_path, options, message):
    with pytest.raises(ExportError, match=message):
        controller.export_model(tmp_path / "model.pb", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_an_inner_node_is_refused(controller, tmp_path):
    path = controller.export_model(tmp_path / "model.pb").path
    inner = next(node.name for node in read(path).node if node.op == "MatMul")
    with pytest.raises(ExportError, match=f"'{inner}' belongs to another node"):
        controller.export_model(path, output_names=[inner])


def test_missing_folders_are_made(controller, tmp_path):
    path = controller.export_model(str(tmp_path / "a" / "b" / "model.pb")).path
    assert path == tmp_path / "a" / "b" / "model.pb"
    assert read(path).node


def test_an_old_file_is_replaced_and_nothing_else_is_left(controller, tmp_path):
    path = tmp_path / "model.pb"
    path.write_bytes(b"old")
    os.chmod(path, 0o640)
    controller.export_model(path)
    assert read(path).node
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_export_leaves_the_old_file(controller, tmp_path, monkeypatch):
    path = tmp_path / "model.pb"
    path.write_bytes(b"old")

    def refuse(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ExportError, match=r"no space left.*unchanged"):
        controller.export_model(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_refused(controller, tmp_path):
    (tmp_path / "folder.pb").mkdir()
    with pytest.raises(ExportError, match="is a folder"):
        controller.export_model(tmp_path / "folder.pb")


def test_an_unknown_suffix_is_refused(controller, tmp_path):
    with pytest.raises(ExportError, match=r"ending in one of \['\.h5', '\.keras', '\.onnx', '\.pb', .*model\.tfjs"):
        controller.export_model(tmp_path / "model.tfjs")


def test_a_path_below_a_file_is_refused(controller, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExportError, match="cannot be written"):
        controller.export_model(tmp_path / "file" / "model.pb")


def test_exporting_leaves_the_model_alone(controller, tmp_path):
    model = controller.model
    before, weights = zoo.predict(model, zoo.samples(model))[0], model.get_weights()
    controller.export_model(tmp_path / "model.pb")
    np.testing.assert_array_equal(zoo.predict(model, zoo.samples(model))[0], before)
    for array, old in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(array, old)


def test_the_same_model_gives_the_same_file(controller, tmp_path):
    first, second = (controller.export_model(tmp_path / name).path for name in ("one.pb", "two.pb"))
    assert first.stat().st_size == second.stat().st_size
    np.testing.assert_array_equal(
        run(first, controller.model, zoo.samples(controller.model))[0],
        run(second, controller.model, zoo.samples(controller.model))[0],
    )


BINARY = {
    "residual": (binary.residual, {"ignored_scopes": binary.BORDERS}),
    "everything": (binary.residual, {"layer_types": ["Conv2D", "Dense"], "mode": "dorefa"}),
    "depthwise": (zoo.odd_convolutions, {"layer_types": "DepthwiseConv2D"}),
    "shared": (zoo.shared_layer, {"layer_types": "Dense"}),
    "nested": (zoo.nested, {}),
    "not yet": (zoo.convolution, {"at_once": False}),
    "activations only": (zoo.convolution, {"params": {"weights_quant_start_epoch": 1}}),
}


@pytest.mark.parametrize("kind", BINARY)
def test_the_file_of_a_binary_model_computes_what_keras_computes(kind, tmp_path):
    make, settings = BINARY[kind]
    controller, model = binary.compress(make(), **settings)
    binary.scatter_levels(model)
    path = controller.export_model(tmp_path / "model.pb").path
    inputs = zoo.samples(model, 5)
    for ours, theirs in zip(run(path, model, inputs), zoo.predict(model, inputs), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())
    found = ops(read(path))
    assert not {op for op in found if op.startswith(VARIABLE_OPS) or op in CONTROL_OPS}
    assert ("Greater" in found) == bool(binary.switched_on(model))
    assert not {op for op in found if op.startswith("Fake")}


def test_binary_weights_are_two_values_per_filter_in_the_file(tmp_path):
    controller, model = binary.compress(binary.one_convolution(channels=4, filters=5))
    nodes = read(controller.export_model(tmp_path / "model.pb").path).node
    tensors = [tf.make_ndarray(node.attr["value"].tensor) for node in nodes if node.op == "Const"]
    (kernel,) = [tensor for tensor in tensors if tensor.shape == (3, 3, 4, 5)]
    weight = model.get_layer("conv").kernel.numpy()
    np.testing.assert_allclose(kernel, binary.binary_weight(weight, (0, 1, 2)), rtol=1e-5)
