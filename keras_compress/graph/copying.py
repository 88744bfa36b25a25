"""Copy live layers with everything they hold: their variables, the layers inside them, and the state in plain attributes.

A layer of the user's may draw numbers when it is made, or forget an argument in ``get_config``. A copy has what the layer
has now, whatever its class does. Nothing of the copy computes with variables of the original.
"""

from __future__ import annotations

import copy
import functools
import inspect
import types
import weakref
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_compress._keras import (
    GraphFunction,
    has_graph,
    is_graph_model,
    keras,
    own_attribute_names,
    variable_like,
    with_python_function,
)
from keras_compress.errors import UnsupportedModelError
from keras_compress.graph.variables import held_things, named_variables, submodules
from keras_compress.layers import CompressedLayer

__all__ = ["LiveCopy", "copy_own_attributes"]

#: What a model makes when it is compiled or called; the copy makes its own.
_MADE_LATER = ("train_function", "test_function", "predict_function", "train_tf_function", "history", "_checkpoint")

#: What a metric binds to itself when it is made.
_BOUND_WHEN_MADE = ("update_state", "result")
_FUNCTIONS = (types.FunctionType, types.MethodType)


class LiveCopy:
    """Copies of live objects that know of each other: what two of them hold is copied once.

    Args:
        rebuild: returns a copy of a graph of layers, weights included.
    """

    def __init__(self, rebuild: Callable[[keras.Model], keras.Model]):
        self._rebuild = rebuild
        self._copies: dict[int, Any] = {}  # by the identity of the original, as copy.deepcopy takes it
        self._entered: set[int] = set()  # functions on the way to one they read
        self._originals: list[Any] = []  # kept alive, or another object could get the same identity

    def of_layer(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        """Return a copy of a layer that does not belong to any graph.

        Raises:
            UnsupportedModelError: the layer cannot be copied without losing or sharing a variable.
        """
        made = self.of_value(layer)
        _require_same_variables(layer, made)
        return made

    def relate(self, original: keras.Model, made: keras.Model) -> None:
        """Take a graph of layers as the copy of another: layers of the same names, whatever was put between or around them."""
        self._note(original, made)
        own = {layer.name: layer for layer in made.layers}
        for layer in original.layers:
            if layer.name in own:
                graphs = is_graph_model(layer) and is_graph_model(own[layer.name])
                (self.relate if graphs else self._relate_layers)(layer, own[layer.name])

    def _relate_layers(self, original: keras.layers.Layer, made: keras.layers.Layer) -> None:
        """Take a layer, and what is inside it in the same places, as the copy of another."""
        self._note(original, made)
        inner = made.layer if isinstance(made, CompressedLayer) else made
        old, new = submodules(original)[1:], submodules(inner)[1:]
        if type(inner) is not type(original) or [type(module) for module in old] != [type(module) for module in new]:
            return
        for module, copied in zip(old, new, strict=True):
            self._note(module, copied)
        variables = named_variables(inner)
        for name, variable in named_variables(original).items():
            if name in variables:
                self._note(variable, variables[name])

    def of_value(self, value: Any) -> Any:
        """Return a copy of whatever an attribute holds; what cannot be copied is returned itself."""
        modules = [inner for _, held in held_things(value, "", tf.Module) for inner in submodules(held)]
        modules = [module for module in modules if not isinstance(module, tf.Variable)]
        for module in modules:
            if has_graph(module) and id(module) not in self._copies:
                self.relate(module, self._rebuild(module))
        fresh = [module for module in modules if id(module) not in self._copies]
        for module in fresh:
            self._note(module, _shell(module))
        for _, variable in held_things(value, "", tf.Variable):
            self._note_variable(variable)
        for module in fresh:
            self._note_parts(module)
        for module in fresh:
            self._fill(module)
        return self._copied(value)

    def _note(self, original: Any, made: Any) -> None:
        self._copies.setdefault(id(original), made)
        self._originals.append(original)

    def _note_variable(self, variable: tf.Variable) -> None:
        if id(variable) not in self._copies:
            self._note(variable, variable_like(variable))

    def _note_parts(self, module: Any) -> None:
        """Note what :func:`copy.deepcopy` would share or copy in a wrong way: variables, places in a graph, functions."""
        if isinstance(module, keras.layers.Layer):
            for nodes in (module._inbound_nodes, module._outbound_nodes):
                self._note(nodes, [])
            for variable in module._trainable_weights + module._non_trainable_weights:
                if isinstance(variable, tf.Variable):
                    self._note_variable(variable)
        for name, value in vars(module).items():
            for _, variable in held_things(value, name, tf.Variable):
                self._note_variable(variable)
        for value in vars(module).values():
            self._note_functions(value)
        strategy = vars(module).get("_distribute_strategy")
        if strategy is not None:
            self._note(strategy, strategy)

    def _note_functions(self, value: Any) -> None:
        for _, function in held_things(value, "", (*_FUNCTIONS, functools.partial, GraphFunction)):
            if isinstance(function, GraphFunction):
                rebound = self._rebound(function.python_function)
                if rebound is not function.python_function:
                    self._note(function, with_python_function(function, rebound))
            elif isinstance(function, functools.partial):
                self._note_functions([function.func, function.args, function.keywords])
            else:
                rebound = self._rebound(function)
                if rebound is not function:
                    self._note(function, rebound)

    def _rebound(self, value: Any) -> Any:
        """Return a function that reads the copies where it reads a layer or a variable from around its definition."""
        if id(value) in self._copies:
            return self._copies[id(value)]
        if isinstance(value, types.MethodType):
            function, owner = self._rebound(value.__func__), self._rebound(value.__self__)
            same = function is value.__func__ and owner is value.__self__
            return value if same else types.MethodType(function, owner)
        if not isinstance(value, types.FunctionType) or id(value) in self._entered:
            return value
        before = [(cell, _content(cell)) for cell in value.__closure__ or ()]
        after = [(cell, content, self._rebound_inside(value, content)) for cell, content in before]
        if all(content is made for _, content, made in after):
            return value
        closure = tuple(cell if content is made else types.CellType(made) for cell, content, made in after)
        made = types.FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__, closure)
        made.__kwdefaults__ = value.__kwdefaults__
        made.__dict__.update({name: self._rebound_inside(value, held) for name, held in vars(value).items()})
        return made

    def _rebound_inside(self, function: types.FunctionType, content: Any) -> Any:
        """Return what a function reads, rebound; a function that reads itself is not walked again."""
        self._entered.add(id(function))
        try:
            return self._rebound(content)
        finally:
            self._entered.discard(id(function))

    def _fill(self, module: Any) -> None:
        """Give a shell copies of the attributes of its original."""
        made = self._copies[id(module)]
        state = {name: self._copied(value) for name, value in _state(module).items()}
        if isinstance(module, keras.metrics.Metric):
            state.update({name: vars(made)[name] for name in _BOUND_WHEN_MADE if name in vars(made)})
        if isinstance(module, keras.Model):
            state.update({name: None for name in _MADE_LATER if name in state})
        if isinstance(module, keras.layers.Layer):
            made.__setstate__(state)
        else:
            object.__setattr__(made, "__dict__", state)
        if isinstance(module, keras.Model):
            object.__setattr__(made, "_checkpoint", tf.train.Checkpoint(root=weakref.ref(made)))

    def _copied(self, value: Any) -> Any:
        if inspect.ismethod(value) and id(value.__self__) not in self._copies and isinstance(value.__self__, tf.Module):
            return value  # of a layer or model elsewhere
        known = dict(self._copies)
        try:
            return copy.deepcopy(value, self._copies)
        except Exception:  # a lock, a file, a generator: whatever it raises, it is shared
            self._copies.clear()  # of what was copied in part
            self._copies.update(known)
            return value


def copy_own_attributes(original: keras.Model, made: keras.Model, copies: LiveCopy) -> None:
    """Give a model of the same graph and class copies of the attributes that are not Keras' own."""
    copies.relate(original, made)
    keras_names = own_attribute_names()
    for name, value in vars(original).items():
        if name not in vars(made) and name not in _MADE_LATER and not (name.startswith("_") and name in keras_names):
            setattr(made, name, _as_given(copies.of_value(value)))


def _as_given(value: Any) -> Any:
    """Return a list or dict without the wrapper that Keras puts around one when it becomes an attribute."""
    if isinstance(value, (list, dict)) and type(value) not in (list, dict) and hasattr(value, "_trainable"):
        return dict(value) if isinstance(value, dict) else list(value)
    return value


def _state(module: Any) -> dict[str, Any]:
    state = module.__getstate__() if isinstance(module, keras.layers.Layer) else dict(vars(module))
    hooked: Any = state.get("call")
    if hasattr(hooked, "own_call"):  # another thread looks at what the layer computes; that is not part of it
        state = {name: value for name, value in state.items() if name != "call"}
        state.update({} if hooked.own_call is None else {"call": hooked.own_call})
    return state


def _shell(module: Any) -> Any:
    """Return an object of the same class, with the attributes of the original until it gets its own."""
    if isinstance(module, keras.metrics.Metric):
        made = module.__class__.__new__(module.__class__)
        bound = {name: vars(made)[name] for name in _BOUND_WHEN_MADE if name in vars(made)}
    else:
        made, bound = object.__new__(type(module)), {}
    object.__setattr__(made, "__dict__", {**vars(module), **bound})
    return made


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty, as of a name that is not assigned yet
        return None


def _require_same_variables(layer: keras.layers.Layer, made: keras.layers.Layer) -> None:
    """Raise an UnsupportedModelError unless a copy has as many variables as its original, and none of them."""
    originals, copies = ([item for item in holder.weights if isinstance(item, tf.Variable)] for holder in (layer, made))
    shared = {id(variable) for variable in originals} & {id(variable) for variable in copies}
    if shared or len(originals) != len(copies):
        names = [variable.name for variable in originals if id(variable) in shared] or [v.name for v in originals]
        raise UnsupportedModelError(
            f"Layer '{layer.name}' of class {type(layer).__name__} cannot be copied with its variables {names[:4]}: "
            f"{'they would be shared with the original' if shared else 'some would be lost'}. Expected: variables and layers as "
            f"attributes, or in lists, tuples and dicts. Received: {len(copies)} variables in the copy of {len(originals)}. Keep "
            "them in attributes of the layer."
        )
