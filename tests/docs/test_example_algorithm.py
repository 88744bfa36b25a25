"""The algorithm of docs/write_an_algorithm.md keeps to the contract that the page says it keeps to."""

import inspect
import sys
import types

import pytest

from keras_compress.algorithms import CompressionAlgorithm
from tests.contract import test_algorithms as contract

from .pages import blocks_of

NAME = "powers_of_two"


def of_every_algorithm(test):
    """Whether a contract test runs on every algorithm, whatever it is, with at most a model and a folder besides."""
    if not set(inspect.signature(test).parameters) <= {"name", "kind", "tmp_path"}:
        return False
    names = [mark.args[1] for mark in getattr(test, "pytestmark", []) if mark.args[:1] == ("name",)]
    return names == [sorted(contract.ALGORITHMS)]


TESTS = {name: test for name, test in vars(contract).items() if name.startswith("test_") and of_every_algorithm(test)}


@pytest.fixture(scope="module", autouse=True)
def _registered():
    """Run the page's file, as if it stood in the folder of algorithms, and forget it afterwards."""
    module = types.ModuleType("powers_of_two_example")
    sys.modules[module.__name__] = module
    exec(compile(blocks_of("docs/write_an_algorithm.md")[0].code, module.__name__, "exec"), vars(module))
    contract.ALGORITHMS[NAME] = module.PowersOfTwo
    yield
    del contract.ALGORITHMS[NAME], CompressionAlgorithm._registry[NAME], sys.modules[module.__name__]


def test_there_are_such_contract_tests():
    assert len(TESTS) >= 12


@pytest.mark.parametrize("test", TESTS)
def test_the_example_keeps_the_contract(test, tmp_path):
    given = {"name": NAME, "kind": "residual", "tmp_path": tmp_path}
    TESTS[test](**{name: given[name] for name in inspect.signature(TESTS[test]).parameters})
