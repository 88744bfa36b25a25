"""Every notebook runs from top to bottom, and what is stored in it is complete, small, and free of noise."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 300_000
PATH_OF_A_MACHINE = re.compile(
    r"(?<![\w.])/(home|root|tmp|Users|usr|opt|var|work|mnt)/|site-packages|\.venv|[A-Z]:\\\\"
)

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def kinds(cell):
    """What a cell puts out: ``"stdout"``, ``"image/png"``, …"""
    named = {output.name for output in cell.outputs if output.output_type == "stream"}
    return named | {kind for output in cell.outputs for kind in output.get("data", {})}


def texts(cell):
    """What there is to read in a cell and its outputs, without pictures."""
    yield cell.source
    for output in cell.get("outputs", []):
        yield from (output.text,) if output.output_type == "stream" else ()
        yield from (value for kind, value in output.get("data", {}).items() if not kind.startswith("image/"))


def test_there_are_seven():
    assert [path.name[:3] for path in NOTEBOOKS] == [f"{number:02d}_" for number in range(1, 8)]


@pytest.mark.whole
@pytest.mark.extended
@every_notebook
def test_it_runs_from_top_to_bottom_and_every_output_is_stored(path, tmp_path):
    for file in (*FOLDER.glob("*.py"), path):
        shutil.copy(file, tmp_path)
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "KERAS_COMPRESS_FAST": "1", "PYTHONPATH": search, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, tmp_path / "execute.py", tmp_path / path.name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]
    fresh, stored = code_cells(tmp_path / path.name), code_cells(path)
    assert [cell.source for cell in fresh] == [cell.source for cell in stored]
    for new, old in zip(fresh, stored, strict=True):
        assert kinds(new) == kinds(old), old.source
    assert any(kinds(cell) & {"image/png"} for cell in fresh)
    assert not any("stderr" in kinds(cell) for cell in fresh)


@every_notebook
def test_what_is_stored_came_from_one_run_without_errors(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert {output.output_type for cell in cells for output in cell.outputs} <= {
        "stream",
        "display_data",
        "execute_result",
    }
    assert not any("stderr" in kinds(cell) for cell in cells)
    assert [
        text for cell in cells for output in texts(cell) for text in re.findall(r"WARNING:|\w+Warning:", output)
    ] == []


@every_notebook
def test_no_path_of_a_machine_is_inside(path):
    cells = nbformat.read(path, as_version=4).cells
    assert [text for cell in cells for text in texts(cell) if PATH_OF_A_MACHINE.search(text)] == []


def test_a_path_of_a_machine_would_be_found():
    assert PATH_OF_A_MACHINE.search("files in /home/somebody/x")
    assert PATH_OF_A_MACHINE.search("lib/python3.11/site-packages/x.py")
    assert not PATH_OF_A_MACHINE.search("files/digits.xml, kB/s, ../docs/export.md")


@every_notebook
def test_it_is_small(path):
    assert path.stat().st_size < LARGEST


@every_notebook
def test_it_opens_with_a_title_ends_with_where_to_go_and_its_links_exist(path):
    texts = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    assert texts[0].startswith("# ")
    assert "## Where next" in texts[-1]
    targets = [target for text in texts for target in re.findall(r"\]\(([^)#]+)\)", text)]
    assert targets
    assert [target for target in targets if not (FOLDER / target).exists()] == []


def test_the_index_names_all_of_them():
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\((\d\d_\w+\.ipynb)\)", index) == [path.name for path in NOTEBOOKS]
