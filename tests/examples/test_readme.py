"""The commands in the samples' README are commands that the samples take."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

import examples

FOLDER = Path(examples.__file__).parent
COMMANDS = re.findall(r"^python -m (examples\.\w+\.train) (.*)$", (FOLDER / "README.md").read_text(), re.MULTILINE)


def test_there_are_commands_for_every_sample():
    assert {module.split(".")[1] for module, _ in COMMANDS} == {path.parent.name for path in FOLDER.glob("*/train.py")}


@pytest.mark.parametrize(("module", "arguments"), COMMANDS)
def test_a_sample_takes_the_flags_and_the_configuration_is_there(module, arguments, monkeypatch):
    sample = importlib.import_module(module)
    monkeypatch.setattr(sample, "run", lambda flags, folder: (flags, folder))
    command = shlex.split(arguments)
    flags, folder = sample.main(command if "--data" in command else [*command, "--data", "somewhere"])
    assert folder == flags.data
    assert flags.config is None or (FOLDER.parent / flags.config).is_file()
    assert flags.export is None or flags.export.suffix == ".keras" or flags.config
