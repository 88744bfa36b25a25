"""What compression has to know about ``tf.distribute``: who the chief is, and how all workers start from the same numbers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

__all__ = ["broadcast_from_chief", "is_chief", "number_of_workers"]


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes checkpoints and logs; a process alone is."""
    return bool(strategy.extended.should_checkpoint)


def number_of_workers(strategy: tf.distribute.Strategy) -> int:
    """Return the number of processes that train together."""
    resolver = getattr(strategy, "cluster_resolver", None)
    cluster = resolver.cluster_spec().as_dict() if resolver is not None else {}
    return max(1, sum(len(cluster.get(job, ())) for job in ("chief", "worker")))


def broadcast_from_chief(strategy: tf.distribute.Strategy, variables: Iterable[tf.Variable]) -> None:
    """Give the variables on every worker the values they have on the chief; does nothing for one worker.

    All workers have to call it with the same variables, for what they measured on their own data differs.
    """
    if number_of_workers(strategy) == 1:
        return
    variables = list(variables)
    values = [variable.numpy() for variable in variables]
    sent = [value if value.dtype.kind == "f" else value.astype(np.int64) for value in values]

    @tf.function
    def send():
        replica = tf.distribute.get_replica_context()
        first = tf.equal(replica.replica_id_in_sync_group, 0)
        own = [tf.where(first, value, tf.zeros_like(value)) for value in sent]
        return [replica.all_reduce(tf.distribute.ReduceOp.SUM, value) for value in own]

    received = strategy.run(send)
    for variable, value, everywhere in zip(variables, values, received, strict=True):
        local = strategy.experimental_local_results(everywhere)[0]
        variable.assign(local.numpy().astype(value.dtype))
