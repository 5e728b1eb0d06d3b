"""The files that a policy is made of, wherever they lie. Readers see names and bytes only.

A name is relative, with ``/``, and can't lead out. What was read is what the digest is over, so that the verdict
names the policy's very bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Protocol

from assay.errors import DocumentError, TargetError
from assay.files import read_file

MAX_FILE = 4 << 20
"""Bytes of one policy file."""


class Sources(Protocol):
    """Files by name."""

    @property
    def uri(self) -> str:
        """What to call them in a verdict; without a path of this machine."""
        ...

    @property
    def signer(self) -> str | None:
        """Who was proved to have signed them, in words."""
        ...

    def read(self, name: str) -> bytes:
        """The file's bytes. Raises `TargetError` when it is not there, `DocumentError` for a name that leads out."""
        ...

    def names(self) -> tuple[str, ...]:
        """All names, sorted, where they are known beforehand; else those that were read."""
        ...

    def sha256(self) -> str:
        """Hex digest of all files, or of those that were read so far where others are no part of the policy."""
        ...


def check_name(name: str) -> str:
    """The name, normalised. Raises `DocumentError` for one that is absolute or leads out."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or name.startswith("/") or ".." in parts or "\0" in name or "\\" in name:
        raise DocumentError(f"{name[:200]!r} is not a file beside the policy")
    return "/".join(parts)


class Packed:
    """Files in memory: a bundle that was read whole, the policies that ship with assay, a test's."""

    def __init__(
        self, uri: str, files: Mapping[str, bytes], *, digest: str | None = None, signer: str | None = None
    ) -> None:
        self._uri, self._files, self._digest, self._signer = uri, dict(files), digest, signer

    @property
    def uri(self) -> str:
        """See `Sources.uri`."""
        return self._uri

    @property
    def signer(self) -> str | None:
        """See `Sources.signer`."""
        return self._signer

    def read(self, name: str) -> bytes:
        """See `Sources.read`."""
        try:
            return self._files[check_name(name)]
        except KeyError:
            raise TargetError(f"{self._uri} has no file {name[:200]!r}") from None

    def names(self) -> tuple[str, ...]:
        """See `Sources.names`."""
        return tuple(sorted(self._files))

    def sha256(self) -> str:
        """See `Sources.sha256`."""
        return self._digest or digest_of(self._files)


class Loose:
    """The folder that a single policy file lies in. Only what is read is part of the policy."""

    def __init__(self, directory: str, uri: str) -> None:
        self._directory = os.path.realpath(directory)
        self._uri = uri
        self._read: dict[str, bytes] = {}

    @property
    def uri(self) -> str:
        """See `Sources.uri`."""
        return self._uri

    @property
    def signer(self) -> None:
        """Nobody: loose files are not verified."""
        return None

    def read(self, name: str) -> bytes:
        """See `Sources.read`. A file is read once: later calls see the same bytes."""
        name = check_name(name)
        if name not in self._read:
            path = os.path.realpath(os.path.join(self._directory, name))
            if os.path.commonpath([path, self._directory]) != self._directory:
                raise DocumentError(f"{name!r} is a link out of the policy's folder")
            if not os.path.lexists(path):
                raise TargetError(f"there is no file {name!r} beside the policy")
            self._read[name] = read_file(path, MAX_FILE)
        return self._read[name]

    def names(self) -> tuple[str, ...]:
        """See `Sources.names`."""
        return tuple(sorted(self._read))

    def sha256(self) -> str:
        """See `Sources.sha256`."""
        return digest_of(self._read)


def digest_of(files: Mapping[str, bytes]) -> str:
    """The contents' digest of files, as a target of the same files has it (`Manifest.contents`); hex."""
    from array import array

    from assay.targets.interface import contents_digest

    names = sorted(files)
    digests = b"".join(hashlib.sha256(files[name]).digest() for name in names)
    return contents_digest(names, array("Q", (len(files[name]) for name in names)), digests).hex()
