"""The site builds without a warning, which covers its pages, links and anchors; nothing in it is loaded from the network."""

import os
import re
import subprocess
import sys

import pytest

import keras_compress

from .pages import PAGES, REPOSITORY, text_of


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site; return its folder."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.extended
def test_every_page_is_on_the_site(site):
    pages = [page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")]
    for page in [*pages, "contributing.md", "changelog.md"]:
        assert (site / page).with_suffix(".html").stat().st_size > 0


@pytest.mark.extended
def test_nothing_is_loaded_from_the_network(site):
    loaded = re.compile(
        r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"(https?:[^\"]*)|<link\b[^>]*\bhref=\"(https?:[^\"]*)"
    )
    for page in site.rglob("*.html"):
        found = [match.group(0) for match in loaded.finditer(page.read_text(encoding="utf-8"))]
        assert not found, f"{page.name} loads {found}"


@pytest.mark.extended
def test_docstrings_are_rendered(site):
    text = (site / "api" / "create.html").read_text(encoding="utf-8")
    assert 'id="keras_compress.create_compressed_model"' in text
    assert ":class:`" not in text
    assert ":func:`" not in text
    errors = text[text.index("keras_compress.create_compressed_model") :]
    assert "UnsupportedModelError" in errors


@pytest.mark.extended
def test_every_public_name_is_in_the_reference(site):
    shown = set()
    for page in (site / "api").glob("*.html"):
        shown |= set(re.findall(r'<h[23] id="[\w.]*?(\w+)"', page.read_text(encoding="utf-8")))
    assert set(keras_compress.__all__) <= shown


def anchors_of(page):
    """Return the anchors of the headings of a page, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    words = [re.sub(r"[^\w\s-]", "", re.sub(r"[`*]", "", heading)).strip().lower() for heading in headings]
    return {re.sub(r"\s+", "-", heading) for heading in words}


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_to_files_of_the_repository(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        wanted = (REPOSITORY / page).parent / path if path else REPOSITORY / page
        assert wanted.exists(), f"{page} links to {target}"
        if anchor and wanted.suffix == ".md":
            assert anchor in anchors_of(os.path.relpath(wanted, REPOSITORY)), f"{page} links to {target}"
