"""inference_model: what every format starts from, a float32 model with fixed quantizers and nothing that trains."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from keras_compress._keras import keras
from keras_compress.calibration import Measurement, RangeInitializer, calibrate_activations
from keras_compress.calibration.calibration_record import CalibrationRecord, calibration_of
from keras_compress.data import Dataset
from keras_compress.export.passing_range import leave_out_what_does_not_pass
from keras_compress.graph import InsertLayer, ModelSnapshot, build, take
from keras_compress.graph.passes.fix_quantizers import fix_quantizers
from keras_compress.graph.passes.forget_states import forget_states
from keras_compress.graph.passes.quantize_model_outputs import quantize_model_outputs
from keras_compress.graph.passes.quantize_outputs import quantize_outputs
from keras_compress.graph.passes.to_float32 import to_float32
from keras_compress.graph.variables import leaf_layers
from keras_compress.graph.view import ModelGraph

__all__ = ["inference_model", "with_quantized_outputs"]

#: Samples on which the ranges of quantizers are measured that only a file needs.
SAMPLES = 256


def inference_model(model: keras.Model, *passes: Callable[[ModelSnapshot], ModelSnapshot]) -> keras.Model:
    """Return a new model that computes what ``model`` computes at inference.

    It has no memory: stateful recurrent layers begin every run as after ``reset_states()``, and a warning names them.

    Args:
        model: the compressed model; it is only read.
        passes: further rewritings that a format needs, such as folding batch normalization.
    """
    snapshot, stateful = forget_states(fix_quantizers(to_float32(take(model))))
    if stateful:
        warnings.warn(
            f"The file keeps no state from one run to the next, but the layers {stateful} are stateful. Each run of the file "
            "begins as after reset_states(). Give the states to the model as inputs and outputs to keep them.",
            stacklevel=2,
        )
    for rewrite in passes:
        snapshot = rewrite(snapshot)
    return build(snapshot)


def with_quantized_outputs(
    model: keras.Model,
    data: Any,
    *,
    of_matrix_products: bool = True,
    of_model: bool = False,
    into_recurrent_layers: bool = True,
    symmetric: bool = False,
) -> keras.Model:
    """Return a new compressed model in which whatever computes with integers has a quantized output.

    Args:
        model: the compressed model; it is only read.
        data: what :class:`~keras_compress.data.Dataset` takes; the ranges are measured on it. They hold all that the quantizers
            of the model let through, and no more.
        of_matrix_products: not only of convolutions. Default True.
        of_model: also the outputs of the model that are of floating point. Default False.
        into_recurrent_layers: also of what a recurrent layer reads. Default True.
        symmetric: on grids that are symmetric around zero. Default False.
    """
    snapshot, added = quantize_outputs(
        take(model),
        of_matrix_products=of_matrix_products,
        into_recurrent_layers=into_recurrent_layers,
        symmetric=symmetric,
    )
    if of_model:
        snapshot, others = quantize_model_outputs(snapshot, [tensor.dtype.is_floating for tensor in model.outputs])
        added = [*added, *others]
    complete = build(snapshot)
    if added:
        layers = dict(leaf_layers(complete))
        record = calibration_of(model)
        new = {layers[edit.path]: Measurement(_initializer(edit, record), len(edit.sources)) for edit in added}
        calibrate_activations(complete, new, list(new), Dataset.of(data))
        leave_out_what_does_not_pass(ModelGraph(snapshot), layers, [edit.path for edit in added])
    return complete


def _initializer(edit: InsertLayer, record: CalibrationRecord | None) -> RangeInitializer:
    """Return how the range of a new quantizer is measured: on as many samples as configured, and without clipping.

    The model itself clips where it is to, in the quantizers that it has.
    """
    how = RangeInitializer() if record is None else record.initializer(edit.sources[0].layer)
    return how.model_copy(update={"type": "min_max", "num_init_samples": how.num_init_samples or SAMPLES})
