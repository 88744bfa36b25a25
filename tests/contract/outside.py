"""The contract tests that an algorithm of another package is put through, one model each."""

import contextlib
import inspect

from keras_compress.algorithms import registry as algorithm_registry
from tests.contract import test_algorithms as contract


def of_every_algorithm(test):
    """Whether a contract test runs on every algorithm, whatever it is, with at most a model and a folder besides."""
    if not set(inspect.signature(test).parameters) <= {"name", "kind", "tmp_path"}:
        return False
    names = [mark.args[1] for mark in getattr(test, "pytestmark", []) if mark.args[:1] == ("name",)]
    return names == [sorted(contract.ALGORITHMS)]


TESTS = {name: test for name, test in vars(contract).items() if name.startswith("test_") and of_every_algorithm(test)}


def run(test, name, folder, kind="residual"):
    """Run one of :data:`TESTS` on a registered algorithm."""
    given = {"name": name, "kind": kind, "tmp_path": folder}
    TESTS[test](**{key: given[key] for key in inspect.signature(TESTS[test]).parameters})


@contextlib.contextmanager
def known_to_the_contract(algorithm):
    """Let the contract tests know an algorithm class; it is unregistered afterwards."""
    contract.ALGORITHMS[algorithm.name] = algorithm_registry._ALGORITHMS[algorithm.name] = algorithm
    try:
        yield
    finally:
        del contract.ALGORITHMS[algorithm.name], algorithm_registry._ALGORITHMS[algorithm.name]
