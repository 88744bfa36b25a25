"""Which tests `make test` runs, which only `make test-all` runs, and which cases only `make test-every` runs.

A test or a case marked ``extended`` is left to `make test-all`, and so is one that takes longer than :data:`LONGEST` seconds,
unless it is marked ``first``. Of a test with many cases `make test` takes as many as a second has room for, spread evenly over
the list: one at least, :data:`MOST` at most. `make test-all` takes as many as :data:`SECONDS_OF_ALL` seconds have room for,
:data:`FEWEST_OF_ALL` at least, and all of a test that is marked ``whole``. No test is left out of it with all its cases. How long
tests take is in tests/durations.json.
"""

from collections import defaultdict

import pytest

extended = pytest.mark.extended
every = pytest.mark.every
#: How long a test, or one case of it, may take in `make test` without being marked ``first``.
LONGEST = 1.5
#: How long the cases of one test may take together in `make test`.
SECONDS = 1.0
#: How many cases of one test `make test` takes at most.
MOST = 3
#: How many it takes of a test that no duration is known of.
OF_NEW_TESTS = 2
#: How long the cases of one test may take together in `make test-all`, without those that `make test` has run.
SECONDS_OF_ALL = 5.0
#: How many it takes of every test, however long they take.
FEWEST_OF_ALL = 3


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


def leave_to_the_second(items, seconds):
    """Mark the tests and cases as extended that `make test` has no time for.

    Args:
        items: the collected tests.
        seconds: how long a test, or one case of it, takes, by the id of the test without its case.
    """
    by_test = defaultdict(list)
    for item in items:
        if item.get_closest_marker("extended") is None:
            by_test[item.nodeid.partition("[")[0]].append(item)
    for test, cases in by_test.items():
        kept = _spread(len(cases), _room(seconds[test]) if test in seconds else OF_NEW_TESTS)
        for index, item in enumerate(cases):
            long = seconds.get(test, 0.0) > LONGEST and item.get_closest_marker("first") is None
            if long or index not in kept:
                item.add_marker(extended)


def leave_to_the_last(items, seconds):
    """Mark those of the extended cases as ``every`` that `make test-all` has no time for.

    Args:
        items, seconds: as in :func:`leave_to_the_second`, which comes first.
    """
    by_test = defaultdict(list)
    for item in items:
        if item.get_closest_marker("extended") is not None and item.get_closest_marker("whole") is None:
            by_test[item.nodeid.partition("[")[0]].append(item)
    for test, cases in by_test.items():
        room = int(SECONDS_OF_ALL / max(seconds.get(test, 0.0), 0.01))
        kept = _spread(len(cases), max(FEWEST_OF_ALL, room))
        for index, item in enumerate(cases):
            if index not in kept:
                item.add_marker(every)


def _room(seconds):
    return max(1, min(MOST, int(SECONDS / max(seconds, 0.01))))


def _spread(count, kept):
    """Return at most ``kept`` of the first ``count`` numbers, the first and the last among them if there is room for two."""
    last = count - 1
    return {round(number * last / max(kept - 1, 1)) for number in range(kept)} if kept < count else set(range(count))
