"""What holds for every export format: an honest file of what the model computes, and a model that is left alone."""

import functools
import json
import math
import warnings

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress import ExportError
from keras_compress._keras import keras
from keras_compress.export import format_options, registered_formats
from tests import zoo
from tests.levels import levels

FORMATS = sorted(registered_formats())
KINDS = [
    "dense",
    "convolution",
    "residual",
    "concatenation",
    "shared_layer",
    "two_outputs",
    "nested",
    "recurrent",
    "sparse residual",
]
#: How near the outputs of a file are to the model's at least, in dB; None where quantizers of activations are left out.
NEAR = {"frozen_graph": 100, "saved_model": 100, "openvino": 100, "onnx": 25, "tflite": 25, "keras": None, "h5": None}
SPARSE = {"algorithm": "magnitude_sparsity", "sparsity_init": 0.6, "params": {"sparsity_target": 0.6}}


def path_of(folder, save_format, name="model"):
    return folder / f"{name}{registered_formats()[save_format].suffix}"


@functools.cache
def compressed(kind):
    """Return the controller of a quantized model, also sparse if asked for; no test changes it."""
    if kind != "sparse residual":
        return zoo.compressed_once(kind)[0]
    model = zoo.residual()
    config = {"compression": [SPARSE, {"algorithm": "quantization"}]}
    config = kc.register_default_init_args(config, zoo.samples(model, 16, seed=99))
    return kc.create_compressed_model(model, config)[0]


def state(model):
    """Return everything that tells whether a model was changed."""
    return json.dumps(model.get_config(), default=str, sort_keys=True), model.get_weights(), len(model.variables)


def test_formats_are_all_known_to_this_test():
    assert set(FORMATS) == set(NEAR)


@pytest.mark.parametrize("kind", levels(KINDS, first=["convolution", "shared_layer", "nested", "sparse residual"]))
@pytest.mark.parametrize("save_format", FORMATS)
def test_the_report_is_clean_the_outputs_are_near_and_the_model_is_left_alone(save_format, kind, tmp_path):
    controller = compressed(kind)
    model = controller.model
    inputs = zoo.samples(model, 16, seed=99)
    config, weights, variables = state(model)
    predictions = zoo.predict(model, inputs)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "TensorFlow Lite runs loops over time only for a fixed number")
        report = controller.export_model(path_of(tmp_path, save_format), data=inputs)

    assert report.problems == []
    assert report.save_format == save_format
    assert {(row.layer, row.weight) for row in report.weights} == {
        tuple(name.rsplit("/", 1)) for name in kc.quantization_parameters(model)
    }
    assert all(row.levels > 1 and row.size > 0 for row in report.weights)
    if kind == "sparse residual":
        masked = sum(int(np.sum(~kept)) for _, _, kept in zoo.masked_weights(model).values())
        assert masked > 150
        assert sum(round(row.zeros * row.parameters) for row in report.weights) >= masked
    assert report.comparison.samples == 16
    assert not math.isnan(report.comparison.sqnr)
    if NEAR[save_format] is not None:
        assert report.comparison.sqnr >= NEAR[save_format]

    after, weights_after, variables_after = state(model)
    assert (after, variables_after) == (config, variables)
    for array, old in zip(weights_after, weights, strict=True):
        np.testing.assert_array_equal(array, old)
    for array, old in zip(zoo.predict(model, inputs), predictions, strict=True):
        np.testing.assert_array_equal(array, old)

    numbers = json.loads(json.dumps(report.to_dict(), allow_nan=True))
    assert [row["layer"] for row in numbers["weights"]] == [row.layer for row in report.weights]
    assert numbers["path"] == str(report.path)
    for row in report.weights:
        assert row.layer in str(report)


@pytest.mark.parametrize("save_format", FORMATS)
def test_the_report_measures_the_file_that_is_there(save_format, tmp_path):
    report = compressed("residual").export_model(path_of(tmp_path, save_format))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert report.size == sum(path.stat().st_size for path in files) > 0
    assert report.comparison.source == "calibration"
    assert report.size_ratio == report.size / report.float_size
    assert report.save(tmp_path / "reports" / "report.json").is_file()
    assert json.loads((tmp_path / "reports" / "report.json").read_text())["size"] == report.size


@pytest.mark.parametrize("save_format", FORMATS)
def test_a_report_stands_where_a_path_is_expected_and_auditing_again_finds_the_same(save_format, tmp_path):
    controller = compressed("convolution")
    report = controller.export_model(path_of(tmp_path, save_format))
    assert kc.audit(controller.model, report, save_format) == report


@pytest.mark.parametrize("save_format", FORMATS)
def test_an_unknown_option_is_an_export_error_that_names_the_options(save_format, tmp_path):
    names = [] if save_format in ("keras", "h5") else ["input_names", "output_names", "batch_size"]
    pattern = rf"'{save_format}' has no option 'no_such'.*" + ".*".join(f"'{name}'" for name in names)
    with pytest.raises(ExportError, match=pattern):
        compressed("dense").export_model(path_of(tmp_path, save_format), no_such=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("save_format", FORMATS)
def test_missing_folders_are_made_and_the_format_may_be_named(save_format, tmp_path):
    path = path_of(tmp_path / "a" / "b", save_format)
    report = compressed("dense").export_model(str(path), save_format)
    assert report.path == path
    assert path.exists()
    assert {item.name for item in path.parent.iterdir()} <= {path.name, "model.bin"}


@pytest.mark.parametrize("save_format", [name for name in FORMATS if NEAR[name] is not None])
def test_a_fixed_batch_is_compared_in_batches_of_its_size(save_format, tmp_path):
    controller = compressed("convolution")
    inputs = zoo.samples(controller.model, 7, seed=99)
    report = controller.export_model(path_of(tmp_path, save_format), batch_size=2, data=inputs)
    assert report.comparison.samples == 7
    assert report.comparison.sqnr >= NEAR[save_format]


@pytest.mark.parametrize("save_format", FORMATS)
def test_a_model_that_was_loaded_from_a_file_is_exported_without_its_controller(save_format, tmp_path):
    controller = compressed("residual")
    controller.model.save(tmp_path / "training.keras")
    loaded = keras.models.load_model(tmp_path / "training.keras")
    inputs = zoo.samples(controller.model, 16, seed=99)
    path = path_of(tmp_path, save_format)
    calibration = {"calibration_data": inputs} if "calibration_data" in format_options(path, save_format) else {}
    report = kc.export_model(loaded, path, data=inputs, **calibration)
    assert report.problems == []
    assert NEAR[save_format] is None or report.comparison.sqnr >= NEAR[save_format]


@pytest.mark.parametrize("save_format", levels([".pb", ".onnx", ".xml", ".tflite"], first=[".tflite"]))
@pytest.mark.parametrize("outputs", ["one", "two"])
def test_a_batch_that_only_a_nested_model_fixes(save_format, outputs, tmp_path):
    inside = keras.Input((4, 4), batch_size=6)
    inner = keras.Model(inside, keras.layers.Dense(4)(tf.reshape(inside, (6, -1))), name="inner")
    x = keras.Input((4, 4))
    y = inner(x)
    made = keras.layers.Dense(3)(y) if outputs == "one" else [y, keras.layers.Dense(2)(keras.layers.Flatten()(x))]
    data = np.random.RandomState(0).normal(size=(20, 4, 4)).astype(np.float32)
    options = {"calibration_data": data} if save_format in (".onnx", ".tflite") else {}
    report = kc.export_model(
        kc.quantize(keras.Model(x, made), data), tmp_path / f"m{save_format}", data=data, **options
    )
    assert report.comparison.sqnr > 25
