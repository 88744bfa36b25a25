"""The two files of an OpenVINO model as a pair: the ``.xml`` file has the digest of the ``.bin`` file, so that files which do not
belong together are noticed.

It also has a digest of itself: who reads the model and writes it again takes over the first digest, which then says nothing.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from keras_compress.errors import ExportError

__all__ = ["NOT_YET", "OF_NETWORK", "OF_WEIGHTS", "PLACE", "require_pair", "seal"]

#: Where the digests are in the runtime information of a model.
PLACE, OF_WEIGHTS, OF_NETWORK = ("keras_compress",), "bin_sha256", "xml_sha256"
#: What stands there until they are known.
NOT_YET = "0" * 64

_CONSTANT = re.compile(rb'offset="(\d+)"[^>]*? size="(\d+)"')


def seal(path: Path) -> None:
    """Put the digests into a file that was written with :data:`NOT_YET` in their places.

    Raises:
        OSError: one of the files is not complete, as on a full disk.
    """
    network, weights = path.read_bytes(), path.with_suffix(".bin")
    end = max((int(offset) + int(size) for offset, size in _CONSTANT.findall(network)), default=0)
    if not network.rstrip().endswith(b"</net>") or weights.stat().st_size < end:
        raise OSError("OpenVINO has written less than the model; is the disk full?")
    network = _with_digest(network, OF_WEIGHTS, _digest(weights))
    path.write_bytes(_with_digest(network, OF_NETWORK, hashlib.sha256(network).hexdigest()))


def require_pair(path: Path) -> None:
    """Refuse an ``.xml`` file whose ``.bin`` file is missing, or is not the one that was written with it.

    Files that the package did not write, or that were written again since, are not looked at.

    Raises:
        ExportError: the files do not belong together.
    """
    try:
        network, weights = path.read_bytes(), path.with_suffix(".bin")
    except OSError:
        return  # the runtime says so
    expected, own = _digest_in(network, OF_WEIGHTS), _digest_in(network, OF_NETWORK)
    if expected is None or own is None:
        return
    if hashlib.sha256(_with_digest(network, OF_NETWORK, NOT_YET)).hexdigest() != own:
        return
    received = _digest(weights) if weights.is_file() else "no file"
    if received != expected:
        raise ExportError(
            f"'{path}' and '{weights}' do not belong together. Expected: the weights that were written with it, of SHA-256 "
            f"{expected[:12]}…. Received: {received[:12]}{'…' if len(received) > 12 else ''}. One of them was replaced, or an export "
            "was ended between the two. Export the model again."
        )


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while part := stream.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _pattern(name: str) -> re.Pattern[bytes]:
    return re.compile(rf'(<{name} value="|<info name="{name}" value=")([0-9a-f]{{64}})(")'.encode())


def _digest_in(network: bytes, name: str) -> str | None:
    found = _pattern(name).search(network)
    return None if found is None else found.group(2).decode()


def _with_digest(network: bytes, name: str, digest: str) -> bytes:
    return _pattern(name).sub(rb"\g<1>" + digest.encode() + rb"\g<3>", network, count=1)
