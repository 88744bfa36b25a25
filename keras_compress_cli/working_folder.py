"""The working directory is never ahead of installed packages: what lies there under the name of one of them is not imported.

``python -m`` puts the working directory first. This module imports nothing that could be taken from there.
"""

import sys

__all__ = ["put_working_folder_last"]


def put_working_folder_last() -> None:
    """Let modules of the working directory be found, behind all others."""
    import os  # imported by Python itself before the working directory is searched

    here = os.getcwd()
    sys.path[:] = [*(entry for entry in sys.path if entry not in ("", ".", here)), here]
