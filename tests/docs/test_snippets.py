"""All Python code on every page runs from top to bottom, in one namespace per page."""

import inspect
import json
import re
import sys
import types

import pytest

import keras_compress as kc
from keras_compress import CompressionConfig
from keras_compress.algorithms import registry as algorithm_registry
from keras_compress.graph import layer_lookup

from . import given
from .pages import PAGES, REPOSITORY, blocks_of, given_to, text_of

#: What the code of a page must have written, at the least.
WRITTEN = {
    "README.md": ["model.xml", "model.onnx", "checkpoints/checkpoint"],
    "docs/index.md": ["model.xml", "model.bin", "trained.xml"],
    "docs/migrate_from_nncf.md": ["model.pb"],
    "docs/migrate_from_tfmot.md": ["model.tflite"],
    "docs/resume.md": ["checkpoints/checkpoint"],
}


@pytest.fixture(autouse=True)
def _registries_as_before():
    """Forget the layers and algorithms that a page registers."""
    registries = [(registry, dict(registry)) for registry in (layer_lookup._REGISTERED, algorithm_registry._ALGORITHMS)]
    yield
    for registry, before in registries:
        registry.clear()
        registry.update(before)


@pytest.mark.whole
@pytest.mark.first
@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)])
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("page")  # classes look up the names in their annotations there
    monkeypatch.setitem(sys.modules, "page", module)
    vars(module).update(given.values(given_to(page)))
    for block in blocks_of(page):
        code = compile("\n" * block.line + block.code, REPOSITORY / page, "exec")
        if block.run:
            exec(code, vars(module))
    for name in WRITTEN.get(page, []):
        assert (tmp_path / name).stat().st_size > 0


def test_pages_start_from_nothing_where_it_matters():
    for page in ("README.md", "docs/index.md"):
        assert given_to(page) == set()
        assert all(block.run for block in blocks_of(page))


def test_every_block_of_python_is_seen():
    for page in PAGES:
        assert len(blocks_of(page)) == text_of(page).count("```python")


@pytest.mark.whole
@pytest.mark.parametrize("page", PAGES)
def test_every_configuration_on_a_page_is_right(page, tmp_path):
    for number, text in enumerate(re.findall(r"^```json\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL)):
        if '"compression"' not in text:  # the parameters of a quantization after training
            parameters = json.loads(text)
            assert set(parameters) <= set(inspect.signature(kc.quantize).parameters)
            kc.AdvancedQuantizationParameters(**parameters.get("advanced_parameters", {}))
            continue
        path = tmp_path / f"{number}.json"
        path.write_text(text, encoding="utf-8")
        config = CompressionConfig.from_json(path)
        assert json.loads(json.dumps(config.to_dict()))["compression"]
