"""Audit: reads an exported file back and compares what it holds and computes with the model it was made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress._keras import keras
from keras_compress.errors import ExportError, UntrustedFileError
from keras_compress.export.audit_samples import AuditSamples, audit_samples
from keras_compress.export.expected_weights import ExpectedWeight, expected_weights
from keras_compress.export.foreign_errors import WAYS_OUT, WHOLE_FILE, explained, reason_of
from keras_compress.export.format import Format, StoredWeight, TensorNames
from keras_compress.export.isolated_runtime import isolated_load, isolated_load_by_default, isolated_stored_weights
from keras_compress.export.layer_comparison import compare_layers
from keras_compress.export.result_comparison import Limits, compare_outputs, judged
from keras_compress.export.runtimes.run import MissingRuntime, Run, RunError
from keras_compress.export.weight_matching import holds_the_values, match_weights
from keras_compress.graph import build, strip, take
from keras_compress.graph.variables import leaf_layers
from keras_compress.reports import ExportReport, WeightAudit
from keras_compress.reports.coverage import INPUT_NOT_QUANTIZED

__all__ = ["audit_file", "stored_weights"]

#: Values of an axis entry on which levels are counted.
COUNTED = 4096


def audit_file(
    model: keras.Model,
    path: Path,
    form: Format,
    names: TensorNames,
    data: Any = None,
    limits: Limits | None = None,
    shapes: Sequence[Sequence[int | None]] | None = None,
) -> ExportReport:
    """Read a file back, run it, and report what it holds and computes.

    Args:
        model: the compressed model the file was made from.
        path: the file.
        form: its format.
        names: of its inputs and outputs.
        data: samples, as for ``kc.Dataset``, on which its outputs are compared with the model's, or what
            :func:`~keras_compress.export.audit_samples.audit_samples` has made of them; see there for the default.
        limits: from what departure on its results are wrong. Default: those of :class:`Limits`.
        shapes: of its inputs, without the batch, where it fixes sizes that the model leaves open. Default: the model's.
    """
    snapshot = take(model)
    layers = [name for name, _ in leaf_layers(model)]
    stored = stored_weights(path, form, layers)
    expected = expected_weights(snapshot, form.passes)
    rows = [_row(form, weight, found) for weight, found in match_weights(expected, stored)]
    plain = strip(snapshot)
    float_size = sum(4 * array.size for arrays in plain.weights.values() for array in arrays.values())
    inputs, outputs = ((), ()) if form.interface is None else form.interface(path, names)
    report = ExportReport(
        path, form.name, form.size(path), float_size, tuple(rows), inputs=tuple(inputs), outputs=tuple(outputs)
    )
    samples = data if isinstance(data, AuditSamples) else audit_samples(model, data, shapes)
    if samples is None:
        return replace(report, not_run="no samples can be drawn for an input of text; pass data=…")
    reference = model if form.keeps_quantizers else build(plain)
    try:
        comparison = compare_outputs(reference, _loaded(form, path, names, layers), samples)
    except MissingRuntime as error:
        if data is not None:
            raise
        return replace(report, not_run=str(error))
    except RunError as error:
        return replace(report, run_error=str(error))
    limits = limits or Limits()
    comparison = judged(reference, samples, comparison, limits)
    if not comparison.problem:
        comparison = replace(comparison, **_by_default(reference, form, path, names, samples))
    if comparison.problem and form.isolated is not None:
        where = _first_departure(model, path, form, names, samples, limits)
        comparison = replace(comparison, problem=f"{comparison.problem}{where}")
    return replace(report, comparison=comparison)


def _by_default(
    model: keras.Model, form: Format, path: Path, names: TensorNames, samples: AuditSamples
) -> dict[str, Any]:
    """Return what a comparison says about the precision that a runtime computes in without any options, if that is not float32."""
    try:
        found = isolated_load_by_default(form, path, names)
        if found is None:
            return {}
        precision, run = found
        return {"default_precision": precision, "default_sqnr": compare_outputs(model, run, samples).sqnr}
    except (ExportError, RuntimeError) as error:
        return {"problem": f"its runtime runs it in float32 only, which is not its default: {reason_of(error)}"}


def _first_departure(
    model: keras.Model, path: Path, form: Format, names: TensorNames, samples: AuditSamples, limits: Limits
) -> str:
    """Return where in the model the results of a file begin to depart, as the end of a sentence; empty if that is not found."""
    try:
        reason = compare_layers(model, path, form, names, samples, limits.least_sqnr(samples.source)).reason
    except ExportError:  # a runtime may run a file and not tell what is inside
        return ""
    return f"; {reason}" if reason else ""


def _loaded(form: Format, path: Path, names: TensorNames, layers: Sequence[str]) -> Run:
    """Make a file ready to run; whatever its runtime raises, then or later, is a RunError."""

    def guarded(call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except (MissingRuntime, UntrustedFileError):
            raise
        except ExportError as error:
            raise RunError(str(error)) from error
        except Exception as error:
            raise RunError(f"its runtime cannot run it: {reason_of(error, layers)} {WAYS_OUT}") from error

    return partial(guarded, guarded(isolated_load, form, path, names))


def stored_weights(path: Path, form: Format, layers: Sequence[str] = ()) -> list[StoredWeight]:
    """Return every constant of a file that may be a weight.

    Args:
        path: the file.
        form: its format.
        layers: paths of the layers of the model it was made from, to be named where it cannot be read. Default: none.

    Raises:
        ExportError: the file cannot be read back.
    """
    with explained(f"'{path}' cannot be read back as {form.name}", WHOLE_FILE, layers):
        return isolated_stored_weights(form, path)


def _row(form: Format, weight: ExpectedWeight, found: StoredWeight | None) -> WeightAudit:
    if not weight.needed and found is not None and not holds_the_values(found, weight):
        found = None  # the nearest constant of its size, which is another's
    if found is None:
        stored_as, size, levels, zeros, reads, runs = "" if weight.needed else "not needed", 0, 0, 0.0, None, None
    else:
        stored_as, size, reads, runs = found.stored_as, found.size, found.input_quantized, found.runs_in_integers
        levels, zeros = _levels(found.values), float(np.mean(found.values == 0))
    return WeightAudit(
        weight.layer,
        weight.weight,
        weight.values.size,
        weight.bits,
        stored_as,
        size,
        levels,
        zeros,
        reads,
        runs,
        _problem(form, weight, found),
    )


def _levels(values: np.ndarray) -> int:
    """Return the number of values of the axis entry that has most of them, along the axis where that is smallest."""
    if values.size == 0:
        return 0
    counts = []
    for axis in range(values.ndim):
        rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        rows = np.sort(rows[:, :: -(-rows.shape[1] // COUNTED)], axis=1)
        counts.append(int((np.count_nonzero(np.diff(rows, axis=1), axis=1) + 1).max()))
    return min(counts, default=1)


def _problem(form: Format, weight: ExpectedWeight, found: StoredWeight | None) -> str:
    """Return what is wrong with a stored weight in one sentence, empty if nothing is."""
    if weight.values.size == 1 or (weight.bits == 32 and "." in weight.weight):
        return ""  # a number becomes part of another; weights inside of cells and attention are merged and split
    if found is None:
        return "not in the file" if weight.needed else ""
    if not holds_the_values(found, weight):
        if found.stored_as.startswith("float") and form.integers and weight.bits < 32:
            return f"stored as {found.stored_as}, with other values than the model's"
        return "stored with other values than the model's: wrong scale, axis or integers"
    if weight.bits in (1, 32):
        return ""
    if form.integers and found.stored_as.startswith("float"):
        return f"stored as {found.stored_as}, not as integers"
    if form.keeps_quantizers and not found.on_grid:
        return "without a quantizer behind it, so that runtimes take it for floating point"
    if form.keeps_quantizers and weight.input_quantized and found.input_quantized is False:
        return INPUT_NOT_QUANTIZED
    return ""
