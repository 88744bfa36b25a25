"""OperatorCall: a function of TensorFlow with all its arguments, tensors in any place among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_compress._keras import in_safe_mode, keras, register
from keras_compress._keras_calls import operator_function
from keras_compress.safe_mode import refuse_function

__all__ = ["OperatorCall"]


@register
class OperatorCall(keras.layers.Layer):
    """Call a function of TensorFlow.

    Keras wraps ``tf.einsum("ab,bc->ac", x, y)`` into a layer whose configuration knows the named arguments of the function
    only, and ``einsum`` and ``meshgrid`` take theirs in ``*args``. Here all are kept.

    Args:
        function: its public name without ``tf.``, as ``"einsum"``.
        arguments: in order. ``{"tensor": 0}`` is the first input of the layer.
        keywords: by name, in the same way.

    Example:
        >>> layer = OperatorCall("einsum", ["ab,cb->ac", {"tensor": 0}, {"tensor": 1}])
        >>> layer([tf.ones((2, 3)), tf.ones((4, 3))]).shape
        TensorShape([2, 4])
    """

    def __init__(self, function: str, arguments: Sequence[Any], keywords: dict[str, Any] | None = None, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.function = function
        self._settings = {"arguments": list(arguments), "keywords": dict(keywords or {})}

    def call(self, inputs: Any) -> Any:
        tensors = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        settings = _filled(_plain(self._settings), tensors)
        return operator_function(self.function)(*settings["arguments"], **settings["keywords"])

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> OperatorCall:
        if in_safe_mode():
            refuse_function(config.get("function"), f"Layer '{config.get('name')}'")
        return cls(**config)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "function": self.function, **_plain(self._settings)}


def _plain(structure: Any) -> Any:
    """Return a structure without the lists and dicts in which Keras wraps attributes."""
    if isinstance(structure, dict):
        return {key: _plain(value) for key, value in structure.items()}
    return [_plain(item) for item in structure] if isinstance(structure, (list, tuple)) else structure


def _filled(structure: Any, tensors: Sequence[tf.Tensor]) -> Any:
    if isinstance(structure, dict):
        if set(structure) == {"tensor"}:
            return tensors[structure["tensor"]]
        return {key: _filled(value, tensors) for key, value in structure.items()}
    return [_filled(item, tensors) for item in structure] if isinstance(structure, list) else structure
