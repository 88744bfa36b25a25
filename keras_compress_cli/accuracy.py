"""top1: the accuracy of a classifier on labelled samples, for those who bring no validation function of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_compress._keras import keras
from keras_compress.errors import DataError

__all__ = ["top1"]


def top1(model: keras.Model, data: Any) -> float:
    """Return the share of samples, in [0, 1], whose greatest output is that of the label; of one output, above 0.5.

    Args:
        model: a Keras model with one output.
        data: ``(inputs, labels)``, or an iterable of such batches; labels are numbers of classes, or one-hot.

    Raises:
        DataError: there are no labels, or they do not fit the outputs.
    """
    right = total = 0
    for element in [data] if isinstance(data, tuple) else data:
        if not isinstance(element, (tuple, list)) or len(element) < 2:
            raise DataError("There are no labels to compare with. Expected: data of inputs and labels.")
        outputs = np.asarray(model.predict(element[0], verbose=0))
        found = outputs.argmax(-1) if outputs.shape[-1] > 1 else (outputs[..., 0] > 0.5).astype(int)
        labels = np.asarray(element[1])
        if labels.shape == outputs.shape and outputs.shape[-1] > 1:
            labels = labels.argmax(-1)
        if labels.size != found.size:
            raise DataError(
                f"The labels do not fit the outputs. Expected: one for each sample, or one-hot, for outputs of shape "
                f"{outputs.shape}. Received: {labels.shape}. Pass --validate module:function."
            )
        right += int(np.sum(found == labels.reshape(found.shape)))
        total += found.size
    if total == 0:
        raise DataError("The validation data are empty. Expected: at least one sample.")
    return right / total
