"""Whatever ``fit`` takes, every entry point that takes data takes, with the same result; and every batch a model fixes."""

import dataclasses
import functools
import itertools
import warnings

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.data import input_specs
from keras_compress.export import registered_formats
from tests.levels import levels

layers = keras.layers
SAMPLES = 18
CONFIG = {"compression": {"algorithm": "quantization"}}
RANDOM = np.random.default_rng(0)
LEFT = RANDOM.normal(size=(SAMPLES, 6)).astype(np.float32)
NUMBER = RANDOM.normal(size=SAMPLES).astype(np.float32)
CODE = (np.arange(SAMPLES) % 5).astype(np.int64)
TARGETS = RANDOM.normal(size=(SAMPLES, 2)).astype(np.float32)
WEIGHTS = np.ones(SAMPLES, np.float32)
STRUCTURES = "list", "keys", "nested"
KEYS = {"z": LEFT, "a": NUMBER, "m": CODE}
NAMES = {"left": LEFT, "number": NUMBER, "code": CODE}


def _joined(left, number, code):
    features = layers.Concatenate(name="join")(
        [left, layers.Reshape((1,), name="column")(number), layers.Embedding(5, 3, name="embedding")(code)]
    )
    return layers.Dense(2, name="out")(layers.Dense(4, "relu", name="hidden")(features))


def _inputs():
    return {
        "left": keras.Input((6,), name="left"),
        "number": keras.Input((), name="number"),
        "code": keras.Input((), dtype="int64", name="code"),
    }


@functools.cache
def model_of(structure):
    """Return a model of three inputs, two of them scalars per sample; its inputs come in a structure of a kind."""
    keras.utils.set_random_seed(0)
    made = _inputs()
    structured = {
        "list": list(made.values()),
        "keys": {"z": made["left"], "a": made["number"], "m": made["code"]},
        "nested": ({"z": made["left"], "a": made["number"]}, made["code"]),
    }[structure]
    model = keras.Model(structured, _joined(*made.values()), name=f"{structure}_net")
    model.compile("sgd", "mse")
    return model


def ordered(model):
    """Return the arrays in the order of the model."""
    return tuple(NAMES[spec.name] for spec in input_specs(model))


def packed(model):
    return tf.nest.pack_sequence_as(model.input, list(ordered(model)))


class Batches(keras.utils.Sequence):
    def __init__(self, inputs):
        self._inputs = inputs

    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(6 * index, 6 * index + 6)
        return tf.nest.map_structure(lambda array: array[rows], self._inputs), TARGETS[rows]


def _generator(inputs):
    def batches():
        yield from (Batches(inputs)[index] for index in range(3))

    return batches


def _dataset(*parts):
    """Return a dataset of samples. (In it a list would be one tensor.)"""
    return tf.data.Dataset.from_tensor_slices(tuple(tuple(part) if isinstance(part, list) else part for part in parts))


#: Forms of the data, from a model's inputs in the structure it is called with.
FORMS = {
    "structure": packed,
    "structure and targets": lambda model: (packed(model), TARGETS),
    "structure, targets and weights": lambda model: (packed(model), TARGETS, WEIGHTS),
    "tuple": ordered,
    "list": lambda model: list(ordered(model)),
    "dict by layer name": lambda model: dict(NAMES),
    "tf.data": lambda model: _dataset(packed(model), TARGETS).batch(4),
    "tf.data with weights": lambda model: _dataset(packed(model), TARGETS, WEIGHTS).batch(7),
    "tf.data with one target per sample": lambda model: _dataset(packed(model), TARGETS[:, 0]).batch(16),
    "tf.data by layer name": lambda model: _dataset(dict(NAMES), TARGETS).batch(18),
    "tf.data of single samples": lambda model: _dataset(packed(model), TARGETS),
    "generator": lambda model: _generator(packed(model))(),
    "generator function": lambda model: _generator(packed(model)),
    "Sequence": lambda model: Batches(packed(model)),
}


@functools.cache
def quantized(structure):
    return kc.quantize(model_of(structure), ordered(model_of(structure)))


def _weights(model):
    return [np.asarray(weight) for weight in model.get_weights()]


def _create(model, data, _):
    return _weights(kc.create_compressed_model(model, kc.register_default_init_args(CONFIG, data))[1])


def _quantize(model, data, _):
    return _weights(kc.quantize(model, data))


def _quantize_in_sequence(model, data, _):
    return _weights(kc.quantize(model, data, fast_bias_correction=False))


def _round_adaptively(model, data, _):
    rounding = {"adaptive_rounding": {"steps": 3}}
    return _weights(kc.quantize(model, data, advanced_parameters=rounding))


def _control(model, data, _):
    found = kc.quantize_with_accuracy_control(model, data, None, lambda model, data: 1.0)
    return _weights(found)


def _analyze(model, data, _):
    return [row.sqnr for row in kc.analyze(model, data, leave_one_out=False).rows]


def _diagnose(model, data, _):
    return [kc.diagnose(model, data, samples=16, measure=False).sqnr]


def _report(model, data, folder):
    compressed = _of(model)
    return [len(kc.report(compressed, folder / "report.html", data=data).read_text())]


def _compare(model, data, folder):
    report = kc.export_model(_of(model), folder / "model.pb", data=data)
    assert report.comparison.sqnr > 60
    return [report.comparison.samples]


def _calibrate_file(model, data, folder):
    report = kc.export_model(_of(model), folder / "model.onnx", calibration_data=data)
    return [np.frombuffer(report.path.read_bytes(), np.uint8).size > 0]


def _of(model):
    known = {id(model_of(structure)): structure for structure in STRUCTURES}
    return quantized(known[id(model)])


ENTRIES = {
    "create_compressed_model": _create,
    "quantize": _quantize,
    "quantize, biases in sequence": _quantize_in_sequence,
    "quantize, adaptive rounding": _round_adaptively,
    "quantize_with_accuracy_control": _control,
    "analyze": _analyze,
    "diagnose": _diagnose,
    "report": _report,
    "data of export_model": _compare,
    "calibration_data of export_model": _calibrate_file,
}


@functools.lru_cache
def _expected(entry, structure, folder):
    model = model_of(structure)
    return ENTRIES[entry](model, ordered(model), folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("expected")


#: Every form at every entry point; the structures take turns, so that each meets every form and every entry point, too.
PAIRS = {
    f"{entry}-{form}": (form, entry, STRUCTURES[(one + other) % len(STRUCTURES)])
    for one, form in enumerate(FORMS)
    for other, entry in enumerate(ENTRIES)
}
IN_FIRST = [
    f"{entry}-{form}"
    for entry in ("create_compressed_model", "analyze", "data of export_model")
    for form in ("structure", "dict by layer name", "tf.data with one target per sample")
]


def test_every_structure_meets_every_form_and_every_entry_point():
    assert {(form, structure) for form, _, structure in PAIRS.values()} == set(itertools.product(FORMS, STRUCTURES))
    assert {(entry, structure) for _, entry, structure in PAIRS.values()} == set(itertools.product(ENTRIES, STRUCTURES))


@pytest.mark.parametrize("pair", levels(PAIRS, first=IN_FIRST))
def test_every_form_gives_the_same_at_every_entry_point(pair, folder, tmp_path):
    form, entry, structure = PAIRS[pair]
    model = model_of(structure)
    found = ENTRIES[entry](model, FORMS[form](model), tmp_path)
    for ours, expected in zip(found, _expected(entry, structure, folder), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_form_is_what_a_benchmark_runs_on(structure, tmp_path):
    model = model_of(structure)
    report = kc.export_model(quantized(structure), tmp_path / "model.onnx", calibration_data=ordered(model))
    for number, form in enumerate(FORMS.values()):
        if number % len(STRUCTURES) == STRUCTURES.index(structure):
            result = kc.benchmark([report], form(model), float_model=model, rounds=1)
            assert result.batch_size in (1, 4, 6, 7, 16, SAMPLES)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize(
    "form", ["structure", "tuple", "list", "dict by layer name", "tf.data", "Sequence", "generator"]
)
def test_the_compressed_model_fits_on_what_the_original_fits_on(form, structure):
    original = model_of(structure)
    compressed = quantized(structure)
    compressed.compile("sgd", "mse")

    def fits(model):
        data = FORMS[form](original)
        try:
            if form in ("tf.data", "Sequence", "generator"):
                model.fit(data, steps_per_epoch=3, verbose=0)
            else:
                model.fit(data, TARGETS, verbose=0)
        except (ValueError, tf.errors.InvalidArgumentError):  # Keras sorts a dict that it does not know
            return False
        return True

    weights = original.get_weights(), compressed.get_weights()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answers = fits(original), fits(compressed)
    for model, numbers in zip((original, compressed), weights, strict=True):
        model.set_weights(numbers)
    assert answers[0] == answers[1]


# Models that fix their batch.


def stateful():
    """A stateful LSTM, one series at a time."""
    stack = [keras.Input(batch_shape=(1, 10, 5), name="x"), layers.LSTM(4, stateful=True, name="lstm")]
    return keras.Sequential([*stack, layers.Dense(2, name="out")])


def stateful_gru():
    """Two stateful layers, four series at a time."""
    x = keras.Input(batch_shape=(4, 6, 3), name="x")
    hidden = layers.GRU(4, stateful=True, return_sequences=True, name="gru")(x)
    hidden = layers.SimpleRNN(3, stateful=True, name="rnn")(layers.Dense(4, name="between")(hidden))
    return keras.Model(x, layers.Dense(2, name="out")(hidden))


def reshaped():
    """The batch is written into a reshape."""
    x = keras.Input(batch_shape=(4, 3, 2), name="x")
    return keras.Model(x, layers.Dense(2, name="out")(layers.Dense(3, "relu", name="hidden")(tf.reshape(x, (4, -1)))))


def reshaped_with_an_open_input():
    """The batch is written into a reshape only; the input says nothing."""
    x = keras.Input((3, 2), name="x")
    hidden = layers.Dense(3, "relu", name="hidden")(tf.ensure_shape(tf.reshape(x, (4, -1)), (4, 6)))
    return keras.Model(x, layers.Dense(2, name="out")(hidden))


def normalized():
    """A convolution and batch normalization, of a batch larger than the data."""
    x = keras.Input((6, 6, 2), batch_size=32, name="x")
    hidden = layers.BatchNormalization(name="norm")(layers.Conv2D(3, 3, name="conv")(x))
    return keras.Model(x, layers.Dense(2, name="out")(layers.Flatten(name="flat")(layers.ReLU(name="relu")(hidden))))


def two_inputs():
    """One input fixes the batch, the other one leaves it open."""
    one, other = keras.Input((4,), batch_size=5, name="one"), keras.Input((3,), name="other")
    joined = layers.Concatenate(name="join")([one, other])
    return keras.Model(
        {"a": one, "b": other}, layers.Dense(2, name="out")(layers.Dense(4, "relu", name="hidden")(joined))
    )


FIXED = {
    make.__name__: make
    for make in (stateful, stateful_gru, reshaped, reshaped_with_an_open_input, normalized, two_inputs)
}
FORMATS = sorted(registered_formats())
NO_MEMORY = "The file keeps no state"


def data_of(model, samples=SAMPLES):
    random = np.random.default_rng(1)
    return tuple(random.normal(size=(samples, *spec.shape)).astype(spec.dtype) for spec in input_specs(model))


@functools.cache
def fixed(name):
    """Return a model that fixes its batch, and the same quantized; no test changes them."""
    keras.utils.set_random_seed(0)
    model = FIXED[name]()
    return model, kc.quantize(model, data_of(model))


def states(model):
    return [
        state.numpy()
        for layer in model.layers
        for state in tf.nest.flatten(getattr(layer, "states", []))
        if state is not None
    ]


@pytest.fixture
def remembered():
    """Return a function that gives the states of a model a value, and one that checks that it is still there."""
    kept = []

    def remember(model):
        for layer in model.layers:
            for state in tf.nest.flatten(getattr(layer, "states", [])):
                state.assign(tf.fill(state.shape, 0.25))
        kept.append(model)

    yield remember
    for model in kept:
        assert all((state == 0.25).all() for state in states(model))


FIXED_ENTRIES = {
    "create_compressed_model": lambda model, data: kc.create_compressed_model(
        model, kc.register_default_init_args(CONFIG, data)
    )[1],
    "quantize": kc.quantize,
    "quantize, biases in sequence": lambda model, data: kc.quantize(model, data, fast_bias_correction=False),
    "quantize, adaptive rounding": lambda model, data: kc.quantize(
        model, data, advanced_parameters={"adaptive_rounding": {"steps": 3}}
    ),
    "quantize_with_accuracy_control": lambda model, data: kc.quantize_with_accuracy_control(
        model, data, None, lambda model, data: 1.0
    ),
}


@pytest.mark.parametrize("name", levels(FIXED, first=["stateful", "reshaped"]))
@pytest.mark.parametrize("entry", FIXED_ENTRIES)
def test_a_model_that_fixes_its_batch_is_compressed_in_that_batch(entry, name, remembered):
    model, _ = fixed(name)
    remembered(model)
    data = data_of(model)
    compressed = FIXED_ENTRIES[entry](model, data)
    size = input_specs(model)[0].batch
    part = tf.nest.pack_sequence_as(model.input, [tf.constant(array[np.arange(size) % SAMPLES]) for array in data])
    ours, theirs = (np.asarray(one) for one in (_fresh(compressed, part), _fresh(model, part)))
    if entry != "create_compressed_model":  # whose batch normalization is adapted
        assert np.abs(ours - theirs).max() < 0.15 * np.abs(theirs).max()
    assert all(not state.any() for state in states(compressed))


def _fresh(model, inputs):
    """Return what a model gives without memory of earlier runs; its states stay."""
    kept = states(model)
    model.reset_states()
    outputs = model(inputs, training=False)
    variables = [state for layer in model.layers for state in tf.nest.flatten(getattr(layer, "states", []))]
    for variable, value in zip(variables, kept, strict=True):
        variable.assign(value)
    return outputs


@pytest.mark.parametrize("name", levels(FIXED, first=["stateful", "reshaped"]))
def test_a_model_that_fixes_its_batch_is_analyzed_and_reported_on_all_samples(name, remembered, tmp_path):
    model, compressed = fixed(name)
    remembered(compressed)
    analysis = kc.analyze(compressed, data_of(model))
    assert analysis.samples == SAMPLES
    assert analysis.sqnr > 15
    assert kc.report(compressed, tmp_path / "report.html", data=data_of(model)).is_file()


@pytest.mark.parametrize("name", levels(FIXED, first=["stateful", "two_inputs"]))
@pytest.mark.parametrize("save_format", FORMATS)
def test_a_model_that_fixes_its_batch_is_exported_compared_and_measured(save_format, name, remembered, tmp_path):
    model, compressed = fixed(name)
    remembered(compressed)
    data = data_of(model)
    path = tmp_path / f"model{registered_formats()[save_format].suffix}"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", NO_MEMORY)
        warnings.filterwarnings("ignore", "TensorFlow Lite runs loops over time only for a fixed number")
        report = kc.export_model(compressed, path, save_format, data=data)
        assert report.comparison.samples == SAMPLES
        assert report.comparison.sqnr > 12
        latency = kc.benchmark({"file": report}, data, float_model=model, rounds=1)
    assert {row.save_format for row in latency.rows} == {save_format}


def test_files_of_stateful_layers_say_that_they_remember_nothing(tmp_path):
    _, compressed = fixed("stateful")
    with pytest.warns(UserWarning, match=rf"{NO_MEMORY}.*\['lstm'\].*reset_states"):
        kc.export_model(compressed, tmp_path / "model.pb")


def test_different_fixed_batches_are_an_error_that_names_the_inputs():
    specs = input_specs(fixed("two_inputs")[0])
    broken = [dataclasses.replace(specs[0], batch=5), dataclasses.replace(specs[1], batch=3)]
    with pytest.raises(kc.DataError, match=r"different fixed batches.*'a': 5, 'b': 3"):
        list(kc.Dataset(data_of(fixed("two_inputs")[0])).batches(broken))
