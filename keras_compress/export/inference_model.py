"""inference_model: what every format starts from, a float32 model with fixed quantizers and nothing that trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_compress._keras import keras
from keras_compress.calibration import Measurement, RangeInitializer, calibrate_activations
from keras_compress.data import Dataset
from keras_compress.graph import ModelSnapshot, build, take
from keras_compress.graph.passes.fix_quantizers import fix_quantizers
from keras_compress.graph.passes.quantize_outputs import quantize_outputs
from keras_compress.graph.passes.to_float32 import to_float32
from keras_compress.graph.variables import leaf_layers

__all__ = ["inference_model", "with_quantized_outputs"]

#: Samples on which the ranges of quantizers are measured that only a file needs.
SAMPLES = 256


def inference_model(model: keras.Model, *passes: Callable[[ModelSnapshot], ModelSnapshot]) -> keras.Model:
    """Return a new model that computes what ``model`` computes at inference.

    Args:
        model: the compressed model; it is only read.
        passes: further rewritings that a format needs, such as folding batch normalization.
    """
    snapshot = fix_quantizers(to_float32(take(model)))
    for rewrite in passes:
        snapshot = rewrite(snapshot)
    return build(snapshot)


def with_quantized_outputs(
    model: keras.Model,
    data: Any,
    *,
    of_matrix_products: bool = True,
    into_recurrent_layers: bool = True,
    symmetric: bool = False,
) -> keras.Model:
    """Return a new compressed model in which whatever computes with integers has a quantized output.

    Args:
        model: the compressed model; it is only read.
        data: what :class:`~keras_compress.data.Dataset` takes; the ranges are measured on it.
        of_matrix_products: not only of convolutions. Default True.
        into_recurrent_layers: also of what a recurrent layer reads. Default True.
        symmetric: on grids that are symmetric around zero. Default False.
    """
    snapshot, added = quantize_outputs(
        take(model),
        of_matrix_products=of_matrix_products,
        into_recurrent_layers=into_recurrent_layers,
        symmetric=symmetric,
    )
    complete = build(snapshot)
    if added:
        layers = dict(leaf_layers(complete))
        how = RangeInitializer(num_init_samples=SAMPLES)
        new = {layers[edit.path]: Measurement(how, len(edit.sources)) for edit in added}
        calibrate_activations(complete, new, list(new), Dataset.of(data))
    return complete
