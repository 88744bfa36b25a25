"""Operations that can be observed and switched, whatever they do to a tensor."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress.layers import BinaryActivation, SymmetricFakeQuantize, observed
from keras_compress.layers.calibrated_op import bypassed_unless

X = np.array([[0.1, 0.4, 2.6]], np.float32)
ROUNDED = np.array([[0.0, 0.0, 3.0]], np.float32)


def coarse():
    """Return a quantizer with the levels -4 to 3."""
    quantizer = SymmetricFakeQuantize(3)
    quantizer.build((None, 3))
    quantizer.set_range(np.float32(-3.0), np.float32(3.0))
    return quantizer


def traced(quantizers, switch):
    """Return a graph, with a switch for each quantizer, of the sum of what they make."""

    def run(inputs, switches):
        with bypassed_unless({quantizers[i]: switches[i] for i in switch}):
            return tf.add_n([quantizer(inputs) for quantizer in quantizers])

    specs = tf.TensorSpec([None, 3], tf.float32), tf.TensorSpec([len(quantizers)], tf.bool)
    return tf.function(run).get_concrete_function(*specs)


@pytest.mark.parametrize(("on", "expected"), [(True, ROUNDED), (False, X)])
def test_an_operation_works_where_its_switch_is_on(on, expected):
    run = traced([coarse()], [0])
    np.testing.assert_allclose(run(tf.constant(X), tf.constant([on])), expected, atol=1e-6)


def test_a_traced_graph_can_be_switched_again_and_again():
    run = traced([coarse()], [0])
    for on in (True, False, True):
        np.testing.assert_allclose(run(tf.constant(X), tf.constant([on])), ROUNDED if on else X, atol=1e-6)


def test_operations_have_switches_of_their_own_and_work_without_one():
    quantizers = [coarse(), coarse(), coarse()]
    run = traced(quantizers, [0, 2])
    for switches in np.ndindex(2, 2, 2):
        first, _, last = switches
        expected = (ROUNDED if first else X) + ROUNDED + (ROUNDED if last else X)
        np.testing.assert_allclose(run(tf.constant(X), tf.constant(np.array(switches, bool))), expected, atol=1e-6)


def test_another_range_is_seen_by_a_graph_that_was_traced_before():
    quantizer = coarse()
    run = traced([quantizer], [0])
    quantizer.set_range(np.float32(-6.0), np.float32(6.0))
    np.testing.assert_allclose(run(tf.constant(X), tf.constant([True])), [[0.0, 0.0, 2.0]], atol=1e-6)


def test_behind_the_context_the_operation_works_as_before():
    quantizer = coarse()
    with bypassed_unless({quantizer: tf.constant(False)}):
        np.testing.assert_array_equal(quantizer(X), X)
    np.testing.assert_allclose(quantizer(X), ROUNDED, atol=1e-6)


def test_an_error_takes_the_switches_off():
    quantizers = [coarse(), coarse()]
    with pytest.raises(KeyError, match="stop"), bypassed_unless(dict.fromkeys(quantizers, tf.constant(False))):
        raise KeyError("stop")
    for quantizer in quantizers:
        np.testing.assert_allclose(quantizer(X), ROUNDED, atol=1e-6)


def test_an_observer_comes_before_a_switch():
    quantizer, seen = coarse(), []
    with bypassed_unless({quantizer: tf.constant(True)}), observed({quantizer: seen.append}, [quantizer]):
        np.testing.assert_array_equal(quantizer(X), X)
    np.testing.assert_array_equal(seen[0], X)


def test_operations_that_are_no_quantizers_are_switched_too():
    operation = BinaryActivation()
    operation.build(X.shape)
    operation.active.assign(True)
    mapped = operation(X).numpy()
    assert not np.array_equal(mapped, X)
    with bypassed_unless({operation: tf.constant(False)}):
        np.testing.assert_array_equal(operation(X), X)
    np.testing.assert_array_equal(operation(X), mapped)


def test_half_precision_stays_half_precision():
    with bypassed_unless({(quantizer := coarse()): tf.constant(True)}):
        assert quantizer(tf.constant(X, tf.float16)).dtype == tf.float16
