"""An extension of griffe: docstrings of this package as the site needs them.

Roles become links, ``::`` in front of code a colon, an example a section of its own, and arXiv numbers links.
"""

from __future__ import annotations

import re

import griffe

ROLE = re.compile(r":\w+:`(~?)([^`]*)`")
ARXIV = re.compile(r"\barXiv:(\d{4}\.\d{4,5})")


class ReadableDocstrings(griffe.Extension):
    """Rewrites every docstring before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **kwargs) -> None:
        if obj.docstring:
            obj.docstring.value = readable(obj.docstring.value)


def readable(text: str) -> str:
    """Return a docstring in Markdown with Google's sections."""
    text = ROLE.sub(_link, text)
    text = re.sub(r"^( *)Example::$", r"\1In a script:", text, flags=re.MULTILINE)
    text = re.sub(r"^( *)Example:$", r"\1Examples:", text, flags=re.MULTILINE)
    text = re.sub(r"::$", ":", text, flags=re.MULTILINE)
    return ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def _link(role: re.Match) -> str:
    """Return a link to what a role names, which stays plain code if the site has no place for it."""
    short, target = role.groups()
    shown = target.rpartition(".")[2] if short else target
    if "." not in target:
        target = f"keras_compress.{target}"
    return f'<autoref optional identifier="{target}"><code>{shown}</code></autoref>'
