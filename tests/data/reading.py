"""What the tests of data share: the rows that arrive, and data that come in slices."""

import numpy as np
import tensorflow as tf

from keras_compress.data import Dataset


def rows(data, specs, batch_size=7, limit=None):
    """Return the data without the filling of the last batch, one array per input."""
    batches = Dataset.of(data).batches(specs, batch_size, limit)
    return [np.concatenate(parts) for parts in zip(*(batch.data for batch in batches), strict=True)]


def slices(*parts):
    """Return a dataset of single samples, of several arrays together."""
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0])
