"""IsolatedRuntime: runs files of a format in a process of its own, which may hang or die without taking this one with it.

The process imports the runtime and NumPy only, is kept for the next file, and every request has a limit of time.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress.errors import ExportError
from keras_compress.export.format import Format, Run, StoredWeight, TensorNames
from keras_compress.export.runtimes import worker
from keras_compress.export.runtimes.run import Inside, MissingRuntime

__all__ = [
    "SECONDS",
    "EndedProcessError",
    "IsolatedRuntime",
    "isolated_fed_tensors",
    "isolated_load",
    "isolated_load_by_default",
    "isolated_stored_weights",
    "isolated_tensors",
    "runtime_of",
]

#: How long a runtime may take to read or to compile a file, or to run one batch.
SECONDS = 300.0

#: Of the files that were loaded; a process that is started again cannot take one for another.
_NUMBERS = itertools.count()

#: Lines about no error that TensorFlow writes to standard error.
_NOTE = re.compile(r"[IW]\d{4} |WARNING: All log messages before ")

#: Modules without their packages, whose ``__init__`` would import TensorFlow.
_START = """
import sys, types
sys.path[:] = {path!r}
for name, folder in {packages!r}:
    package = sys.modules[name] = types.ModuleType(name)
    package.__path__ = [folder]
from keras_compress.export.runtimes.worker import serve
serve({module!r})
"""


def isolated_stored_weights(form: Format, path: Path, seconds: float = SECONDS) -> list[StoredWeight]:
    """Return every constant of a file that may be a weight.

    Args:
        form: the format of the file.
        path: the file.
        seconds: how long it may take.

    Raises:
        ExportError: the runtime cannot read the file, takes too long, or dies of it.
    """
    if form.isolated is None:
        return form.stored_weights(path)
    return runtime_of(form.isolated).request(path, seconds, "stored_weights", path.absolute())


def isolated_load(form: Format, path: Path, names: TensorNames | None, seconds: float = SECONDS) -> Run:
    """Make a file ready to run. The runtime holds one file at a time: one that another has taken the place of is loaded again.

    Args:
        form: the format of the file.
        path: the file.
        names: of its inputs and outputs; None: in the order of the file.
        seconds: how long each run may take.

    Raises:
        ExportError: the runtime cannot run the file, takes too long, or dies of it.
    """
    if form.isolated is None:
        return form.load(path, names, 0)
    return _loaded(form.isolated, path, seconds, "load", names, 0)[1]


def isolated_load_by_default(
    form: Format, path: Path, names: TensorNames | None, seconds: float = SECONDS
) -> tuple[str, Run] | None:
    """Make a file ready to run as its runtime does without any options, with less than float32 on some CPUs.

    Args:
        form, path, names, seconds: as for :func:`isolated_load`.

    Returns:
        The precision, as ``"bf16"``, and what runs the file; None if that is what :func:`isolated_load` runs it in.

    Raises:
        ExportError: as for :func:`isolated_load`.
    """
    if form.isolated is None:
        return None
    precision, run = _loaded(form.isolated, path, seconds, "load_by_default", names)
    return None if precision is None else (precision, run)


def _loaded(module: str, path: Path, seconds: float, command: str, *arguments: Any) -> tuple[Any, Run]:
    """Load a file; return what the runtime answers and what runs the file, which loads it again if another one took its place."""
    runtime = runtime_of(module)
    number, place = next(_NUMBERS), path.absolute()

    def load() -> Any:
        if runtime.loaded == number:
            return None
        runtime.loaded = None
        answer = runtime.request(path, seconds, command, number, place, *arguments)
        runtime.loaded = number
        return answer

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        with runtime.turn:
            load()
            return runtime.request(path, seconds, "run", number, [np.asarray(array) for array in arrays])

    with runtime.turn:
        return load(), run


def packages() -> list[tuple[str, str]]:
    """Return the packages around the modules of runtimes, and their folders."""
    root = Path(worker.__file__).parents[2]
    names = ("keras_compress", "keras_compress.export", "keras_compress.export.runtimes")
    return [(name, str(root.joinpath(*name.split(".")[1:]))) for name in names]


def isolated_tensors(
    form: Format, path: Path, names: TensorNames, arrays: Sequence[np.ndarray], seconds: float = SECONDS
) -> Inside:
    """Return how many samples a file takes of some, and the float tensors inside of it.

    Args:
        form, path, names, seconds: as for :func:`isolated_load`.
        arrays: the samples, one array per input.

    Raises:
        ExportError: the format has no runtime that tells them.
    """
    if form.isolated is None:
        raise ExportError(
            f"What is computed inside of '{path.name}' cannot be read. Expected: a file for ONNX Runtime, OpenVINO or LiteRT. "
            f"Received: the format '{form.name}'."
        )
    return runtime_of(form.isolated).request(path, seconds, "tensors", path.absolute(), names, list(arrays))


def isolated_fed_tensors(
    form: Format,
    path: Path,
    names: TensorNames,
    arrays: Sequence[np.ndarray],
    fed: Mapping[str, np.ndarray],
    asked: Sequence[str],
    seconds: float = SECONDS,
) -> dict[str, np.ndarray]:
    """Return tensors of a file that is cut at others: what reads those reads given values.

    Args:
        form, path, names: as for :func:`isolated_tensors`; the format has a runtime.
        arrays: the inputs.
        fed: the values, by name of the tensor, in its shape. A tensor on a grid is given them on that grid.
        asked: names of the tensors to return, as the file computes them. Those that cannot be read are left out.
        seconds: limit of time.
    """
    request = ("call", "fed_tensors", path.absolute(), names, list(arrays), dict(fed), list(asked))
    return runtime_of(str(form.isolated)).request(path, seconds, *request)


class EndedProcessError(Exception):
    """A process has ended before its answer; says how, and the end of what it wrote to standard error."""


class IsolatedRuntime:
    """The process of one runtime; it is started by the first request, and again after it has died.

    Attributes:
        turn: held from the loading of a file to the end of its run.
        loaded: the number of the file that it holds.
    """

    def __init__(self, module: str):
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: Any = None
        self.turn = threading.RLock()
        self.loaded: int | None = None
        self._lock = threading.Lock()

    def request(self, path: Path, seconds: float, command: str, *arguments: Any) -> Any:
        """Let the process do something with a file; an :class:`ExportError` says that it took too long, or died."""
        way_out = "Keep the layer that the runtime cannot take in floating point ('ignored_scopes'), or choose another format."
        try:
            return self.answer(seconds, command, *arguments)
        except TimeoutError:
            raise ExportError(
                f"'{path}' has kept its runtime busy for {seconds:g} s ({_DOING[command]}), and was given up. {way_out}"
            ) from None
        except EndedProcessError as ended:
            raise ExportError(f"'{path}' has ended its runtime ({_DOING[command]}): {ended}. {way_out}") from None

    def answer(self, seconds: float, command: str, *arguments: Any) -> Any:
        """Return what the process answers.

        Raises:
            TimeoutError: it took too long, and was ended.
            EndedProcessError: it died.
        """
        with self._lock:
            process = self._started()
            try:
                worker.send(process.stdin, (command, *arguments))  # type: ignore[arg-type]
                answer = worker.receive(_Limited(process.stdout, time.monotonic() + seconds))  # type: ignore[arg-type]
            except TimeoutError:
                self.close()
                raise
            except (EOFError, BrokenPipeError):
                reason = self._last_words(process)
                self.close()
                raise EndedProcessError(reason) from None
            except BaseException:  # as an interrupt: the answer that comes belongs to no later request
                self.close()
                raise
        if answer[0] == "done":
            return answer[1]
        kind, reason = answer[1:]
        known = {"ExportError": ExportError, "MissingRuntime": MissingRuntime}
        raise known[kind](reason) if kind in known else RuntimeError(f"{kind}: {reason}")

    def start(self) -> None:
        """Start the process, if there is none, without waiting until it is ready."""
        with self._lock:
            self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            path = [entry for entry in sys.path if entry not in ("", os.getcwd())]
            start = _START.format(path=path, packages=packages(), module=self._module)
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
            self._process = subprocess.Popen(
                [sys.executable, "-c", start], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
            )
        return self._process

    def _last_words(self, process: subprocess.Popen[bytes]) -> str:
        """Return how a process has ended, and the end of what it wrote to standard error."""
        try:
            code = process.wait(10)
        except subprocess.TimeoutExpired:
            code = 0
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        self._errors.seek(0)
        written = self._errors.read().decode(errors="replace").strip().splitlines()
        return "\n".join([how, *[line for line in written if not _NOTE.match(line)][-5:]])

    def close(self) -> None:
        """End the process."""
        self.loaded = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout, self._errors):
                with contextlib.suppress(BrokenPipeError):
                    stream.close()  # type: ignore[union-attr]
            self._process = None


_DOING = {
    "stored_weights": "reading",
    "load": "compiling",
    "run": "running",
    "tensors": "running",
    "call": "running",
}


class _Limited:
    """The output of a process, to be read until a moment."""

    def __init__(self, stream: Any, until: float):
        self._stream, self._until = stream, until

    def read(self, size: int) -> bytes:
        parts, missing = [], size
        while missing:
            left = self._until - time.monotonic()
            if left <= 0 or not select.select([self._stream], [], [], left)[0]:
                raise TimeoutError
            part = os.read(self._stream.fileno(), min(missing, 1 << 20))
            if not part:
                break
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


_RUNTIMES: dict[tuple[int, str], IsolatedRuntime] = {}
_STARTING = threading.Lock()


def runtime_of(module: str) -> IsolatedRuntime:
    """Return the process of a runtime; a forked process has one of its own."""
    with _STARTING:
        return _RUNTIMES.setdefault((os.getpid(), module), IsolatedRuntime(module))


@atexit.register
def _close() -> None:
    for (owner, _), runtime in _RUNTIMES.items():
        if owner == os.getpid():
            runtime.close()
