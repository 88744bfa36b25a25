"""The pages of the documentation: every Markdown file a reader meets, with its code."""

import re
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for folder in (".", "docs", "docs/api", "examples", "notebooks")
    for path in (REPOSITORY / folder).glob("*.md")
)

_BLOCK = re.compile(r"(?:<!-- (not run): [^>]+ -->\n)?^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_GIVEN = re.compile(r"<!-- given: ([^>]+) -->")


class Block(NamedTuple):
    """A piece of Python on a page: its text, its line, and whether it is run or only compiled."""

    code: str
    line: int
    run: bool


def text_of(page):
    return (REPOSITORY / page).read_text(encoding="utf-8")


def blocks_of(page):
    """Return the Python blocks of a page. A comment ``<!-- not run: why -->`` before one spares it from being run."""
    text = text_of(page)
    return [
        Block(match.group(2), text.count("\n", 0, match.start(2)), match.group(1) is None)
        for match in _BLOCK.finditer(text)
    ]


def given_to(page):
    """Return the names that a page takes as given, from its comments ``<!-- given: model, images -->``."""
    return {name.strip() for names in _GIVEN.findall(text_of(page)) for name in names.split(",")}
