"""The algorithms that configurations know, by their names."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

from keras_compress.algorithms.base import CompressionAlgorithm, OptimizerGuide, RegularizedAlgorithm
from keras_compress.errors import ConfigError, close_matches, short_repr

__all__ = ["algorithm_class", "register_algorithm", "registered_algorithms"]

AlgorithmType = TypeVar("AlgorithmType", bound=type[CompressionAlgorithm])

_ALGORITHMS: dict[str, type[CompressionAlgorithm]] = {}
#: Methods that are called on subclasses of a base alone.
_METHODS = {"loss": RegularizedAlgorithm, "learning_rate": OptimizerGuide, "weight_decay": OptimizerGuide}


def register_algorithm(algorithm: AlgorithmType) -> AlgorithmType:
    """Make an algorithm known to configurations under its ``name``. To be used as a decorator of its class.

    Args:
        algorithm: a subclass of :class:`CompressionAlgorithm` with a ``name`` and a ``plan``.

    Returns:
        The class.

    Raises:
        ConfigError: it is no such class, or another class has the name.

    Example:
        >>> from keras_compress.algorithms import Plan
        >>> @register_algorithm
        ... class Nothing(CompressionAlgorithm):
        ...     name = "nothing"
        ...     def plan(self, graph, context):
        ...         return Plan()
        >>> algorithm_class("nothing", "compression.algorithm") is Nothing
        True
        >>> unregister = _ALGORITHMS.pop("nothing")
    """
    if not (isinstance(algorithm, type) and issubclass(algorithm, CompressionAlgorithm)):
        raise ConfigError(f"Expected: a subclass of CompressionAlgorithm. Received: {short_repr(algorithm)}.")
    named = f"'{algorithm.__module__}.{algorithm.__qualname__}'"
    if not algorithm.name or inspect.isabstract(algorithm):
        raise ConfigError(
            f"The algorithm {named} cannot be registered. Expected: a 'name' and a method 'plan'. "
            f"Received: name={algorithm.name!r}, missing methods {sorted(getattr(algorithm, '__abstractmethods__', ()))}."
        )
    for method, base in _METHODS.items():
        if hasattr(algorithm, method) and not issubclass(algorithm, base):
            raise ConfigError(
                f"The algorithm {named} has a method '{method}', which is called on other bases only. Expected: a subclass of "
                f"{base.__name__}. Derive it from that, or rename the method."
            )
    present = _ALGORITHMS.get(algorithm.name)
    if present is not None and (present.__module__, present.__qualname__) != (
        algorithm.__module__,
        algorithm.__qualname__,
    ):
        raise ConfigError(
            f"Two algorithms have the name '{algorithm.name}': '{present.__module__}.{present.__qualname__}' and {named}. "
            "Give the second another name."
        )
    _ALGORITHMS[algorithm.name] = algorithm
    return algorithm


def registered_algorithms() -> dict[str, type[CompressionAlgorithm]]:
    """Return every algorithm class by its name in a configuration."""
    return dict(_ALGORITHMS)


def algorithm_class(name: Any, path: str) -> type[CompressionAlgorithm]:
    """Return the class of the algorithm called ``name``.

    Raises:
        ConfigError: there is no such algorithm; ``path`` says where it was asked for.
    """
    if isinstance(name, str) and name in _ALGORITHMS:
        return _ALGORITHMS[name]
    close = close_matches(short_repr(name), _ALGORITHMS, 1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    raise ConfigError(
        f"Unknown algorithm at '{path}'.{hint} Allowed: {', '.join(sorted(_ALGORITHMS))}. Received: {short_repr(name)}. An "
        "algorithm of another package is registered with kc.register_algorithm when its module is imported."
    )
