"""The ``.pth`` file by which an administrator protects every Python that starts in an environment.

`site` ignores exceptions in such files, so that a refusal must end the interpreter; ``python -S`` and ``-I -S`` read
none of them, and whoever may write to site-packages may remove this one.
"""

from __future__ import annotations

import os
import sysconfig

from assay.errors import UsageError
from assay.files import write_atomic
from assay.guard.protect.interface import Mode

NAME = "assay-protect.pth"
"""The file's name."""


def text(mode: Mode, config: str | None) -> str:
    """The file's one line. ``config`` is an absolute path, since any folder may be the current one."""
    if config is not None and not os.path.isabs(config):
        raise UsageError(f"{config} is not an absolute path", hint="every Python would look for it somewhere else")
    return f"import assay.protect; assay.protect.at_startup({mode.value!r}, {config!r})\n"


def install(mode: Mode, config: str | None, site: str | None = None) -> str:
    """Write the file into ``site`` (default: this environment's site-packages); its path."""
    path = place(site)
    write_atomic(path, text(mode, config).encode())
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
