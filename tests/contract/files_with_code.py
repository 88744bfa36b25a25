"""Files of every format with code in them: whoever runs it leaves a marker file behind.

Each is written as an attacker would: by saving a model with code, or by changing what a sound file says.
"""

import json
import shutil
import zipfile

import h5py
import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from tests import zoo

layers = keras.layers
SIGNATURE = [tf.TensorSpec([None, 4], tf.float32, name="x")]


def rewritten(source, target, change):
    """Write a ``.keras`` file whose configuration is changed in place by a function."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config)
            new.writestr(name, content)


def rewritten_h5(source, target, change):
    """Write an ``.h5`` file whose configuration is changed in place by a function."""
    shutil.copy(source, target)
    with h5py.File(target, "a") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)


def entry_of(config, word):
    """Return the first entry of a layer whose class has a word in its name."""
    return next(entry for entry in config["config"]["layers"] if word in entry["class_name"])


def write_keras_files(folder, marker):
    """Write ``.keras`` and ``.h5`` files, and SavedModels of Keras; return their paths by a name of the code in them."""
    module = f"code_of_{folder.name.replace('-', '_')}"
    (folder / f"{module}.py").write_text(
        f"open({str(marker)!r}, 'w').close()\n\nclass Evil:\n    pass\n\ndef evil(*_):\n    pass\n"
    )
    evil = {"module": module, "class_name": "Evil", "registered_name": None}
    compressed = zoo.compressed_once("dense")[0].model
    x = keras.Input((4,), name="x")
    code = keras.Model(x, layers.Lambda(_writer(str(marker)), name="doubled")(layers.Dense(3, name="out")(x)))
    operators = keras.Model(x, layers.Dense(3, name="out")(tf.concat([layers.Dense(3, name="hidden")(x) + 1.0, x], -1)))
    words = keras.Sequential([keras.Input((1,), dtype="string"), layers.StringLookup(vocabulary=["a"], name="words")])
    for name, model in {"compressed": compressed, "code": code, "operators": operators, "words": words}.items():
        model.save(folder / f"{name}.keras")
    written = {"a lambda": folder / "code.keras"}

    def change(name, source, edit):
        written[name] = folder / f"{name.replace(' ', '_')}.keras"
        rewritten(folder / f"{source}.keras", written[name], edit)

    def write_at_once(config):
        entry = entry_of(config, "TFOpLambda")
        entry["config"]["function"] = "io.write_file"
        entry["inbound_nodes"] = [["_CONSTANT_VALUE", -1, str(marker), {"contents": "x"}]]

    def write_when_called(config):
        entry_of(config, "TFOpLambda")["config"]["function"] = "io.write_file"

    def call_operator(config):
        settings = {"name": "o", "function": "io.write_file", "arguments": [str(marker), "x"], "keywords": {}}
        entry = entry_of(config, "Dense")
        entry.update(class_name="OperatorCall", registered_name="keras_compress>OperatorCall", config=settings)

    def describe_by_function(config):
        entry_of(config, "Lambda")["config"].update(
            function_type="function",
            function={"class_name": "function", "module": module, "config": "evil", "registered_name": "evil"},
        )

    change(
        "a module in a wrapped layer", "compressed", lambda c: entry_of(c, "Compressed")["config"]["layer"].update(evil)
    )
    change(
        "a module in an operation",
        "compressed",
        lambda c: entry_of(c, "Compressed")["config"]["operations"][0][1].update(evil),
    )
    change("a module as the model", "compressed", lambda c: c.update(evil))
    change("a module under a known name", "compressed", lambda c: c.update(evil, class_name="Sequential"))
    change(
        "a module of an initializer",
        "operators",
        lambda c: entry_of(c, "Dense")["config"].update(kernel_initializer={**evil, "config": {}}),
    )
    change("a module of a function", "code", describe_by_function)
    change("an operator that writes at once", "operators", write_at_once)
    change("an operator that writes", "operators", write_when_called)
    change("an operator call that writes", "operators", call_operator)
    change(
        "a vocabulary in a file",
        "words",
        lambda c: entry_of(c, "StringLookup")["config"].update(vocabulary=str(folder / f"{module}.py")),
    )
    code.save(folder / "code.h5")
    operators.save(folder / "operators.h5")
    written["a lambda (h5)"] = folder / "code.h5"
    written["an operator that writes at once (h5)"] = folder / "writes_at_once.h5"
    rewritten_h5(folder / "operators.h5", folder / "writes_at_once.h5", write_at_once)
    with h5py.File(folder / "linked.h5", "w") as file:
        file["weights"] = h5py.ExternalLink(str(folder / "code.h5"), "/")
    written["a link to another file (h5)"] = folder / "linked.h5"
    code.save(folder / "code")
    written["a lambda (SavedModel)"] = folder / "code"
    return written, module


def _writer(marker):
    return lambda values, marker=marker: (open(marker, "w").close(), values * 2)[1]


class _WritingInitializer(tf.lookup.KeyValueTensorInitializer):
    def __init__(self, marker):
        super().__init__(["a"], [1])
        self._marker = marker

    def initialize(self, table):
        with tf.control_dependencies([tf.io.write_file(self._marker, "x")]):
            return super().initialize(table)


def write_saved_models(folder, marker):
    """Write SavedModels that are no Keras models; return their paths by a name of the code in them."""
    marker = str(marker)

    def initialized():
        module = tf.Module()
        module.table = tf.lookup.StaticHashTable(_WritingInitializer(marker), -1)

        @tf.function(input_signature=SIGNATURE)
        def serve(x):
            return {"out": x + tf.cast(module.table.lookup(tf.constant("a")), tf.float32)}

        return module, serve

    def calling(write):
        @tf.function(input_signature=SIGNATURE)
        def serve(x):
            write()
            return {"out": x}

        return tf.Module(), serve

    def in_a_branch():
        return tf.cond(tf.random.uniform(()) < 2.0, lambda: tf.io.write_file(marker, "x"), lambda: tf.no_op())

    def in_a_loop():
        def body(number):
            with tf.control_dependencies([tf.io.write_file(marker, "x")]):
                return number + 1

        return tf.while_loop(lambda number: number < 1, body, [0])

    kinds = {
        "an initializer": initialized(),
        "an operation that writes": calling(lambda: tf.io.write_file(marker, "x")),
        "a branch": calling(in_a_branch),
        "a loop": calling(in_a_loop),
        "printing to a file": calling(lambda: tf.print("x", output_stream=f"file://{marker}")),
        "saving": calling(
            lambda: tf.raw_ops.SaveV2(prefix=marker, tensor_names=["a"], shape_and_slices=[""], tensors=[tf.zeros(2)])
        ),
        "a summary": calling(lambda: tf.raw_ops.WriteFile(filename=marker, contents="x")),
    }
    written = {}
    for name, (module, serve) in kinds.items():
        written[f"{name} (SavedModel)"] = folder / f"saved_{name.replace(' ', '_')}"
        tf.saved_model.save(module, str(folder / f"saved_{name.replace(' ', '_')}"), signatures=serve)
    return written


def write_graphs(folder, marker):
    """Write frozen graphs; return their paths by a name of the code in them."""
    marker = str(marker)

    def loop():
        def body(number):
            with tf.control_dependencies([tf.io.write_file(marker, "x")]):
                return number + 1

        return tf.while_loop(lambda number: number < 1, body, [0])

    @tf.function
    def call():
        tf.io.write_file(marker, "x")
        return tf.constant(0)

    kinds = {
        "an operation that writes": lambda: tf.io.write_file(marker, "x"),
        "a function": call,
        "a loop": loop,
        "printing to a file": lambda: tf.print("x", output_stream=f"file://{marker}"),
        "Python": lambda: tf.py_function(lambda: 1, [], tf.int32),
    }
    written = {}
    for name, write in kinds.items():
        with tf.Graph().as_default() as graph:
            x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="x")
            with tf.control_dependencies(tf.nest.flatten(write())):
                tf.identity(x, name="out")
        written[f"{name} (graph)"] = folder / f"{name.replace(' ', '_')}.pb"
        written[f"{name} (graph)"].write_bytes(graph.as_graph_def().SerializeToString())
    return written


def write_files_of_other_runtimes(folder, marker):
    """Write files with operations that their runtimes do not know; return their paths by a name."""
    import onnx
    from onnx import TensorProto, helper

    tensor = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4])  # noqa: E731
    node = helper.make_node("WriteFile", ["x"], ["y"], domain="evil", filename=str(marker))
    graph = helper.make_graph([node], "graph", [tensor("x")], [tensor("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("evil", 1)])
    onnx.save(model, folder / "custom.onnx")
    (folder / "extension.xml").write_text(_EXTENSION.format(marker=marker))
    (folder / "extension.bin").write_bytes(b"")

    @tf.function(input_signature=SIGNATURE)
    def serve(x):
        with tf.control_dependencies([tf.raw_ops.WriteFile(filename=str(marker), contents="x")]):
            return tf.identity(x)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], tf.Module())
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    converter.allow_custom_ops = True
    (folder / "flex.tflite").write_bytes(converter.convert())
    names = ("custom.onnx", "extension.xml", "flex.tflite")
    return {f"an operation of another kind ({name})": folder / name for name in names}


_EXTENSION = """<?xml version="1.0"?>
<net name="net" version="11"><layers>
<layer id="0" name="x" type="Parameter" version="opset1"><data shape="1,4" element_type="f32"/>
<output><port id="0" precision="FP32" names="x"><dim>1</dim><dim>4</dim></port></output></layer>
<layer id="1" name="w" type="WriteFile" version="extension"><data filename="{marker}"/>
<input><port id="0" precision="FP32"><dim>1</dim><dim>4</dim></port></input>
<output><port id="1" precision="FP32"><dim>1</dim><dim>4</dim></port></output></layer>
<layer id="2" name="y" type="Result" version="opset1">
<input><port id="0" precision="FP32"><dim>1</dim><dim>4</dim></port></input></layer>
</layers><edges>
<edge from-layer="0" from-port="0" to-layer="1" to-port="0"/><edge from-layer="1" from-port="1" to-layer="2" to-port="0"/>
</edges></net>
"""


def samples():
    """Return what any of these files may be run on."""
    return np.zeros((1, 4), np.float32)
