"""A model that several threads use at once: equal bits, every weight still a variable, and the process as it was."""

import ast
import logging
import os
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.ops import gradient_registry

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.graph import take
from keras_compress.graph.variables import named_variables
from tests import zoo

THREADS = 8
ALGORITHMS = ("quantization", "magnitude_sparsity", "binarization")


def of_process():
    """What belongs to the process and not to a thread."""
    umask = os.umask(0o22)
    os.umask(umask)
    return {
        "standard error": os.fstat(2).st_ino,
        "recursion limit": sys.getrecursionlimit(),
        "level of tf2onnx": logging.getLogger("tf2onnx").level,
        "options of TensorFlow": tf.config.optimizer.get_experimental_options(),
        "filters of warnings": list(warnings.filters),
        "umask": umask,
        "folder": os.getcwd(),
        "environment": {key: value for key, value in os.environ.items() if key != "PYTEST_CURRENT_TEST"},
        "errors of NumPy": np.geterr(),
        "floatx": keras.backend.floatx(),
        "policy": keras.mixed_precision.global_policy().name,
    }


@pytest.fixture
def unchanged():
    """The process is after a test as it was before it."""
    import tf2onnx  # noqa: F401  what it sets when it is imported is its own

    before = of_process()
    yield
    assert of_process() == before


def in_threads(function, threads=THREADS):
    """Call a function of a number in several threads at once; errors are raised."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, range(threads)))


def compressed(kind="convolution", algorithm="quantization"):
    model = getattr(zoo, kind)()
    if algorithm == "quantization":
        return kc.quantize(model, zoo.samples(model, 16)), zoo.samples(model, 8)
    return zoo.compress(model, algorithm)[1], zoo.samples(model, 8)


def assert_all_variables(model):
    """Every weight in the place of an attribute is a variable that Keras trains."""
    for layer in model.layers:
        inner = getattr(layer, "layer", layer)
        for name in ("kernel", "recurrent_kernel", "depthwise_kernel", "embeddings", "bias"):
            for owner in (inner, getattr(inner, "cell", None)):
                if vars(owner).get(name) is not None if owner is not None else False:
                    assert isinstance(vars(owner)[name], tf.Variable), (layer.name, name)


@pytest.mark.parametrize("kind", ["convolution", "recurrent", "shared_layer"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_eager_calls_compute_the_same_and_leave_variables(kind, algorithm, unchanged):
    if (kind, algorithm) == ("recurrent", "binarization"):
        kind = "residual"
    model, inputs = compressed(kind, algorithm)
    expected = [np.asarray(part) for part in tf.nest.flatten(model(inputs, training=False))]

    def call(_):
        return [[np.asarray(part) for part in tf.nest.flatten(model(inputs, training=False))] for _ in range(6)]

    for outputs in [outputs for calls in in_threads(call) for outputs in calls]:
        assert all(np.array_equal(one, other) for one, other in zip(outputs, expected, strict=True))
    assert_all_variables(model)


@pytest.mark.extended
def test_a_model_that_was_called_by_threads_is_trained_as_one_that_was_not(unchanged):
    trained = []
    for threads in (0, 8):
        keras.utils.set_random_seed(1)
        keras.backend.reset_uids()
        model, inputs = compressed("convolution")
        if threads:
            in_threads(lambda _, model=model, inputs=inputs: [model(inputs) for _ in range(6)])
        before = [variable.numpy() for variable in model.trainable_variables]
        model.compile("sgd", "mse")
        model.fit(inputs, np.zeros(model.output_shape[1:])[np.newaxis].repeat(8, 0), shuffle=False, verbose=0)
        trained.append([variable.numpy() for variable in model.trainable_variables])
        moved = [not np.array_equal(*pair) for pair in zip(before, trained[-1], strict=True)]
        assert sum(moved) > len(moved) / 2
    assert all(np.array_equal(*pair) for pair in zip(*trained, strict=True))


@pytest.mark.first
def test_threads_predict_call_take_export_compare_and_calibrate_at_once(tmp_path, unchanged):
    model, inputs = compressed()
    float_model = zoo.convolution()
    expected = model(inputs, training=False).numpy()
    predicted = model.predict(inputs, verbose=0)
    calibrated = kc.quantize(float_model, inputs).get_weights()
    kc.export_model(model, tmp_path / "before.onnx")
    weights = {path: sorted(names) for path, names in take(model).weights.items()}
    written = (tmp_path / "before.onnx").read_bytes()

    def work(number):
        kind = number % 4
        if kind == 0:
            return all(np.array_equal(model(inputs, training=False).numpy(), expected) for _ in range(20))
        if kind == 1:
            own = keras.Model(model.inputs, model.outputs)
            return np.array_equal(own.predict(inputs, verbose=0), predicted)
        if kind == 2:
            named = {path: sorted(names) for path, names in take(model).weights.items()}
            report = kc.export_model(model, tmp_path / f"{number}.onnx")
            return named == weights and report.path.read_bytes() == written
        again = kc.quantize(float_model, inputs).get_weights()
        return all(np.array_equal(*pair) for pair in zip(again, calibrated, strict=True))

    assert in_threads(work) == [True] * THREADS
    assert_all_variables(model)


@pytest.mark.parametrize("suffix", [".pb", ".onnx", ".tflite", ".xml", ".keras", ".h5", ""])
def test_parallel_exports_write_what_one_writes(suffix, tmp_path, unchanged):
    model, inputs = compressed("residual")
    alone = kc.export_model(model, tmp_path / f"alone{suffix}")
    reports = in_threads(lambda number: kc.export_model(model, tmp_path / f"{number}{suffix}", data=inputs), 4)
    assert not any(report.faults for report in reports)
    if suffix:  # a SavedModel has a fingerprint, which is drawn
        assert {report.size for report in reports} == {alone.size}
    if suffix in (".pb", ".onnx", ".tflite", ".xml"):
        assert {report.path.read_bytes() for report in reports} == {alone.path.read_bytes()}


def test_what_one_thread_looks_at_does_not_disturb_another(tmp_path, unchanged):
    """Comparisons and reports hook layers and switch quantizers off, for themselves alone."""
    model, inputs = compressed("residual")
    expected = model(inputs, training=False).numpy()
    path = kc.export_model(model, tmp_path / "model.onnx").path
    alone = str(kc.compare(model, path, inputs))

    def work(number):
        if number % 3 == 0:
            return str(kc.compare(model, path, inputs)) == alone
        if number % 3 == 1:
            return kc.report(model, tmp_path / f"{number}.html", data=inputs).exists()
        return all(np.array_equal(model(inputs, training=False).numpy(), expected) for _ in range(40))

    assert in_threads(work, 6) == [True] * 6
    assert not any("call" in vars(layer) for layer in model.layers)


def test_gradients_that_another_thread_registers_are_kept(unchanged):
    """Calibration releases what it traced itself; a training step that is traced meanwhile keeps its gradients."""
    model, inputs = compressed("dense")
    traced = []

    def batches():
        traced.append(tf.function(lambda x: model(x, training=True)).get_concrete_function(inputs))
        yield inputs

    before = set(gradient_registry._registry)
    kc.quantize(zoo.dense(), batches)
    with tf.GradientTape() as tape:
        outputs = traced[0](tf.constant(inputs))
    assert all(gradient is not None for gradient in tape.gradient(outputs, model.trainable_variables))
    graphs = len(set(gradient_registry._registry) - before)
    kc.quantize(zoo.dense(), inputs)
    assert len(set(gradient_registry._registry) - before) == graphs


#: What changes the whole process or a live layer, and where that is done under a lock. The worker is a process of its own.
_SWAPS = {
    "dup2": {"_threads.py", "export/runtimes/worker.py"},
    "setrecursionlimit": {"_threads.py"},
    "catch_warnings": set(),
    "simplefilter": set(),
    "filterwarnings": set(),
    "umask": set(),
    "chdir": set(),
    "setLevel": {"export/onnx.py"},
    "set_experimental_options": set(),
    "set_floatx": set(),
    "set_global_policy": set(),
    "set_random_seed": set(),
    "seterr": set(),
    "putenv": set(),
}


def test_nothing_else_in_the_package_exchanges_what_threads_share():
    root = Path(kc.__file__).parent
    found = {name: set() for name in _SWAPS}
    calls = set()
    for path in root.rglob("*.py"):
        module = path.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", None) in found:
                found[node.func.attr].add(module)
            for target in getattr(node, "targets", ()):
                if isinstance(target, ast.Attribute) and target.attr == "call":
                    calls.add(module)
    assert found == _SWAPS
    assert calls == {"calibration/layer_hooks.py"}


def test_variables_are_found_while_another_thread_computes():
    """What reads the weights of a live layer waits for the call that has replaced them."""
    model, inputs = compressed("dense")
    names = [sorted(named_variables(layer)) for layer in model.layers]

    def work(number):
        if number % 2:
            return [model(inputs) for _ in range(30)] and True
        return all(sorted(take(model).weights) and names for _ in range(10))

    assert in_threads(work, 4) == [True] * 4
