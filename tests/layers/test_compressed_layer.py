"""The wrapper: inner layers see compressed weights, and everything else about them stays as it was."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import deserialize, keras, register, serialize
from keras_compress.layers import CompressedLayer, Stage, SymmetricFakeQuantize, WeightOp, weight_owner

layers = keras.layers


@register
class Doubled(WeightOp):
    """Twice the weight; records the dtype it was given."""

    stage = Stage.MASK

    def call(self, inputs):
        self.seen_dtype = inputs.dtype
        return 2.0 * inputs


@register
class Refusing(WeightOp):
    """Raises after the operations before it were applied."""

    stage = Stage.QUANTIZE

    def call(self, inputs):
        raise RuntimeError("refused")


def quantizer(bits=8, axes=(-1,)):
    return SymmetricFakeQuantize(bits, narrow_range=True, channel_axes=axes)


def compressed(layer, path="kernel", *, bits=2, shape=(2, 5), axes=(-1,)):
    """Return ``layer`` with one quantized weight, built, its range set from the weight."""
    wrapper = CompressedLayer(layer, [(path, quantizer(bits, axes))])
    wrapper(tf.zeros(shape))
    for target, op in wrapper.operations:
        owner, attribute = weight_owner(layer, target)
        largest = np.abs(getattr(owner, attribute).numpy()).max()
        op.set_range(np.full(op.scale.shape, -largest), np.full(op.scale.shape, largest))
    return wrapper


def inputs(shape=(2, 5), seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def test_the_layer_computes_with_the_compressed_weight():
    wrapper = compressed(layers.Dense(3, "relu", bias_initializer="ones"))
    weight = wrapper.weight_ops[0].to_integer(wrapper.layer.kernel.numpy()).dequantize()
    expected = np.maximum(inputs().numpy() @ weight + 1.0, 0.0)
    np.testing.assert_allclose(wrapper(inputs()), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(wrapper.compressed_weight("kernel"), weight, rtol=1e-5, atol=1e-6)
    assert np.abs(weight - wrapper.layer.kernel.numpy()).max() > 0.01


@pytest.mark.parametrize("graph", [False, True])
def test_variables_are_back_after_a_call(graph):
    wrapper = compressed(layers.Dense(3))
    kernel = wrapper.layer.kernel
    (tf.function(wrapper) if graph else wrapper)(inputs())
    assert wrapper.layer.kernel is kernel
    assert isinstance(kernel, tf.Variable)
    assert any(kernel is variable for variable in wrapper.layer.trainable_weights)


def test_variables_are_back_after_an_error_in_the_layer():
    wrapper = compressed(layers.Dense(3))
    kernel = wrapper.layer.kernel
    with pytest.raises(ValueError, match="expected axis -1"):
        wrapper(inputs((2, 4)))
    assert wrapper.layer.kernel is kernel


def test_variables_are_back_after_an_error_in_an_operation():
    dense = layers.Dense(3)
    dense.build((2, 5))
    kernel = dense.kernel
    wrapper = CompressedLayer(dense, [("kernel", Doubled()), ("kernel", Refusing())])
    with pytest.raises(RuntimeError, match="refused"):
        wrapper(inputs())
    assert dense.kernel is kernel


def test_gradients_reach_the_float_variable_and_the_range():
    wrapper = compressed(layers.Dense(3, use_bias=False), bits=4)
    x, upstream = inputs(), inputs((2, 3), seed=1)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(wrapper(x) * upstream)
    d_kernel, d_scale = tape.gradient(total, [wrapper.layer.kernel, wrapper.weight_ops[0].scale])
    np.testing.assert_allclose(d_kernel, tf.transpose(x) @ upstream, rtol=1e-5, atol=1e-6)
    assert float(tf.reduce_sum(tf.abs(d_scale))) > 0


def test_operations_run_in_the_order_of_their_stages():
    dense = layers.Dense(3)
    wrapper = CompressedLayer(dense, [("kernel", quantizer(2)), ("kernel", Doubled())])
    wrapper(inputs())
    op = wrapper.weight_ops[1]
    op.set_range(np.full((1, 3), -0.5), np.full((1, 3), 0.5))
    np.testing.assert_array_equal(wrapper.compressed_weight("kernel"), op(2.0 * dense.kernel))
    np.testing.assert_allclose(wrapper(inputs()), inputs() @ op(2.0 * dense.kernel), rtol=1e-6, atol=1e-6)


def test_two_weights_of_one_layer_are_compressed_independently():
    operations = [("depthwise_kernel", quantizer(axes=(-2, -1))), ("pointwise_kernel", Doubled())]
    wrapper = CompressedLayer(layers.SeparableConv2D(4, 3), operations)
    out = wrapper(inputs((1, 5, 5, 2)))
    plain = layers.SeparableConv2D(4, 3)
    plain.build((1, 5, 5, 2))
    plain.depthwise_kernel.assign(wrapper.compressed_weight("depthwise_kernel"))
    plain.pointwise_kernel.assign(2.0 * wrapper.layer.pointwise_kernel)
    np.testing.assert_allclose(out, plain(inputs((1, 5, 5, 2))), rtol=1e-5, atol=1e-6)


def test_it_has_the_name_and_the_attributes_of_its_layer():
    wrapper = compressed(layers.Dense(3, name="head"))
    assert wrapper.name == "head"
    assert wrapper.units == 3
    assert wrapper.kernel is wrapper.layer.kernel
    assert wrapper.bias is wrapper.layer.bias
    assert wrapper.compute_output_shape((7, 5)) == (7, 3)
    assert not hasattr(wrapper, "no_such_thing")
    assert not hasattr(wrapper, "_no_such_thing")


def test_regularizer_acts_on_the_float_weight():
    wrapper = compressed(layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.5)))
    expected = 0.5 * np.square(wrapper.layer.kernel.numpy()).sum()
    np.testing.assert_allclose([float(loss) for loss in wrapper.losses], [expected], rtol=1e-6)


def test_constraint_is_kept():
    wrapper = compressed(layers.Dense(3, kernel_constraint="non_neg"))
    model = keras.Sequential([keras.Input((5,)), wrapper])
    model.compile("sgd", "mse")
    model.fit(inputs((8, 5)), inputs((8, 3)), verbose=0)
    assert wrapper.layer.kernel.numpy().min() >= 0.0


@pytest.mark.parametrize(("trainable", "count"), [(True, 3), (False, 0)])
def test_a_frozen_layer_stays_frozen(trainable, count):
    wrapper = compressed(layers.Dense(3, trainable=trainable))
    assert wrapper.trainable is trainable
    assert len(wrapper.trainable_weights) == count
    assert len(wrapper.weights) == 4


@pytest.mark.parametrize("layer", [layers.Dense(3, "relu", name="head"), layers.Conv2D(2, 3, dtype="mixed_float16")])
def test_configuration_round_trip(layer):
    wrapper = CompressedLayer(layer, [("kernel", quantizer(4)), ("kernel", Doubled())])
    again = deserialize(json.loads(json.dumps(serialize(wrapper))))
    assert again.get_config() == wrapper.get_config()
    assert [path for path, _ in again.operations] == ["kernel", "kernel"]
    assert [type(op) for _, op in again.operations] == [Doubled, SymmetricFakeQuantize]


def test_a_rebuilt_layer_with_the_same_weights_computes_the_same():
    wrapper = compressed(layers.Dense(3))
    again = CompressedLayer.from_config(wrapper.get_config())
    again(inputs())
    again.set_weights(wrapper.get_weights())
    np.testing.assert_array_equal(again(inputs()), wrapper(inputs()))


@pytest.mark.parametrize("path", ["cell.kernel", "cell.recurrent_kernel"])
def test_weights_of_a_cell_are_addressed_by_a_dotted_path(path):
    wrapper = compressed(layers.LSTM(4), path, shape=(2, 6, 5))
    plain = layers.LSTM(4)
    plain(inputs((2, 6, 5)))
    plain.set_weights(wrapper.layer.get_weights())
    owner, attribute = weight_owner(plain, path)
    getattr(owner, attribute).assign(wrapper.compressed_weight(path))
    np.testing.assert_allclose(wrapper(inputs((2, 6, 5))), plain(inputs((2, 6, 5))), rtol=1e-5, atol=1e-6)
    assert isinstance(weight_owner(wrapper.layer, path)[0].kernel, tf.Variable)


def test_weights_of_attention_are_addressed_by_a_dotted_path():
    attention = layers.MultiHeadAttention(2, 3)
    operations = [(f"_{name}_dense.kernel", quantizer(4)) for name in ("query", "key", "value", "output")]
    attention(inputs((2, 6, 5)), inputs((2, 6, 5)))
    wrapper = CompressedLayer(attention, operations)
    out = wrapper(inputs((2, 6, 5)), inputs((2, 6, 5)))
    assert out.shape == (2, 6, 5)
    assert np.abs(out - attention(inputs((2, 6, 5)), inputs((2, 6, 5)))).max() > 0


def test_training_and_mask_reach_the_layer():
    wrapper = compressed(layers.LSTM(4, dropout=0.5), "cell.kernel", shape=(2, 6, 5))
    x = inputs((2, 6, 5))
    assert np.abs(wrapper(x, training=True) - wrapper(x, training=False)).max() > 0
    mask = tf.sequence_mask([3, 6], 6)
    np.testing.assert_allclose(wrapper(x, mask=mask)[0], wrapper(x[:, :3])[0], rtol=1e-5, atol=1e-6)


def test_a_layer_that_takes_neither_training_nor_mask_can_be_called_with_both():
    wrapper = compressed(layers.Dense(3))
    np.testing.assert_array_equal(wrapper(inputs(), training=True), wrapper(inputs()))


def test_masks_pass_through():
    x = inputs((2, 6, 5))
    x._keras_mask = tf.sequence_mask([3, 6], 6)
    np.testing.assert_array_equal(compressed(layers.Dense(3), shape=(2, 6, 5))(x)._keras_mask, x._keras_mask)


def test_mixed_precision_computes_the_layer_in_float16_and_the_operations_in_float32():
    op = Doubled()
    dense = layers.Dense(3, dtype="mixed_float16")
    wrapper = CompressedLayer(dense, [("kernel", op)])
    model = keras.Sequential([keras.Input((5,)), wrapper])
    out = model(inputs())
    assert out.dtype == tf.float16
    assert op.seen_dtype == tf.float32
    assert dense.kernel.dtype == tf.float32
    np.testing.assert_allclose(out, inputs() @ (2.0 * tf.cast(dense.kernel, tf.float32)), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("layer", "path", "shape"),
    [
        (lambda: layers.Dense(3), "kernel", (5,)),
        (lambda: layers.Conv2D(2, 3), "kernel", (6, 6, 2)),
        (lambda: layers.LSTM(4), "cell.recurrent_kernel", (6, 5)),
        (lambda: layers.Dense(3, dtype="mixed_float16"), "kernel", (5,)),
    ],
    ids=["dense", "convolution", "lstm", "mixed precision"],
)
def test_a_saved_and_loaded_model_gives_the_same_bits(tmp_path, layer, path, shape):
    model = keras.Sequential([keras.Input(shape), compressed(layer(), path, shape=(2, *shape))])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    x = inputs((4, *shape))
    np.testing.assert_array_equal(again(x), model(x))


def test_a_saved_and_loaded_model_has_the_same_variable_names(tmp_path):
    model = keras.Sequential([keras.Input((5,)), compressed(layers.Dense(3, name="head"))])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert [v.name for v in again.variables] == [v.name for v in model.variables]


class Signed(layers.Dense):
    """A layer of a user with a Python condition on a tensor."""

    def call(self, inputs):
        outputs = super().call(inputs)
        if tf.reduce_sum(outputs) > 0:
            outputs = -outputs
        return outputs


@register
class Larger(WeightOp):
    """An operation of a user with a Python condition on a tensor."""

    stage = Stage.MASK

    def call(self, inputs):
        if tf.reduce_sum(inputs) < 1e6:
            inputs = 2.0 * inputs
        return inputs


def test_python_conditions_of_a_layer_and_of_an_operation_inside_work_in_a_traced_graph():
    wrapper = CompressedLayer(Signed(3, kernel_initializer="ones", name="signed"), [("kernel", Larger())])
    run = tf.function(lambda x: wrapper(x)).get_concrete_function(tf.TensorSpec([None, 5], tf.float32))
    for sign in (1.0, -1.0):
        np.testing.assert_array_equal(run(tf.fill((2, 5), sign)), np.full((2, 3), -10.0))


@pytest.mark.parametrize("operations", [[], (), None, {}, "kernel", [["kernel"]], [[1, {}]]], ids=str)
def test_a_description_without_operations_is_damaged_and_not_a_layer_in_floating_point(operations):
    config = compressed(layers.Dense(3)).get_config()
    with pytest.raises(ValueError, match=r"is damaged.*'operations', pairs of the name of a weight"):
        CompressedLayer.from_config({**config, "operations": operations})


def test_a_class_of_a_user_that_is_derived_from_it_may_have_an_if_on_tensors():
    class Switched(CompressedLayer):
        def call(self, inputs):
            outputs = CompressedLayer.call(self, inputs)
            if tf.reduce_sum(outputs) > 0:
                outputs = outputs + 1.0
            return outputs

    inputs = keras.Input((5,))
    switched = Switched(layers.Dense(3, kernel_initializer="ones"), [("kernel", quantizer())])
    model = keras.Model(inputs, switched(inputs))
    switched.operations[0][1].set_range(-np.ones((1, 3)), np.ones((1, 3)))
    np.testing.assert_allclose(model(np.ones((1, 5), np.float32)), [[6.0] * 3], rtol=1e-5)
    np.testing.assert_allclose(model.predict(-np.ones((1, 5)), verbose=0), [[-5.0] * 3], rtol=1e-5)
