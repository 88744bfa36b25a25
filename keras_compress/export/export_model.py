"""export_model, audit and benchmark: write a file and read it back, read a file that is there, run files in turn."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress._keras import keras
from keras_compress.calibration.calibration_record import calibration_of
from keras_compress.data import Dataset, input_specs
from keras_compress.errors import ExportAuditError, ExportError, short_repr
from keras_compress.export.file_audit import audit_file
from keras_compress.export.frozen_graph import tensor_names
from keras_compress.export.input_signature import fixed_shapes
from keras_compress.export.latency import LatencyReport, measure_latency
from keras_compress.export.registry import format_of, format_options
from keras_compress.export.result_comparison import Limits
from keras_compress.reports import ExportReport
from keras_compress.safe_mode import trusting

__all__ = ["audit", "benchmark", "export_model"]

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
        ExportError: the format is unknown, an option is wrong, a package is missing, or writing failed.
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
    path = Path(path)
    _check_options(save_format, options)
    form = format_of(path, save_format)
    allowed = format_options(path, save_format)
    unknown = [key for key in options if key not in allowed]
    if unknown:
        raise ExportError(f"The format '{form.name}' has no option '{unknown[0]}'. Expected: one of {allowed}.")
    if "calibration_data" in allowed and "calibration_data" not in options:
        record = calibration_of(model)
        options["calibration_data"] = None if record is None else record.data
    names = tensor_names(model, options.get("input_names"), options.get("output_names"))
    shapes = fixed_shapes(model, options.get("input_shapes"), options.get("input_names"))
    with trusting(True):  # the file is that of a living model
        form.write(model, path, **options)
        report = audit_file(model, path, form, names, data, Limits(min_sqnr, min_agreement), shapes)
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
    """
    names, shapes = tensor_names(model, input_names, output_names), fixed_shapes(model, input_shapes, input_names)
    form, limits = format_of(Path(path), save_format), Limits(min_sqnr, min_agreement)
    with trusting(trust):
        return audit_file(model, Path(path), form, names, data, limits, shapes)


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
    """
    if isinstance(paths, Mapping):
        named = dict(paths)
    else:
        names = [Path(path).name for path in paths]
        named = {
            name if names.count(name) == 1 else str(Path(path)): path for name, path in zip(names, paths, strict=True)
        }
    files = {
        name: (Path(path), format_of(Path(path), getattr(path, "save_format", None))) for name, path in named.items()
    }
    if float_model is not None:
        arrays = Dataset.of(data).first_element(input_specs(float_model))
    else:
        first = next(Dataset.of(data).get_inference_data(), None) if _comes_in_elements(data) else data
        inputs = first[0] if _comes_in_elements(data) and isinstance(first, tuple) else first
        listed = (
            inputs.values()
            if isinstance(inputs, Mapping)
            else inputs
            if isinstance(inputs, (list, tuple))
            else [inputs]
        )
        arrays = [np.asarray(array) for array in listed]
    with trusting(trust):
        return measure_latency(files, arrays, float_model, rounds, threads)


def _comes_in_elements(data: Any) -> bool:
    """Whether data are no arrays but something that yields them."""
    if isinstance(data, Dataset):
        return True
    return not isinstance(data, (Mapping, list, tuple)) and not hasattr(data, "shape")
