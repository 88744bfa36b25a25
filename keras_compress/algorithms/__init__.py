"""Why and when: one file is one technique. Every file of this folder is imported, so that a new one is found by itself."""

import importlib
import pkgutil

from keras_compress.algorithms.base import (
    OUTSIDE,
    BoundOp,
    CompressionAlgorithm,
    CompressionStage,
    LeveledAlgorithm,
    Plan,
    PlanContext,
    Position,
    Scope,
    SkippedWeight,
    algorithm_class,
    registered_algorithms,
)

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "OUTSIDE",
    "BoundOp",
    "CompressionAlgorithm",
    "CompressionStage",
    "LeveledAlgorithm",
    "Plan",
    "PlanContext",
    "Position",
    "Scope",
    "SkippedWeight",
    "algorithm_class",
    "registered_algorithms",
]
