"""A compressed model starts as near to its float model as quantization after training does, and a new network learns."""

import dataclasses
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.post_training.quantize import QuantizeOptions, calibrated_by_options
from tests import zoo
from tests.post_training.models import numbers

layers = keras.layers


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(images))
    return images[order].reshape(-1, 8, 8, 1).astype(np.float32) / 16, labels[order]


def blocks(count, filters, momentum=0.99):
    stack = [keras.Input((8, 8, 1), name="image")]
    for index in range(count):
        stack += [
            layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{index}"),
            layers.BatchNormalization(momentum=momentum, name=f"norm{index}"),
            layers.ReLU(name=f"relu{index}"),
        ]
    return keras.Sequential([*stack, layers.GlobalAveragePooling2D(name="pool"), layers.Dense(10, name="logits")])


def fit(model, digits, epochs, callbacks=None):
    """Return the cross entropy of the last epoch, without what algorithms add to the loss."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    entropy = keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="entropy")
    model.compile(keras.optimizers.Adam(2e-3), loss, [entropy])
    keras.utils.set_random_seed(7)
    images, labels = digits
    return model.fit(images, labels, epochs=epochs, callbacks=callbacks, verbose=0).history["entropy"][-1]


@pytest.fixture(scope="module")
def trained(digits):
    keras.utils.set_random_seed(3)
    model = blocks(3, 16, momentum=0.9)
    fit(model, digits, 4)
    return model


@pytest.fixture(scope="module")
def float_loss(digits):
    """Of a new network behind three epochs."""
    keras.utils.set_random_seed(5)
    return fit(blocks(8, 16), digits, 3)


def created(model, data, **settings):
    config = kc.register_default_init_args({"compression": {"algorithm": "quantization", **settings}}, data)
    return kc.create_compressed_model(model, config)


def beside_float(model, compressed, images):
    return zoo.sqnr(model.predict(images, verbose=0), compressed.predict(images, verbose=0))


@pytest.mark.parametrize("bits", [8, 4])
def test_training_starts_from_the_numbers_of_quantization_after_training(trained, digits, bits):
    images, held_out = digits[0][:1000], digits[0][1000:]
    parameters = {"weights_quantization_params": {"num_bits": bits}}
    quantized = kc.quantize(trained, images, subset_size=256, advanced_parameters=parameters)
    controller, compressed = created(trained, images, weights={"bits": bits})
    ours, theirs = numbers(compressed), numbers(quantized)
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        np.testing.assert_array_equal(ours[key], value, err_msg=str(key))
    exact = beside_float(trained, compressed, held_out)
    assert exact > {8: 30, 4: 12}[bits]
    assert "biases corrected on 256 samples: " in str(controller.statistics())


def test_statistics_that_someone_trained_are_not_changed_for_the_worse(trained, digits):
    controller, compressed = created(trained, digits[0][:1000])
    assert "batch normalization" not in str(controller.statistics())  # so near to the float model that it is not tried
    with pytest.warns(UserWarning, match="asked for.*batch normalization adapted on up to 64 samples: .* dB, kept"):
        _, adapted = created(
            trained, digits[0][:1000], initializer={"batchnorm_adaptation": {"num_bn_adaptation_samples": 64}}
        )
    at = [beside_float(trained, model, digits[0][1000:]) for model in (compressed, adapted)]
    assert at[0] > at[1] + 3


@pytest.mark.parametrize("other", ["const_sparsity", "magnitude_sparsity", "rb_sparsity"])
def test_an_algorithm_beside_quantization_asks_for_no_adaptation_by_its_defaults(trained, digits, other):
    data = digits[0][:1000]
    config = kc.register_default_init_args({"compression": [{"algorithm": other}, {"algorithm": "quantization"}]}, data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        controller, compressed = kc.create_compressed_model(trained, config)
    assert not any("batch normalization" in line for line in controller.statistics().calibration)
    assert beside_float(trained, compressed, digits[0][1000:]) > 30


@pytest.mark.filterwarnings("ignore:A correction that was asked for")
@pytest.mark.filterwarnings("ignore:The calibration data are one sample alone")
def test_what_was_asked_for_is_done_on_a_single_sample_too(trained, digits):
    initializer = {"batchnorm_adaptation": {"num_bn_adaptation_samples": 1}}
    controller, _ = created(trained, digits[0][:1], initializer=initializer)
    assert any(line.startswith("batch normalization adapted") for line in controller.statistics().calibration)


def test_biases_stay_if_they_are_told_to(trained, digits):
    controller, compressed = created(trained, digits[0][:1000], initializer={"bias_correction": False})
    assert not any("biases" in line for line in controller.statistics().calibration)
    np.testing.assert_array_equal(compressed.get_layer("norm1").moving_mean, trained.get_layer("norm1").moving_mean)


@pytest.mark.parametrize(
    "algorithms",
    [
        {"algorithm": "quantization"},
        {"algorithm": "quantization", "preset": "mixed"},
        {"algorithm": "quantization", "weights": {"bits": 4}},
        {"algorithm": "magnitude_sparsity", "params": {"sparsity_target": 0.5, "sparsity_target_epoch": 2}},
        {"algorithm": "rb_sparsity", "params": {"sparsity_target": 0.5, "sparsity_target_epoch": 2}},
        [
            {"algorithm": "magnitude_sparsity", "params": {"sparsity_target": 0.5, "sparsity_target_epoch": 2}},
            {"algorithm": "quantization"},
        ],
    ],
    ids=["symmetric", "asymmetric", "4 bits", "magnitude", "gates", "sparse and quantized"],
)
def test_a_new_network_learns(digits, float_loss, algorithms):
    random_gates = "rb_sparsity" in str(algorithms)  # are a noise that slows the beginning, as dropout does
    keras.utils.set_random_seed(5)
    config = kc.register_default_init_args({"compression": algorithms}, digits[0])
    controller, model = kc.create_compressed_model(blocks(8, 16), config)
    assert (
        fit(model, digits, 3, kc.create_compression_callbacks(controller)) < (2 if random_gates else 1.2) * float_loss
    )
    assert all(np.isfinite(variable).all() for variable in model.get_weights())


def tall(many=True):
    """Return a model whose activations have more than 1,024 values in a sample, and samples of different sizes."""
    side = 20 if many else 4
    model = keras.Sequential(
        [keras.Input((side, side, 3), name="x"), layers.Conv2D(4, 1, name="conv"), layers.GlobalAveragePooling2D()]
    )
    random = np.random.default_rng(0)
    return model, (random.normal(size=(96, side, side, 3)) * random.uniform(0.2, 3, (96, 1, 1, 1))).astype(np.float32)


@pytest.mark.parametrize("type_", [None, "mixed_min_max", "min_max", "mean_min_max"])
def test_ranges_hold_all_samples_where_that_is_seen_to_help_and_nothing_was_chosen(type_):
    model, data = tall()
    ranges = {"num_init_samples": 64, **({} if type_ is None else {"type": type_})}
    controller, compressed = created(model, data, initializer={"range": ranges}, quantize_inputs=True)
    largest = np.abs(data[:64]).max()
    mean = np.abs(data[:64]).max(axis=(1, 2, 3)).mean()
    found = float(compressed.get_layer("x_quantizer").range()[1])
    tried = [line for line in controller.statistics().calibration if line.startswith("ranges of activations")]
    if type_ is None:
        assert len(tried) == 1
        assert tried[0].endswith(", kept")
    else:
        assert tried == []
    assert found == pytest.approx(largest if type_ in (None, "min_max") else mean, rel=0.05)


def test_a_sample_of_few_values_has_one_range_only():
    controller, _ = created(*tall(many=False))
    assert not any("ranges of activations" in line for line in controller.statistics().calibration)


def test_layers_that_return_to_float_leave_wide_ranges_behind():
    model, data = tall()
    options = QuantizeOptions(subset_size=64)
    calibrated = calibrated_by_options(model, data, options)
    assert calibrated.wide_ranges
    before = float(calibrated.model.get_layer("x_quantizer").range()[1])
    assert before == pytest.approx(np.abs(data[:64]).max(), rel=0.05)
    moved = dataclasses.replace(calibrated, places={})  # so that every quantizer is measured again
    assert float(moved.without([]).get_layer("x_quantizer").range()[1]) == before
