"""``python -m keras_compress`` searches the working directory for modules first. Here it comes last, before others are imported.

Nothing changes in a process that was started in another way. This module imports nothing that could be taken from there.
"""

import sys

__all__ = ["was_started_by_name"]


def was_started_by_name(arguments: list[str]) -> bool:
    """Return whether Python was told to run this package.

    Args:
        arguments: of the process, with those of Python itself, as ``sys.orig_argv`` has them.

    Example:
        >>> was_started_by_name(["python", "-m", "keras_compress"]), was_started_by_name(["python", "-m", "pytest"])
        (True, False)
    """
    names = ("keras_compress", "keras_compress.__main__")
    after = zip(arguments, [*arguments[1:], ""], strict=True)
    return any(
        (first == "-m" and name in names) or (first.startswith("-m") and first[2:] in names) for first, name in after
    )


if sys.argv[:1] == ["-m"] and was_started_by_name(sys.orig_argv):
    import os  # which Python itself has imported long before

    here = os.getcwd()
    sys.path[:] = [*(entry for entry in sys.path if entry not in ("", ".", here)), here]
