"""``export``: compressed Keras models become files."""

import pytest

from tests.cli.command_line import call


def test_a_compressed_model_goes_to_several_formats(folder, capfd):
    called = call(capfd, "export", "compressed.keras", "m.onnx", "m.tflite", "m.pb", "--data", "samples.npy", "--compare",
                  "--option", "io_type=int8", "--json")  # fmt: skip
    assert called.code == 0, called.err
    exports = called.values["exports"]
    assert [export["save_format"] for export in exports] == ["onnx", "tflite", "frozen_graph"]
    assert all(export["comparison"]["sqnr"] is None or export["comparison"]["sqnr"] > 20 for export in exports)


@pytest.mark.parametrize("compare", [[], ["--compare"]])
def test_outputs_are_compared_on_the_data_that_are_given(compare, folder, capfd):
    called = call(capfd, "export", "compressed.keras", "m.onnx", "m.pb", "--data", "samples.npy", "--json", *compare)
    assert called.code == 0, called.err
    found = [(export["comparison"]["source"], export["comparison"]["samples"]) for export in called.values["exports"]]
    assert found == [("data", 64)] * 2


def test_without_data_numbers_are_drawn(folder, capfd):
    called = call(capfd, "export", "compressed.keras", "m.pb", "--json")
    assert called.code == 0, called.err
    assert called.values["exports"][0]["comparison"]["source"] == "drawn"


def test_an_audit_that_finds_something_is_an_error_unless_allowed(folder, capfd):
    called = call(capfd, "export", "compressed.keras", "m.tflite")  # without data for ranges
    assert called.code == 1
    assert "the audit found 1 fault in it" in called.err
    called = call(capfd, "export", "compressed.keras", "m.tflite", "--no-strict", "--overwrite")
    assert called.code == 0
    assert "problem" in called.out


def test_a_plain_model_is_exported_with_a_warning(folder, capfd):
    called = call(capfd, "export", "model.keras", "m.pb")
    assert called.code == 0
    assert "holds no compressed layer" in called.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compressed.keras", "m.pb", "--compare"], "--compare needs samples"),
        (["compressed.keras", "samples.npy"], "'samples.npy' exists"),
        (["compressed.keras", "m.onnx", "--option", "opste=13"], "Did you mean 'opset'?"),
    ],
)
def test_wrong_usage(arguments, message, folder, capfd):
    called = call(capfd, "export", *arguments)
    assert (called.code, called.out) == (2, "")
    assert message in called.err
