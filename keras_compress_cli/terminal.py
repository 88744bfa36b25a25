"""What a command says while it works: messages go to standard error, and TensorFlow says only what matters.

Whatever is changed for this is put back at the end.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator

from keras_compress_cli.working_folder import put_working_folder_last

__all__ = ["messages_on_stderr", "note", "printable_streams", "quiet_import"]

#: Loggers of other packages that write about their own affairs.
CHATTY = ("tensorflow", "absl", "tf2onnx", "h5py")


@contextlib.contextmanager
def printable_streams() -> Iterator[None]:
    """Context in which a character that the terminal does not have is written as an escape, instead of ending the program."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if hasattr(stream, "reconfigure")]
    before = [stream.errors for stream in streams]
    try:
        for stream in streams:
            if stream.errors == "strict":
                stream.reconfigure(errors="backslashreplace")
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            if stream.errors != errors and not stream.closed:
                stream.reconfigure(errors=errors)


@contextlib.contextmanager
def messages_on_stderr() -> Iterator[None]:
    """Context in which all that is printed goes to standard error, and modules of the working directory can be
    imported, behind installed ones."""
    levels = {name: logging.getLogger(name).level for name in CHATTY}
    path = list(sys.path)
    put_working_folder_last()
    try:
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.showwarning = _show_warning
            warnings.simplefilter("ignore")  # what is meant for programmers
            warnings.filterwarnings("default", category=UserWarning)
            warnings.filterwarnings("ignore", message="You are saving your model as an HDF5 file", category=UserWarning)
            for name in CHATTY:
                logging.getLogger(name).setLevel(logging.ERROR)
            yield
    finally:
        sys.path[:] = path
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """Context for the first import of TensorFlow, whose libraries write to the terminal before they can be told not to.

    What they wrote is shown if the import fails.
    """
    if "tensorflow" in sys.modules:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    with tempfile.TemporaryFile() as written, _written_to(written.fileno()) as terminal:
        try:
            yield
        except BaseException:
            written.seek(0)
            os.write(terminal, written.read())
            raise
    for name in CHATTY:  # TensorFlow has set its own
        logging.getLogger(name).setLevel(logging.ERROR)


@contextlib.contextmanager
def _written_to(file: int) -> Iterator[int]:
    """Context in which all that the process writes to its standard error goes to ``file``; yields where it went before."""
    terminal = os.dup(2)
    try:
        os.dup2(file, 2)
        yield terminal
    finally:
        sys.stderr.flush()
        os.dup2(terminal, 2)
        os.close(terminal)


def note(message: str) -> None:
    """Say something about the progress of the work."""
    print(message, file=sys.stderr, flush=True)


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    note(f"warning: {message}")
