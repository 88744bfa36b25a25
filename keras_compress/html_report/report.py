"""report: everything known about a compressed model as one HTML file that can be read anywhere, also on a phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from keras_compress._keras import keras
from keras_compress.arguments import checked_path, flag, mapping, text, wrong
from keras_compress.errors import ConfigError, ExportError
from keras_compress.export import audit
from keras_compress.export.latency import LatencyReport
from keras_compress.export.layer_departure import LayerComparison
from keras_compress.files import write_file
from keras_compress.html_report.activation_rows import activation_rows
from keras_compress.html_report.float_outputs import compare_with_float
from keras_compress.html_report.layer_errors_section import layer_errors_section
from keras_compress.html_report.measured_sections import accuracy_section, exports_section, latency_section
from keras_compress.html_report.page import Section, render
from keras_compress.html_report.reported_model import reported_model
from keras_compress.html_report.sensitivity_section import Sensitivity, sensitivity_section
from keras_compress.html_report.summary_section import summary_section
from keras_compress.html_report.training_section import training_section
from keras_compress.html_report.weight_rows import weight_rows
from keras_compress.html_report.weights_section import activations_section, histograms_section, weights_section
from keras_compress.reports import ExportReport, ModelSize, count_operations, measure_size

__all__ = ["report"]


def report(
    model: Any,
    path: str | Path,
    *,
    data: Any = None,
    exports: Any = (),
    history: Any = None,
    comparisons: Any = (),
    sensitivity: Sensitivity | None = None,
    latency: LatencyReport | None = None,
    accuracy: Mapping[str, Any] | None = None,
    title: str | None = None,
    trust: bool = False,
) -> Path:
    """Write a report on a compressed model as one HTML file, which needs no network and fits a phone.

    What is not given is left out. The same arguments give the same file, to the last byte.

    Args:
        model: the controller from ``create_compressed_model``, or a compressed model without it, as ``kc.quantize``
            returns or a file holds. Only a controller knows the configuration, the stage and the schedule. It is only
            read.
        path: the file to write. Missing folders are made; what exists is replaced only by a complete new one.
        data: samples, as for ``kc.Dataset``: the outputs of the model are compared with those it has with its
            quantizers switched off, on 256 of them, and so are those of files given by path. Default: none.
        exports: what ``export_model`` returned, or paths of exported files, which are audited; one or a list.
        history: what ``fit`` returned, or a dict of lists of numbers.
        comparisons: what ``kc.compare`` returned, one or a list; with ``fed=True`` the error that each layer makes by itself is
            drawn beside the one that arrives.
        sensitivity: what ``kc.analyze`` returned.
        latency: what ``kc.benchmark`` returned.
        accuracy: accuracies by name, to be drawn against sizes: under ``"float"``, ``"compressed"``, the name of an
            exported file or of a row of ``latency``, whose bytes are known, or under any name as ``(accuracy, bytes)``.
        title: of the page. Default: with the name of the model.
        trust: run exported files given by path even if they do more than compute; see :func:`~keras_compress.load_model`. Default
            False.

    Returns:
        The path of the file.

    Raises:
        UnsupportedModelError: there is no compressed model.
        ConfigError: one of the other arguments is not what it should be.
        ExportError: the file cannot be written, or an exported one cannot be read.

    Example:
        >>> import tempfile
        >>> from keras_compress.create import create_compressed_model
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])
        >>> config = {"compression": {"algorithm": "magnitude_sparsity", "sparsity_init": 0.5}}
        >>> controller, _ = create_compressed_model(model, config)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     "<h2>Weights</h2>" in report(controller, Path(folder) / "report.html").read_text()
        True
    """
    path = checked_path("path", path, ExportError)
    if title is not None:
        title = text("title", title)
    accuracy = None if accuracy is None else mapping("accuracy", accuracy)
    subject = reported_model(model)
    _require("sensitivity", sensitivity, ("rows", "sqnr", "samples"), "kc.analyze(model, data)")
    _require("latency", latency, ("rows", "rounds", "batch_size"), "kc.benchmark(files, data)")
    compared = [comparisons] if isinstance(comparisons, LayerComparison) else comparisons
    if not isinstance(compared, (list, tuple)) or not all(isinstance(one, LayerComparison) for one in compared):
        raise wrong("comparisons", "what kc.compare(model, path) returned, or a list of it", comparisons)
    training = training_section(history, subject.leveled)
    reports = _audited(subject.model, exports, data, flag("trust", trust))
    weights = weight_rows(subject.model, subject.reasons)
    size = measure_size(subject.model)
    outputs = None if data is None else compare_with_float(subject.model, data)
    operations = count_operations(subject.model)
    sections: list[Section | None] = [
        summary_section(subject, weights, size, operations, reports, outputs),
        weights_section(weights, reports) if weights else None,
        histograms_section(weights),
        accuracy_section(accuracy, _sizes(size, reports, latency)) if accuracy else None,
        training,
        sensitivity_section(sensitivity) if sensitivity is not None else None,
        latency_section(latency) if latency is not None else None,
        exports_section(reports) if reports else None,
        layer_errors_section(compared) if compared else None,
        activations_section(activation_rows(subject.model)),
    ]
    shown = [section for section in sections if section is not None]
    page = render(title or f"Compression of {subject.model.name}", shown)
    write_file(path, page)
    return path


def _audited(model: keras.Model, exports: Any, data: Any, trust: bool) -> list[ExportReport]:
    """Return the reports among exports as they are, and audit the files."""
    given = [exports] if isinstance(exports, (str, PathLike)) else exports
    if not isinstance(given, (list, tuple)):
        raise wrong("exports", "what export_model returned, the path of an exported file, or a list of them", exports)
    for item in given:
        if not isinstance(item, (str, PathLike)):
            raise ConfigError(
                "Wrong value for 'exports'. Expected: what controller.export_model returned, the path of an exported file, or a "
                f"list of them. Received: {type(item).__name__}. Pass exports=controller.export_model(path)."
            )
    return [item if isinstance(item, ExportReport) else audit(model, item, data=data, trust=trust) for item in given]


def _sizes(size: ModelSize, exports: Sequence[ExportReport], latency: LatencyReport | None) -> dict[str, int]:
    """Return all bytes that are known, by name."""
    files = {row.name: row.size for row in latency.rows} if latency is not None else {}
    return {"float": size.float32, "compressed": size.dense, **files, **{row.path.name: row.size for row in exports}}


def _require(name: str, value: Any, attributes: Sequence[str], source: str) -> None:
    """Raise a ConfigError unless ``value`` is None or has the attributes of a report."""
    if value is not None and not all(hasattr(value, attribute) for attribute in attributes):
        raise ConfigError(
            f"Wrong value for '{name}'. Expected: what {source} returned. Received: {type(value).__name__}. Pass {name}={source}."
        )
