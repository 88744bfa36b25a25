"""Which tests `make test` runs, and which only `make test-all` runs.

A test or a case marked ``extended`` is left to `make test-all`. Of a test with many cases `make test` takes a few, spread evenly over
the list, the first and the last among them.
"""

from collections import defaultdict

import pytest

extended = pytest.mark.extended
#: How many cases of one test `make test` takes.
CASES = 2


def levels(cases, first):
    """Return the cases as parameters; those not named in ``first`` are left to `make test-all`.

    Raises:
        ValueError: a name in ``first`` is no case; a renamed case would go to the second level in silence.
    """
    cases, first = list(cases), set(first)
    if not first <= set(cases):
        raise ValueError(f"Not among the cases {cases}: {sorted(first - set(cases))}.")
    return [
        pytest.param(case, marks=() if case in first else extended, id=getattr(case, "__name__", str(case)))
        for case in cases
    ]


def extend_all_but_a_few(items):
    """Mark the cases of tests with many cases as extended, but for :data:`CASES` of each."""
    by_test = defaultdict(list)
    for item in items:
        if item.get_closest_marker("extended") is None:
            by_test[item.nodeid.partition("[")[0]].append(item)
    for cases in by_test.values():
        if len(cases) > CASES:
            last = len(cases) - 1
            kept = {round(number * last / (CASES - 1)) for number in range(CASES)}
            for index, item in enumerate(cases):
                if index not in kept:
                    item.add_marker(extended)
