"""What every test shares: fixed random seeds and fresh automatic layer names, so that a failure comes again.

And what keeps many tests in one process fast: the modules that take longest come first, and what a module traced is let go.
"""

import gc

import pytest
from tensorflow.python.framework.ops import gradient_registry

from keras_compress._keras import keras
from tests import durations, levels


def pytest_addoption(parser):
    parser.addoption("--durations-file", help="write how long tests take to this JSON file")


def pytest_configure(config):
    path = config.getoption("--durations-file")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(durations.Recorder(path))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    seconds = durations.of_one_case()
    levels.leave_to_the_second(items, seconds)
    levels.leave_to_the_last(items, seconds)
    durations.longest_first(items)


def pytest_collection_finish():
    gc.freeze()  # what was imported and collected stays; the collector need not look through it again and again


@pytest.fixture(scope="module", autouse=True)
def _graphs_of_one_module():
    """Let go of what a module traced: TensorFlow keeps traced gradients, and with them their graphs, for the whole process."""
    known = set(gradient_registry._registry)
    yield
    for name in set(gradient_registry._registry) - known:
        if name.startswith("CustomGradient-"):
            del gradient_registry._registry[name]
    keras.backend.clear_session()
    gc.collect()
    gc.freeze()  # what is left stays: looking through all of it again behind every module takes longer than the tests


@pytest.fixture(autouse=True)
def _fresh_start():
    keras.backend.reset_uids()
    keras.utils.set_random_seed(7)
