"""Whether a Python function can be run with an attacker's arguments and do nothing but move data about.

Reads the function's source and follows what it calls, as far as that can be told without running it. It must never
call what it looks at, and anything that it does not understand is an answer of no. Sound only together with two
conditions that others hold: objects on which methods are called come from listed classes, and the engine refuses
pickles that replace an object's methods.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import linecache
import logging
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from assay.collect.scan.models.rules.words import BUILTINS, HARMLESS, METHODS, PROVED

MAX_DEPTH = 12
"""Calls that are followed into each other."""


_TAKING_CALLABLES = {"filter", "map", "sorted", "max", "min", "iter"}
"""Of these, the ones that call an argument of theirs: only without one."""


_TENSORS = "torch._VariableFunctionsClass."
"""Home of torch's functions on tensors; one of them maps files."""


_BUILT_IN = frozenset(BUILTINS.values())


class Noisy(Exception):
    """A function does something that is not known to be quiet; the message says what."""


class Checker:
    """Answers for many functions of one library, each looked at once."""

    def __init__(self) -> None:
        self.proved = False
        """An answer since this was set to False rests on the engine's proof of a state (`words.PROVED`)."""
        self._known: dict[tuple[object, type | None], str | None] = {}
        self._proving: set[tuple[object, type | None]] = set()

    def reason(self, function: Any, owner: type | None = None) -> str | None:
        """Why ``function`` (a method that ``owner`` has) is not known to be quiet; None when it is."""
        return self._reason(function, owner, 0)

    def _reason(self, function: Any, owner: type | None, depth: int) -> str | None:
        function = _plain(function)
        key = (function, owner)
        if key not in self._known:
            self._known[key] = None  # recursion: quiet unless something else in it is not
            before, self.proved = self.proved, False
            try:
                if depth > MAX_DEPTH:
                    raise Noisy("calls go too deep")
                self._function(function, owner, depth)
            except Noisy as noisy:
                self._known[key] = str(noisy)
            if self.proved:
                self._proving.add(key)
            self.proved = before
        self.proved = self.proved or key in self._proving
        return self._known[key]

    def _function(self, function: Any, owner: type | None, depth: int) -> None:
        if not isinstance(function, types.FunctionType):
            raise Noisy(f"{_name(function)} has no Python source")
        if _name(function) in HARMLESS:
            return
        if _name(function) in PROVED:
            self.proved = True
            for attribute in PROVED[_name(function)]:
                for base in owner.__mro__ if owner else ():
                    if attribute in vars(base):
                        self._inherited(vars(base)[attribute], owner, depth)
                        break
            return
        node = _node(function)
        if node is None:
            raise Noisy(f"the source of {_name(function)} was not found")
        look = _Names(function, node, owner)
        for call in _calls(node):
            self._call(call, look, depth)

    def _call(self, call: ast.Call, look: _Names, depth: int) -> None:
        target = call.func
        if isinstance(target, ast.Attribute):
            if _is_super(target.value):
                self._super(target.attr, look, depth)
                return
            if isinstance(target.value, ast.Name) and target.value.id in ("self", "cls") and look.owner is not None:
                self._method(target.attr, look, depth)
                return
            known, home = look.resolve(target.value)
            if known and isinstance(home, logging.Logger):
                return
        found, value = look.resolve(target)
        if found:
            self._value(value, call, depth)
        elif isinstance(target, ast.Name) and target.id in look.nested:
            return  # its body is part of this function's
        elif not (isinstance(target, ast.Attribute) and target.attr in METHODS | _DUNDERS):
            raise Noisy(f"{look.where} calls {ast.unparse(target)[:60]}")

    def _super(self, attribute: str, look: _Names, depth: int) -> None:
        order = look.owner.__mro__ if look.owner else ()
        start = order.index(look.definer) + 1 if look.definer in order else 1
        for base in order[start:]:
            if attribute in vars(base):
                self._inherited(vars(base)[attribute], look.owner, depth)
                return

    def _method(self, attribute: str, look: _Names, depth: int) -> None:
        for base in look.owner.__mro__ if look.owner else ():
            if attribute in vars(base):
                self._inherited(vars(base)[attribute], look.owner, depth)
                return
        if attribute not in METHODS:
            raise Noisy(f"{look.where} calls what it finds in self.{attribute}")

    def _inherited(self, member: object, owner: type | None, depth: int) -> None:
        member = _plain(member)
        if isinstance(member, property):
            raise Noisy(f"calls what a property returns ({_name(member)})")
        if _built_in(member):
            return
        if isinstance(member, type):
            self._class(member, depth)
        elif reason := self._reason(member, owner, depth + 1):
            raise Noisy(reason)

    def _value(self, value: object, call: ast.Call, depth: int) -> None:
        name = _name(value)
        if _hashable(value) and value in _BUILT_IN:
            if name.rpartition(".")[2] in _TAKING_CALLABLES and not _without_callable(name.rpartition(".")[2], call):
                raise Noisy(f"{name} is given something to call")
            if value is type and len(call.args) == 3:
                raise Noisy("makes a class")
        elif name in HARMLESS or (name.startswith(_TENSORS) and name != f"{_TENSORS}from_file"):
            return
        elif isinstance(value, type):
            self._class(value, depth)
        elif isinstance(value, types.MethodType) and isinstance(value.__self__, type):
            if reason := self._reason(value.__func__, value.__self__, depth + 1):
                raise Noisy(reason)
        elif isinstance(value, types.FunctionType):
            if reason := self._reason(value, None, depth + 1):
                raise Noisy(reason)
        elif _built_in(value):
            return
        else:
            raise Noisy(f"calls {name}")

    def _class(self, made: type, depth: int) -> None:
        """A call of a class: its ``__new__`` and ``__init__``."""
        if issubclass(made, BaseException) or made in _HARMLESS_BASES or _named_tuple(made):
            return
        for attribute in ("__new__", "__init__", "__post_init__"):
            for base in made.__mro__:
                if attribute in vars(base):
                    if base not in _HARMLESS_BASES and not _generated(base, attribute):
                        self._inherited(vars(base)[attribute], made, depth)
                    break


_HARMLESS_BASES: frozenset[Any] = frozenset(
    {object, dict, list, tuple, set, frozenset, str, bytes, bytearray, int, float, complex, type, bool, OrderedDict}
)
_DUNDERS = frozenset({"__init__", "__new__", "__getitem__", "__len__", "__iter__", "__contains__"}) - {"__init__"}


def _named_tuple(made: type) -> bool:
    return issubclass(made, tuple) and tuple in made.__mro__[:3] and hasattr(made, "_fields")


def _generated(owner: type, attribute: str) -> bool:
    """Whether a dataclass made this ``__init__``: it only assigns and calls default factories of the class itself."""
    return attribute == "__init__" and "__dataclass_fields__" in vars(owner)


def _built_in(member: object) -> bool:
    """Whether this is a method that a built-in container or `object` has."""
    home = getattr(member, "__objclass__", None) or getattr(member, "__self__", None)
    return isinstance(home, type) and home in _HARMLESS_BASES


def _hashable(value: object) -> bool:
    try:
        hash(value)
    except Exception:
        return False
    return True


def _without_callable(name: str, call: ast.Call) -> bool:
    if name in ("filter", "map"):
        return False
    keys = [keyword for keyword in call.keywords if keyword.arg in (None, "key")]
    if any(not isinstance(keyword.value, ast.Lambda) or keyword.arg is None for keyword in keys):
        return False
    return name != "iter" or len(call.args) == 1


def _plain(member: Any) -> Any:
    """The function in a static, class or otherwise wrapped method."""
    for _ in range(5):
        if isinstance(member, (staticmethod, classmethod)):
            member = member.__func__
        else:
            break
    return member


def _name(value: object) -> str:
    module = getattr(value, "__module__", None) or getattr(type(value), "__module__", "")
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    return f"{module}.{name}"


def _is_super(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    """Every call in a function's body (nested functions too), not those in its decorators and defaults."""
    body = node.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) else []
    for part in body if isinstance(body, list) else [body]:
        for child in ast.walk(part):
            if isinstance(child, ast.Call) and not _is_super(child):
                yield child
            elif isinstance(child, (ast.AsyncWith, ast.Await)) or (
                isinstance(child, ast.With) and not all(isinstance(item.context_expr, ast.Call) for item in child.items)
            ):
                raise Noisy("uses with or await")


class _Names:
    """What the names in one function stand for."""

    def __init__(self, function: types.FunctionType, node: ast.AST, owner: type | None) -> None:
        self.owner = owner
        self.where = f"{function.__module__}.{function.__qualname__}"
        self.definer = _definer(function, owner)
        self.nested = {child.name for child in ast.walk(node) if isinstance(child, ast.FunctionDef)}
        self._globals = function.__globals__
        self._imported = _imports(node, function.__module__)
        self._cells: dict[str, object] = {}
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
            if _filled(cell):
                self._cells[name] = cell.cell_contents
        self._local = set(function.__code__.co_varnames) | set(function.__code__.co_cellvars)

    def resolve(self, node: ast.AST) -> tuple[bool, object]:
        """The object that a name or dotted name stands for, when that does not depend on the arguments."""
        if isinstance(node, ast.Attribute):
            found, value = self.resolve(node.value)
            if not found or not isinstance(value, (types.ModuleType, type)):
                return False, None
            missing = object()
            held = inspect.getattr_static(value, node.attr, missing)
            if isinstance(value, type) and isinstance(held, (classmethod, staticmethod, types.FunctionType)):
                held = getattr(value, node.attr)
            elif isinstance(value, types.ModuleType) and held is missing:
                held = getattr(value, node.attr, missing)
            return held is not missing, held
        if not isinstance(node, ast.Name):
            return False, None
        for table in (self._cells, self._imported):
            if node.id in table:
                return True, table[node.id]
        if node.id in self._local:
            return False, None
        if node.id in self._globals:
            return True, self._globals[node.id]
        return hasattr(builtins, node.id), getattr(builtins, node.id, None)


def _filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _imports(node: ast.AST, home: str) -> dict[str, object]:
    """What the function imports itself, as far as it is loaded already."""
    found: dict[str, object] = {}
    for child in ast.walk(node):
        if isinstance(child, ast.ImportFrom):
            base = child.module or ""
            if child.level:
                package = home.split(".")[: -child.level]
                base = ".".join([*package, *([base] if base else [])])
            for alias in child.names:
                held = getattr(sys.modules.get(base), alias.name, None)
                if held is not None:
                    found[alias.asname or alias.name] = held
        elif isinstance(child, ast.Import):
            for alias in child.names:
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                if name in sys.modules:
                    found[alias.asname or name] = sys.modules[name]
    return found


def _definer(function: types.FunctionType, owner: type | None) -> type | None:
    for base in owner.__mro__ if owner else ():
        if any(_plain(member) is function for member in vars(base).values()):
            return base
    return owner


@lru_cache(maxsize=4096)
def _tree(path: str) -> dict[tuple[int, str], ast.AST]:
    """The functions of a source file by first line and name; empty when there is none."""
    lines = linecache.getlines(path)
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError, RecursionError):
        return {}
    found: dict[tuple[int, str], ast.AST] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
            found[first, node.name] = node
        elif isinstance(node, ast.Lambda):
            found.setdefault((node.lineno, "<lambda>"), node)
    return found


def _node(function: types.FunctionType) -> ast.AST | None:
    code = function.__code__
    path = code.co_filename
    if path.startswith("<frozen "):
        path = getattr(sys.modules.get(path[len("<frozen ") : -1]), "__file__", None) or path
    return _tree(path).get((code.co_firstlineno, code.co_name))
