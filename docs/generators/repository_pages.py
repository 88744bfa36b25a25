"""A hook of mkdocs: pages from outside docs/, and links of any page as they are in the repository.

A link in the repository is relative to its file and may lead anywhere. On the site a link to a page leads to the page; a link to
something that has no page, as a test, is left as its text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

REPOSITORY = Path(__file__).resolve().parents[2]
#: Pages of the site from files outside docs/. Another one is a line here and a line in nav.
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
    "examples/README.md": "samples.md",
    "notebooks/README.md": "notebooks.md",
}
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files, config):
    """Add the pages from outside docs/."""
    for source, target in PAGES.items():
        if files.get_file_from_path(target) is None:
            text = (REPOSITORY / source).read_text(encoding="utf-8")
            files.append(File.generated(config, target, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Bring the links of a page to where their targets are on the site."""
    sources = {target: source for source, target in PAGES.items() if target != "index.md"}
    path = page.file.src_uri
    source = sources.get(path, f"docs/{path}")

    def moved(link: re.Match) -> str:
        text, target, anchor = link.group(1), link.group(2), link.group(3) or ""
        if ":" in target:
            return link.group(0)
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        place = PAGES.get(wanted) or (wanted.removeprefix("docs/") if wanted.startswith("docs/") else None)
        if place is None:
            return text
        return f"[{text}]({posixpath.relpath(place, posixpath.dirname(path) or '.')}{anchor})"

    return LINK.sub(moved, markdown)
