"""Recognises what a call is to do by its arguments: program text, programs' paths, and files opened for writing.

Who hands a program to a function that nobody has looked at wants it run, whatever the function is called.

Looks at literals only, bounded; what it does not recognise is not thereby harmless. It must never evaluate a text.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from itertools import islice

LONGEST = 1 << 16
"""Characters of a text that is parsed."""

TOTAL = 2 << 20
"""Characters of one program's texts that are parsed, about a second of them; records of data are not paid for."""

MOST = 64
"""Texts of one call that are looked at."""

_DEPTH = 3
_MODE = re.compile(r"(?:[wax][bt]?\+?|[wax]\+[bt]?|r[bt]?\+|r\+[bt]?)")
_PATH = re.compile(r"(?:[^\0\n]*/)?[^\0\n/]+\.(?:pyc?|pyd|so(?:\.\d+)*|dll|dylib|sh|exe|bat|ps1)")
_HINT = re.compile(r"\b(?:import|exec|eval|compile|open|system|popen|subprocess|getattr|globals|breakpoint)\b|__\w+__")
_RUNS = frozenset(("exec", "eval", "compile", "open", "__import__", "breakpoint"))
_INTO = frozenset(
    ("__class__", "__bases__", "__base__", "__mro__", "__subclasses__", "__globals__", "__builtins__", "__code__")
)
_MODULES = frozenset(("os", "posix", "nt", "subprocess", "builtins", "__builtins__", "ctypes", "socket", "importlib"))


def given(args: tuple[object, ...], left: list[int]) -> Iterator[tuple[str, object]]:
    """What stands out among the arguments of a call: a flag (`judging.STRUCTURE`) and the argument. ``left`` are the
    characters that may yet be parsed, and are taken from it.
    """
    for text in programs(args, left):
        yield "program-given", text
    if writes(args):
        yield "file-written", args[0]
    elif (found := path(args)) is not None:
        yield "program-named", found


def programs(args: tuple[object, ...], left: list[int]) -> Iterator[str]:
    """The texts among ``args``, also inside lists and dictionaries, that are Python and act on the machine."""
    for text in _texts(args, _DEPTH, [MOST]):
        if len(text) <= min(LONGEST, left[0]) and _HINT.search(text) is not None:
            left[0] -= len(text)
            if _acts(text):
                yield text


def writes(args: tuple[object, ...]) -> bool:
    """Whether ``args`` are those of ``open``: a file's name and, behind it, a mode that changes it."""
    return (
        len(args) > 1
        and type(args[0]) in (str, bytes)
        and type(args[1]) is str
        and _MODE.fullmatch(args[1]) is not None
    )


def path(args: tuple[object, ...]) -> str | None:
    """The path of a program or library among ``args``."""
    for arg in args:
        if type(arg) is str and len(arg) < 4096 and _PATH.fullmatch(arg) is not None:
            return arg
    return None


def _texts(value: object, depth: int, left: list[int]) -> Iterator[str]:
    kind = type(value)
    if left[0] <= 0:
        return
    if kind is str or kind is bytes:
        left[0] -= 1
        yield value if isinstance(value, str) else bytes(value[:LONGEST]).decode("latin1")  # type: ignore[index]
    elif depth and kind in (list, tuple, dict):
        items = value.values() if isinstance(value, dict) else value
        for item in islice(items, MOST):  # type: ignore[call-overload]
            yield from _texts(item, depth - 1, left)


def _acts(text: str) -> bool:
    """Whether it is Python that runs code, opens a file or reaches into the interpreter, not one that only names it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes in the text: not ours to print
            tree = ast.parse(text.strip().lstrip("@"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in _RUNS:
                return True
            if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id in _MODULES:
                return True
        elif isinstance(node, ast.Attribute) and node.attr in _INTO:
            return True
    return False
