"""How reports are written: tables as text, decibels, JSON files."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_compress.arguments import checked_path
from keras_compress.errors import ExportError
from keras_compress.files import write_file

__all__ = ["JsonReport", "decibels_text", "format_table", "json_values"]


def format_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows under a header, aligned.

    Example:
        >>> print(format_table(["layer", "bits"], [["conv", 8]]))
        layer  bits
        -----  ----
        conv      8
    """
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(header), *cells]) for i in range(len(header))]
    numeric = [all(not isinstance(row[i], str) for row in rows) and bool(rows) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        parts = (cell.rjust(w) if right else cell.ljust(w) for cell, w, right in zip(row, widths, numeric, strict=True))
        return "  ".join(parts).rstrip()

    return "\n".join([line(header), "  ".join("-" * width for width in widths), *map(line, cells)])


def decibels_text(ratio: float | None) -> str:
    """Return a ratio in dB as text; empty for None (not requested).

    Example:
        >>> [decibels_text(ratio) for ratio in (30.0, math.inf, math.nan, None)]
        ['30.0 dB', 'no error', 'not measured', '']
    """
    if ratio is None:
        return ""
    if math.isnan(ratio):
        return "not measured"
    return "no error" if math.isinf(ratio) else f"{ratio:.1f} dB"


class JsonReport(ABC):
    """Base of the reports that are saved as JSON."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values; numbers that are infinite or missing are None."""

    def save(self, path: str | Path) -> Path:
        """Write the report as a JSON file, making missing folders.

        Raises:
            ExportError: the file cannot be written; one that was there before is unchanged.
        """
        return write_file(checked_path("path", path, ExportError), json.dumps(self.to_dict(), indent=2))


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
