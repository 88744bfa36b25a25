"""The graph of a training step: traced once, whatever levels and stages do, and without what a step has no need of."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from tests.levels import levels

layers = keras.layers

CONFIGS = {
    "quantization": [{"algorithm": "quantization"}],
    "magnitude": [
        {"algorithm": "magnitude_sparsity", "params": {"sparsity_target": 0.5, "sparsity_target_epoch": 2}},
        {"algorithm": "quantization"},
    ],
    "RB": [
        {"algorithm": "rb_sparsity", "params": {"sparsity_target_epoch": 1, "sparsity_freeze_epoch": 2}},
        {"algorithm": "quantization"},
    ],
    "binarization": [
        {
            "algorithm": "binarization",
            "params": {"activations_quant_start_epoch": 0, "weights_quant_start_epoch": 1},
        }
    ],
}


def model_and_data():
    image = keras.Input((8, 8, 8))
    x = layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same", use_bias=False)(image))
    x = layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same")(layers.ReLU()(x)))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(layers.ReLU()(x))))
    generator = np.random.default_rng(0)
    return model, generator.normal(size=(32, 8, 8, 8)).astype(np.float32), generator.integers(0, 3, 32)


def trained(algorithms, epochs):
    """Return a model after some epochs, and how often its step was traced by the end of each."""
    model, images, labels = model_and_data()
    config = kc.register_default_init_args({"compression": algorithms}, images)
    controller, compressed = kc.create_compressed_model(model, config)
    compressed.compile("adam", "sparse_categorical_crossentropy")
    traces = []
    count = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: traces.append(compressed.train_function.experimental_get_tracing_count())
    )
    compressed.fit(
        images,
        labels,
        batch_size=8,
        epochs=epochs,
        validation_data=(images, labels),
        callbacks=[*kc.create_compression_callbacks(controller), count],
        verbose=0,
    )
    return compressed, traces


def operations(compressed):
    """Return the kinds of operations of a step, those of its functions included."""
    data = tf.data.Dataset.from_tensor_slices((np.zeros((8, 8, 8, 8), np.float32), np.zeros(8, np.int64))).batch(8)
    step = tf.function(compressed.train_step).get_concrete_function(data.element_spec)
    graph = step.graph.as_graph_def()
    inside = [node.op for function in graph.library.function for node in function.node_def]
    return [node.op for node in graph.node] + inside


@pytest.mark.extended
@pytest.mark.parametrize("name", CONFIGS)
def test_epochs_levels_and_stages_trace_no_step_anew(name):
    _, traces = trained(CONFIGS[name], epochs=4)
    assert traces == traces[:1] * 4


@pytest.mark.first
@pytest.mark.parametrize("name", levels(["quantization", "magnitude", "RB"], first=["quantization"]))
def test_a_step_has_no_condition_no_loop_no_transposition_and_no_python(name):
    compressed, _ = trained(CONFIGS[name], epochs=4)
    found = set(operations(compressed))
    assert not found & {"If", "StatelessIf", "While", "StatelessWhile", "Transpose", "PyFunc", "EagerPyFunc"}
    assert "FakeQuantWithMinMaxVars" in found


def test_one_quantizer_of_a_weight_is_one_rounding_in_the_step():
    compressed, _ = trained(CONFIGS["quantization"], epochs=4)
    assert operations(compressed).count("Round") == 3  # three kernels; activations have fused kernels
