"""``export``: compressed Keras models become files."""

import os

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


def test_a_file_beside_an_output_is_not_overwritten_unasked(folder, capfd):
    (folder / "m.bin").write_text("mine")
    called = call(capfd, "export", "compressed.keras", "m.xml", "--no-strict")
    assert called.code == 2
    assert "'m.bin' exists. Choose another name, or pass --overwrite." in called.err
    assert (folder / "m.bin").read_text() == "mine"
    assert not (folder / "m.xml").exists()
    called = call(capfd, "export", "compressed.keras", "m.xml", "--no-strict", "--overwrite")
    assert called.code == 0, called.err
    assert "'m.bin' exists and will be replaced" in called.err
    assert (folder / "m.bin").read_bytes() != b"mine"


def test_two_files_that_do_not_belong_together_are_named_by_every_command_that_reads_them(folder, capfd):
    for name, model in (("a.xml", "compressed.keras"), ("b.xml", "compressed.keras")):
        assert call(capfd, "export", model, name, "--no-strict", "--option", "batch_size=2").code == 0
    content = bytearray((folder / "b.bin").read_bytes())
    content[-1] ^= 1
    (folder / "a.bin").write_bytes(content)
    for command in (
        ["inspect", "a.xml"],
        ["inspect", "a.xml", "--of", "compressed.keras"],
        ["benchmark", "a.xml", "--shape", "2,4", "--rounds", "1"],
        ["compare", "compressed.keras", "a.xml", "--data", "samples.npy"],
    ):
        called = call(capfd, *command)
        assert called.code == 1, command
        assert "'a.bin' do not belong together" in called.err.replace(f"{folder}/", ""), called.err
    (folder / "a.bin").unlink()
    assert "no file" in call(capfd, "inspect", "a.xml").err


def test_a_link_and_a_pipe_in_the_place_of_an_output_are_refused(folder, capfd):
    (folder / "precious").write_text("mine")
    (folder / "m.pb").symlink_to("precious")
    os.mkfifo(folder / "m.onnx")
    for name, kind in (("m.pb", "a link"), ("m.onnx", "a pipe")):
        called = call(capfd, "export", "compressed.keras", name, "--no-strict", "--overwrite")
        assert called.code == 1
        assert f"'{name}' is {kind}" in called.err
    assert (folder / "precious").read_text() == "mine"
