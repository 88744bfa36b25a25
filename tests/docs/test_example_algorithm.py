"""The algorithm of docs/write_an_algorithm.md keeps to the contract that the page says it keeps to."""

import sys
import types

import pytest

from tests.contract import outside

from .pages import blocks_of


@pytest.fixture(scope="module", autouse=True)
def _registered():
    """Run the page's file, as if it stood in the folder of algorithms, and forget it afterwards."""
    module = types.ModuleType("powers_of_two_example")
    sys.modules[module.__name__] = module
    exec(compile(blocks_of("docs/write_an_algorithm.md")[0].code, module.__name__, "exec"), vars(module))
    with outside.known_to_the_contract(module.PowersOfTwo):
        yield
    del sys.modules[module.__name__]


def test_there_are_such_contract_tests():
    assert len(outside.TESTS) >= 12


@pytest.mark.parametrize("test", outside.TESTS)
def test_the_example_keeps_the_contract(test, tmp_path):
    outside.run(test, "powers_of_two", tmp_path)
