"""The importer that stands before all others: it lets them find a module, and looks at what they found.

Source is compiled from the bytes that were digested; the bytecode beside it, which no evidence lists, is never used.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ExtensionFileLoader, ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any, cast

from assay.errors import AssayError
from assay.guard.protect.attested import Attested

Blocked = Callable[[str, str, AssayError], None]
"""Told (kind, what, error) of what is not attested; raises the error where that is to be enforced."""


class Finder:
    """Finds what the other finders find, if it is attested."""

    def __init__(self, allowed: Attested | None, blocked: Blocked, after: Mapping[str, Callable[[Any], None]]) -> None:
        self._allowed = allowed
        self._blocked = blocked
        self._after = after

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The first spec of another finder, guarded; see `importlib.abc.MetaPathFinder`."""
        for finder in list(sys.meta_path):
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                return self._guarded(spec)
        return None

    def invalidate_caches(self) -> None:
        """Nothing is cached here."""

    def _guarded(self, spec: ModuleSpec) -> ModuleSpec:
        if self._allowed is not None:
            self._check(spec, self._allowed)
        if spec.name in self._after and spec.loader is not None:
            spec.loader = cast(Any, _Then(spec.loader, self._after[spec.name]))
        return spec

    def _check(self, spec: ModuleSpec, allowed: Attested) -> None:
        loader, origin = spec.loader, spec.origin
        if not spec.has_location or not isinstance(origin, str):
            return  # built in, frozen, a namespace, or made in memory by a module that is itself attested
        if type(loader) is SourceFileLoader:
            if allowed.taken_as_given(allowed.resolved(origin)):
                return  # and so is its bytecode
            spec.loader = _Source(spec.name, origin, allowed, self._blocked)
            spec.cached = None
            return
        try:
            if isinstance(loader, ExtensionFileLoader):
                allowed.check_library(origin)
            else:
                allowed.check(origin)
        except AssayError as error:
            self._blocked("import", spec.name, error)


class _Source(SourceFileLoader):
    """Reads a module's source once: what is digested is what is compiled."""

    def __init__(self, fullname: str, path: str, allowed: Attested, blocked: Blocked) -> None:
        super().__init__(fullname, path)
        self._allowed = allowed
        self._blocked = blocked

    def get_code(self, fullname: str) -> CodeType:
        """The code of the attested source."""
        path = self.get_filename(fullname)
        memory = self._allowed.memory
        identity = memory.identity(path) if memory is not None else None
        digest = memory.digest(identity) if memory is not None and identity is not None else None
        if memory is None or digest is None:
            data = self.get_data(path)
            digest = hashlib.sha256(data).digest()
            self._check(fullname, path, digest)
            code: CodeType = self.source_to_code(data, path)
            if memory is not None and identity is not None and memory.identity(path) == identity:
                memory.learn(identity, digest)
                memory.learn_code(path, digest, code)
            return code
        self._check(fullname, path, digest)
        known = memory.code(path, digest)
        if known is None:
            data = self.get_data(path)
            self._check(fullname, path, hashlib.sha256(data).digest())
            known = self.source_to_code(data, path)
            memory.learn_code(path, hashlib.sha256(data).digest(), known)
        return known

    def _check(self, fullname: str, path: str, digest: bytes) -> None:
        try:
            self._allowed.check(path, digest)
        except AssayError as error:
            self._blocked("import", fullname, error)
        else:
            self._allowed.passed.add(path)


class _Then:
    """A loader that does something with the module once it is there. Everything else is the other loader's."""

    def __init__(self, loader: Any, after: Callable[[Any], None]) -> None:
        self._loader = loader
        self._after = after

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None:
            spec.loader = self._loader  # libraries ask it for resources and source
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._after(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def install(finder: Finder) -> None:
    """Put it first; modules that are already imported stay as they are."""
    sys.meta_path.insert(0, finder)
    importlib.invalidate_caches()
