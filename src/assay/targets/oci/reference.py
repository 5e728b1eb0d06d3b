"""What stands after ``oci:``: a layout on this disk or a repository in a registry, with a tag or a digest.

It looks whether paths exist and does nothing else. A login never gets into a reference or into a message: it comes
from where the other tools of registries keep it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from assay.errors import UsageError
from assay.targets.interface import Reference
from assay.targets.names import shown

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
"""The one kind of digest that is read: an algorithm that nobody chose must not be chosen by the document."""

# Grammars of the distribution specification 1.1, "Pulling manifests".
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?")
_MAX_REPOSITORY = 255

_HINT = "write oci:HOST/REPOSITORY[:TAG], oci:LAYOUT[:TAG], and @sha256:… to name one manifest"


@dataclass(frozen=True, slots=True)
class Place:
    """A parsed name: exactly one of ``path`` and ``host`` is set."""

    path: str | None
    """An image layout: a folder, or a tar of one."""
    host: str | None
    """A registry, with its port."""
    repository: str
    """Its repository; empty for a layout."""
    tag: str | None

    @property
    def name(self) -> str:
        """The place without its tag."""
        return self.path if self.path is not None else f"{self.host}/{self.repository}"


def parse_name(name: str) -> Reference:
    """The reference of what stands after ``oci:``; its revision is a manifest's digest. Raises `UsageError`."""
    if not name:
        raise UsageError("nothing stands after 'oci:'", hint=_HINT)
    before, at, digest = name.rpartition("@")
    revision = None
    if at and not os.path.exists(name):
        if not before or not DIGEST.fullmatch(digest):
            # What stands there may be a login, so it is not repeated.
            raise UsageError(
                "what stands after the '@' of an oci: target is not sha256: and 64 hexadecimal digits",
                hint="a login does not belong into the name: use the registry's login command; " + _HINT,
            )
        name, revision = before, digest
    place_of(name)
    return Reference("oci", name, revision)


def place_of(name: str) -> Place:
    """Where the name of an ``oci:`` reference leads. What exists on this disk wins. Raises `UsageError`."""
    if os.path.exists(name):
        return Place(name, None, "", None)
    path, colon, tag = name.rpartition(":")
    if colon and os.path.exists(path) and _TAG.fullmatch(tag):
        return Place(path, None, "", tag)
    host, slash, rest = name.partition("/")
    if not slash or name.startswith((".", "/")) or not ("." in host or ":" in host or host == "localhost"):
        raise UsageError(f"there is no image layout {_safe(name)}, and it names no registry's host", hint=_HINT)
    repository, colon, tag = rest.partition(":")
    if not _HOST.fullmatch(host):
        raise UsageError(f"{_safe(name)} has no valid host", hint=_HINT)
    if not _REPOSITORY.fullmatch(repository) or len(repository) > _MAX_REPOSITORY:
        raise UsageError(f"{shown(repository)} is not the name of a repository in a registry", hint=_HINT)
    if colon and not _TAG.fullmatch(tag):
        raise UsageError(f"{shown(tag)} is not a tag", hint=_HINT)
    return Place(None, host, repository, tag if colon else None)


def is_remote(reference: Reference) -> bool:
    """Whether an ``oci:`` reference leads to a registry."""
    return place_of(reference.name).path is None


def _safe(name: str) -> str:
    """``name`` for a message, without what could be a login."""
    return shown(name.rpartition("@")[2])
