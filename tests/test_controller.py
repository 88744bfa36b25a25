"""create_compressed_model and the controller: what goes in comes out compressed, compiled as before, and trains."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import (
    CompressionConfig,
    ConfigError,
    UnsupportedModelError,
    create_compressed_model,
    create_compression_callbacks,
    register_default_init_args,
)
from keras_compress._keras import keras
from keras_compress.algorithms import CompressionStage, Position
from keras_compress.layers import CompressedLayer, FakeQuantize
from tests import zoo

layers = keras.layers


def targets(model, samples, seed=1):
    """Return random targets, one per output in the order of the flattened outputs."""
    generator = np.random.default_rng(seed)
    shapes = [(samples, *tensor.shape[1:]) for tensor in model.outputs]
    arrays = [generator.normal(size=shape).astype(np.float32) for shape in shapes]
    return tf.nest.pack_sequence_as(model.output, arrays)


@zoo.every_kind
def test_structure_is_kept_and_predictions_stay_close_with_eight_bits(kind):
    model = zoo.MODELS[kind]()
    inputs = zoo.samples(model, 32, seed=99)
    settings = {"range": {"type": "min_max"}, "batchnorm_adaptation": {"num_bn_adaptation_samples": 0}}
    controller, compressed = create_compressed_model(model, zoo.config(model, samples_count=32, initializer=settings))
    for ours, theirs in zip(zoo.predict(compressed, inputs), zoo.predict(model, inputs), strict=True):
        assert np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max()
        assert np.abs(ours - theirs).max() > 0
    assert controller.model is compressed
    assert type(compressed) is type(model)
    assert compressed.name == model.name
    # A separable convolution is split into the two convolutions it consists of.
    names = {layer.name for layer in compressed.layers if not isinstance(layer, FakeQuantize)}
    assert names - {"separable_depthwise"} == {layer.name for layer in model.layers}
    assert compressed.input_names == model.input_names
    assert compressed.output_names == model.output_names
    assert tf.nest.map_structure(lambda t: t.shape, compressed.output) == tf.nest.map_structure(
        lambda t: t.shape, model.output
    )


def test_variables_keep_their_names_and_numbers():
    model = zoo.residual()
    settings = {"batchnorm_adaptation": {"num_bn_adaptation_samples": 0}, "bias_correction": False}
    _, compressed = zoo.compress(model, initializer=settings)
    now = {variable.name: variable for variable in compressed.variables}
    for variable in model.variables:
        np.testing.assert_array_equal(now[variable.name], variable)


def test_an_uncompiled_model_comes_back_uncompiled():
    _, compressed = zoo.compress(zoo.dense())
    assert compressed.optimizer is None


def test_a_compiled_model_comes_back_compiled_with_objects_of_its_own():
    model = zoo.dense()
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    model.compile(
        keras.optimizers.Adam(schedule, beta_1=0.8), "mse", metrics=["mae", keras.metrics.RootMeanSquaredError()]
    )
    model.fit(zoo.samples(model), targets(model, 8), verbose=0)
    model.optimizer.iterations.assign(17)
    _, compressed = zoo.compress(model)
    assert compressed.optimizer is not model.optimizer
    assert compressed.optimizer.get_config() == model.optimizer.get_config()
    assert int(compressed.optimizer.iterations) == 0
    compressed.fit(zoo.samples(model), targets(model, 8), verbose=0)
    assert compressed.metrics_names == model.metrics_names
    assert not {id(metric) for metric in compressed.metrics} & {id(metric) for metric in model.metrics}
    assert int(model.optimizer.iterations) == 17


@pytest.mark.parametrize(
    "optimizer",
    [
        "adam",
        keras.optimizers.SGD(0.1, momentum=0.5),
        keras.optimizers.legacy.RMSprop(0.2),
        keras.mixed_precision.LossScaleOptimizer(keras.optimizers.Adam(0.3), initial_scale=8.0, dynamic=False),
    ],
    ids=["by name", "SGD", "legacy", "loss scale"],
)
def test_settings_of_the_optimizer_are_kept(optimizer):
    model = zoo.dense()
    model.compile(optimizer, "mse")
    _, compressed = zoo.compress(model)
    assert type(compressed.optimizer) is type(model.optimizer)
    assert compressed.optimizer.get_config() == model.optimizer.get_config()
    assert compressed.optimizer is not model.optimizer


@pytest.mark.parametrize("quantize_outputs", [False, True])
def test_losses_and_metrics_by_output_name_still_fit(quantize_outputs):
    model = zoo.two_outputs()
    model.compile(
        "sgd", {"near": "mse", "far": "mae"}, metrics={"far": ["mse"]}, loss_weights={"near": 0.5, "far": 2.0}
    )
    _, compressed = zoo.compress(model, quantize_outputs=quantize_outputs)
    near, far = targets(model, 8)
    history = compressed.fit(zoo.samples(model), {"near": near, "far": far}, verbose=0)
    assert set(history.history) == {"loss", "near_loss", "far_loss", "far_mse"}


def test_variables_without_weight_decay_are_kept_by_name():
    model = zoo.dense()
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, "mse")
    _, compressed = create_compressed_model(model, {"compression": {"algorithm": "magnitude_sparsity"}})
    kept = {weight.name: compressed.optimizer._use_weight_decay(weight) for weight in compressed.trainable_weights}
    assert {name for name, decays in kept.items() if not decays} == {name for name in kept if "bias" in name} != set()


def test_variables_excluded_from_weight_decay_as_objects_are_told():
    model = zoo.dense()
    optimizer = keras.optimizers.AdamW(1e-3)
    optimizer.exclude_from_weight_decay(var_list=model.trainable_weights[:1])
    model.compile(optimizer, "mse")
    with pytest.warns(UserWarning, match="Exclude them by name"):
        create_compressed_model(model, {"compression": {"algorithm": "magnitude_sparsity"}})


def test_settings_of_compile_are_kept():
    model = zoo.dense()
    model.compile("sgd", "mse", weighted_metrics=["mae"], steps_per_execution=3, jit_compile=False, run_eagerly=True)
    _, compressed = zoo.compress(model)
    assert compressed.run_eagerly
    assert compressed._compile_config.config["steps_per_execution"] == 3
    compressed.fit(zoo.samples(model), targets(model, 8), sample_weight=np.ones(8), verbose=0)
    assert "mae" in compressed.metrics_names


def test_losses_of_ones_own_are_kept():
    def doubled(target, prediction):
        return 2.0 * tf.reduce_mean(tf.square(target - prediction))

    model = zoo.dense()
    model.compile("sgd", doubled)
    _, compressed = zoo.compress(model)
    x, y = zoo.samples(model), targets(model, 8)
    expected = 2.0 * np.mean(np.square(zoo.predict(compressed, x)[0] - y))
    assert compressed.evaluate(x, y, verbose=0) == pytest.approx(expected, rel=1e-4)


def test_fit_with_callbacks_trains_weights_and_ranges_and_logs_numbers():
    model = zoo.convolution()
    controller, compressed = zoo.compress(model, activations={"bits": 4})
    compressed.compile("adam", "mse")
    before = [variable.numpy() for variable in compressed.trainable_variables]
    x, y = zoo.samples(model), targets(model, 8)
    history = compressed.fit(
        x, y, batch_size=4, epochs=2, callbacks=create_compression_callbacks(controller), verbose=0
    )
    changed = [np.abs(v.numpy() - b).max() > 0 for v, b in zip(compressed.trainable_variables, before, strict=True)]
    assert all(changed)
    assert history.history["compression_stage"] == [2.0, 2.0]
    assert controller.scheduler.position == Position(epoch=1, step=3)


def test_a_training_loop_of_ones_own_lowers_the_loss():
    model = zoo.dense()
    controller, compressed = zoo.compress(model)
    x, y = zoo.samples(model, 32), targets(model, 32)
    optimizer = keras.optimizers.Adam(0.03)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(compressed(x, training=True) - y)) + controller.loss()
        gradients = tape.gradient(loss, compressed.trainable_variables)
        optimizer.apply_gradients(zip(gradients, compressed.trainable_variables, strict=True))
        return loss

    losses = []
    for _ in range(2):
        controller.scheduler.epoch_step()
        for _ in range(15):
            controller.scheduler.step()
            losses.append(float(step()))
    assert losses[-1] < 0.7 * losses[0]
    assert controller.scheduler.position == Position(epoch=1, step=29)


def test_a_model_with_xla_trains():
    model = zoo.dense()
    _, compressed = zoo.compress(model)
    compressed.compile("sgd", "mse", jit_compile=True)
    history = compressed.fit(zoo.samples(model), targets(model, 8), verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_mixed_precision_models_are_compressed_and_train():
    image = keras.Input((6, 6, 3), name="image")
    x = layers.Conv2D(4, 3, dtype="mixed_float16", name="conv")(image)
    x = layers.Flatten(dtype="mixed_float16")(x)
    model = keras.Model(image, layers.Dense(2, dtype="float32", name="out")(x))
    _, compressed = zoo.compress(model)
    assert compressed.get_layer("conv")(zoo.samples(model)).dtype == tf.float16
    compressed.compile("sgd", "mse")
    assert np.isfinite(compressed.fit(zoo.samples(model), targets(model, 8), verbose=0).history["loss"]).all()


def test_the_model_given_can_be_a_part_of_a_larger_one_afterwards():
    model = zoo.dense()
    zoo.compress(model)
    x = keras.Input((4,))
    assert keras.Model(x, model(x)).output_shape == (None, 3)


def test_a_dict_and_a_configuration_are_the_same():
    values = {"compression": {"algorithm": "quantization"}}
    with pytest.warns(UserWarning, match="no measured range"):
        by_dict = create_compressed_model(zoo.dense(), values)[0]
    with pytest.warns(UserWarning, match="no measured range"):
        by_object = create_compressed_model(zoo.dense(), CompressionConfig.from_dict(values))[0]
    assert by_dict.get_compression_state() == by_object.get_compression_state()


def test_missing_data_are_a_warning_with_a_remedy():
    with pytest.warns(UserWarning, match=r"2 activation quantizers have no measured range.*register_default_init_args"):
        create_compressed_model(zoo.dense(), {"compression": {"algorithm": "quantization"}})


def test_registered_data_are_enough_for_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zoo.compress(zoo.dense())


def test_a_compressed_model_is_not_compressed_again():
    _, compressed = zoo.compress(zoo.dense())
    with pytest.raises(UnsupportedModelError, match="already compressed"):
        zoo.compress(compressed)


def test_statistics_name_what_is_compressed_and_what_is_not():
    controller, _ = zoo.compress(zoo.residual(), ignored_scopes=["out"])
    statistics = controller.statistics()
    ranges = {(row.layer, row.weight): row.ranges for row in statistics.quantizers if row.weight}
    assert ranges == {("stem", "kernel"): 4, ("body", "kernel"): 4}
    assert [(row.layer, row.reason) for row in statistics.coverage if not row.compressed_by] == [
        ("out", "outside the scope of the configuration")
    ]
    assert statistics.compressed_share == pytest.approx((108 + 144) / (108 + 144 + 12))
    assert dict(statistics) == controller.algorithm_statistics()


def test_stage_loss_and_rate_of_pure_quantization():
    controller, _ = zoo.compress(zoo.dense())
    assert controller.compression_stage() is CompressionStage.FULLY_COMPRESSED
    assert float(controller.loss()) == 0.0
    assert controller.compression_rate is None
    assert controller.distributed() is None


def test_strip_follows_the_trained_weights():
    controller, compressed = zoo.compress(zoo.dense())
    kernel = compressed.get_layer("out").kernel
    kernel.assign(0.5 * kernel)
    stripped = controller.strip()
    np.testing.assert_allclose(
        stripped.get_layer("out").kernel, compressed.get_layer("out").compressed_weight("kernel"), rtol=1e-6
    )
    assert isinstance(compressed.get_layer("out"), CompressedLayer)


def test_two_controllers_in_one_process_do_not_disturb_each_other():
    one, first = zoo.compress(zoo.dense())
    before = zoo.predict(first, zoo.samples(first))[0]
    two, second = zoo.compress(zoo.dense(), weights={"bits": 2})
    two.scheduler.epoch_step()
    second.set_weights([np.zeros_like(array) for array in second.get_weights()])
    np.testing.assert_array_equal(zoo.predict(first, zoo.samples(first))[0], before)
    assert one.scheduler.position == Position()


def test_data_parallel_training_works():
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    with strategy.scope():
        model = zoo.convolution()
        controller, compressed = zoo.compress(model)
        controller.distributed()
        compressed.compile("sgd", "mse")
    history = compressed.fit(zoo.samples(model), targets(model, 8), batch_size=4, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def sparse(model, *algorithms, data=None, init=0.0, adaptation=None, **params):
    """Return the controller and ``model`` with magnitude sparsity, and further algorithms."""
    params = {"sparsity_target": 0.5, "sparsity_target_epoch": 2, **params}
    magnitude = {"algorithm": "magnitude_sparsity", "sparsity_init": init, "params": params}
    if adaptation is not None:
        magnitude["initializer"] = {"batchnorm_adaptation": adaptation}
    config = {"compression": [magnitude, *algorithms]}
    return create_compressed_model(model, config if data is None else register_default_init_args(config, data))


@pytest.mark.parametrize("level", [0.0, 0.25, 0.9])
@pytest.mark.parametrize("way", ["method", "property"])
def test_a_level_can_be_set_by_hand_until_the_schedule_takes_over(way, level):
    controller, compressed = sparse(zoo.dense())
    controller.scheduler.epoch_step(1)
    if way == "method":
        controller.set_sparsity_level(level)
    else:
        controller.compression_rate = level
    assert zoo.zeros(compressed) == round(level * 56)
    assert controller.compression_rate == pytest.approx(round(level * 56) / 56)
    assert controller.algorithm_statistics()["magnitude_sparsity"]["target_sparsity_level"] == pytest.approx(level)
    controller.scheduler.step()
    assert zoo.zeros(compressed) == round(level * 56)
    controller.scheduler.epoch_step()
    assert zoo.zeros(compressed) == 28


@pytest.mark.parametrize("level", [-0.1, 1.0, 1.5, float("nan")])
def test_a_level_out_of_range_is_an_error_and_changes_nothing(level):
    controller, compressed = sparse(zoo.dense(), init=0.25)
    with pytest.raises(ConfigError, match=rf"lies in \[0, 1\).*level={level!r}"):
        controller.set_sparsity_level(level)
    with pytest.raises(ConfigError, match=r"lies in \[0, 1\)"):
        controller.compression_rate = level
    assert zoo.zeros(compressed) == 14


def test_without_an_algorithm_with_a_level_there_is_nothing_to_set_or_freeze():
    controller, _ = zoo.compress(zoo.dense())
    message = r"has a level.*'magnitude_sparsity'.*'rb_sparsity'.*Received: \['quantization'\]"
    for change in (
        lambda: controller.set_sparsity_level(0.5),
        lambda: setattr(controller, "compression_rate", 0.5),
        controller.freeze,
        lambda: controller.freeze(False),
    ):
        with pytest.raises(ConfigError, match=message):
            change()


def test_the_level_of_every_algorithm_that_has_one_is_set():
    rb = {"algorithm": "rb_sparsity", "target_scopes": ["out"]}
    magnitude = {"algorithm": "magnitude_sparsity", "target_scopes": ["hidden"]}
    controller, _ = create_compressed_model(zoo.dense(), {"compression": [magnitude, rb]})
    controller.set_sparsity_level(0.25)
    numbers = controller.algorithm_statistics()
    assert numbers["magnitude_sparsity"] == {"sparsity_level": 0.25, "target_sparsity_level": 0.25}
    assert numbers["rb_sparsity"] == {"sparsity_level": 0.0, "target_sparsity_level": 0.25}
    assert controller.compression_rate == 0.25


@pytest.mark.parametrize("algorithm", ["magnitude_sparsity", "rb_sparsity"])
def test_frozen_masks_stay_until_they_are_thawed(algorithm):
    params = {"sparsity_target": 0.5, "sparsity_target_epoch": 3, "schedule": "polynomial"}
    config = {"compression": {"algorithm": algorithm, "params": params}}
    controller, compressed = create_compressed_model(zoo.dense(), config)
    controller.scheduler.epoch_step(1)
    frozen, asked = zoo.zeros(compressed), controller.algorithm_statistics()
    controller.freeze()
    for _ in range(3):
        controller.scheduler.epoch_step()
        assert controller.algorithm_statistics() == asked
        assert zoo.zeros(compressed) == frozen
    controller.freeze(False)
    controller.scheduler.epoch_step()
    assert controller.algorithm_statistics()[algorithm]["target_sparsity_level"] == 0.5
    if algorithm == "magnitude_sparsity":
        assert zoo.zeros(compressed) == 28


def test_the_stage_is_that_of_all_algorithms_together():
    controller, _ = sparse(zoo.dense(), {"algorithm": "quantization"}, data=zoo.samples(zoo.dense(), 16))
    assert controller.compression_stage() is CompressionStage.PARTIALLY_COMPRESSED
    controller.scheduler.epoch_step(1)
    assert controller.compression_stage() is CompressionStage.PARTIALLY_COMPRESSED
    controller.scheduler.epoch_step(2)
    assert controller.compression_stage() is CompressionStage.FULLY_COMPRESSED


def test_the_rate_is_the_largest_of_the_algorithms():
    model = zoo.dense()
    kernel = model.get_layer("hidden").kernel
    kernel.assign(np.where(np.arange(32).reshape(4, 8) < 24, 0.0, 1.0))
    const = {"algorithm": "const_sparsity", "target_scopes": ["hidden"]}
    magnitude = {"algorithm": "magnitude_sparsity", "target_scopes": ["out"], "sparsity_init": 0.5}
    controller, _ = create_compressed_model(model, {"compression": [const, magnitude]})
    assert controller.compression_rate == 0.75


def test_statistics_are_quick_without_the_size():
    controller, _ = sparse(zoo.dense(), init=0.25)
    assert controller.statistics(quickly_collected_only=True).size is None
    assert controller.statistics().size.float32 == 4 * (32 + 8 + 24 + 3)
    assert controller.statistics().stage == "PARTIALLY_COMPRESSED"


#: Statistics of random networks are not those of the data: what was asked for harms, and is done.
asked_for = pytest.mark.filterwarnings("ignore:A correction that was asked for")


def images(model, count=128, seed=4):
    return 2.0 + 3.0 * zoo.samples(model, count, seed)


def convolved_moments(model, x):
    """Return mean and variance of what the first convolution computes with the weights inference sees."""
    layer = model.get_layer("conv")
    kernel = layer.compressed_weight("kernel") if isinstance(layer, CompressedLayer) else layer.kernel
    out = tf.nn.convolution(x, kernel).numpy() + layer.bias.numpy()
    return out.mean(axis=(0, 1, 2), dtype=np.float64), out.var(axis=(0, 1, 2), dtype=np.float64)


def assert_adapted(model, x):
    mean, variance = convolved_moments(model, x)
    norm = model.get_layer("norm")
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-3)


def statistics_of(model):
    norm = model.get_layer("norm")
    return norm.moving_mean.numpy(), norm.moving_variance.numpy()


def assert_statistics(model, expected):
    for now, before in zip(statistics_of(model), expected, strict=True):
        np.testing.assert_array_equal(now, before)


@asked_for
@pytest.mark.parametrize("algorithm", ["magnitude_sparsity", "rb_sparsity"])
def test_batch_normalization_is_adapted_to_the_zeros_of_the_start(algorithm):
    model = zoo.convolution()
    x = images(model)
    adaptation = {"batchnorm_adaptation": {"num_bn_adaptation_samples": 2000}}
    config = {"compression": {"algorithm": algorithm, "sparsity_init": 0.5, "initializer": adaptation}}
    _, compressed = create_compressed_model(model, register_default_init_args(config, x))
    assert zoo.zeros(compressed) == round(0.5 * (108 + 108))
    assert_adapted(compressed, x)


@pytest.mark.parametrize(("init", "adaptation"), [(0.0, None), (0.5, {"num_bn_adaptation_samples": 0})])
def test_batch_normalization_stays_at_level_zero_and_without_samples(init, adaptation):
    model = zoo.convolution()
    _, compressed = sparse(model, data=images(model), init=init, adaptation=adaptation)
    assert_statistics(compressed, statistics_of(model))


def test_data_are_not_read_at_level_zero():
    def no_data():
        raise AssertionError("the data were read")

    controller, _ = sparse(zoo.convolution(), data=no_data)
    controller.scheduler.epoch_step(2)


def test_batch_normalization_is_adapted_on_demand_when_a_level_is_set():
    model = zoo.convolution()
    x = images(model)
    controller, compressed = sparse(model, data=x)
    controller.set_sparsity_level(0.4)
    assert_statistics(compressed, statistics_of(model))
    controller.set_sparsity_level(0.4, run_batchnorm_adaptation=True)
    assert_adapted(compressed, x)


def test_adapting_on_demand_needs_data():
    controller, compressed = sparse(zoo.convolution())
    with pytest.raises(ConfigError, match=r"cannot be adapted without data.*register_default_init_args"):
        controller.set_sparsity_level(0.4, run_batchnorm_adaptation=True)
    assert zoo.zeros(compressed) == 0


@pytest.mark.parametrize("on_level_change", [True, False])
def test_batch_normalization_is_adapted_when_the_schedule_changes_the_level_if_asked_for(on_level_change):
    model = zoo.convolution()
    x = images(model)
    controller, compressed = sparse(model, data=x, adaptation={"on_level_change": on_level_change})
    before = statistics_of(model)
    for epoch in range(3):
        controller.scheduler.epoch_step()
        controller.scheduler.step()
        if on_level_change and epoch > 0:
            assert_adapted(compressed, x)
        else:
            assert_statistics(compressed, before)
    norm = compressed.get_layer("norm")
    norm.moving_mean.assign(np.full(4, 7.0))
    controller.scheduler.epoch_step()
    np.testing.assert_array_equal(norm.moving_mean, 7.0)


@asked_for
def test_batch_normalization_is_adapted_once_and_to_masks_and_quantizers_together():
    model = zoo.convolution()
    x = images(model)
    calls = []

    def once():
        calls.append(1)
        yield x

    without = {"algorithm": "quantization", "initializer": {"bias_correction": False}}
    adaptation = {"num_bn_adaptation_samples": 2000}
    controller, compressed = sparse(model, without, data=once, init=0.5, adaptation=adaptation)
    assert len(calls) == 4  # were the statistics trained; samples to judge on; ranges; batch normalization once
    seen = compressed.get_layer("conv").compressed_weight("kernel").numpy()
    assert np.mean(seen == 0) >= 0.3
    quantized = compressed.get_layer("image_quantizer")(x)
    mean, variance = convolved_moments(compressed, quantized)
    norm = compressed.get_layer("norm")
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-3)
    assert controller.compression_rate == 0.5


SCHEDULED = {"algorithm": "magnitude_sparsity", "params": {"sparsity_target": 0.5, "sparsity_target_epoch": 1}}


def trained_once(algorithm, callbacks=create_compression_callbacks):
    model = zoo.dense()
    config = register_default_init_args({"compression": algorithm}, zoo.samples(model))
    controller, compressed = create_compressed_model(model, config)
    compressed.compile("sgd", "mse")
    compressed.fit(zoo.samples(model), targets(model, 8), epochs=2, callbacks=callbacks(controller), verbose=0)
    return controller


@pytest.mark.filterwarnings("ignore:This training does not move the schedule")
def test_a_schedule_that_stood_still_in_training_is_a_warning(tmp_path):
    controller = trained_once(SCHEDULED, callbacks=lambda controller: [])
    with pytest.warns(UserWarning, match="create_compression_callbacks") as caught:
        controller.strip()
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="create_compression_callbacks"):
        controller.export_model(tmp_path / "model.keras")


@pytest.mark.filterwarnings("ignore:This training does not move the schedule")
def test_no_warning_of_a_schedule_that_went_on_or_does_not_exist_or_is_done_by_hand():
    trained_once(SCHEDULED).strip()
    trained_once({"algorithm": "quantization"}, callbacks=lambda controller: []).strip()
    zoo.compress(zoo.dense())[0].strip()
    controller = trained_once(SCHEDULED, callbacks=lambda controller: [])
    controller.set_sparsity_level(0.5)
    controller.strip()
