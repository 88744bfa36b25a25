"""A working directory with the files that commands read."""

import shutil
import sys

import pytest

from tests.cli.command_line import write_files


@pytest.fixture(scope="session")
def _written_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command_line")
    write_files(folder)
    return folder


@pytest.fixture
def folder(_written_files, tmp_path, monkeypatch):
    """A working directory of its own for each test, with model.keras, compressed.keras, samples.npy, labelled.npz, images,
    training.py and int8.json.
    """
    shutil.copytree(_written_files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "training", raising=False)
    yield tmp_path
    sys.modules.pop("training", None)
