"""Binarization in training, checkpoints and files, beside other algorithms, with policies and kinds of layers."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.algorithms import CompressionStage
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import BinaryActivation, BinaryWeight, CompressedLayer, FakeQuantize, SparsityMask
from tests import binary, zoo

layers = keras.layers

INT8 = {"algorithm": "quantization"}
SPARSE = {
    "magnitude_sparsity": {"algorithm": "magnitude_sparsity", "sparsity_init": 0.5},
    "rb_sparsity": {"algorithm": "rb_sparsity", "sparsity_init": 0.5},
    "const_sparsity": {"algorithm": "const_sparsity"},
}
STAGED = {"activations_quant_start_epoch": 1, "weights_quant_start_epoch": 2}
TINY = {"initializer": {"batchnorm_adaptation": {"num_bn_adaptation_samples": 0}}}

every_sparsity = pytest.mark.parametrize("sparsity", SPARSE)


def small():
    """Functional: convolution, normalization, activation, convolution, classifier."""
    image = keras.Input((6, 6, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="stem")(image)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Conv2D(8, 3, name="body")(x)
    return keras.Model(image, layers.Dense(3, name="head")(layers.GlobalAveragePooling2D(name="pool")(x)), name="small")


def fit(controller, epochs=1, optimizer="sgd", **options):
    """Train on random data with the callbacks of the package; return the history."""
    model = controller.model
    if model.optimizer is None:
        model.compile(optimizer, "mse", **options)
    x = zoo.samples(model, 8, seed=1)
    generator = np.random.default_rng(2)
    y = tf.nest.map_structure(
        lambda tensor: generator.normal(size=(8, *tensor.shape[1:])).astype(np.float32), model.output
    )
    callbacks = kc.create_compression_callbacks(controller)
    return model.fit(x, y, batch_size=4, epochs=epochs, callbacks=callbacks, verbose=0).history


def operations(model):
    """Return the classes of the operations on weights, by layer."""
    wrapped = {path: layer for path, layer in leaf_layers(model) if isinstance(layer, CompressedLayer)}
    return {path: [type(op) for _, op in layer.operations] for path, layer in wrapped.items()}


def source(model, layer):
    """Return the layer that makes what a layer reads."""
    return model.get_layer(layer).inbound_nodes[0].inbound_layers


# Training


def test_stages_follow_each_other_in_fit():
    controller, compressed = binary.compress(small(), at_once=False, params=STAGED, **TINY)
    seen = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append(binary.switched_on(compressed)))
    compressed.compile("sgd", "mse")
    x, y = zoo.samples(compressed), np.zeros((8, 3), np.float32)
    callbacks = [*kc.create_compression_callbacks(controller), watch]
    history = compressed.fit(x, y, batch_size=4, epochs=4, callbacks=callbacks, verbose=0).history
    activations = {"image_binarizer", "relu_binarizer"}
    assert seen == [set(), activations, {*activations, "stem", "body"}, {*activations, "stem", "body"}]
    assert history["compression_stage"] == [0.0, 1.0, 2.0, 2.0]
    assert history["binarization/binary_weights"] == [0.0, 0.0, 2.0, 2.0]
    assert np.isfinite(history["loss"]).all()


def test_before_anything_is_binary_training_is_that_of_the_float_model():
    model = small()
    controller, compressed = binary.compress(model, at_once=False, params=STAGED, **TINY)
    controller.scheduler.epoch_step()
    x, y = zoo.samples(model), np.random.default_rng(2).normal(size=(8, 3)).astype(np.float32)
    for one in (model, compressed):
        one.compile("sgd", "mse")
        for _ in range(3):
            one.train_on_batch(x, y)
    trained = {variable.name: variable for variable in compressed.variables}
    for variable in model.variables:
        np.testing.assert_allclose(trained[variable.name], variable, rtol=1e-5, atol=1e-7)
    for op in binary.binary_activations(compressed).values():
        np.testing.assert_array_equal(op.levels()[1], 0.5)


def test_a_fit_that_ends_before_everything_is_binary_warns():
    controller, _ = binary.compress(small(), at_once=False, params=STAGED, **TINY)
    with pytest.warns(UserWarning, match="complete at the start of epoch 2"):
        fit(controller)
    assert controller.compression_stage() is CompressionStage.UNCOMPRESSED


def two_calls():
    image = keras.Input((6, 6, 4), name="image")
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    x = shared(layers.ReLU()(shared(image)))
    return keras.Model(image, layers.Dense(2, name="out")(layers.Flatten()(x)))


def rows():
    stack = [keras.Input((9, 3), name="rows"), layers.Conv1D(4, 3, name="conv"), layers.BatchNormalization()]
    return keras.Sequential([*stack, layers.Flatten(), layers.Dense(2, name="out")])


def with_depthwise():
    stack = [keras.Input((6, 6, 3), name="image"), layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")]
    return keras.Sequential([*stack, layers.Conv2D(4, 1, name="conv"), layers.Flatten(), layers.Dense(2)])


TRAINED = {
    "Sequential": (zoo.convolution, {}),
    "residual": (binary.residual, {"ignored_scopes": binary.BORDERS}),
    "a shared convolution": (two_calls, {}),
    "a shared Dense": (zoo.shared_layer, {"layer_types": "Dense", "ignored_scopes": ["out"]}),
    "Dense": (zoo.dense, {"layer_types": "Dense"}),
    "Conv1D": (rows, {"layer_types": ["Conv1D", "Dense"]}),
    "DepthwiseConv2D": (with_depthwise, {"layer_types": ["DepthwiseConv2D", "Conv2D"], "mode": "dorefa"}),
    "nested": (zoo.nested, {}),
}


@pytest.mark.parametrize("kind", TRAINED)
def test_every_kind_of_layer_trains_with_all_its_variables(kind):
    make, settings = TRAINED[kind]
    controller, compressed = binary.compress(make(), **settings)
    watched = [(path, v) for path, op in binary.binary_activations(compressed).items() for v in op.trainable_variables]
    watched += [
        (path, layer.layer.trainable_variables[0])
        for path, layer in leaf_layers(compressed)
        if path in binary.binary_weights(compressed)
    ]
    before = [variable.numpy() for _, variable in watched]
    assert np.isfinite(fit(controller, optimizer="adam")["loss"]).all()
    for (path, variable), old in zip(watched, before, strict=True):
        assert np.abs(variable - old).max() > 0, (path, variable.name)
        assert np.isfinite(variable.numpy()).all()


@pytest.mark.extended
def test_training_with_xla_takes_the_same_steps():
    weights = []
    for chosen in ({}, {"jit_compile": True}):
        keras.utils.set_random_seed(3)
        controller, compressed = binary.compress(zoo.dense(), at_once=False, params=STAGED, layer_types="Dense")
        assert np.isfinite(fit(controller, 3, **chosen)["loss"]).all()
        weights.append(compressed.get_weights())
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.extended
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_unchanged_before_its_epoch_and_trains_after_it(policy):
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = small()
        controller, compressed = binary.compress(model, at_once=False, params=STAGED, **TINY)
        zoo.assert_same_predictions(compressed, model, zoo.samples(model))
        history = fit(controller, 4, optimizer="adam")
    finally:
        keras.mixed_precision.set_global_policy(before)
    assert compressed.get_layer("body")(zoo.samples(zoo.convolution())[..., :1].repeat(4, -1)).dtype == policy[6:]
    assert np.isfinite(history["loss"]).all()
    assert controller.compression_stage() is CompressionStage.FULLY_COMPRESSED
    assert {v.dtype for v in compressed.trainable_variables} == {tf.float32}


# Batch normalization


def conv_and_norm():
    image = keras.Input((6, 6, 3), name="image")
    x = layers.Conv2D(4, 3, name="conv")(image)
    return keras.Model(image, layers.BatchNormalization(name="norm")(x))


def numpy_products(compressed, data):
    """Return the output of the binary convolution of :func:`conv_and_norm` by the formulas."""
    (op,) = binary.binary_activations(compressed).values()
    scale, thresholds = (level.numpy() for level in op.levels())
    conv = compressed.get_layer("conv")
    kernel = binary.binary_weight(conv.kernel.numpy(), (0, 1, 2))
    return binary.convolution(binary.binary_activation(data, scale, thresholds), kernel) + conv.bias.numpy()


def adapted(params, **adaptation):
    """Return controller, model and data of :func:`conv_and_norm`, adapted on 64 samples."""
    model = conv_and_norm()
    data = zoo.samples(model, 64)
    settings = {"batchnorm_adaptation": {"num_bn_adaptation_samples": 64, **adaptation}}
    config = {"compression": {"algorithm": "binarization", "params": params, "initializer": settings}}
    return *kc.create_compressed_model(model, kc.register_default_init_args(config, data)), data


def assert_statistics(compressed, values):
    norm = compressed.get_layer("norm")
    np.testing.assert_allclose(norm.moving_mean, values.mean((0, 1, 2)), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, values.var((0, 1, 2)), rtol=2e-3)


def test_batch_normalization_is_adapted_to_a_model_that_is_binary_at_once():
    _, compressed, data = adapted(binary.AT_ONCE)
    assert_statistics(compressed, numpy_products(compressed, data))


def test_batch_normalization_stays_while_nothing_is_binary():
    controller, compressed, _ = adapted({})
    controller.scheduler.epoch_step(3)
    norm = compressed.get_layer("norm")
    np.testing.assert_array_equal(norm.moving_mean, 0.0)
    np.testing.assert_array_equal(norm.moving_variance, 1.0)


def test_batch_normalization_is_adapted_when_a_stage_begins_on_demand():
    controller, compressed, data = adapted({}, on_level_change=True)
    controller.scheduler.epoch_step(0)
    np.testing.assert_array_equal(compressed.get_layer("norm").moving_mean, 0.0)
    controller.scheduler.epoch_step(1)
    assert_statistics(compressed, numpy_products(compressed, data))


# Checkpoints and files


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_stages_survive_a_checkpoint(epoch, tmp_path):
    controller, compressed = binary.compress(small(), at_once=False, params=STAGED, **TINY)
    controller.scheduler.epoch_step(epoch)
    binary.scatter_levels(compressed)
    saved = tf.train.Checkpoint(model=compressed, compression_state=kc.TFCompressionState(controller))
    path = saved.save(str(tmp_path / "checkpoint"))
    loader = kc.TFCompressionStateLoader()
    tf.train.Checkpoint(compression_state=loader).restore(path).expect_partial()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again, restored = kc.create_compressed_model(small(), controller.config.with_init_data(None), loader.state)
    state = kc.TFCompressionState(again)
    tf.train.Checkpoint(model=restored, compression_state=state).restore(path).assert_existing_objects_matched()
    assert again.compression_stage() is controller.compression_stage()
    assert binary.switched_on(restored) == binary.switched_on(compressed)
    zoo.assert_same_predictions(restored, compressed, zoo.samples(compressed))
    for one in (controller, again):
        one.scheduler.epoch_step()
    assert again.scheduler.position == controller.scheduler.position
    assert binary.switched_on(restored) == binary.switched_on(compressed)
    zoo.assert_same_predictions(restored, compressed, zoo.samples(compressed))


@pytest.mark.extended
@pytest.mark.parametrize(
    ("epoch", "file"), [(0, "model.keras"), (1, "model.keras"), (2, "model.keras"), (1, "saved_model")]
)
def test_stages_survive_a_file(epoch, file, tmp_path):
    controller, compressed = binary.compress(small(), at_once=False, params=STAGED, **TINY)
    controller.scheduler.epoch_step(epoch)
    binary.scatter_levels(compressed)
    compressed.save(tmp_path / file)
    loaded = keras.models.load_model(tmp_path / file)
    assert binary.switched_on(loaded) == binary.switched_on(compressed)
    zoo.assert_same_predictions(loaded, compressed, zoo.samples(compressed))
    shapes = [[(v.shape, v.trainable) for v in model.variables] for model in (loaded, compressed)]
    assert shapes[0] == shapes[1]


READ = """
import sys
import numpy as np
import keras_compress
import tf_keras as keras

path, data, results = sys.argv[1:]
model = keras.models.load_model(path)
schedule = model.optimizer._learning_rate
np.savez(results, predictions=model.predict(np.load(data), verbose=0), rate=schedule(0).numpy())
"""


@pytest.mark.extended
def test_a_file_from_the_middle_of_training_is_read_in_a_new_process(tmp_path):
    params = {"lr_poly_drop_start_epoch": 1, "lr_poly_drop_duration_epochs": 4, "base_lr": 0.02}
    controller, compressed = binary.compress(small(), params=params, **TINY)
    fit(controller, 3, optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, 10)))
    compressed.save(tmp_path / "model.keras")
    data = zoo.samples(compressed)
    np.save(tmp_path / "data.npy", data)
    paths = [str(tmp_path / name) for name in ("model.keras", "data.npy", "results.npz")]
    subprocess.run([sys.executable, "-c", READ, *paths], check=True, cwd=zoo.__file__.rpartition("/tests/")[0])
    results = np.load(tmp_path / "results.npz")
    np.testing.assert_array_equal(results["predictions"], compressed.predict(data, verbose=0))
    assert results["rate"] == pytest.approx(0.02 * (1 - 1 / 4))


def test_the_stripped_model_has_binary_weights_and_float_activations():
    controller, compressed = binary.compress(small(), **TINY)
    stripped = controller.strip()
    assert [layer.name for layer in stripped.layers] == [layer.name for layer in small().layers]
    weight = compressed.get_layer("body").layer.kernel.numpy()
    kernel = stripped.get_layer("body").kernel.numpy()
    np.testing.assert_allclose(kernel, binary.binary_weight(weight, (0, 1, 2)), rtol=1e-5)


# Beside other algorithms


@pytest.mark.parametrize("first", [True, False], ids=["sparsity first", "binarization first"])
@every_sparsity
def test_a_weight_cannot_be_sparse_and_binary(sparsity, first):
    parts = [SPARSE[sparsity], binary.algorithm(ignored_scopes=["stem"])]
    model = small()
    config = binary.configured(model, *(parts if first else parts[::-1]))
    for make in (kc.create_compressed_model, kc.coverage):
        with pytest.raises(kc.ConfigError, match=r"'kernel' of 'body'.*neither is zero.*ignored_scopes") as refused:
            make(model, config)
        assert f"'{sparsity}'" in str(refused.value)
        assert "'binarization'" in str(refused.value)


@every_sparsity
def test_sparse_and_binary_layers_stand_side_by_side(sparsity):
    sparse = {**SPARSE[sparsity], "ignored_scopes": ["body"]}
    controller, compressed = binary.compress(small(), sparse, target_scopes=["body"], **TINY)
    assert binary.switched_on(compressed) == {"relu_binarizer", "body"}
    found = operations(compressed)
    assert found["body"] == [BinaryWeight]
    assert [issubclass(op, SparsityMask) or "Gate" in op.__name__ for op in found["stem"]] == [True]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Compression is complete", UserWarning)
        assert np.isfinite(fit(controller)["loss"]).all()


def test_the_same_weight_cannot_be_binary_twice():
    model = small()
    with pytest.raises(kc.ConfigError, match=r"'binarization' and 'binarization'"):
        kc.create_compressed_model(model, binary.configured(model, binary.algorithm(), binary.algorithm(mode="dorefa")))


@pytest.mark.parametrize("first", [True, False], ids=["quantization first", "binarization first"])
def test_what_is_binary_is_not_quantized_and_the_rest_is(first):
    model = binary.residual()
    parts = [INT8, binary.algorithm(ignored_scopes=binary.BORDERS)]
    controller, compressed = kc.create_compressed_model(
        model, binary.configured(model, *(parts if first else parts[::-1]))
    )
    found = operations(compressed)
    body = {"one_a", "one_b", "two_a", "two_b"}
    assert {layer for layer, ops in found.items() if ops == [BinaryWeight]} == body
    assert {layer for layer, (op,) in found.items() if issubclass(op, FakeQuantize)} == set(binary.BORDERS)
    for layer in body:
        read = source(compressed, layer)
        assert isinstance(read, BinaryActivation)
        assert not isinstance(source(compressed, read.name), FakeQuantize)
    for layer in binary.BORDERS:
        assert isinstance(source(compressed, layer), FakeQuantize)
    by = {row.layer: row.compressed_by for row in controller.statistics(quickly_collected_only=True).coverage}
    assert by == {**dict.fromkeys(body, "binarization"), **dict.fromkeys(binary.BORDERS, "quantization: 8 bits")}


def test_without_scopes_all_convolutions_are_binary_and_the_classifier_is_quantized():
    controller, compressed = binary.compress(zoo.residual(), INT8)
    found = operations(compressed)
    assert {layer: [op.__name__ for op in ops] for layer, ops in found.items()} == {
        "stem": ["BinaryWeight"],
        "body": ["BinaryWeight"],
        "out": ["SymmetricFakeQuantize"],
    }
    assert isinstance(source(compressed, "image_binarizer"), keras.layers.InputLayer)
    assert isinstance(source(compressed, "out"), FakeQuantize)
    assert np.isfinite(fit(controller)["loss"]).all()


def test_a_pool_that_feeds_a_binary_and_a_quantized_layer_gives_floating_point_to_the_binary_one():
    image = keras.Input((8, 8, 3), name="image")
    x = layers.MaxPooling2D(name="pool")(layers.ReLU(name="relu")(image))
    total = layers.Add(name="sum")([layers.Conv2D(4, 1, name="bits")(x), layers.Conv2D(4, 1, name="bytes")(x)])
    _, compressed = binary.compress(keras.Model(image, total), INT8, ignored_scopes=["bytes"])
    assert source(compressed, "bits").name == "pool_binarizer"
    assert source(compressed, "pool_binarizer").name == "pool"
    assert source(compressed, "pool").name == "relu"
    assert isinstance(source(compressed, "bytes"), FakeQuantize)


def test_ranges_are_measured_on_what_quantizers_will_see():
    """Where the model is binary at once, the range of a quantizer is that of binary products."""
    model = zoo.residual()
    settings = {"range": {"type": "min_max"}, "batchnorm_adaptation": {"num_bn_adaptation_samples": 0}}
    _, compressed = binary.compress(model, {**INT8, "initializer": settings}, **TINY)
    quantizer = source(compressed, "out")
    part = keras.Model(compressed.input, quantizer.input)
    seen = zoo.predict(part, zoo.samples(model, 32, seed=99))[0]
    np.testing.assert_allclose(quantizer.range()[1], seen.max(), rtol=1e-2)


def test_three_algorithms_with_scopes_of_their_own_work_together(tmp_path):
    sparse = {**SPARSE["magnitude_sparsity"], "target_scopes": ["stem"]}
    controller, compressed = binary.compress(small(), sparse, INT8, target_scopes=["body"])
    found = {layer: [op.stage.name for op in ops] for layer, ops in operations(compressed).items()}
    assert found == {"stem": ["MASK", "QUANTIZE"], "body": ["BINARIZE"], "head": ["QUANTIZE"]}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Compression is complete", UserWarning)
        assert np.isfinite(fit(controller)["loss"]).all()
    compressed.save(tmp_path / "model.keras")
    zoo.assert_same_predictions(keras.models.load_model(tmp_path / "model.keras"), compressed, zoo.samples(compressed))


def test_everything_binary_or_ignored_satisfies_strict():
    values = {"compression": [binary.algorithm()], "strict": True}
    rows = {row.layer: row.reason for row in kc.coverage(small(), values)}
    assert rows["body"] == ""
    assert "layers of class Conv2D" in rows["head"]
