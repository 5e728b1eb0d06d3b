"""Python packages that a target declares, locks or has installed. Reads text; never runs a build or a resolver.

Which file says what is decided by its name alone; a file or a line that cannot be read becomes a warning.
"""

from __future__ import annotations

import re
from dataclasses import replace

from assay.collect.bom.interface import Package
from assay.collect.bom.packages import declared, locks, requirements
from assay.collect.bom.packages.entries import MAX_FILE, Parser, Warn, guarded
from assay.collect.bom.packages.installed import read_installed
from assay.targets.interface import Target

MAX_FILES = 2000
"""Files that are read of one target."""
MAX_PACKAGES = 100_000
"""Packages that are listed of one target."""


def read_packages(target: Target) -> tuple[list[Package], list[str]]:
    """All packages of a target, sorted by name, version, scope and source, and warnings.

    A file target is only read when it is itself such a file. For ``env:`` it is the installed distributions
    alone: what their files declare is not what is installed.
    """
    warnings: list[str] = []
    packages: list[Package] = []
    if target.reference.scheme == "env":
        packages = read_installed(target.facts.notes.get("distributions"), warnings.append)
    else:
        _read_files(target, packages, warnings.append)
    packages.sort(key=lambda p: (p.name, p.version or "", p.scope, p.source, p.requirement or ""))
    declared = {package.name for package in packages if package.scope == "declared"}
    if declared:
        packages = [p if p.direct is not None else replace(p, direct=p.name in declared) for p in packages]
    return packages, warnings


def _read_files(target: Target, packages: list[Package], warn: Warn) -> None:
    """Every file of the target that a parser is for."""
    done = 0
    seen: set[str] = set()
    known = frozenset(target.names)
    for i, name in enumerate(target.names):
        parser = parser_for(name)
        if parser is None:
            continue
        if done == MAX_FILES:
            warn(f"more than {MAX_FILES} files name packages; the rest was not read")
            break
        done += 1
        if target.sizes[i] > MAX_FILE:
            warn(f"{name}: {target.sizes[i]:,} bytes are too many for a list of packages")
            continue
        if parser is requirements.parse:
            found = requirements.read(target, name, warn, seen, known)
        else:
            with target.open(name) as file:
                found = guarded(parser, file.read(MAX_FILE + 1), name, warn)
        for package in found:
            packages.append(package)
            if len(packages) == MAX_PACKAGES:
                warn(f"more than {MAX_PACKAGES:,} packages are named; the rest was not read")
                return


def parser_for(name: str) -> Parser | None:
    """What reads the file of that name, or None when it lists no packages."""
    folder, _, base = name.rpartition("/")
    if base in ("pyproject.toml", "setup.cfg", "environment.yml", "environment.yaml"):
        return {"pyproject.toml": declared.pyproject, "setup.cfg": declared.setup_cfg}.get(base, declared.environment)
    if base in ("poetry.lock", "pdm.lock", "uv.lock", "Pipfile.lock"):
        return {"poetry.lock": locks.poetry, "pdm.lock": locks.pdm, "uv.lock": locks.uv}.get(base, locks.pipfile)
    if re.fullmatch(r"pylock(\.[^.]+)?\.toml", base):
        return locks.pylock
    if base.endswith(".txt") and (re.search(r"requirements", base) or folder.rpartition("/")[2] == "requirements"):
        return requirements.parse
    return None
