"""What a compressed model was calibrated on, kept with the live model, so that exports can measure more and audits can compare.

It is no part of the model's files, nor of its copies: a model that was loaded or built from a snapshot has none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from keras_compress._keras import keras
from keras_compress.calibration.range_measurement import RangeInitializer
from keras_compress.data import Dataset
from keras_compress.graph.copying import NOT_COPIED

__all__ = ["CalibrationRecord", "calibration_of", "record_calibration"]

_ATTRIBUTE = f"{NOT_COPIED}calibration"


@dataclass(frozen=True)
class CalibrationRecord:
    """The data of a calibration.

    Attributes:
        data: the samples.
        samples: how many of them, from the first, were used.
        initializer: returns, for the path of a layer, how the range of its output is measured.
        remarks: what was corrected, and what it did to the outputs.
    """

    data: Dataset
    samples: int
    initializer: Callable[[str], RangeInitializer]
    remarks: tuple[str, ...] = ()


def record_calibration(model: keras.Model, record: CalibrationRecord) -> None:
    """Keep a record with a model, past ``setattr``, which would make Keras track it."""
    vars(model)[_ATTRIBUTE] = record


def calibration_of(model: keras.Model) -> CalibrationRecord | None:
    """Return the record of a model, None if it has none."""
    return vars(model).get(_ATTRIBUTE)
