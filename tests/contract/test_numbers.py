"""What is not finite is an error that names its place, at every entry: in data, in weights, in ranges, before a file is written."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export import registered_formats
from keras_compress.graph.variables import leaf_layers, named_variables

layers = keras.layers
RANDOM = np.random.default_rng(0)
SAMPLES = RANDOM.normal(size=(16, 6)).astype(np.float32)

#: Layers with one kind of weight each, behind an input of 6 numbers, or of 6 steps of 2.
LAYERS = {
    "dense": lambda: layers.Dense(3, name="spoiled"),
    "normalization": lambda: layers.BatchNormalization(name="spoiled"),
    "recurrent": lambda: layers.LSTM(3, name="spoiled"),
    "convolution": lambda: layers.Conv1D(3, 2, name="spoiled"),
    "attention": lambda: layers.GRU(3, name="spoiled"),
}


def network(kind):
    inputs = keras.Input((6,))
    steps = layers.Reshape((3, 2))(inputs) if kind in ("recurrent", "convolution", "attention") else inputs
    spoiled = layers.Flatten()(LAYERS[kind]()(steps))
    return keras.Model(inputs, layers.Dense(2, name="out")(spoiled))


def entries(algorithm):
    def create(model):
        config = kc.register_default_init_args({"compression": {"algorithm": algorithm}}, SAMPLES)
        return kc.create_compressed_model(model, config)

    return create


ENTRIES = {
    "quantize": lambda model: kc.quantize(model, SAMPLES),
    "analyze": lambda model: kc.analyze(model, SAMPLES),
    "diagnose": lambda model: kc.diagnose(model, SAMPLES),
    "accuracy control": lambda model: kc.quantize_with_accuracy_control(model, SAMPLES, SAMPLES, lambda *_: 1.0),
    **{
        f"create {name}": entries(name)
        for name in ("quantization", "magnitude_sparsity", "rb_sparsity", "binarization")
    },
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_weight_that_is_nan_is_named_with_its_layer(kind, entry):
    model = network(kind)
    for name, variable in named_variables(model.get_layer("spoiled")).items():
        before = variable.numpy()
        variable.assign(tf.fill(variable.shape, np.nan))
        with pytest.raises(kc.UnsupportedModelError, match=f"'{name}' of the layer 'spoiled'"):
            ENTRIES[entry](model)
        variable.assign(before)


@pytest.mark.parametrize("name", sorted(registered_formats()))
def test_nothing_that_is_nan_is_written(name, tmp_path):
    model = kc.quantize(network("dense"), SAMPLES)
    path = tmp_path / f"model{registered_formats()[name].suffix}"
    for layer_path, layer in leaf_layers(model):
        for variable in layer.variables:
            if not variable.dtype.is_floating:
                continue
            before = variable.numpy()
            variable.assign(tf.fill(variable.shape, np.nan))
            with pytest.raises(kc.ExportError, match=f"of the layer '{layer_path}' holds NaN"):
                kc.export_model(model, path, name)
            variable.assign(before)
    assert list(tmp_path.iterdir()) == []


DATA = {
    "nan": lambda samples: np.where(samples > 1, np.nan, samples),
    "infinite": lambda samples: np.where(samples > 1, np.inf, samples).astype(np.float32),
    "too large for float32": lambda samples: samples.astype(np.float64) * 1e39,
    "complex": lambda samples: samples + 1j,
    "complex without an imaginary part": lambda samples: samples.astype(np.complex64),
}
FORMS = {
    "array": lambda array: array,
    "dataset": lambda array: tf.data.Dataset.from_tensor_slices(array).batch(4),
    "generator": lambda array: lambda: (array[i : i + 4] for i in range(0, 16, 4)),
    "transform": lambda array: kc.Dataset(SAMPLES, lambda _: array),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", DATA)
def test_data_that_are_not_finite_are_named_with_their_input(kind, form, tmp_path):
    data = FORMS[form](DATA[kind](SAMPLES))
    model = network("dense")
    name = model.input_names[0]
    calls = [lambda: kc.quantize(model, data), lambda: kc.analyze(model, data), lambda: kc.diagnose(model, data)]
    if form == "array":
        compressed = kc.quantize(model, SAMPLES)
        path = kc.export_model(compressed, tmp_path / "model.onnx").path
        calls += [
            lambda: kc.export_model(compressed, tmp_path / "other.onnx", data=data),
            lambda: kc.export_model(compressed, tmp_path / "other.tflite", calibration_data=data),
            lambda: kc.audit(compressed, path, data=data),
            lambda: kc.compare(compressed, path, data),
            lambda: kc.report(compressed, tmp_path / "report.html", data=data),
            lambda: kc.benchmark([path], data, float_model=model, rounds=1),
            lambda: kc.benchmark([path], data, rounds=1),
        ]
    for call in calls:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(kc.DataError, match=r"NaN or infinite|are complex") as caught:
                call()
        assert "Expected" in str(caught.value)
        assert name in str(caught.value) or "'data'" in str(caught.value)
    assert sorted(file.name for file in tmp_path.iterdir()) == (["model.onnx"] if form == "array" else [])


def test_a_range_that_overflows_is_named_with_its_layer():
    model = network("dense")
    kernel = np.full((6, 3), 3e38, np.float32)
    kernel[0] = -3e38
    model.get_layer("spoiled").kernel.assign(kernel)
    with pytest.raises(kc.UnsupportedModelError, match="'kernel' of the layer 'spoiled' is too large"):
        kc.quantize(model, SAMPLES)
    model.get_layer("spoiled").kernel.assign(np.full((6, 3), 1e38, np.float32))
    with pytest.raises(kc.DataError, match="layer 'spoiled' computes NaN or infinite"):
        kc.quantize(model, 10 * SAMPLES)
