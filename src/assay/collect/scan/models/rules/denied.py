"""Names that no honest model needs: which module and name, and what they would give an attacker.

Reads a name the way Python would resolve it, without importing anything: with Python 2's old names, through dotted
names and through modules that lie in other modules (``pathlib`` + ``os.system``). It only ever says no.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MODULES = _words(
    """
    __builtin__ __builtins__ _posixsubprocess asyncio builtins commands ctypes importlib marshal multiprocessing
    nt os pickle pkgutil posix pty requests runpy shutil socket subprocess sys tempfile urllib urllib2
    webbrowser
    """
)
"""Modules that are denied wherever another module holds them under their own name."""

CALLED = _words(
    """
    Popen __import__ check_call check_output eval exec exec_command execfile execl execv execve getoutput
    getstatusoutput import_module literal_eval open popen run_module run_path runcode runstring spawnl spawnv system
    """
)
"""Names that say what they do: nobody's model calls one, whichever module it is imported from."""

_PLAIN = frozenset(word.strip("_") for word in CALLED)

_ACTING = re.compile(
    r"_*(?:write|save|dump|export|download|upload|urlopen|urlretrieve|mkdirp?|makedirs|unlink|rmtree|touch|chmod|symlink"
    r"|tofile|to_(?:csv|pickle|json|excel|parquet|hdf|feather|orc|stata|sql|clipboard|disk|file))(?:_\w*|s|p|text)?"
)
"""Names of functions that change files or the network, as libraries write them: nothing that is loaded calls one."""

INTERNALS = _words(
    """
    __base__ __bases__ __builtins__ __call__ __class__ __closure__ __code__ __defaults__ __delattr__ __dict__
    __func__ __getattr__ __getattribute__ __globals__ __import__ __init__ __init_subclass__ __kwdefaults__
    __loader__ __mro__ __reduce__ __reduce_ex__ __self__ __setattr__ __setstate__ __spec__ __subclasses__
    __wrapped__ cr_frame f_builtins f_globals f_locals func_code func_globals gi_code gi_frame im_func im_self
    mro
    """
)
"""Parts of a dotted name that lead out of an object into the interpreter."""

_LINE = re.compile(r"(call:|build:)?([a-z]+) ([\w.]+)( \*{1,2})?")


@dataclass(frozen=True, slots=True)
class Denied:
    """The parsed list."""

    names: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Category by module and name; ``call:`` stands before it where a mention is no matter, ``build:`` where only
    filling what a call returned is one."""
    modules: Mapping[str, str] = field(default_factory=dict)
    """Category by module, for all of its names."""
    trees: Mapping[str, str] = field(default_factory=dict)
    """Category by module, for its submodules too."""

    def category(self, module: str, name: str, use: str) -> str | None:
        """What the name is denied as; None for one that is not on the list."""
        for read, called in _readings(module, name):
            found = self._listed(read, called)
            only, colon, kind = (found or "").partition(":")
            if colon:
                found = kind if only == use or (only == "call" and use != "reference") else None
            if found is not None:
                return found
        parts = name.split(".")
        if len(parts) > 1 and any(part in INTERNALS for part in parts):
            return "reflection"
        if any(part in MODULES for part in parts) or any(part.lstrip("_") in MODULES for part in parts[:-1]):
            return "import"  # also as libraries hide them: ``random`` + ``_os.path``
        if use != "reference" and _ACTING.fullmatch(parts[-1]):
            return "file"
        return "execution" if parts[-1].strip("_") in _PLAIN and (use != "reference" or len(parts) > 1) else None

    def _listed(self, module: str, name: str) -> str | None:
        found = self.names.get((module, name)) or self.modules.get(module)
        if found is not None:
            return found
        while module:
            found = self.trees.get(module)
            if found is not None:
                return found
            module = module.rpartition(".")[0]
        return None


_IMPORTED_AS = {"np": "numpy", "pd": "pandas", "sp": "scipy"}


def _readings(module: str, name: str) -> Iterator[tuple[str, str]]:
    """The modules and names that a global may mean. ``a.b`` + ``c.d.e`` is ``e`` of ``a.b.c.d``, or of ``c.d``, where
    ``c`` is a module that ``a.b`` imported; or ``d`` of it is, and so on.
    """
    yield module, name
    parts = name.split(".")
    if len(parts) > 1:
        yield module, parts[0]  # what lies in something denied
    for end in range(1, len(parts)):
        yield f"{module}.{'.'.join(parts[:end])}", parts[end]
        for start in range(end):
            # What libraries call the modules that they import: numpy is np in nearly all of them.
            there = [_IMPORTED_AS.get(parts[start], parts[start]), *parts[start + 1 : end]]
            yield ".".join(there), parts[end]


def parse(text: str) -> Denied:
    """The list from its text. A line that is not understood is a mistake of ours: `ValueError`."""
    names: dict[tuple[str, str], str] = {}
    modules: dict[str, str] = {}
    trees: dict[str, str] = {}
    block: tuple[str, str] | None = None
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith(" ") and block is not None:
            for name in line.split():
                names.setdefault((block[1], name), block[0])
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"not understood: {line!r}")
        category, module = (match[1] or "") + match[2], match[3]
        if match[4] is None:
            block = category, module
        else:
            block = None
            (trees if match[4] == " **" else modules)[module] = category
    return Denied(names, modules, trees)
