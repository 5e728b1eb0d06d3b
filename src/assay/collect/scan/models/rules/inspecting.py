"""Looks at an installed library and lists its classes that only hold data. Runs in a process of its own.

This is the one place of the scanner that imports a library, and only because a user asked for it by name. It lists no
callable but enumerations, which only look a value up: all others are for a person to list, one by one. Prints one JSON
document on standard output.
"""

from __future__ import annotations

import ast
import contextlib
import enum
import importlib
import importlib.metadata
import importlib.util
import inspect
import io
import json
import os
import pkgutil
import sys
import textwrap
import types
import warnings
from collections.abc import Iterator

from assay.collect.scan.models.rules.quiet import Checker
from assay.collect.scan.models.rules.words import METHODS, READING, SKIPPED

GENERATED = "__pyx_unpickle_"
"""How the functions are called that Cython writes to fill an instance of a class without methods for pickling: they
make it without arguments and set its fields.
"""

LOADING = ("__new__", "__setstate__", "__getattr__", "__getattribute__", "__setitem__", "__del__", "__hash__", "__eq__")
"""Methods that loading a pickle reaches by itself, on any instance."""

FILLING = ("__setattr__", "__delattr__")
"""Reached by BUILD with slots, and only where the class has no ``__setstate__``; so are setters of properties."""


def names(package: types.ModuleType, without: frozenset[str] = frozenset()) -> Iterator[str]:
    """The modules of a package, sorted, without its tests and what is named in ``without``."""
    yield package.__name__
    path = getattr(package, "__path__", None)
    if path is None:
        return
    for found in sorted(pkgutil.iter_modules(path), key=lambda item: item.name):
        if found.name in SKIPPED or found.name.startswith("test_"):
            continue
        name = f"{package.__name__}.{found.name}"
        module = None if name in without else load(name)
        if module is None:
            continue
        if found.ispkg:
            yield from names(module, without)
        else:
            yield name


def load(name: str) -> types.ModuleType | None:
    """Import a module; None for one that cannot be, as many optional parts of libraries."""
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit):
        return None


def defined(module: types.ModuleType) -> set[str]:
    """Names of the classes whose definitions stand in the module's source, nested ones dotted."""
    spec = getattr(module, "__spec__", None)
    origin = getattr(spec, "origin", None)
    if not origin or not origin.endswith(".py"):
        return set()
    with open(origin, "rb") as file:
        tree = ast.parse(file.read())
    found: set[str] = set()
    waiting: list[tuple[ast.AST, str]] = [(tree, "")]
    while waiting:
        node, prefix = waiting.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                found.add(prefix + child.name)
                waiting.append((child, f"{prefix}{child.name}."))
            elif isinstance(child, (ast.If, ast.Try, ast.With, ast.ExceptHandler)):
                waiting.append((child, prefix))
    return found


def held(module: types.ModuleType, dotted: str) -> object:
    """What a dotted name in a module stands for; None when it is not there."""
    value: object = module
    for part in dotted.split("."):
        value = vars(value).get(part) if isinstance(value, (types.ModuleType, type)) else None
    return value


def compiled(module: types.ModuleType) -> set[str]:
    """Names of the classes of a compiled module that Cython itself made fit for pickling."""
    found = {name.removeprefix(GENERATED) for name in vars(module) if name.startswith(GENERATED)}
    return {name for name in found if isinstance(vars(module).get(name), type)}


def kept(made: type) -> set[str]:
    """The class's own methods that its code uses as values (``vectorize(self._one)``), so that pickles name them."""
    found: set[str] = set()
    for base in made.__mro__:
        if not _python(base) or base is object:
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError, SyntaxError, ValueError):
            continue
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Load)
                and id(node) not in called
                and isinstance(node.value, ast.Name)
                and node.value.id == "self"
                and not (node.attr.startswith("__") and node.attr.endswith("__"))
                and isinstance(inspect.getattr_static(made, node.attr, None), types.FunctionType)
            ):
                found.add(node.attr)
    return found


def refusal(made: type, checker: Checker) -> str | None:
    """Why a class cannot be listed by itself; None for one that only holds data."""
    for base in made.__mro__:
        if not _python(base) and base not in _PLAIN and f"{base.__module__}.{base.__qualname__}" not in _COMPILED:
            return f"{base.__module__}.{base.__qualname__} is compiled"
    if issubclass(type(made), enum.EnumMeta):
        missing = next(vars(base)["_missing_"] for base in made.__mro__ if "_missing_" in vars(base))
        return None if type(made) is enum.EnumMeta and missing in _NO_MEMBER else checker.reason(missing, made)
    if issubclass(made, BaseException):
        return "an exception"
    members: dict[str, object] = {}
    for base in reversed(made.__mro__):
        if base not in _PLAIN and _python(base):
            members |= vars(base)
    hooks = [*LOADING, *sorted(READING), *sorted(METHODS)]
    if "__setstate__" not in members:
        hooks += FILLING
        for name, member in sorted(members.items()):
            setter = member.fset if isinstance(member, property) else None
            if setter is not None and (reason := checker.reason(setter, made)):
                return f"setter of {name}: {reason}"
    for name in hooks:
        member = members.get(name)
        if member is None or isinstance(member, property) or not callable(getattr(member, "__func__", member)):
            continue
        if _generated(made, name, member):
            continue
        if reason := checker.reason(member, made):
            return f"{name}: {reason}"
    return None


_PLAIN = frozenset({object, dict, list, tuple, set, frozenset, str, int, float, bytes, complex})
_NO_MEMBER = (vars(enum.Enum)["_missing_"], vars(enum.Flag)["_missing_"])
_COMPILED = frozenset({"typing.Generic", "typing.Protocol", "collections.OrderedDict", "collections.defaultdict"})


def _python(base: type) -> bool:
    """Whether a class was made by a class statement (or generated by Python code)."""
    return bool(base.__flags__ & (1 << 9))  # Py_TPFLAGS_HEAPTYPE


def _generated(made: type, name: str, member: object) -> bool:
    """Methods that ``dataclass`` and ``namedtuple`` wrote: they compare, hash and print fields."""
    if name == "__new__" and issubclass(made, tuple) and hasattr(made, "_fields"):
        return True
    code = getattr(member, "__code__", None)
    return "__dataclass_fields__" in vars(made) and code is not None and code.co_filename == "<string>"


def inspect_library(library: str, without: frozenset[str] = frozenset()) -> dict[str, object]:
    """The document: packages, versions, names by kind of list, and the classes that are left out with the reason."""
    packages, version = located(library)
    checker = Checker()
    found = _Found(frozenset(packages))
    seen: dict[type, tuple[str | None, bool]] = {}
    for package in packages:
        module = None if package in without else load(package)
        if module is None:
            continue
        for name in names(module, without):
            current = sys.modules.get(name)
            if current is None:
                continue
            for one in sorted(compiled(current)):
                found.add("new", name, one)
                found.add("call", name, GENERATED + one)
            for dotted in sorted(defined(current)):
                made = held(current, dotted)
                if isinstance(made, type):
                    if made not in seen:
                        seen[made] = _judged(made, checker)
                    found.place(made, name, dotted, *seen[made])
    listed = {
        kind: {place: sorted(inner) for place, inner in sorted(held.items())}
        for kind, held in sorted(found.listed.items())
    }
    return {
        "library": library,
        "version": version,
        "packages": packages,
        "listed": listed,
        "refused": dict(sorted(found.refused.items())),
    }


class _Found:
    """Names by kind of list, module and name."""

    def __init__(self, packages: frozenset[str]) -> None:
        self.listed: dict[str, dict[str, set[str]]] = {}
        self.refused: dict[str, str] = {}
        self._packages = packages

    def add(self, kind: str, module: str, name: str) -> None:
        self.listed.setdefault(kind, {}).setdefault(module, set()).add(name)

    def place(self, made: type, name: str, dotted: str, reason: str | None, proved: bool) -> None:
        """A class that the module ``name`` defines; some claim to live in their package."""
        places = {(name, dotted)}
        home = sys.modules.get(made.__module__)
        if home is not None and held(home, made.__qualname__) is made:
            places.add((made.__module__, made.__qualname__))
        for place, qualified in sorted(places):
            if "<" in qualified or place.partition(".")[0] not in self._packages:
                continue
            if reason is not None:
                self.refused[f"{place}.{qualified}"] = reason
                continue
            self.add("enum" if issubclass(made, enum.Enum) else "proved" if proved else "new", place, qualified)
            for method in kept(made):
                self.add("ref", place, f"{qualified}.{method}")


def _judged(made: type, checker: Checker) -> tuple[str | None, bool]:
    """Why a class is left out, if it is; whether it is quiet only with states that the engine proves."""
    checker.proved = False
    try:
        return refusal(made, checker), checker.proved
    except (Exception, RecursionError) as error:
        return f"not understood: {type(error).__name__}", False


def located(library: str) -> tuple[list[str], str]:
    """The packages of a distribution, or the package of that name, and its version."""
    wanted = library.replace("_", "-").lower()
    providers = importlib.metadata.packages_distributions()
    packages = sorted(
        package
        for package, distributions in providers.items()
        if wanted in {item.replace("_", "-").lower() for item in distributions} and package.isidentifier()
    )
    with contextlib.suppress(ImportError, ValueError):
        if not packages and importlib.util.find_spec(library) is not None:
            packages = [library]
    version = ""
    for candidate in [library, *(item for package in packages for item in providers.get(package, ()))]:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            version = importlib.metadata.version(candidate)
            break
    return packages, version


def main() -> None:
    """Entry of the child process: the library's name is its argument."""
    warnings.simplefilter("ignore")
    out = os.dup(1)
    os.dup2(2, 1)  # what the library prints while it is imported must not get into the document
    with contextlib.redirect_stdout(io.StringIO()):
        document = inspect_library(sys.argv[1], frozenset(sys.argv[2:]))
    with os.fdopen(out, "w", encoding="ascii") as file:
        json.dump(document, file)


if __name__ == "__main__":
    main()
