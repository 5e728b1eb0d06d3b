"""The ``.pth`` file by which an administrator protects every Python that starts in an environment.

`site` ignores exceptions in such files, so that a refusal must end the interpreter; ``python -S`` and ``-I -S`` read
none of them, and whoever may write to site-packages may remove this one.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Sequence

from assay.errors import UsageError
from assay.files import write_atomic
from assay.guard.protect.interface import Mode

NAME = "assay-protect.pth"
"""The file's name."""


def text(mode: Mode, config: str | None, code: Sequence[str] = ()) -> str:
    """The file's one line. ``config`` and the folders ``code`` are absolute: any folder may be the current one."""
    for path in (config, *code):
        if path is not None and not os.path.isabs(path):
            raise UsageError(f"{path} is not an absolute path", hint="every Python would look for it somewhere else")
    return f"import assay.protect; assay.protect.at_startup({mode.value!r}, {config!r}, {list(code)!r})\n"


def install(mode: Mode, config: str | None, site: str | None = None, code: Sequence[str] = ()) -> str:
    """Write the file into ``site`` (default: this environment's site-packages); its path."""
    path = place(site)
    write_atomic(path, text(mode, config, code).encode())
    return path


def remove(site: str | None = None) -> str:
    """Remove the file; its path. Raises `UsageError` where there is none."""
    path = place(site)
    try:
        os.unlink(path)
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: nothing is installed there") from None
    return path


def place(site: str | None) -> str:
    """Where the file lies."""
    return os.path.join(site or sysconfig.get_paths()["purelib"], NAME)
