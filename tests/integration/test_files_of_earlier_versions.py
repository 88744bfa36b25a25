"""Files, states and reports that earlier versions wrote are read by this one, to the last bit: ``tests/data/write.py``."""

import functools
import json
import re

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from tests.data.write import CASES, EXPORTS, FOLDER, WITHOUT_SAVED_MODEL, samples, uncompressed, variables
from tests.levels import extended, levels

VERSIONS = sorted(path.name for path in FOLDER.iterdir() if re.fullmatch(r"\d+\.\d+\.\d+", path.name))
WRITTEN = [f"{version}/{case}" for version in VERSIONS for case in CASES if (FOLDER / version / case).is_dir()]

#: What `make test` reads; `make test-all` reads everything.
FIRST = [written for written in WRITTEN if written.endswith(("/quantization", "/quantization_words", "/all_together"))]

every_case = pytest.mark.parametrize("written", levels(WRITTEN, first=FIRST))


def case_of(written):
    return written.partition("/")[2]


def read_json(written, name):
    return json.loads((FOLDER / written / name).read_text())


@functools.cache
def expected(written):
    """Return the arrays of a case: variables of the model by name, those of the stripped model, outputs."""
    with np.load(FOLDER / written / "expected.npz") as arrays:
        return dict(arrays)


@functools.cache
def restored(written):
    """Return the controller and the model of the checkpoint of a case; no test changes them."""
    return kc.restore(lambda: uncompressed(case_of(written)), FOLDER / written / "checkpoints")


def from_state(written):
    controller, model = kc.create_compressed_model(
        uncompressed(case_of(written)),
        kc.CompressionConfig.from_json(FOLDER / written / "config.json"),
        read_json(written, "state.json"),
    )
    model.load_weights(FOLDER / written / "model.weights.h5")
    assert controller.get_compression_state() == read_json(written, "state.json")
    return model


READERS = {
    "model.keras": lambda written: keras.models.load_model(FOLDER / written / "model.keras"),
    "model.h5": lambda written: keras.models.load_model(FOLDER / written / "model.h5"),
    "saved_model": lambda written: keras.models.load_model(FOLDER / written / "saved_model"),
    "state and weights": from_state,
    "checkpoint": lambda written: restored(written)[1],
}


def assert_same_variables(model, arrays):
    """Check that every variable is there by its name and holds the same bits."""
    found = variables(model)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_every_version_and_every_algorithm_is_there():
    assert "0.1.0" in VERSIONS
    algorithms = {part["algorithm"] for _, parts in CASES.values() for part in parts}
    assert algorithms == {"binarization", "const_sparsity", "magnitude_sparsity", "quantization", "rb_sparsity"}
    assert {case_of(written) for written in WRITTEN} == set(CASES)


@pytest.mark.parametrize(
    ("written", "reader"),
    [
        pytest.param(written, reader, marks=() if written in FIRST else extended)
        for written in WRITTEN
        for reader in READERS
        if not (reader == "saved_model" and case_of(written) in WITHOUT_SAVED_MODEL)
    ],
)
def test_a_model_is_read_to_the_last_bit(written, reader):
    model = READERS[reader](written)
    arrays = {name: array for name, array in expected(written).items() if not name.startswith("stripped/")}
    outputs = arrays.pop("outputs")
    assert_same_variables(model, arrays)
    inputs = samples(CASES[case_of(written)][0])
    predictions = model(inputs, training=False).numpy()
    np.testing.assert_array_equal(predictions, restored(written)[1](inputs, training=False).numpy())
    np.testing.assert_allclose(predictions, outputs, atol=1e-5)  # another processor adds up in another order


@every_case
def test_a_checkpoint_holds_the_position_and_the_optimizer(written):
    controller, model = restored(written)
    assert controller.scheduler.current_epoch == 1
    assert int(model.optimizer.iterations) == 2
    assert controller.get_compression_state() == read_json(written, "state.json")


@every_case
def test_a_stripped_model_has_the_weights_it_had(written):
    arrays = {
        name.removeprefix("stripped/"): array
        for name, array in expected(written).items()
        if name.startswith("stripped/")
    }
    assert_same_variables(restored(written)[0].strip(), arrays)


@every_case
def test_a_configuration_is_read_and_written_as_it_was(written):
    config = kc.CompressionConfig.from_json(FOLDER / written / "config.json")
    assert json.loads(json.dumps(config.to_dict())) == read_json(written, "config.json")


def shape_of(value):
    """Return the keys of nested values, and the kinds of the others."""
    if isinstance(value, dict):
        return {key: shape_of(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape_of(item) for item in value]
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else value


@every_case
def test_statistics_have_the_keys_they_had(written):
    now = json.loads(json.dumps(restored(written)[0].statistics().to_dict()))
    assert now.pop("calibration") == []
    assert shape_of(now) == shape_of(read_json(written, "statistics.json"))


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("version", VERSIONS)
def test_an_exported_file_is_audited_as_it_was(version, name):
    written = f"{version}/{next(iter(CASES))}"
    report = kc.audit(restored(written)[1], FOLDER / written / name)
    assert report.problems == []
    before, now = read_json(written, f"{name}.report.json"), json.loads(json.dumps(report.to_dict()))
    assert before.keys() <= now.keys()
    for row, old in zip(now["weights"], before["weights"], strict=True):
        assert row.keys() == old.keys()
        assert {key: row[key] for key in ("layer", "weight", "stored_as", "bits", "size")} == {
            key: old[key] for key in ("layer", "weight", "stored_as", "bits", "size")
        }
