"""Where the user's pip looks for packages, as pip itself says, so that every file and variable counts as it does there.

Addresses may hold passwords: they stand in no message, no document and no program's argument list.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from urllib.parse import unquote, urlsplit

from assay.errors import UndecidedError, UsageError
from assay.targets.oci.web import is_loopback

PYPI = "https://pypi.org/simple"
"""What pip asks when nothing else is set."""

TIMEOUT = 1800
"""Seconds that one call of pip or uv may take; wheels of several gigabytes are common here."""


@dataclass(frozen=True, slots=True)
class Source:
    """One place that serves packages."""

    name: str
    """Host and path, or a folder: fit to be shown."""
    url: str = field(repr=False)
    """The address as the user set it, with its password if it holds one."""
    flat: bool = False
    """A page or folder of files (``find-links``), not an index with a page for every name."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What pip is set to."""

    sources: tuple[Source, ...]
    """Every place that pip would take a file from; the main index first."""
    constraints: tuple[str, ...] = ()
    """Constraint files that pip applies by itself."""
    certificates: str | None = None
    """File with the authorities that pip trusts."""
    client_certificate: str | None = None
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    """What must never be printed."""

    def scrub(self, text: str) -> str:
        """``text`` without passwords, and without what stands in front of an ``@`` in an address."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, "****")
        return re.sub(r"(?<=://)[^/\s@]+@", "", text)


def pip_command(python: str | None = None) -> list[str]:
    """How pip is called; for the environment of another interpreter with ``python`` (``3.12``)."""
    if find_spec("pip") is not None:
        command = [sys.executable, "-P", "-m", "pip"]  # -P: a folder called pip, lying here, is not pip
    elif found := shutil.which("pip"):
        command = [found]
    else:
        raise UndecidedError("packages need pip, and there is none here", hint="python -m ensurepip")
    if python is None or python == f"{sys.version_info.major}.{sys.version_info.minor}":
        return command
    other = shutil.which(f"python{python}")
    if other is None:
        raise UsageError(f"there is no python{python} on the path", hint="install it, or lock with uv on the path")
    return [*command, "--python", other]


def environment() -> dict[str, str]:
    """The user's environment, for a pip that asks nothing and checks for no newer self."""
    return {**os.environ, "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_COLOR": "1"}


def run(command: Sequence[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run pip or uv to its end. Raises `UndecidedError` when it cannot be run or takes too long."""
    try:
        return subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UndecidedError(f"{os.path.basename(command[0])} took more than {TIMEOUT // 60} minutes") from None
    except OSError as error:
        raise UndecidedError(f"{command[0]} cannot be run: {error.strerror}") from None


def read(command: str = "download") -> Settings:
    """What pip would do for ``pip COMMAND`` (pip documentation, "Configuration": variables over sections over global).

    Raises `UndecidedError` when pip does not answer.
    """
    answer = run([*pip_command(), "config", "list"], environment())
    if answer.returncode:
        raise UndecidedError("pip could not read its own settings", hint="see: pip config debug")
    values: dict[str, dict[str, str]] = {}
    for line in answer.stdout.splitlines():
        key, equals, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if equals and section in ("global", command, ":env:"):
            try:
                values.setdefault(section, {})[name] = str(ast.literal_eval(value))
            except (ValueError, SyntaxError):
                raise UndecidedError(f"pip's setting {key!r} cannot be read") from None
    merged = {**values.get("global", {}), **values.get(command, {}), **values.get(":env:", {})}
    return of(merged)


def of(values: dict[str, str]) -> Settings:
    """Settings from pip's own names for them."""
    indexes = [] if _true(values.get("no-index", "")) else [values.get("index-url") or PYPI]
    indexes += [] if not indexes else values.get("extra-index-url", "").split()
    sources = [Source(_shown(url), url) for url in dict.fromkeys(indexes)]
    sources += [Source(_shown(url), url, flat=True) for url in dict.fromkeys(values.get("find-links", "").split())]
    for source in sources:
        if source.url.startswith("http://") and not is_loopback(urlsplit(source.url).netloc.rpartition("@")[2]):
            raise UsageError(
                f"the index {source.name} is asked over plain HTTP, where anybody on the way can answer for it",
                hint="set pip's index-url to https://",
            )
    return Settings(
        tuple(sources),
        tuple(values.get("constraint", "").split()),
        values.get("cert") or None,
        values.get("client-cert") or None,
        frozenset(_secrets(source.url for source in sources)),
    )


def _true(text: str) -> bool:
    return text.strip().lower() in ("1", "true", "yes", "on", "y", "t")


def _shown(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        raise UsageError("an address in pip's settings is none", hint="see: pip config list") from None
    return (host + parts.path).rstrip("/") if host else unquote(parts.path)


def _secrets(urls: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for url in urls:
        user = urlsplit(url).netloc.rpartition("@")[0]
        if user:
            found |= {user, *user.split(":")}
            found |= {unquote(part) for part in user.split(":")}
    # A user's name as short as "me" would make every message unreadable; in an address it is removed anyway.
    return {part for part in found if len(part) >= 4}
