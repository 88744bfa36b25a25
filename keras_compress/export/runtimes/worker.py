"""A process that runs files in one runtime, and imports that runtime and NumPy only.

Requests and answers are pickles with their length before them, on standard input and output; what the runtime itself prints
goes to standard error.
"""

from __future__ import annotations

import importlib
import os
import pickle
import struct
import sys
import traceback
from typing import Any, BinaryIO

__all__ = ["receive", "send", "serve"]

_LENGTH = struct.Struct("<Q")


def send(stream: BinaryIO, value: Any) -> None:
    """Write a value."""
    content = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Read a value; raise an EOFError at the end."""
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        raise EOFError
    return pickle.loads(stream.read(_LENGTH.unpack(length)[0]))


def serve(module: str) -> None:
    """Answer requests until the other side closes the pipe.

    A request is ``("stored_weights", path)``, ``("load", number, path, names, threads)``, ``("load_by_default", number, path,
    names)``, whose answer is the precision or None if that is what ``load`` runs the file in, ``("run", number, arrays)``, which
    runs the file that was loaded last if it was under this number, ``("tensors", path, names, arrays)``, which returns what is
    computed inside of a file, or ``("call", function, *arguments)``, which calls a function of the module. An answer is
    ``("done", value)`` or ``("failed", kind of the error, reason)``.
    """
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    runtime = importlib.import_module(f"keras_compress.export.runtimes.{module}")
    run: Any = None
    loaded: int | None = None
    while True:
        try:
            command, *arguments = receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            value: Any = None
            if command == "stored_weights":
                value = runtime.stored_weights(*arguments)
            elif command == "load":
                run = loaded = None  # the memory of the file before
                run = runtime.load(*arguments[1:])
                loaded = arguments[0]
            elif command == "load_by_default":
                found = getattr(runtime, "load_by_default", lambda *_: None)(*arguments[1:])
                if found is not None:
                    (value, run), loaded = found, arguments[0]
            elif command == "tensors":
                value = runtime.tensors(*arguments)
            elif command == "call":
                value = getattr(runtime, arguments[0])(*arguments[1:])
            elif arguments[0] != loaded:
                raise LookupError("another file has been loaded since")
            else:
                value = run(arguments[1])
            send(answers, ("done", value))
        except Exception as error:
            reason = str(error).strip() or traceback.format_exc(limit=-1)
            send(answers, ("failed", type(error).__name__, reason))
