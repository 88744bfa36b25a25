"""The pages that are written by scripts are those the scripts would write now."""

import runpy

import pytest

from keras_compress import json_schema
from tests.levels import levels

from .pages import REPOSITORY


@pytest.mark.parametrize(
    "script", levels(["configuration_reference", "support_table"], first=["configuration_reference"])
)
def test_a_generated_page_is_up_to_date(script):
    generator = runpy.run_path(str(REPOSITORY / "docs" / "generators" / f"{script}.py"))
    written = generator["PAGE"].read_text(encoding="utf-8")
    assert written == generator["page"](), "run `make docs-pages` and look at what changed"


def test_the_schema_describes_every_key():
    schema = json_schema()
    sections = {"the root": schema, **schema["$defs"]}
    silent = [
        f"{name}.{key}"
        for name, section in sections.items()
        for key, value in section["properties"].items()
        if not value.get("description")
    ]
    assert silent == []
    assert all("Attributes:" not in section["description"] for section in sections.values())
