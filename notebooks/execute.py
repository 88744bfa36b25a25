"""Run notebooks from top to bottom and store what they print and draw: ``python notebooks/execute.py [notebook …]``.

Without arguments all of them. A cell that fails ends the run, and its notebook stays as it was.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def main():
    paths = [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("[0-9]*.ipynb"))
    for path in paths:
        print(path.name, flush=True)
        nbformat.write(executed(path), path)


def executed(path):
    """Return a notebook with fresh outputs; only what Python prints is kept, not the log lines of native libraries."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=600,
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--IPKernelApp.capture_fd_output=False"],
        record_timing=False,
    )
    client.execute()
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


if __name__ == "__main__":
    main()
