"""Names that two runs share: places as symbols, and in declared places numbers, dates and ids as what they are.

Outside the places that were declared for the step a name is kept to the letter: a pattern there would hide a file that
is planted beside a harmless one.
"""

from __future__ import annotations

import hashlib
import os
import re

from assay.collect.behaviour.interface import Places

_VARYING = re.compile(
    r"(?P<uuid>[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12})"
    r"|(?P<date>(?<!\d)(?:19|20)\d\d[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12]\d|3[01])"
    r"(?:[T_-]?\d\d[-:.h]?\d\d(?:[-:.m]?\d\d)?Z?)?(?!\d))"
    r"|(?P<hex>(?<![0-9a-zA-Z])[0-9a-fA-F]{16,}(?![0-9a-zA-Z]))"
    r"|(?P<n>\d+)"
)
_CODE_LIKE = re.compile(
    r"\.(?:py|pyc|pyi|pyx|pth|so(?:\.[\d.]+)?|sh|bash|r|jl|ipynb|pl|rb|js|jar|exe|dll|dylib|service)$", re.I
)
_PROCESS = re.compile(r"/proc/(?:\d+|self|thread-self)(?=/|$)(?:/task/\d+(?=/|$))?")
_CACHES = (
    "~/.cache/",
    "~/.config/matplotlib/",
    "~/.keras/",
    "~/.nv/",
    "~/.numba_cache/",
    "~/.triton/",
    "/var/cache/",
)

LONGEST = 4000
"""Characters of a name; of a longer one the beginning and a digest."""

SYSTEM = ("/usr/", "/lib/", "/lib32/", "/lib64/", "/libx32/", "/bin/", "/sbin/", "/nix/store/", "/gnu/store/")
"""The operating system's programs, libraries and data: read by everything, described by its image."""


class Names:
    """Names for one run's paths."""

    def __init__(self, places: Places) -> None:
        folders = [(places.directory, "$CODE"), (places.temporary, "$TMPDIR"), (places.home, "~")]
        for symbol, many in (("$IN", places.inputs), ("$OUT", places.outputs), ("$ENV", places.installation)):
            folders += [(folder, symbol if i == 0 else f"{symbol}{i + 1}") for i, folder in enumerate(many)]
        folders = [(folder.rstrip("/"), symbol) for folder, symbol in folders if folder.rstrip("/")]
        # The longest wins, so that an output inside the code folder is an output; of equals what was declared does.
        order = ("$OUT", "$IN", "$TMPDIR", "$ENV", "$CODE", "~")
        self._folders = sorted(folders, key=lambda item: (-len(item[0]), order.index(item[1].rstrip("0123456789"))))
        self._real: dict[str, str] = {}

    def real(self, path: str) -> str:
        """The path without links, as it resolves now."""
        if path.startswith("/proc/"):  # the links in there are ours, not the step's
            return path
        folder, _, name = path.rpartition("/")
        found = self._real.get(folder)
        if found is None:
            found = self._real[folder] = os.path.realpath(folder or "/")
        joined = f"{found.rstrip('/')}/{name}"
        return os.path.realpath(joined) if os.path.islink(joined) else joined

    def symbolic(self, path: str) -> str:
        """``path`` (links resolved) with its place as a symbol, printable."""
        for folder, symbol in self._folders:
            if path == folder or path.startswith(folder + "/"):
                return printable(symbol + path[len(folder) :])
        return printable(_PROCESS.sub("/proc/PID", path))


def place(name: str) -> str:
    """The symbol that a symbolic name begins with, without its number; empty for a plain path."""
    head = name.partition("/")[0]
    return head.rstrip("0123456789") if head.startswith(("$", "~")) else ""


def pattern(name: str) -> str:
    """A name with numbers, dates and ids as ``<n>``, ``<date>``, ``<hex>``, ``<uuid>``. Code keeps its name."""
    if _CODE_LIKE.search(name):
        return name
    head, slash, rest = name.partition("/")
    return head + slash + _VARYING.sub(lambda match: f"<{match.lastgroup}>", rest)


def crowd(name: str) -> str:
    """The folder of a name with ``*`` and the extension: what stands for many files that lie together."""
    folder, _, base = pattern(name).rpartition("/")
    extension = os.path.splitext(base)[1]
    return f"{folder}/*{extension}" if folder else name


def cache(name: str) -> str | None:
    """The cache that a symbolic name lies in, or leads to; None for no cache. Of roots that programs share it is the
    folder of one of them.
    """
    for root in _CACHES:
        if name.startswith(root):
            inside = name[len(root) :].split("/")
            return root + inside[0] if root.endswith("cache/") and len(inside) > 1 else root.rstrip("/")
    leads = name.startswith("~/") and any(root.startswith(f"{name}/") for root in _CACHES)
    return "~/.cache" if leads else None


def bytecode(path: str) -> str | None:
    """The source file whose bytecode this is (also while it is being written); None for anything else."""
    folder, _, base = path.rpartition("/")
    above, _, last = folder.rpartition("/")
    match = re.fullmatch(r"(.+?)\.[a-z]+-\d+(?:\.opt-\d)?\.pyc(?:\.\d+)?", base)
    return f"{above}/{match[1]}.py" if match and last == "__pycache__" else None


def printable(text: str) -> str:
    """Text without control characters, and bytes that are no UTF-8 as ``\\xNN``: nothing that two readers or a terminal
    could take for something else.
    """
    if text.isascii():
        plain = text
    else:
        try:
            plain = os.fsencode(text).decode("utf-8", "backslashreplace")
        except UnicodeEncodeError:  # a lone surrogate that stands for no byte
            plain = text.encode("utf-8", "backslashreplace").decode()
    if "*" in plain:
        plain = plain.replace("*", "\\x2a")  # in a profile a star stands for many files
    plain = plain if plain.isprintable() else "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in plain)
    return plain if len(plain) <= LONGEST else f"{plain[:LONGEST]}…{hashlib.sha256(plain.encode()).hexdigest()[:16]}"
