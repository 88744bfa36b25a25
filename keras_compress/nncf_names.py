"""Names that scripts of NNCF's TensorFlow backend use and that are others here: an AttributeError says what to write.

The page on the migration from NNCF lists them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

__all__ = ["NAMES", "NamesOfNNCF", "refuse"]

_RANGES = "kc.register_default_init_args(config, data), which returns a new configuration"
_LEVEL = "controller.compression_rate, or controller.statistics().sparsity_level"
_WEIGHTS = "controller.statistics().sparsity_level of all weights, .sparsity of each, and .numbers by the name of the algorithm"
_SETTINGS = "controller.config['compression'], which has the schedule"

#: For each kind of object the names that it has in NNCF, and what to write here.
NAMES: Mapping[str, Mapping[str, str]] = {
    "keras_compress": {
        "NNCFConfig": "kc.CompressionConfig",
        "register_extra_structs": _RANGES,
        "get_extra_struct": "config.init_data, the data of kc.register_default_init_args",
        "strip_model": "kc.strip(model)",
    },
    "config": {
        "register_extra_structs": _RANGES,
        "get_extra_struct": "config.init_data, the data of kc.register_default_init_args",
        "has_extra_struct": "config.init_data is not None",
    },
    "controller": {
        "disable_scheduler": "controller.freeze(), which keeps the level whatever the schedule says; controller.set_sparsity_level(level) before "
        "it sets one",
        "prepare_for_export": "nothing: controller.export_model(path) and controller.strip() do it",
        "strip_model": "controller.strip()",
        "name": "controller.config['compression']",
        "child_ctrls": "the controller itself, which has every method for all algorithms",
        "maximal_compression_rate": "a level below 1 for controller.set_sparsity_level(level)",
        "get_state": "controller.get_compression_state()",
        "current_sparsity_level": _LEVEL,
    },
    "scheduler": {
        "current_sparsity_level": _LEVEL,
        "current_pruning_level": _LEVEL,
        "initial_level": _SETTINGS,
        "target_level": _SETTINGS,
        "target_epoch": "controller.scheduler.final_epoch",
        "freeze_epoch": _SETTINGS,
        "schedule": "kc.plot_schedule(config), or controller.config['compression']",
    },
    "statistics": {
        "magnitude_sparsity": _WEIGHTS,
        "rb_sparsity": _WEIGHTS,
        "const_sparsity": _WEIGHTS,
        "quantization": "controller.statistics().quantizers, one row per quantizer",
        "binarization": "controller.statistics().operations_by_bits()",
        "filter_pruning": "nothing: there is no removal of filters",
        "model_statistics": _WEIGHTS,
    },
}


class NamesOfNNCF:
    """Base of classes some of whose names are others in NNCF; ``nncf_name`` is the key in :data:`NAMES`.

    Example:
        >>> class Scheduler(NamesOfNNCF):
        ...     nncf_name = "scheduler"
        >>> Scheduler().target_epoch
        Traceback (most recent call last):
        AttributeError: 'Scheduler' has no attribute 'target_epoch', a name of NNCF. Write here: controller.scheduler.final_epoch.
    """

    nncf_name: ClassVar[str]

    def __getattr__(self, name: str) -> NoReturn:
        refuse(f"'{type(self).__name__}'", self.nncf_name, name, self)


def refuse(owner: str, kind: str, name: str, obj: Any = None) -> NoReturn:
    """Raise an AttributeError for a name that an object does not have, with what to write if it is one of NNCF.

    Args:
        owner: the object in words.
        kind: key in :data:`NAMES`.
        name: of the attribute.
        obj: the object. Default None.

    Raises:
        AttributeError: always.
    """
    instead = NAMES[kind].get(name)
    text = f"{owner} has no attribute '{name}'"
    if instead is not None:
        text += f", a name of NNCF. Write here: {instead}."
    raise AttributeError(text, name=name, obj=obj)
