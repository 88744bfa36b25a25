"""Functions of a live layer that read layers and variables from around their definition, made to read copies of them.

A function reads through its closure, its defaults, its attributes, what it is bound to, and through other functions,
lists, tuples, dicts, sets and small objects on the way. Python's :func:`copy.deepcopy` returns a function itself, so
the copies of functions are noted for it first. What a function reads from the globals of its module stays as it is.
"""

from __future__ import annotations

import functools
import types
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from keras_compress._keras import GraphFunction, parts_of_binding, with_python_function

__all__ = ["Rebinding", "is_small_object", "read_by_functions"]

_FUNCTIONS = (types.FunctionType, types.MethodType, types.CellType, functools.partial, GraphFunction)
_PLAIN = frozenset((type(None), bool, int, float, str, bytes))
_CONTAINERS = (list, tuple, dict, set, frozenset)
#: Packages whose own objects hold nothing of the user's.
_LIBRARIES = ("tensorflow", "tf_keras", "keras", "numpy", "builtins")


class Rebinding:
    """Makes functions that read the copies of what is known to be copied.

    Args:
        copies: the copies that are known, by the identity of the original, as :func:`copy.deepcopy` takes them.
        note: takes a thing and its copy, and puts them among ``copies``.
        copied: returns a copy of a thing, in which what is among ``copies`` is replaced.
    """

    def __init__(self, copies: dict[int, Any], note: Callable[[Any, Any], None], copied: Callable[[Any], Any]):
        self._copies = copies
        self._note = note
        self._copied = copied

    def note_functions(self, values: Sequence[Any]) -> None:
        """Note a copy of each function that some values are or hold, if it reads something that is copied.

        All are made before one is filled: functions may read each other, and themselves.
        """
        reading = self._reading(values)
        functions = [thing for thing in reading.values() if isinstance(thing, types.FunctionType)]
        cells = [thing for thing in reading.values() if isinstance(thing, types.CellType)]
        for cell in cells:
            self._note(cell, types.CellType())
        for function in functions:
            self._note(function, self._unfilled(function))
        for reference in reading.values():
            if isinstance(reference, weakref.ref) and id(reference()) in self._copies:
                self._note(reference, weakref.ref(self._copies[id(reference())]))
        traced = [thing for thing in reading.values() if isinstance(thing, GraphFunction)]
        for function in sorted(traced, key=lambda one: not isinstance(one.python_function, types.FunctionType)):
            self._note(function, with_python_function(function, self._copied(function.python_function)))
        for cell in cells:
            self._copies[id(cell)].cell_contents = self._copied(cell.cell_contents)
        for function in functions:
            self._fill(function, reading)

    def reads_copied(self, value: Any) -> bool:
        """Whether a value leads to a thing with a copy."""
        return id(value) in self._reading([value])

    def originals_read(self, values: Sequence[Any]) -> list[Any]:
        """Return the layers, modules and variables among the originals that some values of a copy hold or read."""
        made = {id(thing) for thing in self._copies.values()}
        return [
            thing
            for thing, _ in _reached(values, self._is_copied)
            if isinstance(thing, (tf.Module, tf.Variable)) and id(thing) in self._copies and id(thing) not in made
        ]

    def _is_copied(self, thing: Any) -> bool:
        return id(thing) in self._copies

    def _reading(self, values: Sequence[Any]) -> dict[int, Any]:
        """Return, by identity, what some values hold that leads to a thing with a copy and has none itself."""
        readers: dict[int, list[Any]] = defaultdict(list)
        waiting = []
        for thing, parts in _reached(values, self._is_copied):
            if self._is_copied(thing):
                waiting.append(thing)
            for part in parts:
                readers[id(part)].append(thing)
        found: dict[int, Any] = {}
        while waiting:
            for reader in readers[id(waiting.pop())]:
                if id(reader) not in found:
                    found[id(reader)] = reader
                    waiting.append(reader)
        return found

    def _unfilled(self, function: types.FunctionType) -> types.FunctionType:
        """Return a copy of a function with the copies of its cells, which may be empty yet."""
        cells = tuple(self._copies.get(id(cell), cell) for cell in function.__closure__ or ())
        made = types.FunctionType(function.__code__, function.__globals__, function.__name__, None, cells)
        made.__qualname__, made.__doc__, made.__module__ = function.__qualname__, function.__doc__, function.__module__
        made.__annotations__ = function.__annotations__
        return made

    def _fill(self, function: types.FunctionType, reading: dict[int, Any]) -> None:
        """Give a copy of a function its defaults and attributes."""

        def rebound(held: Any) -> Any:
            return self._copied(held) if id(held) in reading or id(held) in self._copies else held

        made = self._copies[id(function)]
        defaults, named = function.__defaults__, function.__kwdefaults__
        made.__defaults__ = defaults and tuple(map(rebound, defaults))
        made.__kwdefaults__ = named and {name: rebound(held) for name, held in named.items()}
        made.__dict__.update({name: rebound(held) for name, held in vars(function).items()})


def read_by_functions(values: Sequence[Any]) -> list[Any]:
    """Return the layers, modules and variables that functions read which some values are or hold.

    What an object of the user's holds counts as held, not as read by its methods.
    """
    found: dict[int, Any] = {}
    for thing, parts in _reached(values, is_small_object):
        if isinstance(thing, _FUNCTIONS):
            found.update((id(part), part) for part in parts)
    reached = (thing for thing, _ in _reached(list(found.values()), is_small_object)) if found else ()
    return [thing for thing in reached if isinstance(thing, (tf.Module, tf.Variable))]


def _reached(values: Sequence[Any], ends: Callable[[Any], bool]) -> Iterator[tuple[Any, list[Any]]]:
    """Yield what some values are, hold, read or are bound to, each once, with its parts; where it ends, with none."""
    waiting, seen = list(values), {id(value): value for value in values}
    while waiting:
        thing = waiting.pop()
        parts = [] if type(thing) in _PLAIN or ends(thing) else _parts(thing)
        yield thing, parts
        waiting += (fresh := {id(part): part for part in parts if id(part) not in seen}).values()
        seen |= fresh


def _parts(thing: Any) -> list[Any]:
    """Return what a thing holds, reads or is bound to directly; layers, modules and variables count as one thing."""
    if isinstance(thing, types.FunctionType):
        read = [thing.__closure__ or (), thing.__defaults__ or (), (thing.__kwdefaults__ or {}).values()]
        return [part for parts in (*read, vars(thing).values()) for part in parts]
    if isinstance(thing, types.CellType):
        try:
            return [thing.cell_contents]
        except ValueError:  # empty, as of a name that is not assigned yet
            return []
    if isinstance(thing, types.MethodType):
        return [thing.__func__, thing.__self__]
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values(), *vars(thing).values()]
    if isinstance(thing, GraphFunction):
        return [thing.python_function]
    if isinstance(thing, weakref.ref):
        return [thing()]
    if isinstance(thing, _CONTAINERS):
        return list(thing.values() if isinstance(thing, dict) else thing)
    return list(vars(thing).values()) if is_small_object(thing) else parts_of_binding(thing)


def is_small_object(thing: Any) -> bool:
    """Whether a thing is an object of a class of the user's that is no layer, no module and no variable."""
    if type(thing).__module__.partition(".")[0] in _LIBRARIES or not hasattr(thing, "__dict__"):
        return False
    return not isinstance(thing, (tf.Module, tf.Variable, types.ModuleType, type, *_FUNCTIONS))
