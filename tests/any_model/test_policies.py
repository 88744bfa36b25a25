"""Precision policies, data formats and ways to run: quantizers compute in float32 and everything else stays as it was."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export.frozen_graph import run_frozen_graph
from keras_compress.layers import CompressedLayer, FakeQuantize

layers = keras.layers
IMAGES = np.random.RandomState(0).normal(size=(16, 8, 8, 3)).astype(np.float32)
LABELS = np.arange(16) % 3


def network():
    inputs = keras.Input((8, 8, 3), name="x")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", name="conv")(inputs)))
    x = layers.Add()([layers.Conv2D(4, 3, padding="same", activation="relu")(x), x])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3, name="head")(x))


def compress(model):
    config = {"compression": {"algorithm": "quantization"}}
    return kc.create_compressed_model(model, kc.register_default_init_args(config, IMAGES))


@pytest.fixture(params=["float64", "mixed_float16", "mixed_bfloat16"])
def policy(request):
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(request.param)
    yield request.param
    keras.mixed_precision.set_global_policy(before)


@pytest.mark.extended
def test_a_policy_is_kept_and_quantizers_compute_in_float32(policy, tmp_path):
    model = network()
    controller, compressed = compress(model)
    for layer in compressed.layers:
        if isinstance(layer, (CompressedLayer, FakeQuantize)):
            assert layer.dtype_policy.name == "float32"
        if isinstance(layer, CompressedLayer):
            assert layer.layer.dtype_policy.name == policy
            assert layer.layer.kernel.dtype == model.get_layer(layer.name).kernel.dtype
    assert compressed.output.dtype == model.output.dtype
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    compressed.compile(keras.optimizers.SGD(1e-3), loss)
    assert np.isfinite(compressed.fit(IMAGES, LABELS, verbose=0).history["loss"]).all()
    expected = compressed(IMAGES, training=False).numpy().astype(np.float32)
    path = controller.export_model(tmp_path / "model.pb").path
    [received] = run_frozen_graph(path, {"x": IMAGES}, compressed.output_names)
    assert received.dtype == np.float32
    np.testing.assert_allclose(received, expected, atol=0.05 * np.abs(expected).max())


@pytest.mark.extended
@pytest.mark.parametrize("options", [{"jit_compile": True}, {"run_eagerly": True}, {"steps_per_execution": 2}])
def test_every_way_to_run_trains_to_the_same_numbers(options):
    results = []
    for arguments in ({}, options):
        keras.utils.set_random_seed(0)
        _, compressed = compress(network())
        compressed.compile(keras.optimizers.SGD(1e-3), keras.losses.SparseCategoricalCrossentropy(True), **arguments)
        compressed.fit(IMAGES, LABELS, batch_size=4, shuffle=False, verbose=0)
        results.append(compressed.get_layer("conv").layer.kernel.numpy())
    np.testing.assert_allclose(results[0], results[1], atol=1e-3)


def test_channels_first_models_get_one_range_per_output_channel():
    inputs = keras.Input((3, 8, 8), name="x")
    model = keras.Model(inputs, layers.Conv2D(5, 3, data_format="channels_first", name="conv")(inputs))
    with pytest.warns(UserWarning, match="no measured range"):
        _, compressed = kc.create_compressed_model(model, {"compression": {"algorithm": "quantization"}})
    [(_, op)] = compressed.get_layer("conv").operations
    assert op.scale.shape == (1, 1, 1, 5)


def test_a_registered_layer_is_compressed_and_an_unregistered_one_is_named():
    class Scaled(layers.Layer):
        def build(self, input_shape):
            self.matrix = self.add_weight("matrix", (input_shape[-1], 4))

        def call(self, inputs):
            return tf.matmul(inputs, self.matrix)

    inputs = keras.Input((6,), name="x")
    model = keras.Model(inputs, layers.Dense(2, name="head")(Scaled(name="own")(inputs)))
    config = {"compression": {"algorithm": "quantization"}, "strict": True}
    with pytest.raises(kc.UnsupportedModelError, match=r"own: matrix.*register_layer_spec"):
        kc.coverage(model, config)
    excused = {**config, "ignored_scopes": ["own"]}
    assert [row.compressed_by for row in kc.coverage(model, excused)] == ["", "quantization: 8 bits"]
    kc.register_layer_spec(Scaled, {"matrix": -1})
    assert {row.compressed_by for row in kc.coverage(model, config)} == {"quantization: 8 bits"}
