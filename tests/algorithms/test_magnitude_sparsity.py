"""Magnitude sparsity against NumPy: which weights are dropped, exactly how many, how they come back, N:M patterns."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import CompressionConfig, ConfigError, coverage, create_compressed_model
from keras_compress._keras import keras
from keras_compress.algorithms.magnitude_sparsity import keep_largest, outside_pattern
from tests import zoo

layers = keras.layers
LEVELS = [0.0, 0.1, 0.333, 0.5, 0.9, 0.999]


def compress(model, level=0.0, **params):
    """Return the controller and the compressed model, with ``level`` from the start."""
    params.setdefault("sparsity_target", max(level, 0.5))
    algorithm = {"algorithm": "magnitude_sparsity", "sparsity_init": level, "params": params}
    return create_compressed_model(model, {"compression": algorithm})


def dropped(weights, level, *, normed, local):
    """Return which weights are dropped, by a sort in float64: the smallest, the first of equal ones."""
    weights = [np.asarray(weight, np.float64) for weight in weights]
    norms = [np.linalg.norm(weight) if normed and weight.any() else 1.0 for weight in weights]
    importances = [np.abs(weight) / norm for weight, norm in zip(weights, norms, strict=True)]
    result = []
    for group in [[one] for one in importances] if local else [importances]:
        flat = np.concatenate([np.where(part == part.max(), np.inf, part).ravel() for part in group])
        drop = np.zeros(flat.size, bool)
        drop[np.argsort(flat, kind="stable")[: int(np.rint(level * flat.size))]] = True
        ends = np.cumsum([part.size for part in group])[:-1]
        result += [part.reshape(one.shape) for part, one in zip(np.split(drop, ends), group, strict=True)]
    return result


@pytest.mark.parametrize("mode", ["global", "local"])
@pytest.mark.parametrize("importance", ["abs", "normed_abs"])
@pytest.mark.parametrize("kind", ["convolution", "odd_convolutions", "nested", "recurrent"])
def test_the_least_important_weights_are_dropped(kind, importance, mode):
    model = zoo.MODELS[kind]()
    for index, layer in enumerate(layer for layer in model.layers if layer.weights):
        layer.set_weights([array * 3.0**index for array in layer.get_weights()])
    for level in (0.333, 0.8):
        _, compressed = compress(model, level, weight_importance=importance, sparsity_level_setting_mode=mode)
        found = list(zoo.masked_weights(compressed).values())
        assert len(found) > 1
        expected = dropped([weight for weight, _, _ in found], level, normed=importance != "abs", local=mode == "local")
        for (weight, seen, _), drop in zip(found, expected, strict=True):
            np.testing.assert_array_equal(seen, np.where(drop, 0.0, weight))


def test_the_importances_and_modes_differ_on_layers_of_different_scale():
    model = zoo.dense()
    model.get_layer("out").kernel.assign(1e6 * model.get_layer("out").kernel)
    masks = {}
    for importance in ("abs", "normed_abs"):
        for mode in ("global", "local"):
            _, compressed = compress(model, 0.5, weight_importance=importance, sparsity_level_setting_mode=mode)
            found = [kept for _, _, kept in zoo.masked_weights(compressed).values()]
            masks[importance, mode] = [int(np.sum(~kept)) for kept in found]
    assert masks["abs", "global"] == [28, 0]
    assert masks["abs", "local"] == masks["normed_abs", "local"] == [16, 12]
    assert min(masks["normed_abs", "global"]) > 5


WEIGHTS = {
    "random": lambda generator, shape: generator.normal(size=shape),
    "many ties": lambda generator, shape: generator.integers(-2, 3, shape),
    "all equal": lambda generator, shape: np.full(shape, -0.3),
    "all zero": lambda generator, shape: np.zeros(shape),
    "half zero": lambda generator, shape: np.where(generator.random(shape) < 0.5, 0.0, generator.normal(size=shape)),
    "tiny": lambda generator, shape: 1e-38 * generator.normal(size=shape),
    "huge": lambda generator, shape: 1e30 * generator.normal(size=shape),
}


@pytest.mark.parametrize("mode", ["global", "local"])
@pytest.mark.parametrize("importance", ["abs", "normed_abs"])
@pytest.mark.parametrize("kind", WEIGHTS)
def test_the_number_of_masked_weights_is_exact_at_every_level(kind, importance, mode):
    generator = np.random.default_rng(0)
    model = zoo.dense(37)
    for layer in ("hidden", "out"):
        kernel = model.get_layer(layer).kernel
        kernel.assign(WEIGHTS[kind](generator, kernel.shape).astype(np.float32))
    controller, compressed = compress(model, weight_importance=importance, sparsity_level_setting_mode=mode)
    for level in LEVELS:
        controller.set_sparsity_level(level)
        masked = [int(np.sum(~kept)) for _, _, kept in zoo.masked_weights(compressed).values()]
        if mode == "local":
            assert masked == [min(round(level * size), size - 1) for size in (4 * 37, 37 * 3)]
        else:
            assert sum(masked) == min(round(level * 7 * 37), 7 * 37 - 2)  # the largest weight of a layer stays


def test_of_equal_weights_the_first_are_dropped():
    masks = keep_largest([np.ones((2, 3)), np.ones(4)], 0.5)
    np.testing.assert_array_equal(masks[0], [[False] * 3, [False, False, True]])
    np.testing.assert_array_equal(masks[1], [True] * 4)


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_a_level_is_exact_to_half_a_weight_for_arrays_of_any_size(size):
    values = np.random.default_rng(size).normal(size=size)
    for level in np.linspace(0.0, 0.999, 30):
        (mask,) = keep_largest([np.abs(values)], level)
        assert abs(np.sum(~mask) - min(level * size, size - 1)) <= 0.5 + 1e-9
        if mask.any() and not mask.all():
            assert np.abs(values)[~mask].max() <= np.abs(values)[mask].min()


def linear(weights):
    """Return a linear model of one output with the given weights."""
    model = keras.Sequential([keras.Input((len(weights),)), layers.Dense(1, use_bias=False, name="out")])
    model.get_layer("out").kernel.assign(np.float32(weights)[:, None])
    return model


def test_masked_weights_get_the_gradient_of_what_the_layer_computes():
    generator = np.random.default_rng(0)
    _, compressed = compress(linear(generator.normal(size=8)), 0.5)
    weight, _, kept = zoo.masked_weights(compressed)["out", "kernel"]
    assert kept.sum() == 4
    x, y = generator.normal(size=(2, 20, 8)).astype(np.float32)
    y = y[:, :1]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(compressed(x, training=True) - y))
    gradient = tape.gradient(loss, compressed.get_layer("out").kernel)
    expected = 2 / 20 * x.T @ (x @ (weight * kept) - y)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(gradient.numpy()[~kept]).min() > 0


@pytest.mark.filterwarnings("ignore:This training does not move the schedule")
def test_a_masked_weight_that_has_grown_comes_back_when_the_level_rises():
    controller, compressed = compress(linear([0.1, 0.5, 0.6, 0.7]), 0.25, sparsity_target=0.75)
    kernel = compressed.get_layer("out").kernel
    compressed.compile(keras.optimizers.SGD(0.1), "mse")
    x, y = np.eye(4, dtype=np.float32), np.float32([[5.0], [0.5], [0.6], [0.7]])
    for _ in range(10):
        compressed.train_on_batch(x, y)
    assert zoo.masked_weights(compressed)["out", "kernel"][2].ravel().tolist() == [False, True, True, True]
    np.testing.assert_allclose(kernel.numpy().ravel(), [0.1 + 10 * 0.1 * 2 / 4 * 5.0, 0.5, 0.6, 0.7], rtol=1e-5)
    controller.set_sparsity_level(0.5)
    assert zoo.masked_weights(compressed)["out", "kernel"][2].ravel().tolist() == [True, False, False, True]


def test_while_the_level_stays_the_mask_is_not_touched():
    algorithm = {"algorithm": "magnitude_sparsity", "params": {"sparsity_target": 0.5, "sparsity_target_epoch": 1}}
    controller, compressed = create_compressed_model(zoo.dense(), {"compression": algorithm})
    generator = np.random.default_rng(0)
    by_hand = None
    for epoch in range(4):
        controller.scheduler.epoch_step()
        op = compressed.get_layer("out").weight_ops[0]
        if epoch == 1:
            assert zoo.zeros(compressed) == 28
            by_hand = generator.random((8, 3)) < 0.5
            op.mask.assign(by_hand)
        for layer in ("hidden", "out"):
            kernel = compressed.get_layer(layer).kernel
            kernel.assign(generator.normal(size=kernel.shape))
        controller.scheduler.step()
        if by_hand is not None:
            np.testing.assert_array_equal(op.kept(), by_hand)


#: Axis along which the inputs of a kernel lie, by layer.
INPUT_AXES = {"dense": 0, "conv1d": 1, "conv2d": 2, "transposed1d": 2, "transposed2d": 3}


def every_layout():
    """Functional: one layer of each kernel layout, all with an input dimension of 24."""
    image = keras.Input((5, 5, 24), name="image")
    x = layers.Conv2D(24, 2, name="conv2d")(image)
    x = layers.Conv2DTranspose(24, 2, name="transposed2d")(x)
    x = layers.Reshape((25, 24), name="row")(x)
    x = layers.Conv1D(24, 3, name="conv1d")(x)
    x = layers.Conv1DTranspose(24, 2, name="transposed1d")(x)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(image, layers.Dense(5, name="dense")(x))


def grouped(array, axis, group):
    """Return the array as rows of ``group`` numbers that follow each other along ``axis``."""
    return np.moveaxis(array, axis, -1).reshape(-1, group)


@pytest.mark.parametrize("mode", ["global", "local"])
@pytest.mark.parametrize(("pattern", "group", "zeros"), [("2:4", 4, 2), ("1:4", 4, 3), ("1:3", 3, 2), ("7:8", 8, 1)])
def test_a_pattern_keeps_the_largest_of_every_group(pattern, group, zeros, mode):
    params = {"pattern": pattern, "sparsity_target_epoch": 2, "sparsity_level_setting_mode": mode}
    controller, compressed = create_compressed_model(
        every_layout(), {"compression": {"algorithm": "magnitude_sparsity", "params": params}}
    )
    total = sum(weight.size for weight, _, _ in zoo.masked_weights(compressed).values())
    for epoch in range(3):
        controller.scheduler.epoch_step()
        if mode == "global":
            level = zeros / group * (1 - (1 - epoch / 2) ** 0.9)
            assert zoo.zeros(compressed) == round(level * total)
    found = zoo.masked_weights(compressed)
    assert {layer for layer, _ in found} == set(INPUT_AXES)
    for (layer, _), (weight, seen, _) in found.items():
        rows, kept = (grouped(array, INPUT_AXES[layer], group) for array in (np.abs(weight), seen != 0))
        np.testing.assert_array_equal(np.sum(~kept, axis=1), zeros)
        threshold = np.sort(rows, axis=1)[:, zeros]
        np.testing.assert_array_equal(kept, rows >= threshold[:, None])
    assert controller.compression_rate == pytest.approx(zeros / group)
    assert controller.compression_stage().name == "FULLY_COMPRESSED"


@pytest.mark.parametrize("mode", ["global", "local"])
@pytest.mark.parametrize("importance", ["abs", "normed_abs"])
def test_on_the_way_only_weights_that_the_pattern_drops_are_dropped_the_smallest_first(importance, mode):
    controller, compressed = compress(
        every_layout(),
        pattern="2:4",
        sparsity_target=0.5,
        weight_importance=importance,
        sparsity_level_setting_mode=mode,
    )
    for level in (0.05, 0.2, 0.45):
        controller.set_sparsity_level(level)
        found = zoo.masked_weights(compressed)
        groups = [[key] for key in found] if mode == "local" else [list(found)]
        for keys in groups:
            droppable, gone, kept = [], 0, []
            for key in keys:
                weight, _, mask = found[key]
                axis = INPUT_AXES[key[0]]
                rows, masks = grouped(np.abs(weight), axis, 4), grouped(mask, axis, 4)
                outside = rows < np.sort(rows, axis=1)[:, 2:3]
                assert masks[~outside].all()
                norm = np.linalg.norm(weight.astype(np.float64)) if importance == "normed_abs" else 1.0
                droppable.append(rows[outside & ~masks] / norm)
                kept.append(rows[outside & masks] / norm)
                gone += int(np.sum(~masks))
            assert gone == round(level * sum(found[key][0].size for key in keys))
            assert np.concatenate(droppable).max() <= np.concatenate(kept).min()


def test_a_pattern_is_exact_with_equal_weights():
    for values in (np.ones((8, 3)), np.zeros((8, 3)), np.tile([[1.0], [1.0], [2.0], [1.0]], (2, 3))):
        outside = outside_pattern(values, 2, 4, axis=0)
        np.testing.assert_array_equal(outside.reshape(2, 4, 3).sum(axis=1), 2)
    assert not outside[[2, 6]].any()


def test_layers_that_do_not_divide_into_groups_are_left_alone_and_named():
    config = {"compression": {"algorithm": "magnitude_sparsity", "params": {"pattern": "2:4"}}}
    controller, compressed = create_compressed_model(zoo.residual(), config)
    assert {layer for layer, _ in zoo.masked_weights(compressed)} == {"body", "out"}
    for report in (controller.statistics().coverage, coverage(zoo.residual(), config)):
        rows = {row.layer: row for row in report}
        assert rows["stem"].compressed_by == ""
        assert rows["stem"].reason == "its input dimension of 3 does not divide into groups of 4"
        assert rows["body"].compressed_by == rows["out"].compressed_by == "magnitude_sparsity"


def test_a_pattern_that_fits_no_layer_is_complete_and_empty():
    controller, compressed = compress(zoo.residual(), pattern="1:64", sparsity_target=63 / 64)
    controller.scheduler.epoch_step()
    assert zoo.masked_weights(compressed) == {}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"pattern": "4:2"}, r'"N:M" with 0 < N < M.*\'4:2\''),
        ({"pattern": "4:4"}, r'"N:M" with 0 < N < M'),
        ({"pattern": "0:4"}, r'"N:M" with 0 < N < M'),
        ({"pattern": "2-4"}, r"pattern'.*'2-4'"),
        ({"pattern": "2:4:8"}, r"pattern'.*'2:4:8'"),
        ({"pattern": "-2:4"}, r"pattern'"),
        ({"pattern": 24}, r"pattern'.*24"),
        ({"pattern": "2:4", "sparsity_target": 0.6}, r"'2:4' ends at the level 0\.5.*sparsity_target=0\.6"),
        ({"pattern": "1:4", "sparsity_target": 0.5}, r"'1:4' ends at the level 0\.75.*sparsity_target=0\.5"),
        ({"pattern": "2:4", "schedule": "multistep"}, r"schedule other than 'multistep'.*'multistep'"),
        ({"weight_importance": "l2"}, r"weight_importance'.*'abs' or 'normed_abs'.*'l2'"),
    ],
)
def test_wrong_patterns_and_importances_are_explained(params, message):
    with pytest.raises(ConfigError, match=message):
        CompressionConfig.from_dict({"compression": {"algorithm": "magnitude_sparsity", "params": params}})


def test_an_initial_level_beyond_the_pattern_is_refused():
    values = {"algorithm": "magnitude_sparsity", "sparsity_init": 0.6, "params": {"pattern": "2:4"}}
    with pytest.raises(ConfigError, match=r"sparsity_init at most params\.sparsity_target.*0\.6.*0\.5"):
        CompressionConfig.from_dict({"compression": values})


@pytest.mark.parametrize("pattern", ["2:4", "1:4", "1:3", "2:3"])
def test_a_pattern_sets_the_target_and_survives_json(pattern):
    kept, group = map(int, pattern.split(":"))
    config = CompressionConfig.from_dict(
        {"compression": {"algorithm": "magnitude_sparsity", "params": {"pattern": pattern}}}
    )
    assert config.compression[0].params.sparsity_target == pytest.approx(1 - kept / group)
    assert CompressionConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("mode", ["local", "global"])
@pytest.mark.parametrize("level", [0.9, 0.99])
def test_no_layer_loses_all_of_its_weights(mode, level):
    tiny = [layers.Dense(4, name="wide"), layers.Dense(1, name="tiny"), layers.Dense(3, name="small")]
    model = keras.Sequential([keras.Input((8,)), *tiny])
    model.get_layer("small").kernel.assign(1e-4 * model.get_layer("small").kernel)
    params = {"sparsity_target": level, "sparsity_level_setting_mode": mode}
    controller, compressed = zoo.compress(model, "magnitude_sparsity", sparsity_init=level, params=params)
    assert all(row.kept >= 1 for row in controller.statistics().sparsity)
    kernel = compressed.get_layer("tiny").compressed_weight("kernel").numpy()
    assert np.abs(kernel).max() == np.abs(model.get_layer("tiny").kernel.numpy()).max()
