"""Names in marshalled Python bytecode, found without unmarshalling it, which would let hostile bytes crash us.

Every name and text constant of a code object is a string of marshal's, with its type and length before it; so a name
is found exactly, and a file's path that merely contains it is not. Source: CPython's ``Python/marshal.c``.
"""

from __future__ import annotations

import re
from functools import cache

ATTACK = (
    "system", "popen", "Popen", "check_output", "check_call", "getoutput", "getstatusoutput", "subprocess", "pty",
    "eval", "exec", "__import__", "import_module", "importlib", "builtins", "__builtins__", "__subclasses__",
    "__globals__", "__getattribute__", "__bases__", "__mro__", "execve", "execv", "execvp", "spawnl", "spawnv", "fork",
    "posix_spawn", "startfile", "os", "posix", "nt", "socket", "urlopen", "urlretrieve", "urllib", "requests",
    "ctypes", "cdll", "windll", "marshal", "pickle", "b64decode", "fromhex", "a2b_base64", "runpy", "run_path",
    "get_file", "write_file", "read_file", "gfile", "py_function", "load_library", "load_op_library", "open", "rmtree",
    "unlink", "environ", "smtplib", "ftplib", "httpx", "create_connection", "shutil", "webbrowser",
)  # fmt: skip
"""Names that a layer's arithmetic has no use for."""


@cache
def _pattern() -> re.Pattern[bytes]:
    names = [name.encode() for name in ATTACK]
    short = b"|".join(re.escape(bytes([len(name)]) + name) for name in names)
    long = b"|".join(re.escape(len(name).to_bytes(4, "little") + name) for name in names)
    return re.compile(b"[zZ\xfa\xda](?:" + short + b")|[aAuts\xe1\xc1\xf5\xf4\xf3](?:" + long + b")", re.DOTALL)


def names_in(data: bytes) -> list[str]:
    """The names of `ATTACK` that marshalled code uses, in the list's order."""
    found = {match[0][2 if match[0][0] & 0x5F == 0x5A else 5 :].decode() for match in _pattern().finditer(data)}
    return [name for name in ATTACK if name in found]
