"""``diagnose``: the findings of ``kc.diagnose``, and their files."""

import json

import pytest

from tests.cli.command_line import call

CONFIG = {"compression": {"algorithm": "quantization", "weights": {"bits": 2}}}


def test_the_findings_and_a_configuration_that_can_be_used(folder, capfd):
    (folder / "low.json").write_text(json.dumps(CONFIG))
    arguments = ["--data", "samples.npy", "--config", "low.json", "--most", "2"]
    files = ["--save", "found.json", "--save-config", "mended.json"]
    called = call(capfd, "diagnose", "model.keras", *arguments, *files, "--json")
    assert called.code == 0, called.err
    assert called.values["findings"][0]["cause"] == "few bits"
    assert called.values["mended"] > called.values["sqnr"]
    assert json.loads((folder / "found.json").read_text()) == called.values
    assert call(capfd, "config", "check", "mended.json", "model.keras").code == 0
    assert call(capfd, "diagnose", "model.keras", *arguments, *files).code == 2  # the files exist


def test_quickly(folder, capfd):
    called = call(capfd, "diagnose", "model.keras", "--data", "samples.npy", "--quick")
    assert called.code == 0, called.err
    assert "outputs of the quantized model:" in called.out


@pytest.mark.parametrize("samples", ["0", "many"])
def test_wrong_usage(samples, folder, capfd):
    called = call(capfd, "diagnose", "model.keras", "--data", "samples.npy", "--samples", samples)
    assert called.code == 2
    assert "no whole number above 0" in called.err
