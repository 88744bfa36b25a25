"""The pages that are written by scripts are those the scripts would write now."""

import os
import subprocess
import sys

import pytest

from keras_compress import json_schema

from .pages import REPOSITORY


@pytest.mark.parametrize("script", ["configuration_reference", "support_table"])
def test_a_generated_page_is_up_to_date(script):
    command = [sys.executable, f"docs/generators/{script}.py", "--check"]
    environment = {**os.environ, "PYTHONPATH": os.fspath(REPOSITORY)}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"Run `make docs-pages` and look at what changed.\n{done.stderr[-2000:]}"


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
