"""Sparsity end to end: the same zeros in Keras, in files, in a resumed controller and in the runtimes; exact resuming."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import (
    CompressionConfig,
    TFCompressionState,
    TFCompressionStateLoader,
    create_compressed_model,
    create_compression_callbacks,
)
from keras_compress._keras import keras
from keras_compress.algorithms import CompressionStage
from tests import zoo

KERNELS = {"conv": (3, 3, 3, 4), "out": (36, 3)}
WEIGHTS = 3 * 3 * 3 * 4 + 36 * 3

pytestmark = pytest.mark.filterwarnings("ignore:Compression is complete:UserWarning")


def config(model, *algorithms):
    data = zoo.config(model).init_data
    return CompressionConfig.from_dict({"compression": list(algorithms)}).with_init_data(data)


def sparsity(algorithm="magnitude_sparsity", init=0.0, **params):
    return {"algorithm": algorithm, "sparsity_init": init, "params": params}


def at_level(level, algorithm="magnitude_sparsity"):
    """Return a configuration that has reached ``level`` from the start on."""
    return sparsity(algorithm, level, sparsity_target=level, sparsity_target_epoch=0)


def targets(samples=8, seed=1):
    return np.random.default_rng(seed).normal(size=(samples, 3)).astype(np.float32)


def fit(controller, epochs=1, optimizer="sgd", samples=8, **options):
    """Train, so that weights move after the masks were made."""
    model = controller.model
    if model.optimizer is None:
        model.compile(optimizer, "mse")
    callbacks = create_compression_callbacks(controller)
    x = zoo.samples(model, samples)
    return model.fit(
        x, targets(samples), batch_size=4, epochs=epochs, shuffle=False, callbacks=callbacks, verbose=0, **options
    )


def trained(*algorithms, make=zoo.convolution):
    controller, model = create_compressed_model(make(), config(make(), *algorithms))
    fit(controller)
    return controller, model


def kernels_of(model):
    return {name: model.get_layer(name).compressed_weight("kernel").numpy() for name in KERNELS}


def graph_constants(path):
    """Return the kernels of a frozen graph, found by their shapes."""
    graph_def = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    arrays = [tf.make_ndarray(node.attr["value"].tensor) for node in graph_def.node if node.op == "Const"]
    found = {name: [array for array in arrays if array.shape == shape] for name, shape in KERNELS.items()}
    assert all(len(candidates) == 1 for candidates in found.values())
    return {name: candidates[0] for name, candidates in found.items()}


def resumed(controller, folder):
    """Do what a new process does: read the state, build the model anew, restore the numbers."""
    saved = tf.train.Checkpoint(model=controller.model, compression_state=TFCompressionState(controller))
    path = saved.save(str(folder / "checkpoint"))
    loader = TFCompressionStateLoader()
    tf.train.Checkpoint(compression_state=loader).restore(path).expect_partial()
    make = {"convolution_net": zoo.convolution, "dense_net": zoo.dense}[controller.model.name]
    again, model = create_compressed_model(make(), controller.config, loader.state)
    if controller.model.optimizer is not None:
        optimizer = controller.model.optimizer
        model.compile(type(optimizer).from_config(optimizer.get_config()), "mse")
    checkpoint = tf.train.Checkpoint(model=model, compression_state=TFCompressionState(again))
    checkpoint.restore(path).assert_existing_objects_matched()
    return again


@pytest.mark.parametrize(
    ("algorithm", "level", "quantized"),
    [
        ("magnitude_sparsity", 0.0, False),
        ("magnitude_sparsity", 0.333, False),
        ("magnitude_sparsity", 0.9, True),
        ("magnitude_sparsity", 0.999, False),
        ("rb_sparsity", 0.5, False),
        ("rb_sparsity", 0.75, True),
    ],
)
def test_a_level_is_exact_in_keras_in_files_and_in_the_graph(algorithm, level, quantized, tmp_path):
    algorithms = [at_level(level, algorithm), {"algorithm": "quantization"}][: 1 + quantized]
    controller, model = create_compressed_model(zoo.convolution(), config(zoo.convolution(), *algorithms))
    if algorithm == "rb_sparsity":
        controller.freeze()
    fit(controller)
    model = controller.model
    masked = {layer: ~kept for (layer, _), (_, _, kept) in zoo.masked_weights(model).items()}
    zeros = min(round(level * WEIGHTS), WEIGHTS - len(masked))  # every layer keeps its largest weight
    assert sum(int(mask.sum()) for mask in masked.values()) == zeros
    if 0 < level < 0.99:
        assert all(np.abs(model.get_layer(name).kernel.numpy()[mask]).max() > 0 for name, mask in masked.items())
    model.save(tmp_path / "model.keras")
    stripped = controller.strip()
    places = {
        "Keras": kernels_of(model),
        "a loaded file": kernels_of(keras.models.load_model(tmp_path / "model.keras")),
        "a resumed controller": kernels_of(resumed(controller, tmp_path).model),
        "a stripped model": {name: stripped.get_layer(name).kernel.numpy() for name in KERNELS},
        "a frozen graph": graph_constants(controller.export_model(tmp_path / "model.pb").path),
    }
    for place, found in places.items():
        for name, mask in masked.items():
            np.testing.assert_array_equal(found[name][mask], 0.0, err_msg=place)
            np.testing.assert_allclose(found[name], places["Keras"][name], rtol=1e-6, err_msg=place)
        if not quantized:
            assert sum(int(np.sum(kernel == 0)) for kernel in found.values()) == zeros, place


@pytest.mark.extended
@pytest.mark.parametrize(("bits", "level", "preset"), [(8, 0.9, "mixed"), (4, 0.75, "performance")])
def test_masked_weights_are_zero_in_the_integers_of_openvino(bits, level, preset, tmp_path):
    import openvino

    quantization = {"algorithm": "quantization", "preset": preset, "weights": {"bits": bits}}
    controller, model = trained(at_level(level), quantization)
    path = controller.export_model(tmp_path / "model.pb").path
    openvino.save_model(openvino.convert_model(path), tmp_path / "model.xml", compress_to_fp16=False)
    read = openvino.Core().read_model(tmp_path / "model.xml")
    constants = [op for op in read.get_ordered_ops() if op.get_type_name() == "Constant"]
    integers = {op.get_data().shape: op.get_data() for op in constants if op.get_element_type() == openvino.Type.i8}
    masked = {layer: ~kept for (layer, _), (_, _, kept) in zoo.masked_weights(model).items()}
    assert sum(int(mask.sum()) for mask in masked.values()) == round(level * WEIGHTS)
    seen = kernels_of(model)
    for name, transposed in (("conv", (3, 2, 0, 1)), ("out", (0, 1))):
        expected, zeros = np.transpose(seen[name], transposed), np.transpose(masked[name], transposed)
        found = integers[expected.shape]
        assert np.count_nonzero(found[zeros]) == 0
        np.testing.assert_array_equal(found == 0, expected == 0)
        assert np.count_nonzero(found) > 0


@pytest.mark.extended
def test_openvino_computes_with_the_zeros(tmp_path):
    import openvino

    controller, model = trained(at_level(0.9))
    path = controller.export_model(tmp_path / "model.pb").path
    compiled = openvino.compile_model(openvino.convert_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    x = zoo.samples(model)
    np.testing.assert_allclose(compiled(x)[0], model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


@pytest.mark.first
def test_a_run_of_sparsity_and_quantization_together():
    params = {"sparsity_target": 0.6, "sparsity_target_epoch": 2, "power": 1.0}
    model = zoo.convolution()
    controller, _ = create_compressed_model(
        model, config(model, sparsity(**params), {"algorithm": "quantization", "weights": {"bits": 4}})
    )
    history = fit(controller, epochs=4, optimizer="adam").history
    expected = [0.0, round(0.3 * WEIGHTS) / WEIGHTS, round(0.6 * WEIGHTS) / WEIGHTS, round(0.6 * WEIGHTS) / WEIGHTS]
    np.testing.assert_allclose(history["magnitude_sparsity/sparsity_level"], expected, atol=1e-6)
    assert history["compression_stage"] == [1.0, 1.0, 2.0, 2.0]
    assert controller.compression_stage() is CompressionStage.FULLY_COMPRESSED
    for (layer, _), (_, seen, kept) in zoo.masked_weights(controller.model).items():
        np.testing.assert_array_equal(seen[~kept], 0.0)
        assert all(len(np.unique(seen[..., channel])) <= 15 for channel in range(KERNELS[layer][-1]))


SCHEDULES = {
    "magnitude": [sparsity(sparsity_target=0.7, sparsity_target_epoch=3)],
    "magnitude by steps": [sparsity(sparsity_target=0.7, sparsity_target_epoch=3, update_per_optimizer_step=True)],
    "adaptive": [sparsity(init=0.2, schedule="adaptive", sparsity_target=0.5, patience=3)],
    "frozen": [sparsity(sparsity_target=0.7, sparsity_target_epoch=3, sparsity_freeze_epoch=3)],
    "RB": [sparsity("rb_sparsity", sparsity_target=0.6, sparsity_target_epoch=2)],
    "RB local, frozen": [
        sparsity(
            "rb_sparsity",
            sparsity_target=0.6,
            sparsity_target_epoch=2,
            sparsity_freeze_epoch=3,
            sparsity_level_setting_mode="local",
        )
    ],
    "RB and quantization": [
        sparsity("rb_sparsity", sparsity_target=0.6, sparsity_target_epoch=2),
        {"algorithm": "quantization"},
    ],
}


@pytest.mark.parametrize("kind", SCHEDULES)
def test_training_in_two_parts_gives_the_bits_of_training_in_one(kind, tmp_path):
    model = zoo.dense()
    one, two = (create_compressed_model(model, config(model, *SCHEDULES[kind]))[0] for _ in range(2))
    fit(one, epochs=4, optimizer=keras.optimizers.SGD(0.05), samples=12)
    fit(two, epochs=2, optimizer=keras.optimizers.SGD(0.05), samples=12)
    again = resumed(two, tmp_path)
    assert again.scheduler.get_state() == two.scheduler.get_state()
    fit(again, epochs=4, initial_epoch=2, samples=12)
    assert again.scheduler.get_state() == one.scheduler.get_state()
    for now, expected in zip(again.model.variables, one.model.variables, strict=True):
        assert now.name == expected.name
        np.testing.assert_array_equal(now, expected, err_msg=now.name)
    assert again.algorithm_statistics() == one.algorithm_statistics()
    assert again.compression_stage() == one.compression_stage()


@pytest.mark.parametrize("stop", [1, 2, 4])
def test_a_loop_of_ones_own_can_stop_in_the_middle_of_an_epoch(stop, tmp_path):
    schedule = sparsity(sparsity_target=0.7, sparsity_target_epoch=2, update_per_optimizer_step=True, steps_per_epoch=3)

    def run(controller, first, last):
        for step in range(first, last):
            if step % 3 == 0:
                controller.scheduler.epoch_step()
            controller.scheduler.step()

    model = zoo.dense()
    one, two = (create_compressed_model(model, config(model, schedule))[0] for _ in range(2))
    run(one, 0, 5)
    run(two, 0, stop)
    again = resumed(two, tmp_path)
    run(again, stop, 5)
    assert again.algorithm_statistics() == one.algorithm_statistics()
    np.testing.assert_array_equal(zoo.zeros(again.model), zoo.zeros(one.model))


@pytest.mark.parametrize("algorithm", ["magnitude_sparsity", "rb_sparsity"])
def test_models_in_half_precision_stay_sparse_while_they_train(algorithm):
    image = keras.Input((6, 6, 3), name="image")
    x = keras.layers.Conv2D(4, 3, dtype="mixed_float16", name="conv")(image)
    x = keras.layers.Flatten(dtype="mixed_float16")(x)
    model = keras.Model(image, keras.layers.Dense(3, dtype="float32", name="out")(x))
    controller, compressed = create_compressed_model(model, config(model, at_level(0.5, algorithm)))
    assert compressed.get_layer("conv")(zoo.samples(model)).dtype == tf.float16
    assert np.isfinite(fit(controller).history["loss"]).all()
    masked = zoo.zeros(compressed)
    if algorithm == "magnitude_sparsity":
        assert masked == round(0.5 * (108 + 64 * 3))


@pytest.mark.extended
@pytest.mark.parametrize("algorithm", ["magnitude_sparsity", "rb_sparsity"])
def test_sparse_models_train_under_xla(algorithm):
    model = zoo.dense()
    controller, compressed = create_compressed_model(model, config(model, at_level(0.5, algorithm)))
    compressed.compile("sgd", "mse", jit_compile=True)
    assert np.isfinite(fit(controller).history["loss"]).all()
    if algorithm == "magnitude_sparsity":
        assert zoo.zeros(compressed) == 28


@pytest.mark.extended
@pytest.mark.parametrize("algorithm", ["magnitude_sparsity", "rb_sparsity"])
def test_sparse_models_train_under_a_strategy_as_without(algorithm):
    model = zoo.dense()
    plain, _ = create_compressed_model(model, config(model, at_level(0.5, algorithm)))
    fit(plain, optimizer=keras.optimizers.SGD(0.05))
    with tf.distribute.MirroredStrategy(["/cpu:0"]).scope():
        controller, compressed = create_compressed_model(model, config(model, at_level(0.5, algorithm)))
        compressed.compile(keras.optimizers.SGD(0.05), "mse")
    fit(controller)
    for one, other in zip(compressed.variables, plain.model.variables, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5, atol=1e-6)
