"""JsonReport: what every report has in common, to be saved as JSON that any reader takes."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

__all__ = ["JsonReport", "json_values"]


class JsonReport(ABC):
    """Base of the reports that are saved as JSON."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values; numbers that are infinite or missing are None."""

    def save(self, path: str | Path) -> Path:
        """Write the report as a JSON file, making missing folders."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.to_dict(), indent=2))
        return path


def json_values(value: Any) -> Any:
    """Return a value with lists in place of tuples, and None in place of numbers that JSON does not know.

    Example:
        >>> json_values({"sqnr": math.inf, "levels": (3, 4.5)})
        {'sqnr': None, 'levels': [3, 4.5]}
    """
    if isinstance(value, dict):
        return {key: json_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_values(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
