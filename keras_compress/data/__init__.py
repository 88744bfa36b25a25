"""Data to calibrate, compare and measure with: in any form that ``fit`` takes, as checked batches for a model.

``input_spec`` says what a model takes, ``elements`` reads one element of the data, ``batching`` cuts elements into
batches, and ``dataset`` puts them together.
"""

from keras_compress.data.batching import Batch
from keras_compress.data.dataset import Dataset
from keras_compress.data.input_spec import InputSpec, fixed_batch, input_specs, pack_inputs, tensor_specs

__all__ = ["Batch", "Dataset", "InputSpec", "fixed_batch", "input_specs", "pack_inputs", "tensor_specs"]
