"""The Python code of docs/report.md runs from top to bottom, and its sections are those of a report."""

import re
from pathlib import Path

import pytest

from tests.html_report import pages

DOCUMENT = Path(__file__).parents[2] / "docs" / "report.md"


@pytest.mark.extended
def test_the_code_runs_and_the_table_names_every_section(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = DOCUMENT.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    exec("\n".join(blocks), {"__name__": "report"})
    tree = pages.parsed(tmp_path / "report.html")
    titles = [pages.words(title) for title in tree.iter("h2")]
    assert re.findall(r"^\| ([A-Z][a-z ]+) \|", text, re.MULTILINE) == titles
    quantized = pages.parsed(tmp_path / "quantized.html")
    assert pages.words(quantized.find(".//h1")) == "Digits, quantized after training"


def test_the_picture_is_there_and_small():
    (name,) = re.findall(r"!\[[^]]+\]\(([^)]+)\)", DOCUMENT.read_text(encoding="utf-8"))
    picture = (DOCUMENT.parent / name).read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 400_000
