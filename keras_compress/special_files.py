"""What is neither a file nor a folder: pipes, devices and sockets. They may be read forever, and what is written there is lost."""

from __future__ import annotations

import stat

__all__ = ["special_kind"]

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def special_kind(mode: int) -> str | None:
    """Return what something is in words, by the mode that ``os.stat`` gives; None for a file, a folder or a link.

    Example:
        >>> special_kind(stat.S_IFIFO), special_kind(stat.S_IFREG)
        ('a pipe', None)
    """
    return next((kind for is_kind, kind in _KINDS if is_kind(mode)), None)
