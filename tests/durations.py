"""How long tests and their fixtures take: written by `make durations`.

It is read to start the modules that take longest first, for two workers end together only if no long module comes last (a module that
is not in the file yet is started early), and to choose which tests and cases `make test` has time for (tests/levels.py).
"""

import json
from collections import defaultdict
from pathlib import Path

FILE = Path(__file__).with_name("durations.json")
DEAREST = 60
#: Of a test with one case, the seconds from which on its duration is noted.
NOTED = 1.0


class Recorder:
    """A plugin of pytest that notes every phase of every test and writes the sums of the modules and the dearest phases."""

    def __init__(self, path):
        self._path = Path(path)
        self._phases = []

    def pytest_runtest_logreport(self, report):
        self._phases.append((round(report.duration, 2), report.when, report.nodeid.partition("@")[0]))

    def pytest_sessionfinish(self):
        modules, cases = defaultdict(float), defaultdict(list)
        for seconds, when, test in self._phases:
            modules[module_of(test)] += seconds
            if when == "call":
                cases[test.partition("[")[0]].append(seconds)
        means = {test: (len(times), round(sum(times) / len(times), 2)) for test, times in cases.items()}
        values = {
            "tests": len({test for _, _, test in self._phases}),
            "seconds": round(sum(modules.values())),
            "dearest": [list(phase) for phase in sorted(self._phases, reverse=True)[:DEAREST]],
            "modules": {name: round(modules[name], 1) for name in sorted(modules)},
            "cases": {test: mean for test, (count, mean) in sorted(means.items()) if count > 1 or mean >= NOTED},
        }
        self._path.write_text(json.dumps(values, indent=1) + "\n")


def module_of(test):
    """Return the module of a test from its id."""
    return test.partition("::")[0]


def of_one_case():
    """Return how many seconds one case of a test takes on average, by the id of the test without its case."""
    return json.loads(FILE.read_text())["cases"]


def longest_first(items):
    """Sort tests so that modules that take longest come first; the order within a module stays."""
    seconds = json.loads(FILE.read_text())["modules"]
    items.sort(key=lambda item: -seconds.get(module_of(item.nodeid), 30.0))
