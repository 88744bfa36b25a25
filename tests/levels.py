"""Which cases of a matrix `make test` runs, and which only `make test-all` runs."""

import pytest

extended = pytest.mark.extended


def levels(cases, first):
    """Return the cases as parameters; those not named in ``first`` are left to `make test-all`.

    Raises:
        ValueError: a name in ``first`` is no case; a renamed case would go to the second level in silence.
    """
    cases, first = list(cases), set(first)
    if not first <= set(cases):
        raise ValueError(f"Not among the cases {cases}: {sorted(first - set(cases))}.")
    return [pytest.param(case, marks=() if case in first else extended, id=str(case)) for case in cases]
