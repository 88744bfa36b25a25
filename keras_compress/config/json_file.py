"""JSON files that people write: comments and trailing commas are allowed, mistakes are explained with the path of the file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from keras_compress.arguments import checked_path
from keras_compress.errors import ConfigError

__all__ = ["read_json"]

#: A string or a comment that is not closed reaches to the end of the text, so that no text is searched twice.
_STRING = r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)'
_STRING_OR_COMMENT = re.compile(rf"({_STRING}|/\*(?:(?!\*/).)*\Z)|//[^\n]*|/\*.*?\*/", re.DOTALL)
_STRING_OR_TRAILING_COMMA = re.compile(rf"({_STRING})|,(?=\s*[}}\]])", re.DOTALL)


def read_json(path: str | Path) -> Any:
    """Return what a JSON file holds; ``//`` and ``/* */`` comments and trailing commas are allowed.

    Raises:
        ConfigError: the file cannot be read, or is not JSON.
    """
    path = checked_path("path", path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration '{path}' cannot be read: {error}. Check the path.") from None
    try:
        return json.loads(_strict_json(text))
    except (ValueError, RecursionError) as error:  # of the form, and of numbers that are too long
        raise ConfigError(f"The configuration '{path}' is not JSON: {error}.") from None


def _strict_json(text: str) -> str:
    """Remove comments and trailing commas outside of strings."""
    for pattern in (_STRING_OR_COMMENT, _STRING_OR_TRAILING_COMMA):
        text = pattern.sub(lambda match: match.group(1) or "\n" * match.group(0).count("\n"), text)
    return text
