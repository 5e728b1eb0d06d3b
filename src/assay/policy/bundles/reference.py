"""What ``-p`` takes: which bundle, and which policy in it. It looks whether paths exist and does nothing else.

``policy.yml``, ``builtin:NAME``, or a bundle (``FOLDER``, ``git:URL@COMMIT``, ``oci:HOST/REPOSITORY@sha256:…``), with
``#FILE`` for the policy in it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from assay.errors import UsageError
from assay.policy.sources import check_name
from assay.targets.interface import Reference
from assay.targets.names import is_url, parse_with_userinfo, shown

_BUILTIN = "builtin:"
_BUNDLES = ("dir", "git", "oci")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_HINT = "write a policy's file, builtin:NAME, or a bundle: FOLDER, git:URL@COMMIT, oci:HOST/REPOSITORY@sha256:…"


@dataclass(frozen=True, slots=True)
class BundleReference:
    """A bundle as the user named it."""

    text: str
    """For messages; without a login."""
    target: Reference | None
    """The bundle as a target: ``file``, ``dir``, ``git`` or ``oci``; None for one that ships with assay."""
    entry: str | None
    """The policy's file in it, where the user named one; the name of a policy that ships with assay."""
    login: str | None = field(default=None, repr=False)
    """User information of a git URL."""

    @property
    def remote(self) -> bool:
        """Whether somebody else decides what there is to read."""
        if self.target is None or self.target.scheme not in ("git", "oci"):
            return False
        if self.target.scheme == "git":
            return is_url(self.target.name)
        from assay.targets.oci.reference import is_remote

        return is_remote(self.target)

    @property
    def pinned(self) -> bool:
        """Whether it names its contents: a full commit id, a manifest's digest."""
        revision = self.target.revision if self.target is not None else None
        return revision is not None and (self.target is None or self.target.scheme == "oci" or _is_commit(revision))


def parse(text: str) -> BundleReference:
    """The bundle that ``text`` names. Raises `UsageError` for what is not clearly one."""
    if text.startswith(_BUILTIN):
        return BundleReference(shown(text)[1:-1], None, text.removeprefix(_BUILTIN))
    where, entry = _split(text)
    if not where or (":" not in where and not os.path.exists(where)):
        raise UsageError(f"there is no policy {shown(where)}", hint=_HINT)
    target, login = parse_with_userinfo(where)
    if target.scheme == "file":
        if entry is not None:
            raise UsageError(f"{shown(where)} is a file, so that '#{shown(entry)[1:-1]}' names nothing in it")
        return BundleReference(str(target), target, None)
    if target.scheme not in _BUNDLES:
        raise UsageError(f"policies do not come from {target.scheme}: targets", hint=_HINT)
    return BundleReference(str(target), target, entry, login)


def _split(text: str) -> tuple[str, str | None]:
    """At the last ``#``, unless a path has it in its name."""
    where, hash_sign, entry = text.rpartition("#")
    path = re.sub(r"^[a-z]+:", "", text)
    if not hash_sign or os.path.exists(text) or os.path.exists(path):
        return text, None
    if not entry:
        raise UsageError(f"nothing stands after the '#' in {shown(text)}", hint="write #FILE, or leave out the '#'")
    return where, check_name(entry)


def _is_commit(revision: str) -> bool:
    return _COMMIT.fullmatch(revision) is not None
