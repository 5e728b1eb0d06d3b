"""Globs that leave files out of a target or limit it to a part, and what is left out without being asked for.

Matching is a pure function of names. It must never decide by what a file contains, and whatever it leaves out is
recorded in the evidence: an ignored name is a place where an attacker may add a file that no signature covers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from assay.errors import UsageError

DEFAULT_IGNORES = (
    # Version control: changes with every fetch and is not what a model's user loads. `.gitattributes`, `.gitignore`
    # and `.github` are content, as they are in the repository's own tree.
    ".git",
    ".hg",
    ".svn",
    ".bzr",
    # Caches that a mere look at the folder writes: Python, Jupyter, test tools, `huggingface_hub` (in `.cache`).
    "__pycache__",
    ".cache",
    ".ipynb_checkpoints",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    # Litter of editors and desktops.
    ".DS_Store",
    "._*",
    ".Spotlight-V100",
    ".Trashes",
    "Thumbs.db",
    "desktop.ini",
    "*.swp",
    "*.swo",
    "*~",
    ".#*",
)
"""Left out unless asked otherwise. Not here on purpose: virtual environments, `.vscode`, `.idea`, logs: they hold code
that runs or settings that people commit, so leaving them unsigned has to be somebody's decision."""


def _component(glob: str) -> str:
    """Regular expression for one component of a path."""
    out: list[str] = []
    i = 0
    while i < len(glob):
        char = glob[i]
        i += 1
        if char == "*":
            if not out or out[-1] != "[^/]*":  # "***" would only multiply the matcher's work
                out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[" and (end := glob.find("]", i + (glob[i : i + 1] in ("!", "^")) + 1)) > 0:
            body = glob[i:end]
            negated = body[0] in "!^"
            body = re.sub(r"([\\\[\]&~|^])", r"\\\1", body[1:] if negated else body)
            out.append(f"(?!/)[{'^' if negated else ''}{body}]")
            i = end + 1
        else:
            out.append(re.escape(char))
    return "".join(out)


def _split(glob: str, option: str) -> tuple[list[str], bool]:
    """Components of a glob, and whether only a folder can match it."""
    parts = [part for part in glob.split("/") if part not in ("", ".")]
    if not parts or glob.startswith("/") or ".." in parts or "\0" in glob:
        raise UsageError(
            f"{option} {glob!r} is not a glob inside the target",
            hint="write it relative to the target, without '..': 'weights/*.safetensors', 'tokenizer/', '**/*.json'",
        )
    return parts, glob.endswith("/")


def _path(parts: Sequence[str]) -> str:
    """Regular expression for a whole path; ``**`` stands for any number of folders."""
    out = ""
    for k, part in enumerate(parts):
        last = k == len(parts) - 1
        if part == "**":
            out += "(?:[^/]+/)*[^/]+" if last else "(?:[^/]+/)*"
        else:
            out += _component(part) + ("" if last else "/")
    return out


def _compile(expression: str, glob: str, option: str) -> re.Pattern[str]:
    try:
        return re.compile(expression, re.DOTALL)
    except (re.error, OverflowError, RecursionError):
        raise UsageError(f"{option} {glob!r} is not a valid glob") from None


@dataclass(frozen=True, slots=True)
class Ignore:
    """What to leave out. A glob without a slash matches at any depth, one with a slash from the target's root."""

    rules: tuple[str, ...]
    """The globs in force, as written."""
    base: re.Pattern[str] | None
    """Matches base names, folders with a trailing slash."""
    path: re.Pattern[str] | None
    """Matches whole names, folders with a trailing slash."""

    @classmethod
    def of(cls, globs: Sequence[str]) -> Ignore:
        """Compile; raises `UsageError` for a glob that cannot be inside a target."""
        base: list[str] = []
        path: list[str] = []
        for glob in globs:
            parts, folder = _split(glob, "--ignore")
            expression = f"(?:{_path(parts)}){'/' if folder else '/?'}"
            _compile(expression, glob, "--ignore")
            (path if "/" in glob.rstrip("/") else base).append(expression)
        return cls(
            tuple(globs),
            re.compile("|".join(base), re.DOTALL) if base else None,
            re.compile("|".join(path), re.DOTALL) if path else None,
        )

    def matches(self, prefix: str, name: str) -> bool:
        """Whether ``name`` (with a trailing slash for a folder) in the folder ``prefix`` is left out."""
        return bool(
            (self.base is not None and self.base.fullmatch(name))
            or (self.path is not None and self.path.fullmatch(prefix + name))
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """What to limit a target to. Globs start at the target's root; one that matches a folder selects all beneath."""

    globs: tuple[str, ...]
    """As written."""
    inside: tuple[re.Pattern[str], ...]
    """One a glob: matches the names of the files that it selects."""
    towards: re.Pattern[str] | None
    """Matches the folders (without a trailing slash) beneath which something can match; None for all of them."""

    @classmethod
    def of(cls, globs: Sequence[str]) -> Selection:
        """Compile; raises `UsageError` for a glob that cannot be inside a target."""
        inside: list[re.Pattern[str]] = []
        towards: list[str] = []
        for glob in globs:
            parts, folder = _split(glob, "--path")
            # A file whose name holds the glob's own characters ("a[1].txt") can be named literally.
            either = f"(?:{_path(parts)}|{re.escape('/'.join(parts))})"
            inside.append(_compile(either + ("/.+" if folder else "(?:/.+)?"), glob, "--path"))
            for k in range(1, len(parts) + 1):
                if parts[k - 1] == "**":
                    towards.append("/".join([*map(_component, parts[: k - 1]), ".*"]))
                    break
                towards.append("/".join(map(_component, parts[:k])))
                towards.append(re.escape("/".join(parts[:k])))
            else:
                towards.append(either + "/.*")
        return cls(tuple(globs), tuple(inside), re.compile("|".join(towards), re.DOTALL) if towards else None)

    def enters(self, folder: str) -> bool:
        """Whether something beneath ``folder`` (without a trailing slash) can be selected."""
        return self.towards is None or bool(self.towards.fullmatch(folder))

    def hits(self, name: str) -> list[int]:
        """Positions of the globs that select ``name``."""
        return [k for k, pattern in enumerate(self.inside) if pattern.fullmatch(name)]
