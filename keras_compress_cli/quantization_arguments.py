"""The arguments of ``kc.quantize`` from the command line and from a file; what stands on the command line comes first."""

from __future__ import annotations

import argparse
import inspect
from typing import Any

from keras_compress import ConfigError, quantize
from keras_compress.config.json_file import read_json
from keras_compress.errors import close_matches, short_repr

__all__ = ["calibration_samples", "quantization_arguments"]


def calibration_samples(options: dict[str, Any]) -> int | None:
    """Return how many samples ``kc.quantize`` will use; None, for all, where it will refuse what it is given."""
    samples = options.get("subset_size", inspect.signature(quantize).parameters["subset_size"].default)
    return samples if isinstance(samples, int) and samples > 0 else None


def quantization_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what a command passes to ``kc.quantize``, see :func:`~keras_compress_cli.arguments.add_quantization`.

    Raises:
        ConfigError: the file holds something else.
    """
    found: dict[str, Any] = {} if arguments.config is None else read_json(arguments.config)
    allowed = [name for name in list(inspect.signature(quantize).parameters)[2:] if name != "mode"]  # which is refused
    if not isinstance(found, dict) or "compression" in found:
        raise ConfigError(
            f"'{arguments.config}' does not hold the arguments of kc.quantize. Expected: an object with any of {allowed}. "
            f"Received: {short_repr(found)}. A configuration with 'compression' is for 'keras-compress compress'."
        )
    for name in found:
        if name not in allowed:
            close = "".join(f" Did you mean '{other}'?" for other in close_matches(name, allowed, 1))
            raise ConfigError(
                f"Unknown key '{name}' in '{arguments.config}'.{close} Allowed: {', '.join(allowed)}. "
                f"Received: {name}={short_repr(found[name])}."
            )
    for name in ("preset", "target_device", "model_type", "subset_size"):
        if getattr(arguments, name) is not None:
            found[name] = getattr(arguments, name)
    if arguments.ignore:
        found["ignored_scope"] = list(arguments.ignore)
    return found
