"""Requests and answers of a process that runs files."""

import io

import numpy as np
import pytest

from keras_compress.export.runtimes.worker import receive, send


def test_values_go_through_a_pipe_one_after_the_other():
    stream = io.BytesIO()
    array = np.random.default_rng(0).normal(size=(3, 4))
    send(stream, ("run", 1, [array]))
    send(stream, "second")
    stream.seek(0)
    command, number, [received] = receive(stream)
    assert (command, number) == ("run", 1)
    np.testing.assert_array_equal(received, array)
    assert receive(stream) == "second"
    with pytest.raises(EOFError):
        receive(stream)
