"""How long tests and their fixtures take: written by `make durations`, read to start the modules that take longest first.

Two workers end together only if no long module comes last. A module that is not in the file yet is started early.
"""

import json
from collections import defaultdict
from pathlib import Path

FILE = Path(__file__).with_name("durations.json")
DEAREST = 60


class Recorder:
    """A plugin of pytest that notes every phase of every test and writes the sums of the modules and the dearest phases."""

    def __init__(self, path):
        self._path = Path(path)
        self._phases = []

    def pytest_runtest_logreport(self, report):
        self._phases.append((round(report.duration, 2), report.when, report.nodeid.partition("@")[0]))

    def pytest_sessionfinish(self):
        modules = defaultdict(float)
        for seconds, _, test in self._phases:
            modules[module_of(test)] += seconds
        values = {
            "tests": len({test for _, _, test in self._phases}),
            "seconds": round(sum(modules.values())),
            "dearest": [list(phase) for phase in sorted(self._phases, reverse=True)[:DEAREST]],
            "modules": {name: round(modules[name], 1) for name in sorted(modules)},
        }
        self._path.write_text(json.dumps(values, indent=1) + "\n")


def module_of(test):
    """Return the module of a test from its id."""
    return test.partition("::")[0]


def longest_first(items):
    """Sort tests so that modules that take longest come first; the order within a module stays."""
    seconds = json.loads(FILE.read_text())["modules"]
    items.sort(key=lambda item: -seconds.get(module_of(item.nodeid), 30.0))
