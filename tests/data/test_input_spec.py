"""What a model takes is read off in its order, and batches are packed into what it is called with."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress.data import Dataset, InputSpec, input_specs, pack_inputs
from tests import zoo


def test_the_inputs_of_a_model_are_read_off_in_its_order():
    specs = input_specs(zoo.dicts())
    assert {spec.name: spec.shape for spec in specs} == {"wide": (6,), "deep": (3,)}
    assert {spec.dtype for spec in specs} == {"float32"}
    assert input_specs(zoo.recurrent()) == [InputSpec("words", (5,), "int32")]


@pytest.mark.parametrize("make", [zoo.dense, zoo.shared_layer, zoo.dicts])
def test_batches_can_be_packed_into_what_the_model_is_called_with(make):
    model = make()
    inputs = zoo.samples(model, 4)
    (batch,) = Dataset(inputs).batches(input_specs(model), batch_size=4)
    packed = pack_inputs(model, batch.inputs)
    tf.nest.assert_same_structure(packed, model.input)
    for ours, theirs in zip(zoo.predict(model, packed), zoo.predict(model, inputs), strict=True):
        np.testing.assert_array_equal(ours, theirs)
