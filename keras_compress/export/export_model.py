"""export_model, audit and benchmark: write a file and read it back, read a file that is there, run files in turn."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress._keras import keras
from keras_compress.arguments import checked_path, flag, mapping, number, whole_number, wrong
from keras_compress.calibration.calibration_record import calibration_of
from keras_compress.data import Dataset, input_specs
from keras_compress.data.elements import holds_numbers
from keras_compress.errors import DataError, ExportAuditError, ExportError, short_repr
from keras_compress.export.audit_samples import audit_samples
from keras_compress.export.file_audit import audit_file
from keras_compress.export.frozen_graph import tensor_names
from keras_compress.export.input_signature import fixed_shapes
from keras_compress.export.latency import LatencyReport, measure_latency
from keras_compress.export.registry import format_of, format_options
from keras_compress.export.result_comparison import Limits
from keras_compress.files import require_replaceable
from keras_compress.graph.finite_numbers import numbers_not_finite, refuse_not_finite
from keras_compress.graph.model_check import require_graph
from keras_compress.reports import ExportReport
from keras_compress.safe_mode import trusting

__all__ = ["audit", "benchmark", "export_model"]

#: More threads than any machine has.
MOST_THREADS = 4096
#: What TensorFlow takes as the name of a node.
_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")


def export_model(
    model: keras.Model,
    path: str | Path,
    save_format: str | None = None,
    *,
    strict: bool = True,
    data: Any = None,
    min_sqnr: float = Limits.min_sqnr,
    min_agreement: float = Limits.min_agreement,
    **options: Any,
) -> ExportReport:
    """Write a compressed model for inference, read the file back and report what it holds.

    Args:
        model: the compressed model; it is only read. It may have been loaded from a file, without its controller.
        path: the file or folder to write. Missing folders are made; what exists is replaced only by a complete new one.
        save_format: ``"frozen_graph"``, ``"saved_model"``, ``"keras"``, ``"h5"``, ``"onnx"``, ``"openvino"`` or
            ``"tflite"``; by default the format of the suffix: ``.pb``, none, ``.keras``, ``.h5``, ``.onnx``, ``.xml``,
            ``.tflite``.
        strict: raise if the audit finds a weight that should be compressed and is not, or results that depart from the
            model's. Default True.
        data: samples, as for ``kc.Dataset``, on which the file is run and its outputs are compared with the model's; nothing is
            calibrated on them. Default: 64 registered samples, of which those that calibrated come last, else samples
            drawn to fit the inputs, on which only gross departures count (below 10 dB).
        min_sqnr: least ratio of signal to error of every output, in dB. Default 20.
        min_agreement: least share of samples with the same top-1 where outputs are scores, or with equal integers, as far
            as the number of samples shows it with 99 % confidence. Default 0.97.
        options: of the format, as ``input_names``, ``output_names``, ``batch_size``, ``input_shapes``; see its function in this
            package.
            ONNX Runtime and TensorFlow Lite need ranges that training does not: they are measured on
            ``calibration_data``, by default on the registered data.

    Returns:
        The report; it can stand wherever ``os.PathLike`` is accepted, and has the ``path``.

    Raises:
        ExportError: the format is unknown, an option is wrong, a weight is NaN, a package is missing, or writing failed.
        ExportAuditError: the file was written, and holds a weight, or computes, otherwise than it should.

    Example:
        >>> import tempfile
        >>> from keras_compress.create import create_compressed_model
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])
        >>> config = {"compression": {"algorithm": "magnitude_sparsity", "sparsity_init": 0.5}}
        >>> _, compressed = create_compressed_model(model, config)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = export_model(compressed, Path(folder) / "model.pb")
        >>> report.weights[0].zeros
        0.5
    """
    require_graph(model)
    path = checked_path("path", path, ExportError)
    _check_options(save_format, options)
    form = format_of(path, save_format)
    strict = flag("strict", strict, ExportError)
    limits = _limits(min_sqnr, min_agreement)
    allowed = format_options(path, save_format)
    unknown = [key for key in options if key not in allowed]
    if unknown:
        raise ExportError(f"The format '{form.name}' has no option '{unknown[0]}'. Expected: one of {allowed}.")
    if "calibration_data" in allowed and "calibration_data" not in options:
        record = calibration_of(model)
        options["calibration_data"] = None if record is None else record.data
    names = tensor_names(model, options.get("input_names"), options.get("output_names"))
    shapes = fixed_shapes(model, options.get("input_shapes"), options.get("input_names"))
    if form.suffix:  # a format of folders looks at what is in there
        for target in form.targets(path):
            require_replaceable(target)
    for found in numbers_not_finite(model):
        refuse_not_finite(found, ExportError)
    if data is not None:
        data = audit_samples(model, data, shapes)
    with trusting(True):  # the file is that of a living model
        form.write(model, path, **options)
        report = audit_file(model, path, form, names, data, limits, shapes)
    if strict and report.faults:
        count = f"{len(report.faults)} fault{'s' if len(report.faults) > 1 else ''}"
        unmeasured = "calibration_data" in allowed and options["calibration_data"] is None
        hint = " Pass samples as calibration_data=…, to measure the ranges that are missing." if unmeasured else ""
        if report.run_error and "input_shapes" in allowed and any(None in shape for shape in shapes):
            hint += " Pass input_shapes=…, if the runtime needs fixed sizes there."
        raise ExportAuditError(
            "\n    ".join([f"'{path}' was written, but the audit found {count} in it:", *report.faults])
            + f"\nstrict=False returns the report instead.{hint}"
        )
    return report


def _check_options(save_format: Any, options: Mapping[str, Any]) -> None:
    """Refuse options that every format has and that are not of their kinds.

    Raises:
        ExportError: there is one.
    """
    batch = options.get("batch_size")
    if save_format is not None and not isinstance(save_format, str):
        raise ExportError(f"'save_format' is the name of a format. Received: save_format={short_repr(save_format)}.")
    if batch is not None and (
        isinstance(batch, bool) or not isinstance(batch, (int, np.integer)) or not 0 < batch < 2**31
    ):
        raise ExportError(
            f"'batch_size' is a whole number above 0, or None for an open batch. Received: batch_size={short_repr(batch)}."
        )
    shapes = options.get("input_shapes")
    for shape in shapes.values() if isinstance(shapes, Mapping) else [shapes]:
        sizes = shape if isinstance(shape, (list, tuple)) else ()
        if not all(size is None or isinstance(size, (int, np.integer)) for size in sizes):
            raise ExportError(
                "'input_shapes' takes the shape of an input, or shapes by the names of inputs: whole numbers, None for an open size. "
                f"Received: input_shapes={short_repr(shapes)}."
            )
    for key in ("input_names", "output_names"):
        names = options.get(key)
        listed = [names] if isinstance(names, str) else [] if names is None else names
        sound = isinstance(listed, (list, tuple)) and all(
            isinstance(name, str) and _NAME.fullmatch(name) for name in listed
        )
        if not sound:
            raise ExportError(
                f"'{key}' takes names of letters, digits and any of '_./-', one or a list of them. Received: {key}={short_repr(names)}."
            )


def audit(
    model: keras.Model,
    path: str | Path,
    save_format: str | None = None,
    *,
    input_names: Any = None,
    output_names: Any = None,
    input_shapes: Any = None,
    data: Any = None,
    min_sqnr: float = Limits.min_sqnr,
    min_agreement: float = Limits.min_agreement,
    trust: bool = False,
) -> ExportReport:
    """Read an exported file back and report what it holds, without raising for what is wrong with it.

    Args:
        model: the compressed model the file was made from.
        path: the file.
        save_format: as for :func:`export_model`.
        input_names, output_names: the names it was exported with, if any.
        input_shapes: the sizes it was exported with, if any; samples of other sizes are left out.
        data, min_sqnr, min_agreement: as for :func:`export_model`.
        trust: run the file even if it does more than compute; see :func:`~keras_compress.load_model`. Default False.

    Raises:
        ExportError: the file does not exist, or cannot be read.
        UntrustedFileError: the file does more than hold a model, and is not trusted.

    Example:
        >>> import tempfile
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = export_model(model, Path(folder) / "model.pb").path
        ...     audit(model, path).faults
        []
    """
    require_graph(model)
    path = checked_path("path", path, ExportError, exists=True)
    form, limits = format_of(path, save_format), _limits(min_sqnr, min_agreement)
    names, shapes = tensor_names(model, input_names, output_names), fixed_shapes(model, input_shapes, input_names)
    with trusting(trust):
        return audit_file(model, path, form, names, data, limits, shapes)


def _limits(min_sqnr: Any, min_agreement: Any) -> Limits:
    """Return the limits of an audit."""
    sqnr = number("min_sqnr", min_sqnr, kind=ExportError)
    return Limits(sqnr, number("min_agreement", min_agreement, 0, 1, ExportError))


def benchmark(
    paths: Mapping[str, Any] | Sequence[Any],
    data: Any,
    *,
    float_model: keras.Model | None = None,
    rounds: int = 50,
    threads: int = 0,
    trust: bool = False,
) -> LatencyReport:
    """Measure how long exported files take in their runtimes, in turn in one run.

    Args:
        paths: files of any of the formats, or the reports of their exports; a dict gives them names.
        data: the samples of one run: an array, or a list or dict of arrays for several inputs in the order of the
            model. With ``float_model``, which says what the inputs are, whatever ``fit`` or ``kc.Dataset`` takes; of
            what comes in elements, the first is one run.
        float_model: the Keras model before compression; it is exported to each format and measured too. Default: none.
        rounds: how often each file runs. Default 50; a tenth more, before, are not counted.
        threads: for each runtime. Default 0: as many as it likes.
        trust: run files even if they do more than compute; see :func:`~keras_compress.load_model`. Default False.

    Returns:
        A report with medians, spreads and ratios to the float model in the same format.

    Raises:
        ExportError: a file does not exist, is of no known format, or its runtime is missing.
        UntrustedFileError: a file does more than hold a model, and is not trusted.

    Example::

        report = kc.benchmark({"int8": "model.onnx", "float": "float.onnx"}, images[:1])
        print(report)
    """
    rounds, threads = whole_number("rounds", rounds, 1), whole_number("threads", threads, 0, MOST_THREADS)
    files = {
        name: (place := checked_path("paths", path, ExportError, exists=True), format_of(place, _format_name(path)))
        for name, path in _named(paths).items()
    }
    if float_model is not None:
        require_graph(float_model)
        arrays = Dataset.of(data).first_element(input_specs(float_model))
    else:
        arrays = _arrays(data)
    with trusting(trust):
        return measure_latency(files, arrays, float_model, rounds, threads)


def _named(paths: Any) -> dict[str, Any]:
    """Return what is benchmarked by its name."""
    if isinstance(paths, Mapping):
        return dict(mapping("paths", paths, ExportError))
    listed = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    if not isinstance(listed, (list, tuple)) or not listed:
        raise wrong("paths", "paths of exported files, in a list, or in a dict by name", paths, kind=ExportError)
    names = [checked_path("paths", path, ExportError).name for path in listed]
    return {name if names.count(name) == 1 else str(Path(path)): path for name, path in zip(names, listed, strict=True)}


def _format_name(path: Any) -> str | None:
    """Return the format that the report of an export has."""
    return path.save_format if isinstance(path, ExportReport) else None


def _arrays(data: Any) -> list[np.ndarray]:
    """Return the arrays of one run, in the order of the inputs of a file."""
    first = next(Dataset.of(data).get_inference_data(), None) if _comes_in_elements(data) else data
    inputs = first[0] if _comes_in_elements(data) and isinstance(first, tuple) and first else first
    listed = (
        inputs.values() if isinstance(inputs, Mapping) else inputs if isinstance(inputs, (list, tuple)) else [inputs]
    )
    expected = "the samples of one run: an array, or a list or dict of arrays in the order of the inputs"
    try:
        arrays = [np.asarray(array) for array in listed]
    except Exception as error:  # of a tensor of another framework, or of lists of several lengths
        raise wrong("data", expected, data, f"It cannot be read: {error}", DataError) from None
    if not arrays or not all(_is_of_values(array) and array.ndim and len(array) for array in arrays):
        complex_data = any(array.dtype.kind == "c" for array in arrays)
        reason = "They are complex, which no runtime takes. " if complex_data else ""
        raise wrong("data", expected, data, f"{reason}Pass an array with samples along its first axis.", DataError)
    for array in arrays:
        with np.errstate(over="ignore"):
            single = array.astype(np.float32) if array.dtype.kind in "fV" else np.zeros(1)  # as files take it
        if not np.isfinite(single).all():
            raise wrong(
                "data", f"{expected}, without NaN or infinite values", array, "Clean the data first.", DataError
            )
    return arrays


def _is_of_values(array: np.ndarray) -> bool:
    """Whether an array holds numbers or texts."""
    return (
        holds_numbers(array)
        or array.dtype.kind in "SU"
        or (array.dtype.kind == "O" and all(isinstance(item, (str, bytes)) for item in array.reshape(-1)))
    )


def _comes_in_elements(data: Any) -> bool:
    """Whether data are no arrays but something that yields them."""
    if isinstance(data, Dataset):
        return True
    return not isinstance(data, (Mapping, list, tuple)) and not hasattr(data, "shape")
