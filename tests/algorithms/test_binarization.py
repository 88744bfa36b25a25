"""The binarization algorithm: what it makes binary, when, from what scale on, and what the binary model computes."""

import math
import warnings

import numpy as np
import pytest

from keras_compress import ConfigError, Dataset, create_compressed_model, register_default_init_args
from keras_compress._keras import keras
from keras_compress.algorithms import CompressionStage, PlanContext, Position
from keras_compress.algorithms.binarization import Binarization
from keras_compress.calibration import measure_untrained_statistics
from keras_compress.graph import InsertLayer, ModelGraph, WrapWeight, take
from keras_compress.layers import observed
from keras_compress.settings import validated
from tests import binary, zoo

layers = keras.layers

EVERY_TYPE = ("Conv1D", "Conv2D", "DepthwiseConv2D", "Dense")


def plan(model, **settings):
    return Binarization(**settings).plan(ModelGraph(take(model)), PlanContext())


def weight_axes(plan):
    """Return the channel axes of every weight that becomes binary, by layer and weight."""
    wraps = [edit for edit in plan.edits if isinstance(edit, WrapWeight)]
    return {(edit.layer, edit.weight): edit.op["config"]["channel_axes"] for edit in wraps}


def edges(plan):
    """Return the path of every binary activation with the tensors it reads and the layers that read it."""
    inserts = [edit for edit in plan.edits if isinstance(edit, InsertLayer)]
    return {
        edit.path: ([tensor.layer for tensor in edit.sources], [ref.layer for ref in edit.consumers])
        for edit in inserts
    }


def every_kind():
    """Sequential: one layer of each class that can be binary."""
    stack = [
        keras.Input((6, 6, 3), name="image"),
        layers.Conv2D(4, 3, name="conv"),
        layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise"),
        layers.Reshape((4, 8), name="rows"),
        layers.Conv1D(5, 2, name="conv1d"),
        layers.Flatten(name="flat"),
        layers.Dense(3, name="dense"),
    ]
    return keras.Sequential(stack)


def one_of(kind):
    """Sequential: one layer of a class, called ``layer``, on an input of its rank."""
    shape, layer = {
        "Conv1D": ((9, 4), layers.Conv1D(5, 3, bias_initializer="normal", name="layer")),
        "Conv2D": ((7, 8, 4), layers.Conv2D(5, (3, 2), bias_initializer="normal", name="layer")),
        "DepthwiseConv2D": (
            (7, 8, 4),
            layers.DepthwiseConv2D((3, 2), depth_multiplier=2, bias_initializer="normal", name="layer"),
        ),
        "Dense": ((4,), layers.Dense(5, bias_initializer="normal", name="layer")),
    }[kind]
    return keras.Sequential([keras.Input(shape, name="x"), layer])


def numpy_product(kind, x, kernel):
    """Return what a layer of a class computes of an input without padding, bias left out, in float64."""
    if kind == "Conv1D":
        return binary.convolution(x[:, np.newaxis], kernel[np.newaxis])[:, 0]
    products = {"Conv2D": binary.convolution, "DepthwiseConv2D": binary.depthwise_convolution, "Dense": np.matmul}
    return products[kind](np.float64(x), kernel)


def only_activation(model):
    (op,) = binary.binary_activations(model).values()
    return op


def two_valued(model, x):
    """Return ``x`` as the only binary activation of a model maps it, by the formula."""
    op = only_activation(model)
    scale, logits = np.exp(np.float64(op.log_scale.numpy())), np.float64(op.threshold_logits.numpy())
    return binary.binary_activation(x, scale, 1 / (1 + np.exp(-logits)))


# What is planned


def test_only_conv2d_is_binary_by_default():
    found = plan(every_kind())
    assert weight_axes(found) == {("conv", "kernel"): (-1,)}
    assert edges(found) == {"image_binarizer": (["image"], ["conv"])}


def test_each_class_that_is_asked_for_is_binary_along_its_output_channels():
    expected = {
        ("conv", "kernel"): (-1,),
        ("depthwise", "depthwise_kernel"): (-2, -1),
        ("conv1d", "kernel"): (-1,),
        ("dense", "kernel"): (-1,),
    }
    assert weight_axes(plan(every_kind(), layer_types=EVERY_TYPE)) == expected
    assert weight_axes(plan(every_kind(), layer_types=EVERY_TYPE, mode="dorefa")) == dict.fromkeys(expected)


def test_a_single_class_needs_no_list():
    assert set(weight_axes(plan(every_kind(), layer_types="Dense"))) == {("dense", "kernel")}


def test_what_stays_as_it_is_is_told_with_its_reason():
    skipped = {weight.layer: weight.reason for weight in plan(every_kind(), ignored_scopes=["conv"]).skipped}
    assert set(skipped) == {"conv", "depthwise", "conv1d", "dense"}
    assert "scope" in skipped["conv"]
    assert skipped["dense"] == "binarization was asked for layers of class Conv2D"


def test_two_layers_that_read_one_tensor_share_its_binary_values():
    found = edges(plan(zoo.concatenation()))
    assert found["image_binarizer"] == (["image"], ["left", "right"])
    assert len(found) == 2


def test_a_sum_beside_a_binary_layer_still_reads_floating_point():
    found = plan(binary.residual(), ignored_scopes=binary.BORDERS)
    assert edges(found) == {
        "stem_relu_binarizer": (["stem_relu"], ["one_a"]),
        "one_a_relu_binarizer": (["one_a_relu"], ["one_b"]),
        "one_relu_binarizer": (["one_relu"], ["two_a"]),
        "two_a_relu_binarizer": (["two_a_relu"], ["two_b"]),
    }


def test_a_layer_that_is_called_twice_has_one_weight_and_two_inputs():
    found = plan(zoo.shared_layer(), layer_types="Dense", ignored_scopes=["out"])
    assert list(weight_axes(found)) == [("shared", "kernel")]
    assert {path: sources for path, (sources, _) in edges(found).items()} == {
        "first_binarizer": ["first"],
        "second_binarizer": ["second"],
    }


def test_binary_activations_of_nested_models_lie_inside():
    found = plan(zoo.nested())
    assert list(weight_axes(found)) == [("backbone/conv", "kernel")]
    assert edges(found) == {"backbone/inner_image_binarizer": (["backbone/inner_image"], ["backbone/conv"])}


def test_a_model_without_an_input_layer_has_binary_inputs_too():
    found = plan(zoo.deferred(), layer_types="Dense")
    assert len(edges(found)) == 2
    assert [consumers for _, consumers in edges(found).values()] == [["hidden"], ["out"]]


def test_names_of_binary_activations_do_not_collide_with_layers():
    image = keras.Input((6, 6, 2), name="image")
    x = layers.Conv2D(3, 3, name="image_binarizer")(image)
    _, compressed = binary.compress(keras.Model(image, layers.Conv2D(2, 3, name="out")(x)))
    names = [layer.name for layer in compressed.layers]
    assert len(names) == len(set(names)) == 5


def test_a_class_of_ones_own_stays_in_floating_point():
    class Conv2D(layers.Conv2D):
        pass

    model = keras.Sequential([keras.Input((6, 6, 2), name="image"), Conv2D(3, 3, name="own")])
    assert plan(model).edits == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "ternary"}, r"mode.*'ternary'"),
        ({"layer_types": ["Conv3D"]}, r"layer_types.*'Conv3D'"),
        ({"params": {"weights_quant_start_epoch": -1}}, "weights_quant_start_epoch"),
        ({"params": {"lr_poly_drop_duration_epochs": 0}}, "lr_poly_drop_duration_epochs"),
        ({"params": {"base_lr": 0.0}}, "base_lr"),
        ({"params": {"activation_quant_start_epoch": 1}}, "Did you mean 'activations_quant_start_epoch'"),
    ],
)
def test_wrong_settings_are_an_error_that_names_the_key(settings, message):
    with pytest.raises(ConfigError, match=message):
        validated(Binarization, settings)


def test_a_key_without_effect_is_named():
    assert any(
        "batch_multiplier" in remark for remark in Binarization(params={"batch_multiplier": 2}).configuration_warnings()
    )
    assert Binarization().configuration_warnings() == []


# What the binary model computes


@pytest.mark.parametrize("mode", ["xnor", "dorefa"])
@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_a_binary_layer_computes_what_the_formula_says(kind, mode):
    model = one_of(kind)
    weight, bias = model.get_layer("layer").get_weights()
    _, compressed = binary.compress(model, mode=mode, layer_types=kind)
    binary.scatter_levels(compressed)
    others = {"Conv1D": (0, 1), "Conv2D": (0, 1, 2), "DepthwiseConv2D": (0, 1), "Dense": (0,)}[kind]
    kernel = binary.binary_weight(weight, others if mode == "xnor" else None)
    x = zoo.samples(model)
    expected = numpy_product(kind, two_valued(compressed, x), kernel) + bias
    np.testing.assert_allclose(zoo.predict(compressed, x)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("kernel", [1, 2, 3, (1, 3)])
def test_zeros_of_same_padding_are_zeros_among_two_values(kernel, strides):
    model = binary.one_convolution(kernel=kernel, strides=strides, padding="same")
    weight, bias = model.get_layer("conv").get_weights()
    _, compressed = binary.compress(model)
    binary.scatter_levels(compressed)
    x = zoo.samples(model, 3)
    values = two_valued(compressed, x)
    assert len(np.unique(values)) == 2
    padded = binary.same_padding(values, weight, (strides, strides))
    expected = binary.convolution(padded, binary.binary_weight(weight, (0, 1, 2)), (strides, strides)) + bias
    np.testing.assert_allclose(zoo.predict(compressed, x)[0], expected, rtol=1e-4, atol=1e-5)


def test_zeros_of_a_padding_layer_stay_zeros():
    image = keras.Input((6, 6, 4), name="image")
    padded = layers.ZeroPadding2D(((1, 2), (0, 3)), name="pad")(image)
    model = keras.Model(image, layers.Conv2D(5, 3, bias_initializer="normal", name="conv")(padded))
    weight, bias = model.get_layer("conv").get_weights()
    _, compressed = binary.compress(model)
    binary.scatter_levels(compressed)
    x = zoo.samples(model, 3)
    values = np.pad(two_valued(compressed, x), ((0, 0), (1, 2), (0, 3), (0, 0)))
    expected = binary.convolution(values, binary.binary_weight(weight, (0, 1, 2))) + bias
    np.testing.assert_allclose(zoo.predict(compressed, x)[0], expected, rtol=1e-4, atol=1e-5)


def test_a_residual_network_is_the_float_network_on_two_valued_inputs():
    """The stripped model has the binary weights; its convolutions read what the formula makes of their inputs."""
    controller, compressed = binary.compress(binary.residual(), ignored_scopes=binary.BORDERS)
    binary.scatter_levels(compressed)
    stripped, seen = controller.strip(), {}
    ops = binary.binary_activations(compressed)
    x = zoo.samples(compressed, 4)
    for path, op in ops.items():
        part = keras.Model(compressed.input, [op.input, op.output])
        inputs, outputs = zoo.predict(part, x)
        scale, thresholds = (level.numpy() for level in op.levels())
        np.testing.assert_allclose(outputs, binary.binary_activation(inputs, scale, thresholds), rtol=1e-6)
        seen[path] = outputs
    product = keras.Model(compressed.input, compressed.get_layer("two_b").output)
    expected = stripped.get_layer("two_b")(seen["two_a_relu_binarizer"])
    np.testing.assert_array_equal(zoo.predict(product, x)[0], expected)


# Stages


@pytest.mark.parametrize(("activations", "weights"), [(0, 0), (1, 3), (3, 1), (0, 2)])
def test_activations_and_weights_become_binary_at_the_start_of_their_epochs(activations, weights):
    params = {"activations_quant_start_epoch": activations, "weights_quant_start_epoch": weights}
    controller, compressed = binary.compress(binary.one_convolution(), at_once=False, params=params)
    controller_stages = []
    for epoch in range(-1, 5):
        if epoch >= 0:
            controller.scheduler.epoch_step()
        now = max(epoch, 0)
        expected = {"image_binarizer"} if now >= activations else set()
        assert binary.switched_on(compressed) == expected | ({"conv"} if now >= weights else set())
        controller_stages.append(controller.compression_stage())
        assert controller_stages[-1] == (now >= activations) + (now >= weights)
    assert controller_stages[-1] is CompressionStage.FULLY_COMPRESSED
    assert controller.scheduler.final_epoch == (max(activations, weights) or -1)


def test_the_stages_start_in_the_first_epoch_after_the_float_one_by_default():
    controller, compressed = binary.compress(binary.one_convolution(), at_once=False)
    assert controller.compression_stage() is CompressionStage.UNCOMPRESSED
    controller.scheduler.epoch_step()
    assert binary.switched_on(compressed) == set()
    controller.scheduler.epoch_step()
    assert controller.compression_stage() is CompressionStage.FULLY_COMPRESSED


def test_steps_within_an_epoch_change_nothing():
    controller, compressed = binary.compress(binary.one_convolution(), at_once=False)
    controller.scheduler.epoch_step()
    for _ in range(5):
        controller.scheduler.step()
    assert binary.switched_on(compressed) == set()


def test_a_scheduler_that_goes_back_switches_off_again():
    controller, compressed = binary.compress(binary.one_convolution(), at_once=False)
    controller.scheduler.epoch_step(7)
    assert len(binary.switched_on(compressed)) == 2
    controller.scheduler.epoch_step(0)
    assert binary.switched_on(compressed) == set()


@pytest.mark.parametrize("make", [binary.residual, binary.one_convolution, zoo.nested, zoo.concatenation])
def test_an_inactive_model_is_the_float_model_bit_for_bit(make):
    model = make()
    controller, compressed = binary.compress(model, at_once=False)
    zoo.assert_same_predictions(compressed, model, zoo.samples(model))
    controller.scheduler.epoch_step()
    zoo.assert_same_predictions(compressed, model, zoo.samples(model))
    controller.scheduler.epoch_step()
    assert np.abs(zoo.predict(compressed, zoo.samples(model))[0] - zoo.predict(model, zoo.samples(model))[0]).max() > 0


def test_numbers_tell_how_much_is_binary():
    params = {"activations_quant_start_epoch": 0, "weights_quant_start_epoch": 1}
    controller, _ = binary.compress(binary.residual(), at_once=False, params=params, ignored_scopes=binary.BORDERS)
    assert controller.algorithm_statistics()["binarization"] == {"binary_weights": 0.0, "binary_activations": 4.0}
    controller.scheduler.epoch_step(1)
    assert controller.algorithm_statistics()["binarization"] == {"binary_weights": 4.0, "binary_activations": 4.0}


# Learning rate and weight decay


@pytest.mark.parametrize("epoch", [0, 3, 4, 5, 7.5, 13, 14, 15, 100])
def test_the_learning_rate_falls_to_zero_from_its_epoch_on(epoch):
    params = {"lr_poly_drop_start_epoch": 4, "lr_poly_drop_duration_epochs": 10, "base_lr": 0.02}
    expected = None if epoch < 4 else max(0.02 * (1 - (epoch - 4) / 10), 0.0)
    assert Binarization(params=params).learning_rate(epoch) == (expected and pytest.approx(expected))


def test_the_learning_rate_is_left_alone_by_default():
    assert {Binarization().learning_rate(epoch) for epoch in range(200)} == {None}


def test_the_defaults_of_the_fall():
    drop = Binarization(params={"lr_poly_drop_start_epoch": 0})
    assert [drop.learning_rate(epoch) for epoch in (0, 15, 30)] == [1e-3, pytest.approx(5e-4), 0.0]


@pytest.mark.parametrize(
    ("params", "before", "after"),
    [
        ({}, None, None),
        ({"base_wd": 0.1}, 0.1, 0.1),
        ({"disable_wd_start_epoch": 2}, None, 0.0),
        ({"disable_wd_start_epoch": 2, "base_wd": 0.1}, 0.1, 0.0),
    ],
)
def test_weight_decay_ends_at_its_epoch(params, before, after):
    algorithm = Binarization(params=params)
    assert [algorithm.weight_decay(epoch) for epoch in range(4)] == [before, before, after, after]


# Scales of activations


def percentile_is_near(op, values):
    """Whether the scale of an activation lies between the percentiles 99.8 and 99.95 of what it reads, within 1 %."""
    scale = float(op.levels()[0])
    return np.percentile(values, 99.8) * 0.99 < scale < np.percentile(values, 99.95) * 1.01


def test_scales_start_at_the_percentile_99_9_of_what_is_read():
    model = binary.residual()
    data = zoo.samples(model, 96)
    config = register_default_init_args({"compression": {"algorithm": "binarization"}}, data)
    _, compressed = create_compressed_model(model, config)
    ops = binary.binary_activations(compressed)
    assert len(ops) == 5
    measure_untrained_statistics(compressed, Dataset(data), 96)  # as they will be in training
    seen = {op: [] for op in ops.values()}
    with observed({op: values.append for op, values in seen.items()}, seen):
        compressed(data)
    for op, values in seen.items():
        assert percentile_is_near(op, np.concatenate([np.ravel(array) for array in values]))
        np.testing.assert_array_equal(op.levels()[1], 0.5)


@pytest.mark.extended
def test_scales_are_measured_on_the_float_model_also_if_it_is_binary_at_once():
    model = binary.residual()
    scales = [
        [float(op.log_scale) for op in binary.binary_activations(compressed).values()]
        for _, compressed in (binary.compress(model), binary.compress(model, at_once=False))
    ]
    assert scales[0] == scales[1]


def test_only_as_many_samples_count_as_are_asked_for():
    model = binary.one_convolution()
    data = zoo.samples(model, 64)
    data[16:] *= 100.0
    config = {"compression": binary.algorithm(initializer={"range": {"num_init_samples": 16}})}
    _, compressed = create_compressed_model(model, register_default_init_args(config, data))
    assert percentile_is_near(only_activation(compressed), data[:16])


def test_activations_that_are_nearly_always_zero_have_a_positive_scale():
    model = binary.one_convolution()
    data = np.zeros((32, 7, 7, 4), np.float32)
    data[3, 2, 2, 1] = 5.0
    config = register_default_init_args({"compression": binary.algorithm()}, data)
    _, compressed = create_compressed_model(model, config)
    assert float(only_activation(compressed).levels()[0]) == pytest.approx(5.0, rel=0.02)


@pytest.mark.parametrize("values", [0.0, -3.0])
def test_activations_that_are_never_positive_have_a_finite_scale(values):
    model = binary.one_convolution()
    config = register_default_init_args({"compression": binary.algorithm()}, np.full((8, 7, 7, 4), values, np.float32))
    _, compressed = create_compressed_model(model, config)
    assert 0 < float(only_activation(compressed).levels()[0]) < math.inf
    assert np.isfinite(zoo.predict(compressed, zoo.samples(model))[0]).all()


def test_without_data_there_is_a_warning_that_says_what_to_pass():
    with pytest.warns(UserWarning, match=r"5 binary activations have no measured scale.*register_default_init_args"):
        create_compressed_model(binary.residual(), {"compression": {"algorithm": "binarization"}})


def test_no_samples_are_the_same_as_no_data():
    with pytest.warns(UserWarning, match="1 binary activations have no measured scale"):
        binary.compress(binary.one_convolution(), initializer={"range": {"num_init_samples": 0}})


def test_without_anything_binary_there_is_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        controller, _ = create_compressed_model(zoo.dense(), {"compression": {"algorithm": "binarization"}})
    assert controller.compression_stage() is CompressionStage.FULLY_COMPRESSED
    assert controller.scheduler.position == Position()
