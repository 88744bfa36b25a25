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
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from keras_compress._keras import (
    PreprocessingLayer,
    has_graph,
    is_graph_model,
    keras,
    own_attribute_names,
    set_policy,
    variable_like,
)
from keras_compress.errors import UnsupportedModelError
from keras_compress.graph.rebinding import Rebinding, is_small_object
from keras_compress.graph.variables import held_things, named_variables, sublayers, submodules
from keras_compress.layers import CompressedLayer

__all__ = ["NOT_COPIED", "LiveCopy", "copy_own_attributes"]

#: What the names of attributes begin with that belong to one live model and to no copy of it.
NOT_COPIED = "_keras_compress_"

#: What a model makes when it is compiled or called; the copy makes its own.
_MADE_LATER = ("train_function", "test_function", "predict_function", "train_tf_function", "history", "_checkpoint")

#: What a metric binds to itself when it is made.
_BOUND_WHEN_MADE = ("update_state", "result")


class LiveCopy:
    """Copies of live objects that know of each other: what two of them hold is copied once.

    Args:
        rebuild: returns a copy of a graph of layers, weights included.
    """

    def __init__(self, rebuild: Callable[[keras.Model], keras.Model]):
        self._rebuild = rebuild
        self._copies: dict[int, Any] = {}  # by the identity of the original, as copy.deepcopy takes it
        self._originals: list[Any] = []  # kept alive, or another object could get the same identity
        self._functions = Rebinding(self._copies, self._note, self._copied)

    def of_layer(self, layer: keras.layers.Layer, policies: Mapping[int, Any] | None = None) -> keras.layers.Layer:
        """Return a copy of a layer that does not belong to any graph.

        Args:
            layer: the layer.
            policies: by the identity of a layer inside it, or of itself, the precision that the copy of that is given.

        Raises:
            UnsupportedModelError: the layer cannot be copied without losing or sharing a variable.
        """
        policies = policies or {}
        changed = [inner for inner in sublayers(layer) if id(inner) in policies] if policies else []
        for inner in changed:
            self._note_variables_in(inner, keras.mixed_precision.Policy(_policy_name(policies[id(inner)])))
        made = self.of_value(layer)
        for inner in changed:
            set_policy(self._copies[id(inner)], policies[id(inner)])
        self._require_own_variables(layer, made)
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
        return self.of_values([value])[0]

    def of_values(self, values: Sequence[Any]) -> list[Any]:
        """Return copies of what several attributes hold, in whatever order they are: one may read what another holds."""
        held = list(values)
        modules = [inner for _, module in held_things(held, "", tf.Module) for inner in submodules(module)]
        for module in modules:
            if has_graph(module) and id(module) not in self._copies:
                self.relate(module, self._rebuild(module))
        fresh = list({id(module): module for module in modules if id(module) not in self._copies}.values())
        for module in fresh:
            self._note(module, _shell(module))
        for _, variable in held_things(held, "", tf.Variable):
            self._note_variable(variable)
        for module in fresh:
            self._note_parts(module)
        attributes = [value for module in fresh for value in _attributes(module).values()]
        self._functions.note_functions([*attributes, *held])  # when all that they may read is known
        for module in fresh:
            self._fill(module)
        return [self._copied(value) for value in held]

    def _note(self, original: Any, made: Any) -> None:
        self._copies.setdefault(id(original), made)
        self._originals.append(original)

    def _note_variable(self, variable: tf.Variable) -> None:
        if id(variable) not in self._copies:
            self._note(variable, variable_like(variable))

    def _note_variables_in(self, layer: keras.layers.Layer, policy: Any) -> None:
        """Note copies of the variables of a layer for another precision, which may keep or read them in another type."""
        before = layer.dtype_policy.variable_dtype
        for variable in [*layer._trainable_weights, *layer._non_trainable_weights]:
            if isinstance(variable, tf.Variable) and variable.dtype == before and variable.dtype.is_floating:
                self._note(variable, variable_like(variable, policy))

    def _note_parts(self, module: Any) -> None:
        """Note what :func:`copy.deepcopy` would share or copy in a wrong way: variables and places in a graph."""
        if isinstance(module, keras.layers.Layer):
            for nodes in (module._inbound_nodes, module._outbound_nodes):
                self._note(nodes, [])
            for variable in module._trainable_weights + module._non_trainable_weights:
                if isinstance(variable, tf.Variable):
                    self._note_variable(variable)
        for name, value in _attributes(module).items():
            for _, variable in held_things(value, name, tf.Variable):
                self._note_variable(variable)
        strategy = vars(module).get("_distribute_strategy")
        if strategy is not None:
            self._note(strategy, strategy)

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
        known = len(self._copies)
        try:
            return copy.deepcopy(value, self._copies)
        except Exception:  # a lock, a file, a generator: whatever it raises, it is shared
            while len(self._copies) > known:  # what was copied in part came last
                self._copies.popitem()
            return self._copied_in_part(value)

    def _copied_in_part(self, value: Any) -> Any:
        """Return a thing that reads copies where it reads layers and variables, and shares what cannot be copied in it."""
        if not self._functions.reads_copied(value):
            return value
        if isinstance(value, types.MethodType):
            return types.MethodType(value.__func__, self._copied(value.__self__))
        if type(value) is functools.partial:
            keywords = {name: self._copied(held) for name, held in value.keywords.items()}
            return functools.partial(self._copied(value.func), *map(self._copied, value.args), **keywords)
        given = _as_given(value)
        if type(given) is tuple:
            return _tracked_as(value, tuple(map(self._copied, given)))
        made: Any
        if type(given) in (list, dict):
            made = _tracked_as(value, type(given)())
        elif is_small_object(value) and type(value).__new__ is object.__new__:
            made = object.__new__(type(value))
        else:
            return value
        self._note(value, made)  # before what it holds, which may hold it
        if isinstance(value, list):
            made.extend(map(self._copied, value))
        else:
            held = value if isinstance(value, dict) else vars(value)
            (made if isinstance(value, dict) else vars(made)).update({k: self._copied(v) for k, v in held.items()})
        return made

    def _require_own_variables(self, layer: keras.layers.Layer, made: keras.layers.Layer) -> None:
        """Raise an UnsupportedModelError unless a copy has as many variables as its original, and reads none of them."""
        modules = submodules(made)
        originals = _lasting_variables(layer, submodules(layer))
        copies = _lasting_variables(made, modules)
        attributes = [value for module in modules for value in _attributes(module).values()]
        shared = self._functions.originals_read(attributes)
        shared += [variable for variable in originals if any(variable is copied for copied in copies)]
        if not shared and len(originals) == len(copies):
            return
        names = list(dict.fromkeys(thing.name for thing in shared or originals))
        raise UnsupportedModelError(
            f"Layer '{layer.name}' of class {type(layer).__name__} cannot be copied with {names[:4]}: "
            f"{'the copy would read those of the original' if shared else 'the number of variables would change'}. Expected: "
            "variables and layers as attributes, or in lists, tuples and dicts. Received: "
            f"{len(copies)} variables in the copy of {len(originals)}. Keep them in attributes of the layer."
        )


def copy_own_attributes(original: keras.Model, made: keras.Model, copies: LiveCopy) -> None:
    """Give a model of the same graph and class copies of the attributes that are not Keras' own."""
    copies.relate(original, made)
    keras_names = own_attribute_names()
    own = {
        name: value
        for name, value in vars(original).items()
        if name not in vars(made) and not _is_left_out(name) and not (name.startswith("_") and name in keras_names)
    }
    for name, value in zip(own, copies.of_values(list(own.values())), strict=True):
        setattr(made, name, _as_given(value))


def _as_given(value: Any) -> Any:
    """Return a list, tuple or dict without the wrapper that Keras puts around one when it becomes an attribute."""
    if not _is_tracked(value):
        return value
    return next(kind(value) for kind in (list, tuple, dict) if isinstance(value, kind))


def _tracked_as(original: Any, made: Any) -> Any:
    """Return a list, tuple or dict with Keras' wrapper around it if the original has one."""
    return tf.__internal__.tracking.wrap(made) if _is_tracked(original) else made


def _is_tracked(value: Any) -> bool:
    return isinstance(value, tf.__internal__.tracking.TrackableDataStructure) and isinstance(value, (list, tuple, dict))


def _lasting_variables(layer: keras.layers.Layer, modules: Sequence[tf.Module]) -> list[tf.Variable]:
    """Return the variables of a layer without what ``adapt()`` of a preprocessing layer alone needs: that is not made again."""
    adapted = [inner for inner in modules if isinstance(inner, PreprocessingLayer)]
    left_out = {id(variable) for inner in adapted for variable in inner.weights}
    return [v for v in layer.weights if isinstance(v, tf.Variable) and id(v) not in left_out]


def _policy_name(policy: Any) -> str:
    """Return the name of a policy, which may come as Keras describes it."""
    return policy["config"]["name"] if isinstance(policy, dict) else policy


def _is_left_out(name: str) -> bool:
    return name in _MADE_LATER or name.startswith(NOT_COPIED)


def _attributes(module: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if not _is_left_out(name)}


def _state(module: Any) -> dict[str, Any]:
    state = module.__getstate__() if isinstance(module, keras.layers.Layer) else dict(vars(module))
    hooked: Any = state.get("call")
    if hasattr(hooked, "own_call"):  # another thread looks at what the layer computes; that is not part of it
        state = {name: value for name, value in state.items() if name != "call"}
        state.update({} if hooked.own_call is None else {"call": hooked.own_call})
    return {name: value for name, value in state.items() if not name.startswith(NOT_COPIED)}


def _shell(module: Any) -> Any:
    """Return an object of the same class, with the attributes of the original until it gets its own."""
    if isinstance(module, keras.metrics.Metric):
        made = module.__class__.__new__(module.__class__)
        bound = {name: vars(made)[name] for name in _BOUND_WHEN_MADE if name in vars(made)}
    else:
        made, bound = object.__new__(type(module)), {}
    object.__setattr__(made, "__dict__", {**vars(module), **bound})
    return made
