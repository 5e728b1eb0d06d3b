"""Which files a process may run: the attested environment's, by digest; the interpreter's own; the user's.

A module's bytes count, not its name; its time stamps only where the caller trusts the cache (`memory`). Paths are
resolved first, so that a link cannot lend its name.
"""

from __future__ import annotations

import hashlib
import os
import re
import site
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from assay.errors import RejectedError
from assay.guard.protect.memory import Memory, remembered
from assay.targets.interface import DIGEST, Manifest
from assay.targets.names import shown

_INSTALLED = re.compile("/(site|dist)-packages/")
_BENEATH = re.compile(r"[^/]*/(?:(?:local/)?lib(?:64)?/python3(?:\.\d+)?/(?:site|dist)-packages/)?(.*)", re.DOTALL)
_LIBRARY = re.compile(r"\.(so|dylib)(\.[0-9.]+)?$|\.so\.")


class NotAttestedError(RejectedError, ImportError):
    """A module or shared object is not in the attested bill of materials, and is not imported."""


@dataclass(slots=True)
class Attested:
    """What may be imported. Holds no file open."""

    files: Mapping[str, tuple[bytes, ...]]
    """Path beneath site-packages to the SHA-256 digests that are attested for it."""
    sites: tuple[str, ...]
    """Resolved folders with installed distributions."""
    scripts: str
    """Resolved folder of the programs that distributions install, listed as ``bin/NAME``."""
    given: tuple[str, ...]
    """Resolved folders that are taken as given: the user's own code, assay itself."""
    library: tuple[str, ...]
    """Resolved folders of the interpreter's own library, taken as given but for what others install into it."""
    single: frozenset[str] = frozenset()
    """Resolved files that are taken as given."""
    memory: Memory | None = None
    """Digests of earlier processes, where the caller trusts the cache."""
    passed: set[str] = field(default_factory=set)
    """Paths whose code was checked when it was compiled."""
    _companions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _folders: dict[str, str] = field(default_factory=dict)

    def check(self, path: str, digest: bytes | None = None) -> None:
        """Raise `NotAttestedError` unless the file ``path`` (with ``digest`` as that of its bytes) may run."""
        real = self.resolved(path)
        if self.taken_as_given(real):
            return
        relative = self._within(real)
        if relative is None:
            raise NotAttestedError(
                f"{shown(real)} is not imported: it lies outside of the attested environment",
                hint="name the folder of your own code with code=..., or --code DIR",
            )
        wanted = self.files.get(relative)
        if wanted is None:
            raise NotAttestedError(
                f"{shown(relative)} is not imported: the attested bill of materials does not list it",
                hint="if it belongs there, make new evidence: assay bom env: -o attest",
            )
        if (self.digest(real) if digest is None else digest) not in wanted:
            raise NotAttestedError(
                f"{shown(relative)} is not imported: its bytes are not the attested ones",
                hint="reinstall the package, or make new evidence if the change is yours: assay bom env: -o attest",
            )

    def taken_as_given(self, real: str) -> bool:
        """Whether a resolved path needs no evidence."""
        if real in self.single:
            return True
        if self._within(real) is not None:
            return False
        return real.startswith(self.given) or (real.startswith(self.library) and not _INSTALLED.search(real))

    def resolved(self, path: str) -> str:
        """`os.path.realpath`, with each folder resolved once: a large package has a thousand modules in few of them.

        A folder that becomes a link later lends its old name to other bytes; these are digested all the same.
        """
        folder, name = os.path.split(os.path.abspath(path))
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        full = os.path.join(self._folders[folder], name)
        return os.path.realpath(full) if os.path.islink(full) else full

    def digest(self, path: str) -> bytes:
        """SHA-256 of a file, remembered or made."""
        identity = self.memory.identity(path) if self.memory is not None else None
        if self.memory is None or identity is None:
            return _digest(path)
        known = self.memory.digest(identity)
        if known is None:
            known = _digest(path)
            if self.memory.identity(path) == identity:
                self.memory.learn(identity, known)
        return known

    def check_library(self, path: str) -> None:
        """`check` for a shared object, and for those of its distribution, which the dynamic linker may load with it."""
        self.check(path)
        relative = self._within(self.resolved(path))
        if relative is None:
            return
        top = relative.partition("/")[0]
        for name in self._companions_of(top):
            for folder in self.sites:
                full = os.path.join(folder, name)
                if os.path.exists(full):
                    self.check(full)
        self._companions[top] = ()

    def _companions_of(self, top: str) -> tuple[str, ...]:
        """Shared objects in a package's folder and in the folder of libraries beside it; each is looked at once."""
        if top not in self._companions:
            starts = (top + "/", top + ".libs/")
            self._companions[top] = tuple(
                name for name in self.files if name.startswith(starts) and _LIBRARY.search(name)
            )
        return self._companions[top]

    def _within(self, real: str) -> str | None:
        for folder in self.sites:
            if real.startswith(folder):
                return real[len(folder) :]
        return "bin/" + real[len(self.scripts) :] if real.startswith(self.scripts) else None


def attested(
    manifest: Manifest | None, code: Sequence[str] = (), files: Sequence[str] = (), *, trust_cache: bool = False
) -> Attested:
    """What may be imported: the files of an environment's attested manifest, and what is taken as given.

    ``code`` are folders of the user's own code, ``files`` single ones. Without a manifest nothing of site-packages is
    attested. With ``trust_cache`` digests of unchanged files, and what was compiled from them, are remembered.
    """
    found: dict[str, tuple[bytes, ...]] = {}
    sites = tuple(os.path.realpath(folder).rstrip("/") + "/" for folder in _sites())
    for i, name in enumerate(manifest.names if manifest is not None else ()):
        assert manifest is not None
        relative = _relative(name)
        found[relative] = (*found.get(relative, ()), manifest.sha256[i * DIGEST : (i + 1) * DIGEST])
    import assay

    given = list(code)
    own = os.path.dirname(os.path.abspath(assay.__file__))
    if not os.path.realpath(own).startswith(sites):
        given.append(own)  # a development checkout; installed, it is attested like everything else
    return Attested(
        found,
        sites,
        os.path.realpath(os.path.join(sys.prefix, "bin")).rstrip("/") + "/",
        tuple(os.path.realpath(folder).rstrip("/") + "/" for folder in given),
        tuple(os.path.realpath(folder).rstrip("/") + "/" for folder in _library()),
        frozenset(os.path.realpath(path) for path in files),
        remembered(sites) if trust_cache else None,
    )


def _sites() -> list[str]:
    # While a `.pth` file runs, `site` does not know yet that it is in a virtual environment; `sys.prefix` does.
    prefixes = list(dict.fromkeys([sys.prefix, sys.exec_prefix, *site.PREFIXES]))
    return [*site.getsitepackages(prefixes), site.getusersitepackages()]


def _library() -> list[str]:
    """The standard library of the interpreter itself: a virtual environment has a folder for one, and none in it."""
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix, "installed_base": sys.base_prefix}
    base["installed_platbase"] = sys.base_exec_prefix
    return [sysconfig.get_path(name, vars=base) for name in ("stdlib", "platstdlib")]


def _relative(name: str) -> str:
    """From a resource's name in an ``env:`` manifest to the path beneath its site-packages."""
    found = _BENEATH.match(name)
    return found[1] if found else ""


def _digest(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise NotAttestedError(f"{shown(path)} is not imported: it cannot be read ({error.strerror})") from None
