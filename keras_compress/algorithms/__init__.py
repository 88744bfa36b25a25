"""Why and when: one file is one technique. Every file of this folder is imported, so that a new one is found by itself."""

import importlib
import pkgutil

from keras_compress.algorithms.activation_planning import plan_activations
from keras_compress.algorithms.base import (
    OUTSIDE,
    PREPROCESSING,
    BoundOp,
    CompressionAlgorithm,
    CompressionStage,
    OptimizerGuide,
    Plan,
    PlanContext,
    Position,
    RegularizedAlgorithm,
    ScheduledAlgorithm,
    Scope,
    SkippedWeight,
)
from keras_compress.algorithms.registry import algorithm_class, register_algorithm, registered_algorithms
from keras_compress.algorithms.weight_planning import CompressibleWeight, plan_weights

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "OUTSIDE",
    "PREPROCESSING",
    "BoundOp",
    "CompressibleWeight",
    "CompressionAlgorithm",
    "CompressionStage",
    "OptimizerGuide",
    "Plan",
    "PlanContext",
    "Position",
    "RegularizedAlgorithm",
    "ScheduledAlgorithm",
    "Scope",
    "SkippedWeight",
    "algorithm_class",
    "plan_activations",
    "plan_weights",
    "register_algorithm",
    "registered_algorithms",
]
