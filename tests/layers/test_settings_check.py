"""Settings of operations are checked when an operation is made, and its axes when it meets a tensor."""

import numpy as np
import pytest

from keras_compress.layers import BinaryMask, BinaryWeight, FixedFakeQuantize, StochasticGate, SymmetricFakeQuantize
from keras_compress.layers.settings_check import checked_axes, checked_number, checked_whole, positive_axes


@pytest.mark.parametrize(
    "make",
    [
        *(lambda: SymmetricFakeQuantize(3.5), lambda: SymmetricFakeQuantize(True), lambda: SymmetricFakeQuantize("8")),
        *(lambda: SymmetricFakeQuantize(8, narrow_range="yes"), lambda: SymmetricFakeQuantize(8, channel_axes="ab")),
        *(lambda: SymmetricFakeQuantize(8, max_value="a"), lambda: SymmetricFakeQuantize(8, signed="no")),
        *(
            lambda: FixedFakeQuantize(0.5, False),
            lambda: FixedFakeQuantize(8, 1),
            lambda: FixedFakeQuantize(8, True, [0.5]),
        ),
        *(lambda: BinaryWeight([True]), lambda: BinaryMask(input_axis=10**400), lambda: BinaryMask(input_axis=0.5)),
        *(lambda: StochasticGate(2**40), lambda: StochasticGate(0, float("nan")), lambda: StochasticGate(0, 1.0, -1)),
    ],
)
def test_what_a_file_may_hold_in_their_place_is_refused(make):
    with pytest.raises(ValueError, match="Received"):
        make()


@pytest.mark.parametrize(
    "make", [SymmetricFakeQuantize, BinaryWeight, lambda **axes: FixedFakeQuantize(8, True, **axes)]
)
@pytest.mark.parametrize("axes", [[99], [-4], [0, -3]])
def test_axes_that_a_tensor_does_not_have_are_refused(make, axes):
    with pytest.raises(ValueError, match="is on a tensor of 3 axes"):
        make(channel_axes=axes).build((2, 3, 4))


def test_numbers_of_numpy_are_numbers():
    assert checked_whole(np.int64(3), "bits", "q", 2, 8) == 3
    assert checked_number(np.float32(0.5), "pace", "g") == 0.5
    assert checked_axes(np.array([0, 1]), "q") == (0, 1)
    assert positive_axes((-1, 0), 3, "q") == {0, 2}
