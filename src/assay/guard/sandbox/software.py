"""What a command is made of: the programs that the kernel starts for it, and the code that it reads.

Only what the command line itself leads to. It never guesses data: that is declared, or it is refused.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from glob import escape, glob

_DEEPEST = 4  # the kernel follows that many interpreters (fs/exec.c, BINPRM_MAX_RECURSION)
_PT_INTERP = 3
_CODE = (".py", ".pyi", ".pyx", ".so", ".sh", ".R", ".r", ".jl", ".ipynb")


def programs(command: Sequence[str], directory: str, path: str | None) -> tuple[str, ...]:
    """Files that have to be executable for ``command`` to start: its program, the interpreter of a script, and the
    dynamic loader; links resolved. Empty when there is no such program.
    """
    name = command[0]
    found = os.path.join(directory, name) if "/" in name else shutil.which(name, path=path)
    return tuple(dict.fromkeys(_chain(found, path, _DEEPEST))) if found else ()


def _chain(program: str, path: str | None, left: int) -> Iterator[str]:
    real = os.path.realpath(program)
    yield real
    if not left:
        return
    try:
        with open(real, "rb") as file:
            start = file.read(256)
            follows = [_loader(file.fileno(), start)] if start[:4] == b"\x7fELF" else _interpreter(start, path)
    except (OSError, OverflowError, struct.error, ValueError):
        return
    for each in filter(None, follows):
        yield from _chain(each, path, left - 1)


def _interpreter(start: bytes, path: str | None) -> list[str | None]:
    """The program after ``#!``, and the one that ``env`` would find."""
    if start[:2] != b"#!":
        return []
    words = os.fsdecode(start[2:].partition(b"\n")[0]).split()
    found: list[str | None] = [*words[:1]]
    if words and os.path.basename(words[0]) == "env":
        found += [shutil.which(word, path=path) for word in words[1:] if "=" not in word and word[:1] != "-"][:1]
    return found


def _loader(file: int, start: bytes) -> str | None:
    """``PT_INTERP`` of an ELF file, 64 bits, little-endian (elf(5))."""
    if start[4:6] != b"\x02\x01":
        return None
    offset, size, count = struct.unpack_from("<Q14xHH", start, 32)
    for at in range(min(count, 128)):
        kind, _, where, _, _, length = struct.unpack("<IIQQQQ", os.pread(file, 40, offset + at * size))
        if kind == _PT_INTERP:
            return os.fsdecode(os.pread(file, min(length, 4096), where).rstrip(b"\0"))
    return None


def code(command: Sequence[str], directory: str, variables: Mapping[str, str]) -> tuple[str, ...]:
    """Files and folders of the step's own code: scripts that the command names, the Python files and packages beside
    them (or in ``directory`` for ``-m`` and ``-c``), and what ``PYTHONPATH`` names.
    """
    found: dict[str, None] = {}
    for word in command:
        path = os.path.join(directory, word)
        if os.path.isfile(path) and (word.endswith(_CODE) or _is_script(path)):
            found.update(dict.fromkeys((os.path.realpath(path), *_beside(os.path.dirname(os.path.realpath(path))))))
    if "-m" in command or "-c" in command:
        found.update(dict.fromkeys(_beside(directory)))
    for folder in variables.get("PYTHONPATH", "").split(os.pathsep):
        if folder:
            found.update(dict.fromkeys(_beside(os.path.realpath(os.path.join(directory, folder)))))
    return tuple(found)


def linked(installation: Sequence[str]) -> tuple[str, ...]:
    """Folders that ``.pth`` files of an installation add to Python's path: packages installed in place."""
    found: dict[str, None] = {}
    for prefix in installation:
        for file in glob(os.path.join(escape(prefix), "lib*", "python*", "site-packages", "*.pth")):
            try:
                with open(file, encoding="utf-8", errors="surrogateescape") as lines:
                    named = [line.strip() for line in lines if line.strip() and not line.startswith(("#", "import"))]
            except OSError:
                continue
            folders = (os.path.realpath(os.path.join(os.path.dirname(file), name)) for name in named)
            found.update(dict.fromkeys(path for folder in folders for path in _beside(folder)))
    return tuple(found)


def _is_script(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def _beside(folder: str) -> Iterator[str]:
    """Python files of a folder, and the packages in it: never the folder itself, which may hold anything."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        is_module = entry.name.endswith((".py", ".so", ".pyd")) and entry.is_file()
        if is_module or (entry.name.isidentifier() and entry.is_dir() and _is_package(entry.path)):
            yield os.path.realpath(entry.path)


def _is_package(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "__init__.py"))
