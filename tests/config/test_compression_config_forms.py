"""What to do is said by an algorithm, a list, a configuration, a dict or a file, with the same meaning."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest

import keras_compress as kc
from keras_compress.algorithms import registered_algorithms
from tests import zoo

VALUES = {"algorithm": "magnitude_sparsity", "params": {"sparsity_target": 0.6, "sparsity_target_epoch": 5}}
QUANTIZATION = {"algorithm": "quantization", "weights": {"bits": 4}}
WHOLE = {"compression": [VALUES, QUANTIZATION]}


def forms(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(WHOLE))
    sparsity, quantization = kc.MagnitudeSparsity(0.6, by_epoch=5), kc.Quantization(weights=4)
    return {
        "list of algorithms": [sparsity, quantization],
        "tuple": (sparsity, quantization),
        "list of both": [VALUES, quantization],
        "list of dicts": [VALUES, QUANTIZATION],
        "dict": WHOLE,
        "dict of algorithms": {"compression": [sparsity, quantization]},
        "configuration": kc.CompressionConfig.from_dict(WHOLE),
        "path": file,
        "text of a path": str(file),
    }


def test_all_forms_are_the_same_configuration(tmp_path):
    expected = kc.CompressionConfig.from_dict(WHOLE)
    for name, form in forms(tmp_path).items():
        assert kc.CompressionConfig.of(form) == expected, name
        assert kc.CompressionConfig.of(form).to_dict() == expected.to_dict(), name


def test_a_model_is_compressed_by_any_of_them_with_data_in_the_same_call(tmp_path):
    model = zoo.dense()
    data = zoo.samples(model, 16)
    registered = kc.register_default_init_args(WHOLE, data)
    expected = kc.create_compressed_model(model, registered)[1]
    for form in forms(tmp_path).values():
        controller, compressed = kc.create_compressed_model(model, form, data=data)
        zoo.assert_same_predictions(compressed, expected, data)
        assert kc.coverage(model, form).compressed_share == controller.statistics().compressed_share
    again = kc.create_compressed_model(model, registered, data=zoo.samples(model, 16, seed=1) * 9)[1]
    assert not np.allclose(*(zoo.predict(m, data)[0] for m in (again, expected)))  # data that are given count


def test_one_algorithm_is_enough():
    model = zoo.dense()
    controller, compressed = kc.create_compressed_model(model, kc.Quantization(), data=zoo.samples(model, 16))
    assert controller.config.compression == (kc.Quantization(),)
    assert compressed.get_layer("hidden").weight_ops


@pytest.mark.parametrize(
    "wrong", [3, None, [], [3], "no_such_file.json", Path("no_such_file.json"), {"algorithm": "x"}]
)
def test_what_is_no_configuration_is_a_clear_error(wrong):
    with pytest.raises(kc.ConfigError) as caught:
        kc.create_compressed_model(zoo.dense(), wrong)
    assert "Traceback" not in str(caught.value)


def test_every_algorithm_is_a_class_at_the_top_level_that_shows_its_keys():
    built_in = {c for c in registered_algorithms().values() if c.__module__.startswith("keras_compress.")}
    for algorithm in built_in:
        assert getattr(kc, algorithm.__name__) is algorithm
        assert algorithm.__name__ in kc.__all__
        assert inspect.signature(algorithm).parameters


@pytest.mark.parametrize("group", ["weights", "activations"])
def test_a_number_of_a_group_is_its_bits(group):
    assert kc.Quantization(**{group: 4}) == kc.Quantization(**{group: {"bits": 4}})
    for wrong in (1, 9, True, 4.5, "4"):
        with pytest.raises(kc.ConfigError, match=group):
            kc.Quantization(**{group: wrong})


@pytest.mark.parametrize("algorithm", ["MagnitudeSparsity", "RBSparsity"])
def test_the_level_is_the_first_argument_of_sparsity(algorithm):
    made = getattr(kc, algorithm)
    whole = made(params={"sparsity_target": 0.7, "sparsity_target_epoch": 3, "schedule": "exponential"})
    assert made(0.7, by_epoch=3, params={"schedule": "exponential"}) == whole
    assert made().params.sparsity_target == 0.5
    with pytest.raises(kc.ConfigError, match=r"'sparsity_target' is given twice.*0\.7 and 0\.6"):
        made(0.7, params={"sparsity_target": 0.6})
    with pytest.raises(kc.ConfigError, match="given twice"):
        made(0.7, params=made().params)
    for wrong in (1.0, -0.1, "half"):
        with pytest.raises(kc.ConfigError, match="sparsity_target"):
            made(wrong)
