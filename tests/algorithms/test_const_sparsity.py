"""Constant sparsity: zeros of the model given stay zeros, whatever else trains and compresses it."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import ConfigError, create_compressed_model, create_compression_callbacks
from keras_compress.algorithms import CompressionStage
from tests import zoo

CONST = {"algorithm": "const_sparsity"}


def sparse(make=zoo.convolution, share=0.6, seed=0):
    """Return a model of which a random share of the kernels is zero, and where, by layer."""
    model, generator, where = make(), np.random.default_rng(seed), {}
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            where[layer.name] = generator.random(layer.kernel.shape) < share
            layer.kernel.assign(np.where(where[layer.name], 0.0, layer.kernel.numpy()))
    return model, where


def compress(model, *algorithms):
    config = {"compression": list(algorithms)}
    data = zoo.config(model).with_init_data(None)
    return create_compressed_model(model, type(data).from_dict(config).with_init_data(zoo.config(model).init_data))


def fit(controller, epochs=2):
    model = controller.model
    model.compile("adam", "mse")
    targets = np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32)
    callbacks = create_compression_callbacks(controller)
    model.fit(zoo.samples(model), targets, batch_size=4, epochs=epochs, callbacks=callbacks, verbose=0)


def assert_zeros(model, where):
    """Check that the weights as inference sees them are zero where they were, and nearly nowhere else."""
    for layer, zeros in where.items():
        seen = model.get_layer(layer).compressed_weight("kernel").numpy()
        np.testing.assert_array_equal(seen[zeros], 0.0)
        assert np.mean(seen[~zeros] == 0) < 0.1


def test_it_masks_exactly_what_is_zero():
    model, where = sparse()
    controller, compressed = compress(model, CONST)
    found = zoo.masked_weights(compressed)
    assert {layer for layer, _ in found} == set(where)
    for (layer, _), (_, _, kept) in found.items():
        np.testing.assert_array_equal(kept, ~where[layer])
    zoo.assert_same_predictions(compressed, model, zoo.samples(model))
    share = sum(zeros.sum() for zeros in where.values()) / sum(zeros.size for zeros in where.values())
    assert controller.compression_rate == pytest.approx(share)
    assert controller.algorithm_statistics() == {"const_sparsity": {"sparsity_level": pytest.approx(share)}}
    assert controller.statistics().sparsity_level == pytest.approx(share)
    assert controller.compression_stage() is CompressionStage.FULLY_COMPRESSED
    assert controller.scheduler.final_epoch == -1


@pytest.mark.parametrize("quantization", [{}, {"preset": "mixed", "weights": {"mode": "asymmetric", "bits": 4}}])
@pytest.mark.parametrize("order", [1, -1])
def test_zeros_stay_zeros_while_quantization_trains(order, quantization):
    model, where = sparse()
    algorithms = [CONST, {"algorithm": "quantization", **quantization}][::order]
    controller, compressed = compress(model, *algorithms)
    before = compressed.get_layer("conv").kernel.numpy()
    fit(controller)
    assert np.abs(compressed.get_layer("conv").kernel.numpy() - before)[where["conv"]].max() > 0
    assert_zeros(compressed, where)
    stripped = controller.strip()
    for layer, zeros in where.items():
        np.testing.assert_array_equal(stripped.get_layer(layer).kernel.numpy()[zeros], 0.0)


def test_zeros_stay_zeros_beside_magnitude_sparsity_on_other_layers():
    model, where = sparse()
    magnitude = {"sparsity_target": 0.5, "sparsity_target_epoch": 1}
    controller, compressed = compress(
        model,
        {**CONST, "target_scopes": ["conv"]},
        {"algorithm": "magnitude_sparsity", "ignored_scopes": ["conv"], "params": magnitude},
        {"algorithm": "quantization"},
    )
    fit(controller)
    assert_zeros(compressed, {"conv": where["conv"]})
    seen, out = compressed.get_layer("out").compressed_weight("kernel").numpy(), where["out"]
    assert np.sum(compressed.get_layer("out").weight_ops[0].kept()) == out.size - round(0.5 * out.size)
    assert np.mean(seen == 0) >= 0.5
    assert set(controller.algorithm_statistics()) == {"const_sparsity", "magnitude_sparsity", "quantization"}
    assert controller.compression_stage() is CompressionStage.FULLY_COMPRESSED


@pytest.mark.parametrize("other", ["magnitude_sparsity", "rb_sparsity"])
@pytest.mark.parametrize("order", [1, -1])
def test_two_masks_on_one_weight_are_refused_by_name(other, order):
    model, _ = sparse()
    with pytest.raises(ConfigError, match="ignored_scopes") as refused:
        compress(model, *[CONST, {"algorithm": other}][::order])
    assert "'const_sparsity'" in str(refused.value)
    assert f"'{other}'" in str(refused.value)


def test_it_has_no_level_to_set():
    controller, _ = compress(sparse()[0], CONST)
    for change in (lambda: controller.set_sparsity_level(0.3), controller.freeze):
        with pytest.raises(ConfigError, match=r"No algorithm of this compression has a level.*\['const_sparsity'\]"):
            change()


def test_a_dense_model_stays_as_it_is():
    model = zoo.residual()
    controller, compressed = compress(model, CONST)
    assert zoo.zeros(compressed) == 0
    assert controller.compression_rate == 0.0
    zoo.assert_same_predictions(compressed, model, zoo.samples(model))


def test_zeros_come_back_from_a_checkpoint_although_the_model_given_is_dense(tmp_path):
    model, where = sparse()
    controller, compressed = compress(model, CONST, {"algorithm": "quantization"})
    fit(controller)
    path = tf.train.Checkpoint(model=compressed).save(str(tmp_path / "ckpt"))
    _, again = create_compressed_model(zoo.convolution(), controller.config, controller.get_compression_state())
    tf.train.Checkpoint(model=again).restore(path).expect_partial()
    assert_zeros(again, where)
    zoo.assert_same_predictions(again, compressed, zoo.samples(model))
