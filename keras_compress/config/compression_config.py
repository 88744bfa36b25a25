"""CompressionConfig: what to compress and how, as a value. JSON, dicts and Python objects are one and the same thing.

The JSON is that of NNCF's TensorFlow backend. Comments and trailing commas are allowed, keys of other frameworks at the
root are kept out of the way and reported, and a wrong key is an error that names the nearest right one.
"""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import ConfigDict, Field, PrivateAttr, SerializeAsAny

from keras_compress.algorithms import CompressionAlgorithm, PlanContext, algorithm_class, registered_algorithms
from keras_compress.algorithms.base import ScopeList
from keras_compress.algorithms.target_runtime import TargetRuntime
from keras_compress.arguments import whole_number
from keras_compress.config.json_file import read_json
from keras_compress.data import Dataset
from keras_compress.errors import ConfigError, short_repr
from keras_compress.nncf_names import NAMES, refuse
from keras_compress.settings import OneOrMore, Settings, validated

__all__ = ["CompressionConfig", "ConfigLike", "InputInfo", "json_schema", "register_default_init_args"]

TargetDevice = Literal["ANY", "CPU", "GPU", "NPU", "TRIAL", "CPU_SPR"]


class InputInfo(Settings):
    """Shape of one input, for other frameworks; a Keras model knows its own shapes."""

    sample_size: tuple[int, ...] | None = None
    """Accepted, without effect."""
    type: str | None = None
    """Accepted, without effect."""
    filler: str | None = None
    """Accepted, without effect."""
    keyword: str | None = None
    """Accepted, without effect."""


#: The forms that a configuration is given in.
ConfigLike: TypeAlias = (
    "CompressionConfig | CompressionAlgorithm | Sequence[CompressionAlgorithm | dict] | dict | str | os.PathLike"
)


class CompressionConfig(Settings):
    """The whole configuration.

    Example:
        >>> CompressionConfig.from_dict({"compression": {"algorithm": "quantization"}}).compression[0].preset
        'performance'
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    ignored_keys: ClassVar[Mapping[str, str]] = {
        **CompressionAlgorithm.ignored_keys,
        "input_info": "a Keras model knows its shapes",
        "disable_shape_matching": "it concerns PyTorch",
    }

    compression: tuple[SerializeAsAny[CompressionAlgorithm], ...] = Field(min_length=1)
    """An algorithm, or a list of algorithms that are applied together."""
    target_device: TargetDevice = "ANY"
    """``ANY`` (default), ``CPU``, ``GPU``, ``NPU``, ``CPU_SPR`` or ``TRIAL`` (no assumption about hardware: weights per
    tensor unless asked otherwise).
    """
    target_runtime: Annotated[tuple[TargetRuntime, ...], OneOrMore(), Field(min_length=1)] = ("openvino",)
    """``openvino`` (default), ``onnxruntime``, ``tflite``, ``tensorrt``, or a list: the quantizers that these runtimes need stand
    in the model from the start, so that what is trained is what runs. For the default they are added to files of other
    formats where they are needed.
    """
    ignored_scopes: ScopeList = ()
    """Layers that every algorithm leaves alone. Default: none."""
    target_scopes: ScopeList | None = None
    """The only layers touched by algorithms that have no ``target_scopes`` of their own. Default: all."""
    input_info: Annotated[tuple[InputInfo, ...], OneOrMore()] = ()
    """Accepted for other frameworks, without effect."""
    log_dir: str | None = None
    """Folder for logs, the default of ``create_compression_callbacks``."""
    strict: bool = False
    """A weight that would stay in floating point although no scope asked for it is an error. Default False."""
    _init_data: Dataset | None = PrivateAttr(None)

    @classmethod
    def of(cls, config: ConfigLike) -> CompressionConfig:
        """Return the configuration that is given in any of its forms.

        Args:
            config: a configuration, which is returned as it is; a dict; an algorithm, or a list of algorithms; or the path of a
                JSON file.

        Raises:
            ConfigError: it is none of these, or holds something wrong.

        Example:
            >>> from keras_compress.algorithms.quantization import Quantization
            >>> CompressionConfig.of(Quantization(weights=4)) == CompressionConfig.of([Quantization(weights=4)])
            True
        """
        if isinstance(config, CompressionConfig):
            return config
        if isinstance(config, (str, os.PathLike)):
            return cls.from_json(Path(config))
        if isinstance(config, CompressionAlgorithm):
            config = [config]
        values: Any = {"compression": list(config)} if isinstance(config, (list, tuple)) else config
        return cls.from_dict(values)

    @classmethod
    def from_json(cls, path: str | Path) -> CompressionConfig:
        """Read a JSON file; ``//`` and ``/* */`` comments and trailing commas are allowed.

        Raises:
            ConfigError: the file is missing, is not JSON, or holds something wrong.
        """
        return cls.from_dict(read_json(path))

    @classmethod
    def from_dict(cls, values: dict) -> CompressionConfig:
        """Make a configuration from nested dicts and lists; ``values`` is not changed.

        Raises:
            ConfigError: a key, type or value is wrong; the message names the path to it.
        """
        if not isinstance(values, dict):
            raise ConfigError(
                f"A configuration is a dict, an algorithm, a list of algorithms or the path of a JSON file. Received: "
                f'{type(values).__name__}. Expected: one like kc.Quantization() or {{"compression": {{"algorithm": "quantization"}}}}.'
            )
        if "compression" not in values:
            raise ConfigError(
                "Missing key 'compression'. Expected: an algorithm or a list of them, such as "
                f'{{"compression": {{"algorithm": "quantization"}}}}. Received: {short_repr(sorted(map(str, values)))}.'
            )
        _refuse_misspelled_keys(values)
        items = values["compression"]
        single = not isinstance(items, (list, tuple))
        paths = ["compression"] if single else [f"compression[{index}]" for index in range(len(items))]
        algorithms = [_algorithm(item, path) for item, path in zip([items] if single else items, paths, strict=True)]
        return validated(cls, {**values, "compression": algorithms})

    def to_dict(self) -> dict:
        """Return the JSON-able form; ``from_dict`` of it is an equal configuration."""
        return {**super().to_dict(), "compression": [algorithm.to_dict() for algorithm in self.compression]}

    def __getitem__(self, key: str) -> Any:
        """Return what the JSON-able form holds under a key, as ``config["compression"]``.

        Raises:
            ConfigError: there is no such key.
        """
        values = self.to_dict()
        if key not in values:
            raise ConfigError(f"The configuration has no key '{key}'. Expected: one of {sorted(values)}.")
        return values[key]

    def __getattr__(self, name: str) -> Any:
        if name in NAMES["config"]:
            refuse("The configuration", "config", name, self)
        return super().__getattr__(name)  # type: ignore[misc]

    def __contains__(self, key: Any) -> bool:
        """Whether the JSON-able form holds a key, as in ``"compression" in config``."""
        return key in self.to_dict()

    def get(self, key: str, default: Any = None) -> Any:
        """Return what the JSON-able form holds under a key, or ``default``."""
        return self.to_dict().get(key, default)

    def plan_context(self) -> PlanContext:
        """Return what every algorithm is told."""
        return PlanContext(
            self.target_device, self.ignored_scopes, self.target_scopes, target_runtimes=self.target_runtime
        )

    @property
    def init_data(self) -> Dataset | None:
        """The data registered for initialization; not a part of the JSON, nor of equality."""
        return self._init_data

    def with_init_data(self, data: Dataset | None) -> CompressionConfig:
        """Return the same configuration with data for initialization."""
        config = self.model_copy()
        config._init_data = data
        return config

    def warn_about_foreign_keys(self) -> None:
        """Warn once about everything that is accepted and has no effect."""
        remarks = [remark for algorithm in self.compression for remark in algorithm.configuration_warnings()]
        for key in sorted(self.model_extra or {}):
            reason = f": {self.ignored_keys[key]}" if key in self.ignored_keys else ""
            remarks.append(f"The key '{key}' at the root of the configuration has no effect here{reason}.")
        if remarks:
            warnings.warn("\n".join(remarks), stacklevel=3)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CompressionConfig) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]


def _refuse_misspelled_keys(values: dict) -> None:
    """Raise a ConfigError for a root key that is nearly one of ours; other foreign keys are tolerated."""
    known = set(CompressionConfig.model_fields)
    for key in map(str, values):
        close = difflib.get_close_matches(str(key), known, 1, cutoff=0.8)
        if key not in known and close:
            raise ConfigError(
                f"Unknown key '{key}'. Did you mean '{close[0]}'? Allowed: {', '.join(sorted(known))}. "
                f"Received: {key}={short_repr(values[key])}."
            )


def _algorithm(item: Any, path: str) -> CompressionAlgorithm:
    if isinstance(item, CompressionAlgorithm):
        return item
    if not isinstance(item, dict) or "algorithm" not in item:
        allowed = ", ".join(sorted(registered_algorithms()))
        raise ConfigError(
            f"Missing key '{path}.algorithm'. Expected: an algorithm as kc.Quantization(), or a dict with this key. Allowed: {allowed}. "
            f"Received: {short_repr(item)}."
        )
    return validated(algorithm_class(item["algorithm"], f"{path}.algorithm"), item, path)


def register_default_init_args(
    config: ConfigLike, data_loader: Any, batch_size: int | None = None, device: Any = None
) -> CompressionConfig:
    """Return the configuration with the data that ranges and batch normalization are initialized from.

    Nothing global is registered; the name is that of NNCF.

    Args:
        config: the configuration in any of its forms, see :meth:`CompressionConfig.of`; it is not changed.
        data_loader: anything :class:`~keras_compress.data.Dataset` takes, batched or not, usually the training data.
        batch_size, device: accepted for compatibility; batches are recognized by their shape.

    Example:
        >>> config = CompressionConfig.from_dict({"compression": {"algorithm": "quantization"}})
        >>> import numpy as np
        >>> register_default_init_args(config, np.zeros((8, 4), np.float32)).init_data is not None
        True
    """
    if batch_size is not None:
        whole_number("batch_size", batch_size, 1)
    return CompressionConfig.of(config).with_init_data(Dataset.of(data_loader))


def json_schema() -> dict:
    """Return a JSON Schema of the configuration, for editors that check and complete.

    Example:
        >>> "compression" in json_schema()["properties"]
        True
    """
    definitions: dict[str, Any] = {}
    choices = []
    for name, algorithm in sorted(registered_algorithms().items()):
        schema = algorithm.model_json_schema(ref_template="#/$defs/{model}")
        definitions.update(schema.pop("$defs", {}))
        schema["required"] = sorted({*schema.get("required", []), "algorithm"})
        definitions[name] = schema
        choices.append({"$ref": f"#/$defs/{name}"})
    root = CompressionConfig.model_json_schema(ref_template="#/$defs/{model}")
    definitions = {**root.pop("$defs", {}), **definitions}
    root["properties"]["compression"] = {
        "anyOf": [*choices, {"type": "array", "items": {"anyOf": choices}, "minItems": 1}],
        "description": root["properties"]["compression"]["description"],
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": definitions}
