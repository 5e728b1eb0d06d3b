"""The audit hook: the second line behind patches and importer, which C code and odd ways of importing do not go around.

CPython raises its events before the deed, from C, and a hook cannot be taken out again (PEP 578).
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from types import CodeType
from typing import Any

from assay.collect.scan.models.interface import Rules
from assay.errors import AssayError
from assay.guard.load.names import check_name
from assay.guard.protect.attested import Attested
from assay.guard.protect.imports import Blocked

_SYSTEM = ("/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/", "/usr/local/lib/")
"""Where shared objects of the operating system lie; its package manager answers for them."""


class Hook:
    """Judges names that unpicklers ask for, shared objects, and code from files."""

    def __init__(self, rules: Rules, allowed: Attested | None, blocked: Blocked) -> None:
        self._rules = rules
        self._allowed = allowed
        self._blocked = blocked
        self._here = threading.local()
        self._names: set[tuple[str, str]] = set()
        self._handlers: dict[str, Callable[..., None]] = {"pickle.find_class": self._name}
        if allowed is not None:
            self._handlers |= {"import": self._extension, "ctypes.dlopen": self._library, "exec": self._code}

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Called by the interpreter for every audit event."""
        handler = self._handlers.get(event)
        if handler is None or getattr(self._here, "busy", False):
            return
        self._here.busy = True
        try:
            handler(*arguments)
        finally:
            self._here.busy = False

    def _name(self, module: object, name: object) -> None:
        key = (str(module), str(name))
        if key in self._names:
            return
        try:
            check_name(self._rules, *key, "a pickle")
        except AssayError as error:
            self._blocked("name", ".".join(key), error)
        else:
            self._names.add(key)

    def _extension(self, module: object, path: object, *_: object) -> None:
        if isinstance(path, (str, bytes)):
            self._shared(os.fsdecode(path), str(module))

    def _library(self, path: object) -> None:
        if isinstance(path, (str, bytes)) and "/" in os.fsdecode(path):
            self._shared(os.fsdecode(path), os.fsdecode(path))

    def _shared(self, path: str, name: str) -> None:
        assert self._allowed is not None
        real = os.path.realpath(path)
        if real.startswith(_SYSTEM) and "/site-packages/" not in real and "/dist-packages/" not in real:
            return
        try:
            self._allowed.check_library(path)
        except AssayError as error:
            self._blocked("library", name, error)

    def _code(self, code: object) -> None:
        """Code that came from a file by another way than the importer: `runpy`, `spec_from_file_location`, `exec`."""
        if not isinstance(code, CodeType):
            return
        path = code.co_filename
        assert self._allowed is not None
        if path in self._allowed.passed or path.startswith("<") or not os.path.isfile(path):
            return
        try:
            self._allowed.check(path)
        except AssayError as error:
            self._blocked("import", path, error)
        else:
            self._allowed.passed.add(path)


def install(hook: Hook) -> None:
    """For the rest of the process."""
    sys.addaudithook(hook)
