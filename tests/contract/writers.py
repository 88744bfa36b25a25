"""Everything of the package and its command line that writes a file or a folder, each as one function."""

import contextlib
import functools
import io
import json
import warnings
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

import keras_compress as kc
from keras_compress.export import registered_formats
from keras_compress.export.latency import LatencyReport, LatencyRow
from keras_compress.post_training.evaluation_record import EvaluationRecord
from keras_compress.post_training.sensitivity_report import LayerSensitivity, SensitivityReport
from keras_compress_cli.commands import config_migrate, inspect
from keras_compress_cli.exports import save_compressed
from keras_compress_cli.history_file import HistoryFile
from tests import zoo


@dataclass(frozen=True)
class Writer:
    """One writer.

    Attributes:
        name: of the file or folder it is asked for.
        write: ``write(path, version)`` writes something else for every version.
        beside: names of further files.
        main: name of the file that others belong to. Default: the name.
        folder: whether a folder is written.
    """

    name: str
    write: Callable[[Path, int], object]
    beside: tuple[str, ...] = ()
    main: str = ""
    folder: bool = False

    @property
    def targets(self):
        return (self.main or self.name, *self.beside)


@functools.cache
def controller(version):
    """Return the controller of a small compressed model; every version has other weights."""
    found, model = zoo.compress(zoo.dense())
    for variable in model.trainable_variables:
        if "bias" in variable.name:
            variable.assign_add(version / 10 + tf.zeros_like(variable))
    return found


def export(path, version):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kc.export_model(controller(version).model, path, strict=False)


def latency(version):
    return LatencyReport((LatencyRow("a.pb", "frozen_graph", 1.0 + version, 1.0, 2.0, None, 7),), 3, 1)


def sensitivity(version):
    return SensitivityReport((LayerSensitivity("layer", 8, 12, 30.0 + version),), 20.0 + version, 4)


def save_best(path, version, **options):
    callback = kc.SaveBestCompressed(controller(version), str(path), **options)
    callback.set_model(controller(version).model)
    callback._current_epoch = 0
    callback.best = float("inf")
    callback._complete = lambda: True  # whatever the schedule says
    callback.on_epoch_end(0, {"val_loss": 1.0})


def history(path, version):
    callback = HistoryFile(path)
    callback.on_epoch_end(0, {"loss": 1.0 + version})


def migrate(path, version):
    source = path.parent.parent / f"nncf{version}.json"
    with contextlib.redirect_stderr(io.StringIO()):  # which may be a file on the same full disk
        config_migrate._run(Namespace(file=source, output=path, overwrite=True))


def write_sources(folder):
    """Write what writers read."""
    for version, preset in enumerate(("mixed", "performance")):
        values = {"input_info": {"sample_size": [1, 4]}, "compression": {"algorithm": "quantization", "preset": preset}}
        (folder / f"nncf{version}.json").write_text(json.dumps(values))


def record(path, version):
    found = EvaluationRecord.__new__(EvaluationRecord)  # without the model, whose numbers it is about
    found._path, found._model, found._metrics = path, "model", {}
    found.add(("layer",), 0.5 + version)


def plot(path, version):
    sensitivity(version).plot(path)


WRITERS = {
    **{
        form.name: Writer(
            f"model{form.suffix}", export, tuple(f"model{suffix}" for suffix in form.beside), folder=not form.suffix
        )
        for form in registered_formats().values()
    },
    "audit": Writer("audit.json", lambda path, version: audit(version).save(path)),
    "latency": Writer("latency.json", lambda path, version: latency(version).save(path)),
    "sensitivity": Writer("layers.json", lambda path, version: sensitivity(version).save(path)),
    "sensitivity table": Writer("layers.csv", lambda path, version: sensitivity(version).save(path)),
    "picture": Writer("layers.png", plot),
    "page": Writer("report.html", lambda path, version: kc.report(controller(0), path, title=f"title {version}")),
    "record": Writer("record.json", record),
    "integers": Writer(
        "integers.npz",
        lambda path, version: inspect._save_integers(kc.quantization_parameters(controller(version).model), path),
    ),
    "compressed": Writer("c.keras", lambda path, version: save_compressed(controller(version).model, path)),
    "configuration": Writer("int8.json", migrate),
    "history": Writer("history.csv", history),
    "best": Writer("best.keras", save_best),
    "best hdf5": Writer("best.h5", save_best),
    "best folder": Writer("best", save_best, folder=True),
    "best weights": Writer("best.weights.h5", functools.partial(save_best, save_weights_only=True)),
    "best weights in HDF5": Writer("best.keras", functools.partial(save_best, save_weights_only=True)),
    "best TensorFlow weights": Writer(
        "best",
        functools.partial(save_best, save_weights_only=True),
        ("best.data-00000-of-00001", "checkpoint"),
        main="best.index",
    ),
}


@functools.cache
def audit(version):
    """Return the report of an export."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return controller(version).export_model(Path(folder) / f"model{version}.pb", strict=False)
