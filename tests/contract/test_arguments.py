"""Every argument of every public function, and every option of every format, with values that it cannot be.

What is refused is an error of the package that names the argument, what was expected, what was received; nothing that TensorFlow,
pydantic or a runtime raises reaches the user, and nothing is written.
"""

import inspect
import math
import pathlib
import warnings
from numbers import Integral, Real

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export import registered_formats
from keras_compress.settings import Settings

layers = keras.layers
RANDOM = np.random.default_rng(0)
SAMPLES = RANDOM.normal(size=(8, 4)).astype(np.float32)
CONFIG = {"compression": {"algorithm": "magnitude_sparsity", "sparsity_init": 0.5}}


class Nothing:
    """An object of no use, which has no length."""

    def __len__(self):
        raise RuntimeError("no length")


class Code(keras.Model):
    """A model without a graph of layers."""

    def call(self, inputs):
        return inputs


class Own(layers.Layer):
    """A layer of another package."""


VALUES = {
    "nothing": Nothing(),
    "minus one": -1,
    "zero": 0,
    "true": True,
    "half": 1.5,
    "nan": math.nan,
    "infinite": math.inf,
    "huge": 10**5000,
    "letter": "x",
    "empty text": "",
    "nul": "a\0b",
    "long text": "n" * 5000,
    "surrogate": "\udcff",
    "bytes": b"x",
    "empty list": [],
    "empty dict": {},
    "numbers": (1, 2),
    "names and numbers": ["a", 1],
    "nested": [["a"], {"b": object()}],
    "complex": 1 + 2j,
    "array": np.array([1.0, 2.0]),
    "texts": np.array(["a", "b"]),
    "scalar array": np.array(3),
    "class": int,
    "function": lambda *arguments: 5,
    "generator": (number for number in range(3)),
    "set": {1, "a"},
    "layer": layers.Dense(1),
    "unbuilt model": keras.Sequential([layers.Dense(1)]),
    "model of code": Code(),
    "date": np.datetime64("2020-01-01"),
    "folder": pathlib.Path("/"),
    "device": pathlib.Path("/dev/null/x"),
}


def model(name="net"):
    return keras.Sequential(
        [keras.Input((4,), name="x"), layers.Dense(3, "relu", name="a"), layers.Dense(2, name="b")], name=name
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What valid calls need."""
    folder = tmp_path_factory.mktemp("arguments")
    plain = model()
    controller, compressed = kc.create_compressed_model(plain, CONFIG)
    exported = kc.export_model(compressed, folder / "model.pb")
    callbacks_of = kc.create_compression_callbacks(controller)
    compressed.compile("sgd", "mse")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a schedule that goes on
        history = compressed.fit(SAMPLES, np.zeros((8, 2)), verbose=0, callbacks=callbacks_of)
    latency = kc.benchmark([exported.path], SAMPLES, rounds=1)
    return {
        "folder": folder,
        "plain": plain,
        "controller": controller,
        "compressed": compressed,
        "exported": exported.path,
        "latency": latency,
        "history": history,
    }


#: A valid call of each public function, as keyword arguments.
CALLS = {
    kc.quantize: lambda m: {"model": m["plain"], "calibration_dataset": SAMPLES},
    kc.quantize_with_accuracy_control: lambda m: {
        "model": m["plain"],
        "calibration_dataset": SAMPLES,
        "validation_dataset": SAMPLES,
        "validation_fn": lambda *_: 1.0,
    },
    kc.analyze: lambda m: {"model": m["plain"], "data": SAMPLES, "only_one": False, "leave_one_out": False},
    kc.diagnose: lambda m: {"model": m["plain"], "data": SAMPLES, "samples": 8, "most": 1, "measure": False},
    kc.create_compressed_model: lambda m: {"model": m["plain"], "config": CONFIG},
    kc.coverage: lambda m: {"model": m["plain"], "config": CONFIG},
    kc.keep_in_float: lambda m: {"model": m["plain"], "config": {"compression": {"algorithm": "binarization"}}},
    kc.register_default_init_args: lambda m: {"config": CONFIG, "data_loader": SAMPLES},
    kc.export_model: lambda m: {"model": m["compressed"], "path": m["folder"] / "other.pb"},
    kc.audit: lambda m: {"model": m["compressed"], "path": m["exported"]},
    kc.benchmark: lambda m: {"paths": [m["exported"]], "data": SAMPLES, "rounds": 1},
    kc.compare: lambda m: {"model": m["compressed"], "path": m["exported"]},
    kc.strip: lambda m: {"model": m["compressed"]},
    kc.quantization_parameters: lambda m: {"model": m["compressed"]},
    kc.report: lambda m: {"model": m["controller"], "path": m["folder"] / "report.html"},
    kc.restore: lambda m: {"model": m["plain"], "directory": m["folder"] / "none"},
    kc.latest_checkpoint: lambda m: {"directory": m["folder"] / "none"},
    kc.load_model: lambda m: {"path": m["folder"] / "none.keras"},
    kc.create_compression_callbacks: lambda m: {"controller": m["controller"]},
    kc.plot_schedule: lambda m: {"config": CONFIG},
    kc.plot_latency: lambda m: {"report": m["latency"]},
    kc.plot_accuracy_against_size: lambda m: {"models": {"a": (1000, 0.5)}},
    kc.plot_weight_histograms: lambda m: {"compressed": m["compressed"]},
    kc.register_algorithm: lambda m: {"algorithm": None},
    kc.register_format: lambda m: {"form": None},
    kc.register_layer_spec: lambda m: {"layer_class": Own, "weights": {"kernel": -1}},
    kc.CheckpointManagerCallback: lambda m: {"checkpoint": None, "directory": m["folder"] / "checkpoints"},
    kc.SaveBestCompressed: lambda m: {"controller": m["controller"], "filepath": str(m["folder"] / "best.keras")},
    kc.Quantization: lambda m: {},
    kc.MagnitudeSparsity: lambda m: {},
    kc.RBSparsity: lambda m: {},
    kc.ConstSparsity: lambda m: {},
    kc.Binarization: lambda m: {},
    kc.AdaptiveRounding: lambda m: {},
    kc.AdvancedQuantizationParameters: lambda m: {},
    kc.QuantizationParameters: lambda m: {},
    kc.IgnoredScope: lambda m: {},
    kc.Subgraph: lambda m: {},
    kc.RangeEstimatorParameters: lambda m: {},
    kc.Dataset: lambda m: {"source": SAMPLES},
    kc.TFCompressionState: lambda m: {"controller": m["controller"]},
}
#: Methods of the controller and of reports.
METHODS = {
    "controller.set_sparsity_level": lambda m: (m["controller"].set_sparsity_level, {"level": 0.5}),
    "controller.freeze": lambda m: (m["controller"].freeze, {}),
    "controller.strip": lambda m: (m["controller"].strip, {}),
    "controller.statistics": lambda m: (m["controller"].statistics, {}),
    "controller.export_model": lambda m: (m["controller"].export_model, {"path": m["folder"] / "other.pb"}),
    "controller.report": lambda m: (m["controller"].report, {"path": m["folder"] / "report.html"}),
    "controller.load_state": lambda m: (m["controller"].load_state, {"state": m["controller"].get_compression_state()}),
    "latency.save": lambda m: (m["latency"].save, {"path": m["folder"] / "latency.json"}),
}

#: What an annotation allows of the values above; what it does not allow has to be refused.
ALLOWED = {
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: isinstance(value, Integral) and not isinstance(value, bool) and value >= 0,
    "int | None": lambda value: isinstance(value, Integral) and not isinstance(value, bool) and value >= 0,
    "float": lambda value: isinstance(value, Real) and not isinstance(value, bool) and abs(value) < 1e300,
    "float | None": lambda value: isinstance(value, Real) and not isinstance(value, bool) and abs(value) < 1e300,
    "str": lambda value: isinstance(value, str) and value,
    "str | None": lambda value: isinstance(value, str),
    "str | Path": lambda value: (isinstance(value, str) and value) or isinstance(value, pathlib.Path),
    "keras.Model": lambda value: isinstance(value, keras.Model),
}


def parameters_of(function):
    kinds = inspect.Parameter
    return {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in (kinds.VAR_KEYWORD, kinds.VAR_POSITIONAL)
    }


def refused(call, name, what, must, folder):
    """Make a call with a wrong value; return what is wrong with how it was taken, None if nothing is."""
    before = set(folder.rglob("*"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except kc.CompressionError as error:
            message = str(error)
            said = name.partition(".")[0] in message or "Expected" in message
            left = set(folder.rglob("*")) - before
            return None if said and not left else f"{what}: {message[:200]!r} {left}"
        except Exception as error:
            return f"{what}: {type(error).__module__}.{type(error).__name__}: {str(error)[:200]}"
    return f"{what} is accepted" if must else None


def faults(function, valid, name, parameter, folder):
    settings = inspect.isclass(function) and issubclass(function, Settings)  # which take what can be read as a number
    allowed = None if settings else ALLOWED.get(str(parameter.annotation))
    found = []
    for what, value in VALUES.items():
        if name == "validation_fn" and callable(value):
            continue  # what a function of the user's raises is the user's
        must = allowed is not None and not allowed(value) and not (name == "input_axis" and what == "minus one")
        call = lambda value=value: function(**{**valid, name: value})  # noqa: E731
        found.append(refused(call, name, what, must, folder))
    return [fault for fault in found if fault]


CASES = [(function, name) for function in CALLS for name in parameters_of(function)]


@pytest.mark.parametrize(("function", "name"), CASES, ids=lambda item: getattr(item, "__name__", str(item)))
def test_an_argument_that_cannot_be_is_an_error_of_ours(function, name, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    valid = CALLS[function](made)
    found = faults(function, valid, name, parameters_of(function)[name], made["folder"])
    assert not found, "\n".join(found)


@pytest.mark.parametrize("method", METHODS)
def test_an_argument_of_a_method_that_cannot_be_is_an_error_of_ours(method, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function, valid = METHODS[method](made)
    found = []
    for name, parameter in parameters_of(function).items():
        found += [f"{name}: {fault}" for fault in faults(function, valid, name, parameter, made["folder"])]
    assert not found, "\n".join(found)


OPTIONS = [
    (name, option)
    for name, form in registered_formats().items()
    for option, parameter in parameters_of(form.write).items()
    if parameter.kind is parameter.KEYWORD_ONLY
]


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_an_option_of_a_format_that_cannot_be_is_an_error_of_ours(name, option, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    form = registered_formats()[name]
    folder = made["folder"] / "formats"
    folder.mkdir(exist_ok=True)
    valid = {"model": made["compressed"], "path": folder / f"model{form.suffix}", "save_format": name}
    found = faults(kc.export_model, valid, option, parameters_of(form.write)[option], folder)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", sorted(registered_formats()))
def test_a_path_that_cannot_be_is_an_error_of_ours(name, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    suffix = registered_formats()[name].suffix
    (tmp_path / "file").write_text("a file")
    (tmp_path / f"folder{suffix}").mkdir()
    (tmp_path / f"folder{suffix}" / "other").write_text("another")
    paths = [
        f"a\0b{suffix}",
        f"{'n' * 300}{suffix}",
        f"file/model{suffix}",
        f"folder{suffix}",
        "",
        f"\udcff{suffix}\0",
        3,
        None,
    ]
    for path in paths:
        with pytest.raises(kc.CompressionError, match="Expected"):
            kc.export_model(made["compressed"], path, name)
        with pytest.raises(kc.CompressionError, match="Expected"):
            kc.audit(made["compressed"], path, name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(["file", f"folder{suffix}", "other"])


def test_every_public_function_is_tried():
    public = {getattr(kc, name) for name in kc.__all__ if callable(getattr(kc, name))}
    values = {item for item in public if inspect.isclass(item) and issubclass(item, (BaseException, str))}
    others = {
        kc.CompressionConfig,
        kc.CompressionController,
        kc.ExportReport,
        kc.TFCompressionStateLoader,
        kc.json_schema,
    }
    others |= {kc.CompressionStage, kc.DropType}
    assert public - values - others == set(CALLS)
