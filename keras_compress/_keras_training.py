"""The private names of Keras that concern a running ``fit``: where it starts, what it has trained, its data and random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context

from keras_compress._keras import RandomGenerator, flat_layers, innermost_optimizer, keras

__all__ = [
    "data_functions",
    "fresh_iterator",
    "global_seed",
    "is_restarted",
    "is_spread",
    "keeps_first_reading",
    "learning_rate_variable",
    "load_random_states",
    "metric_logs",
    "metric_variables",
    "not_in_checkpoints",
    "optimizer_name",
    "random_states",
    "shuffling_seeds",
    "start_fit_at",
    "store_random_numbers",
    "trained_batches",
    "training_operations",
    "watch_training",
]


def trained_batches(model: Any) -> int:
    """Return how many batches the running ``fit`` has trained, whatever its callbacks have been told so far."""
    return int(model._train_counter.numpy())


class _Watched:
    """Stands in for the function that trains batches, as Keras made it, until something else was called before it, once."""

    def __init__(self, model: Any, function: Callable, trains: Callable[[], None]):
        self._model = model
        self.function = function
        self._trains: Callable[[], None] | None = trains

    def __call__(self, *arguments: Any) -> Any:
        trains, self._trains = self._trains, None
        if trains is not None:
            trains()
        if self._model.train_function is self:
            self._model.train_function = self.function
        return self.function(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)


def watch_training(model: Any, begins: Callable[[], None], trains: Callable[[], None]) -> None:
    """Be told when a ``fit`` or ``train_on_batch`` begins, and before it trains its first batch.

    This one object is watched: its class, copies, files and pickles know nothing of it.

    Args:
        model: the object.
        begins: called before the callbacks of ``fit`` hear of anything.
        trains: called after they heard of the first batch, before it is trained.
    """
    make = model.make_train_function

    def make_train_function(force: bool = False) -> Any:
        if force:  # in the middle of a fit
            return make(True)
        begins()
        function = make()
        return _Watched(model, function.function if isinstance(function, _Watched) else function, trains)

    model.__dict__["make_train_function"] = make_train_function


class _Start:
    """What Keras asks where ``fit`` starts."""

    def __init__(self, model: Any, where: Callable[[int], tuple[int, int]]):
        self._model = model
        self._where = where

    def maybe_load_initial_counters_from_ckpt(self, steps_per_epoch, initial_epoch, mode) -> tuple[int, int]:
        self._model._training_state = None
        return self._where(initial_epoch)


def start_fit_at(model: Any, where: Callable[[int], tuple[int, int]]) -> None:
    """Let a ``fit`` whose callbacks are just told that it begins start elsewhere.

    Args:
        model: the model that is trained.
        where: called with ``initial_epoch``; returns the epoch and the batch in it to start at.
    """
    model._training_state = _Start(model, where)


def optimizer_name(model: Any) -> str | None:
    """Return the name of a model's optimizer that updates the weights; None without one."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return None
    optimizer = innermost_optimizer(optimizer)
    return "legacy." * isinstance(optimizer, keras.optimizers.legacy.Optimizer) + type(optimizer).__name__


def learning_rate_variable(model: Any) -> tf.Variable | None:
    """Return the variable that holds a model's learning rate; None where a schedule computes it, or without an optimizer."""
    optimizer = getattr(model, "optimizer", None)
    rate = None if optimizer is None else getattr(innermost_optimizer(optimizer), "learning_rate", None)
    return rate if isinstance(rate, tf.Variable) else None


@contextmanager
def not_in_checkpoints(model: Any, attribute: str) -> Iterator[None]:
    """Leave an attribute of a model out of what checkpoints read and write."""
    value = getattr(model, attribute)
    try:
        model._delete_tracking(attribute)
        yield
    finally:
        model._track_trackable(value, attribute, overwrite=True)


def metric_variables(model: Any) -> list[tf.Variable]:
    """Return the variables of all metrics of a model, the mean loss among them, in a fixed order."""
    return [variable for metric in model.metrics for variable in metric.variables]


def metric_logs(model: Any) -> dict[str, Any]:
    """Return what a step of training returns: the present values of the metrics."""
    return model.get_metrics_result()


def global_seed() -> int | None:
    """Return the seed that ``tf.random.set_seed`` has set, None without one."""
    return context.global_seed()


#: Attributes of layers that say how much of their result is drawn at random.
_AMOUNTS = ("rate", "dropout", "recurrent_dropout", "stddev")


class _StoredRandomNumbers(RandomGenerator):
    """Draws random numbers from a generator whose state is a variable.

    A layer's own draws by operations that count in secret: nothing can bring that count back. In the configuration of the
    layer nothing changes.
    """

    def __init__(self, seed: int):
        super().__init__(seed, rng_type=self.RNG_LEGACY_STATEFUL)
        self._drawing = RandomGenerator(seed, rng_type=self.RNG_STATEFUL)
        self._drawing._maybe_init()
        self._generator = self._drawing._generator
        self._built = True
        self.random_normal = self._drawing.random_normal
        self.random_uniform = self._drawing.random_uniform
        self.truncated_normal = self._drawing.truncated_normal
        self.dropout = self._drawing.dropout
        self.make_seed_for_stateless_op = self._drawing.make_seed_for_stateless_op


def _drawing_layers(model: Any) -> list[Any]:
    """Return the layers of Keras that draw random numbers: a recurrent layer without dropout does not, though it could."""
    able = [
        layer for layer in flat_layers(model) if isinstance(getattr(layer, "_random_generator", None), RandomGenerator)
    ]
    amounts = [[getattr(layer, name) for name in _AMOUNTS if hasattr(layer, name)] for layer in able]
    return [layer for layer, amount in zip(able, amounts, strict=True) if not amount or any(amount)]


def store_random_numbers(model: Any) -> None:
    """Let every layer of Keras that draws random numbers, as dropout, draw them from a generator with a state.

    Equal global seeds give equal numbers: the seed of a layer's generator is made of the global one and of the layer's own,
    or of its place in the model. Without a global seed and one of its own, a layer starts anywhere.
    """
    for index, layer in enumerate(_drawing_layers(model)):
        numbers = layer._random_generator
        if type(numbers) is not RandomGenerator or numbers._rng_type != RandomGenerator.RNG_LEGACY_STATEFUL:
            continue
        own = numbers._seed if isinstance(numbers._seed, int) else None
        parts = (global_seed() or 0, index if own is None else own)
        known = own is not None or global_seed() is not None
        sequence = np.random.SeedSequence([abs(part) for part in parts]) if known else np.random.SeedSequence()
        seed = int(sequence.generate_state(1)[0])
        vars(layer)["_random_generator"] = _StoredRandomNumbers(seed)  # not tracked, as the one it had


def _generators(model: Any) -> Iterator[Any]:
    for layer in _drawing_layers(model):
        found = getattr(layer._random_generator, "_generator", None)
        if isinstance(found, tf.random.Generator):
            yield found


def _parts(generator: tf.random.Generator) -> Sequence[tf.Variable]:
    return getattr(generator.state, "values", [generator.state])


def random_states(model: Any) -> list[list[list[int]]]:
    """Return the states of the generators of Keras' layers that draw random numbers, one per replica."""
    return [[part.numpy().tolist() for part in _parts(generator)] for generator in _generators(model)]


def load_random_states(model: Any, states: Sequence[Sequence[Sequence[int]]]) -> bool:
    """Put back what :func:`random_states` returned; return False, and change nothing, where it does not fit."""
    present = [_parts(generator) for generator in _generators(model)]
    try:
        arrays = [[np.array(part, np.int64) for part in state] for state in states]
    except (OverflowError, TypeError, ValueError):
        return False
    shapes = [[tuple(part.shape) for part in parts] for parts in present]
    if shapes != [[part.shape for part in state] for state in arrays]:
        return False
    for parts, state in zip(present, arrays, strict=True):
        for variable, value in zip(parts, state, strict=True):
            variable.assign(value)
    return True


def _dataset(iterator: Any) -> tf.data.Dataset | None:
    return getattr(iterator, "_dataset", None)


def is_restarted(iterator: Any, steps: int | None) -> bool:
    """Whether ``fit`` reads its data from the start in each epoch, as it does with a ``Dataset`` of as many batches.

    Args:
        iterator: what ``fit`` reads.
        steps: batches of an epoch, as ``fit`` knows them at its start.
    """
    if steps is None:
        return True
    dataset = _dataset(iterator)
    size = getattr(iterator, "_cardinality", None) if dataset is None else dataset.cardinality()
    return size is not None and int(size) == steps


def fresh_iterator(iterator: Any) -> Any:
    """Return a new iterator over the data of another one, which draws a new order where the data are shuffled.

    What is spread over several devices is not started again: the iterator itself comes back.
    """
    dataset = _dataset(iterator)
    return iterator if dataset is None else iter(dataset)


def is_spread(iterator: Any) -> bool:
    """Whether the data of an iterator are spread over several devices."""
    return _dataset(iterator) is None


def _datasets(iterator: Any) -> list[Any]:
    found: list[Any] = []
    waiting = [one for part in getattr(iterator, "_iterators", [iterator]) if (one := _dataset(part)) is not None]
    while waiting:
        found.append(waiting.pop())
        waiting += found[-1]._inputs()
    return found


def keeps_first_reading(iterator: Any) -> bool:
    """Whether the data of an iterator go through ``Dataset.cache``: later epochs get what the first one has read."""
    from tensorflow.python.data.ops.cache_op import CacheDataset  # TensorFlow loads it with the first such data

    return any(isinstance(data, CacheDataset) for data in _datasets(iterator))


def shuffling_seeds(iterator: Any) -> list[tuple[int, int]]:
    """Return the two seeds of each ``Dataset.shuffle`` in the data, both 0 where nothing decides the order."""
    shuffled = [data for data in _datasets(iterator) if hasattr(data, "_seed") and hasattr(data, "_seed2")]
    return [(int(data._seed), int(data._seed2)) for data in shuffled]


def data_functions(iterator: Any) -> list[Any]:
    """Return the graphs of all functions that make the data, as those of ``Dataset.map``."""
    return [function.function.graph for data in _datasets(iterator) for function in data._functions()]


def training_operations(model: Any, iterator: Any) -> list[Any]:
    """Return the operations of a training step, those inside loops too, as nodes with a name and a kind.

    None come back where the step runs eagerly.
    """
    function = getattr(model, "train_tf_function", None)
    if function is None or model.run_eagerly or model._cluster_coordinator is not None:
        return []
    graph = function.get_concrete_function(iterator).graph.as_graph_def()
    return [*graph.node, *(node for inner in graph.library.function for node in inner.node_def)]
