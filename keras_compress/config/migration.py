"""migrate: what every key of an NNCF configuration does here, and the configuration without those that do nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from keras_compress.algorithms import CompressionAlgorithm, registered_algorithms
from keras_compress.config.compression_config import CompressionConfig, json_schema
from keras_compress.config.keys import alternatives, object_in, reason_ignored
from keras_compress.errors import ConfigError, Mistake, close_matches, short_repr
from keras_compress.reports.formatting import format_table
from keras_compress.settings import validated

__all__ = ["MigratedKey", "Migration", "Status", "migrate"]

Status = Literal["used", "differs", "no effect", "not available", "unknown", "wrong"]

#: Algorithms and root keys of NNCF that have no counterpart, with what to do instead.
NOT_AVAILABLE = {
    "filter_pruning": "there is no removal of filters; magnitude_sparsity makes zeros",
    "knowledge_distillation": "add the loss of a teacher to your own training",
    "movement_sparsity": "take magnitude_sparsity or rb_sparsity",
    "accuracy_aware_training": "kc.quantize_with_accuracy_control bounds the drop of a metric; in fit, SaveBestCompressed keeps "
    "the best compressed model",
}
#: By algorithm and pattern: keys that NNCF's TensorFlow backend accepted and did not act upon.
_NEWLY_EFFECTIVE = {
    ("quantization", "activations.unified_scale_ops"),
    ("quantization", "initializer.precision.bitwidth_per_scope"),
    ("magnitude_sparsity", "target_scopes"),
    ("rb_sparsity", "target_scopes"),
    ("magnitude_sparsity", "params.sparsity_level_setting_mode"),
    ("magnitude_sparsity", "initializer.batchnorm_adaptation.num_bn_adaptation_samples"),
}
_NEW = "NNCF's TensorFlow backend did not act upon it"
_OVERFLOW_FIX = 'not in the file: NNCF takes "enable" then, half of the 8-bit range of weights; here it is "disable"'


@dataclass(frozen=True)
class MigratedKey:
    """A key of the file.

    Attributes:
        path: to it, as ``"compression[0].params.schedule"``.
        value: what stands there, shortened.
        status: ``used``; ``differs`` for a default that is another here; ``no effect``: accepted, of other frameworks;
            ``not available``; ``unknown``; ``wrong``: a value that is not taken.
        note: why, or what to do.
    """

    path: str
    value: str
    status: Status
    note: str = ""


@dataclass(frozen=True)
class Migration:
    """What a configuration of NNCF means here. ``print`` shows a table.

    Attributes:
        keys: one row per key, in the order of the file.
        config: the configuration with the keys that have an effect; None if what is left is not valid.
    """

    keys: tuple[MigratedKey, ...]
    config: dict[str, Any] | None

    @property
    def complete(self) -> bool:
        """Whether everything that NNCF would do is done here too."""
        lost = ("not available", "unknown", "wrong")
        return self.config is not None and not any(key.status in lost for key in self.keys)

    def to_dict(self) -> dict[str, Any]:
        """Return the migration as JSON-able values."""
        return {"complete": self.complete, "keys": [asdict(key) for key in self.keys], "config": self.config}

    def __str__(self) -> str:
        counts: dict[str, int] = {}
        for key in self.keys:
            counts[key.status] = counts.get(key.status, 0) + 1
        summary = ", ".join(f"{count} {status}" for status, count in counts.items())
        rows = [[key.path, key.value, key.status, key.note] for key in self.keys]
        return f"{len(self.keys)} keys: {summary}\n\n{format_table(['key', 'value', 'here', 'note'], rows)}"


def migrate(values: dict) -> Migration:
    """Return what every key of an NNCF configuration does here.

    Args:
        values: the configuration as nested dicts and lists; it is not changed.

    Raises:
        ConfigError: it is no configuration.

    Example:
        >>> found = migrate({"compression": {"algorithm": "quantization", "overflow_fix": "disable", "wieghts": {"bits": 4}}})
        >>> [(key.path, key.status, key.note) for key in found.keys][2:]
        [('compression.wieghts', 'unknown', "did you mean 'weights'?")]
        >>> found.config
        {'compression': {'algorithm': 'quantization', 'overflow_fix': 'disable'}}
    """
    if not isinstance(values, dict) or "compression" not in values:
        raise ConfigError(
            f"This is no configuration. Expected: an object with the key 'compression'. Received: {short_repr(values)}."
        )
    reader = _Reader(json_schema())
    kept = reader.root(values)
    valid = bool(kept["compression"])
    try:
        CompressionConfig.from_dict({**kept, "compression": reader.valid or [{"algorithm": "const_sparsity"}]})
    except ConfigError as error:
        reader.mistakes += _mistakes(error)
    keys = _with_mistakes(reader.keys, reader.mistakes)
    return Migration(tuple(keys), kept if valid and not reader.mistakes else None)


class _Reader:
    """Walks a configuration along the schema, notes the status of every key, and returns the keys that have an effect."""

    def __init__(self, schema: dict):
        self.schema = schema
        self.keys: list[MigratedKey] = []
        self.mistakes: list[Mistake] = []
        self.valid: list[CompressionAlgorithm] = []

    def root(self, values: dict) -> dict[str, Any]:
        known = self.schema["properties"]
        kept: dict[str, Any] = {}
        for key, value in _named(values, "the configuration"):
            if key == "compression":
                kept[key] = self._algorithms(value)
            elif key in known and reason_ignored("", key) is None:
                self._note(key, value, "used")
                kept[key] = value
            else:
                self._foreign(key, value)
        return kept

    def _foreign(self, key: str, value: Any) -> None:
        """Note a root key that the configuration does not take; scripts keep settings of their own there."""
        reason = reason_ignored("", key)
        close = close_matches(key, self.schema["properties"], 1)
        if key in NOT_AVAILABLE:
            self._note(key, value, "not available", NOT_AVAILABLE[key])
        elif reason is None and _refused_at_the_root(key):
            self._note(key, value, "unknown", f"did you mean '{close[0]}'?")
        else:
            self._note(key, value, "no effect", reason or "not a key of compression; training scripts read such keys")

    def _algorithms(self, items: Any) -> Any:
        if not isinstance(items, list):
            return self._algorithm(items, "compression")
        found = [self._algorithm(item, f"compression[{index}]") for index, item in enumerate(items)]
        return [item for item in found if item is not None]

    def _algorithm(self, item: Any, path: str) -> dict[str, Any] | None:
        name = item.get("algorithm") if isinstance(item, dict) else None
        if not isinstance(name, str) or name not in registered_algorithms():
            close = close_matches(short_repr(name), registered_algorithms(), 1)
            known = isinstance(name, str) and name in NOT_AVAILABLE
            status: Status = "not available" if known else "unknown"
            note = NOT_AVAILABLE[name] if known else "".join(f"did you mean '{c}'?" for c in close)  # type: ignore[index]
            self._note(f"{path}.algorithm", name, status, note)
            return None
        kept = self._object(item, self.schema["$defs"][name], path, "", name)
        try:
            self.valid.append(validated(registered_algorithms()[name], kept, path))
        except ConfigError as error:
            self.mistakes += _mistakes(error)
        if name == "quantization" and "overflow_fix" not in item:
            self._note(f"{path}.overflow_fix", '"enable"', "differs", _OVERFLOW_FIX, as_is=True)
        return kept

    def _object(self, values: dict, schema: dict, path: str, prefix: str, algorithm: str) -> dict[str, Any]:
        kept = {}
        properties = schema.get("properties", {})
        for key, value in _named(values, path):
            inner, pattern = f"{path}.{key}", prefix + (key if properties else "*")
            reason = reason_ignored(algorithm, pattern)
            if reason is not None:
                self._note(inner, value, "no effect", reason)
            elif (
                pattern == "initializer.precision"
                and isinstance(value, dict)
                and value.get("type", "manual") != "manual"
            ):
                note = 'automatic search of bit widths; list them under "bitwidth_per_scope" with the type "manual"'
                self._note(inner, value, "not available", note)
            elif properties and key not in properties:
                close = "".join(f"did you mean '{other}'?" for other in close_matches(key, properties, 1))
                self._note(inner, value, "unknown", close)
            else:
                part = properties[key] if properties else schema["additionalProperties"]
                kept[key] = self._value(value, part, inner, pattern, algorithm)
        return kept

    def _value(self, value: Any, schema: dict, path: str, pattern: str, algorithm: str) -> Any:
        section = object_in(schema, self.schema)
        nested = section is not None and (
            section.get("properties") or isinstance(section.get("additionalProperties"), dict)
        )
        if section is not None and nested and value and isinstance(value, dict):
            return self._object(value, section, path, f"{pattern}.", algorithm)
        if section is not None and nested and value and isinstance(value, list) and _takes_lists(schema, self.schema):
            return [
                self._value(item, schema, f"{path}[{index}]", pattern, algorithm) for index, item in enumerate(value)
            ]
        new = (algorithm, pattern) in _NEWLY_EFFECTIVE or pattern.startswith("scope_overrides.activations.")
        self._note(path, value, "used", _NEW if new else "")
        return value

    def _note(self, path: str, value: Any, status: Status, note: str = "", *, as_is: bool = False) -> None:
        self.keys.append(MigratedKey(path, value if as_is else short_repr(value), status, note))


def _named(values: dict, path: str) -> list[tuple[str, Any]]:
    """Return the keys and values of a part of a configuration, all keys being names."""
    for key in values:
        if not isinstance(key, str):
            raise ConfigError(f"Wrong key in '{path}'. Expected: a name. Received: {short_repr(key)}.")
    return list(values.items())


def _takes_lists(schema: dict, root: dict) -> bool:
    return any(choice.get("type") == "array" for choice in alternatives(schema, root))


def _refused_at_the_root(key: str) -> bool:
    """Whether a configuration takes a root key for a misspelled one of its own."""
    try:
        CompressionConfig.from_dict({"compression": {"algorithm": "quantization"}, key: None})
    except ConfigError:
        return True
    return False


def _mistakes(error: ConfigError) -> list[Mistake]:
    return list(error.mistakes) or [Mistake("", "", str(error))]


def _with_mistakes(keys: Sequence[MigratedKey], mistakes: Sequence[Mistake]) -> list[MigratedKey]:
    """Return the rows with those marked whose values are refused, and one more for what concerns several keys."""
    rows = list(keys)
    for mistake in mistakes:
        path, note = mistake.path, mistake.details
        places = [index for index, row in enumerate(rows) if row.path == path]
        places += [index for index, row in enumerate(rows) if _place(row.path) == _place(path)]
        if places:
            row = rows[places[0]]
            rows[places[0]] = MigratedKey(row.path, row.value, "wrong", note)
        else:
            rows.append(MigratedKey(path, "", "wrong", note))
    return rows


def _place(path: str) -> str:
    """Return a path without the indices of lists inside of an algorithm, which one item may do without."""
    algorithm, rest = re.fullmatch(r"(compression(?:\[\d+\])?)?(.*)", path, re.DOTALL).groups()  # type: ignore[union-attr]
    return (algorithm or "") + re.sub(r"\[\d+\]", "", rest)
