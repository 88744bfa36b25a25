"""Audit: reads an exported file back and compares what it holds and computes with the model it was made from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress._keras import keras
from keras_compress.data import Dataset, input_specs, pack_inputs
from keras_compress.errors import ExportError
from keras_compress.export.format import Format, StoredWeight, TensorNames
from keras_compress.export.reference import ReferenceWeight, reference_weights
from keras_compress.graph.passes.strip import strip
from keras_compress.graph.snapshot import take
from keras_compress.reports import Comparison, ExportReport, WeightAudit
from keras_compress.reports.decibels import decibels

__all__ = ["audit_file", "compare_arrays", "compare_outputs", "stored_weights"]

#: Samples on which a file is compared with the model.
SAMPLES = 1000
#: Number of elements from which on a weight is compared by moments, and values of an axis entry on which levels are counted.
LARGE, COUNTED = 1_000_000, 4096


def audit_file(model: keras.Model, path: Path, form: Format, names: TensorNames, data: Any = None) -> ExportReport:
    """Read a file back and report what it holds.

    Args:
        model: the compressed model the file was made from.
        path: the file.
        form: its format.
        names: of its inputs and outputs.
        data: samples, as for ``kc.Dataset``, on which its outputs are compared with the model's; at most 1,000 are used.
    """
    stored = stored_weights(path, form)
    rows = [_row(form, weight, found) for weight, found in _matched(reference_weights(model, form.passes), stored)]
    comparison = None if data is None else compare_outputs(model, path, form, names, data)
    arrays = strip(take(model)).weights.values()
    float_size = sum(4 * array.size for layer in arrays for array in layer.values())
    return ExportReport(path, form.name, form.size(path), float_size, tuple(rows), comparison)


def stored_weights(path: Path, form: Format) -> list[StoredWeight]:
    """Return every constant of a file that may be a weight.

    Raises:
        ExportError: the file cannot be read back.
    """
    try:
        return form.stored_weights(path)
    except ExportError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(
            f"'{path}' cannot be read back as {form.name}: {reason[:300]}. Export the model again."
        ) from error


def _matched(
    references: Sequence[ReferenceWeight], stored: Sequence[StoredWeight]
) -> list[tuple[ReferenceWeight, StoredWeight | None]]:
    """Find every weight among the constants of a file, by its values in whatever order of axes they lie.

    Weights of layers that share a size are told apart by their values. What is not found by its values is answered with the
    one constant of its size that is nearest, if no other weight claims it.
    """
    by_size: dict[int, list[StoredWeight]] = defaultdict(list)
    for constant in stored:
        by_size[constant.values.size].append(constant)
    sketches: dict[tuple[int, int], np.ndarray] = {}

    def sketch(constant: StoredWeight, reference: ReferenceWeight) -> np.ndarray:
        kind = reference.bits if reference.bits in (1, 32) else 8
        if (id(constant), kind) not in sketches:
            sketches[id(constant), kind] = _sketch(_comparable(reference, constant.values))
        return sketches[id(constant), kind]

    result: list[tuple[ReferenceWeight, StoredWeight | None]] = []
    claimed: set[int] = set()
    for reference in references:
        expected, same_size = _reference_sketch(reference), by_size[reference.values.size]
        found = [constant for constant in same_size if _alike(sketch(constant, reference), expected)]
        # of equal constants the one that computes counts: a copy in floating point is what a runtime would use
        best = min(found, key=lambda c: (c.on_grid, c.input_quantized is not False), default=None)
        claimed.update(id(constant) for constant in found)
        result.append((reference, best))
    missing = [index for index, (_, constant) in enumerate(result) if constant is None]
    for index in missing:
        reference = result[index][0]
        expected = _reference_sketch(reference)
        left = {
            float(np.abs(sketch(constant, reference) - expected).sum()): constant
            for constant in by_size[reference.values.size]
            if id(constant) not in claimed
        }
        if left:
            nearest = left[min(left)]
            claimed.add(id(nearest))
            result[index] = reference, nearest
    return result


def _reference_sketch(reference: ReferenceWeight) -> np.ndarray:
    """Return the sketch of what counts of a weight."""
    return _sketch(_comparable(reference, reference.values))


def _comparable(reference: ReferenceWeight, values: np.ndarray) -> np.ndarray:
    """Return what counts of values: of a binary weight all but the scale, of which a runtime may keep a part elsewhere, and of
    one that is only sparse the zeros, since converters multiply what follows into the rest.
    """
    if reference.bits == 32:
        return (values != 0).astype(np.float32)
    return values / max(float(np.abs(values).max()), 1e-30) if reference.bits == 1 else values


def _sketch(values: np.ndarray) -> np.ndarray:
    """Return numbers that are the same for any layout of an array: its values in order, thinned out to a thousand, and their mean.

    Of a large array they are moments, because it takes long to put it in order.
    """
    if values.size > LARGE:
        flat = values.reshape(-1).astype(np.float64)
        moments = [flat.min(), flat.max(), flat.mean(), np.abs(flat).mean(), np.sqrt((flat**2).mean())]
        return np.array(moments, np.float32)
    ordered = np.sort(values.reshape(-1).astype(np.float32))
    thinned = ordered[np.linspace(0, ordered.size - 1, min(ordered.size, 1000)).astype(int)]
    return np.append(thinned, ordered.astype(np.float64).mean()).astype(np.float32)


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two sketches agree up to rounding of the greatest magnitude."""
    return bool(np.abs(one - other).max() <= 2e-5 * max(float(np.abs(other).max()), 1e-30))


def _row(form: Format, reference: ReferenceWeight, found: StoredWeight | None) -> WeightAudit:
    if found is None:
        stored_as, size, levels, zeros, reads, runs = "", 0, 0, 0.0, None, None
    else:
        stored_as, size, reads, runs = found.stored_as, found.size, found.input_quantized, found.runs_in_integers
        levels, zeros = _levels(found.values), float(np.mean(found.values == 0))
    return WeightAudit(
        reference.layer,
        reference.weight,
        reference.values.size,
        reference.bits,
        stored_as,
        size,
        levels,
        zeros,
        reads,
        runs,
        _problem(form, reference, found),
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


def _problem(form: Format, reference: ReferenceWeight, found: StoredWeight | None) -> str:
    """Return what is wrong with a stored weight in one sentence, empty if nothing is."""
    if reference.values.size == 1 or (reference.bits == 32 and "." in reference.weight):
        return ""  # a number becomes part of another; weights inside of cells and attention are merged and split
    if found is None:
        return "not in the file"
    if not _alike(_sketch(_comparable(reference, found.values)), _reference_sketch(reference)):
        if found.stored_as.startswith("float") and form.integers and reference.bits < 32:
            return f"stored as {found.stored_as}, with other values than the model's"
        return "stored with other values than the model's: wrong scale, axis or integers"
    if reference.bits in (1, 32):
        return ""
    if form.integers and found.stored_as.startswith("float"):
        return f"stored as {found.stored_as}, not as integers"
    if form.keeps_quantizers and not found.on_grid:
        return "without a quantizer behind it, so that runtimes take it for floating point"
    if form.keeps_quantizers and reference.input_quantized and found.input_quantized is False:
        return "its input is not quantized, so that it computes in floating point"
    return ""


def compare_outputs(model: keras.Model, path: Path, form: Format, names: TensorNames, data: Any) -> Comparison:
    """Run a file and the model it was made from on the same samples.

    Raises:
        ExportError: the runtime of the format is missing, or it cannot run the file.
    """
    run = form.load(path, names, 0)
    batches = list(Dataset.of(data).batches(input_specs(model), 32, SAMPLES))
    expected: list[list[np.ndarray]] = []
    received: list[list[np.ndarray]] = []
    size = model.inputs[0].shape[0]
    for batch in batches:
        for start in range(0, batch.samples, size or len(batch.inputs[0])):
            part = [array[start : start + (size or len(array))] for array in batch.inputs]
            kept = min(len(part[0]), batch.samples - start)
            outputs = model(pack_inputs(model, part), training=False)
            expected.append([np.asarray(output)[:kept] for output in _flat(outputs)])
            received.append([output[:kept] for output in run(part)])
    return compare_arrays(*([np.concatenate(o) for o in zip(*side, strict=True)] for side in (expected, received)))


def _flat(outputs: Any) -> list[Any]:
    import tensorflow as tf

    return tf.nest.flatten(outputs)


def compare_arrays(expected: Sequence[np.ndarray], received: Sequence[np.ndarray]) -> Comparison:
    """Compare outputs as arrays, those that count as the truth first; of several the worst counts."""
    errors, steps, ratios, same = [0.0], [0.0], [np.inf], []
    for one, other in zip(expected, received, strict=True):
        one, other = one.astype(np.float64), np.asarray(other, np.float64).reshape(one.shape)
        difference = np.abs(one - other)
        errors.append(difference.max() / max(np.abs(one).max(), 1e-30))
        steps.append(difference.max() / max(np.ptp(one) / 255, 1e-30))
        noise = np.mean(difference**2)
        ratios.append(decibels(noise / max(np.mean(one**2), np.finfo(np.float64).tiny)))
        if one.ndim > 1 and one.shape[-1] > 1:
            same.append(float(np.mean(one.argmax(-1) == other.argmax(-1))))
    return Comparison(
        len(expected[0]), float(max(errors)), float(max(steps)), float(min(ratios)), min(same) if same else None
    )
