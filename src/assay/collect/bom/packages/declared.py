"""Dependencies as a project declares them: pyproject.toml (PEP 621, PEP 735, Poetry), setup.cfg, conda's pip
part.

``setup.py`` is a program and is not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from assay.collect.bom.interface import Package
from assay.collect.bom.packages.entries import Warn, items, make, table, vcs_url
from assay.collect.bom.packages.requirements import requirement
from assay.collect.bom.purl import clean_url


def pyproject(data: bytes, source: str, warn: Warn) -> Iterator[Package]:
    """``[project]``, ``[dependency-groups]`` and ``[tool.poetry]``."""
    import tomllib

    document = tomllib.loads(data.decode("utf-8"))
    project = table(document.get("project"))
    lists: list[Any] = [project.get("dependencies"), *table(project.get("optional-dependencies")).values()]
    lists += table(document.get("dependency-groups")).values()
    for entries in lists:
        for entry in items(entries):
            if isinstance(entry, str):
                yield from requirement(entry, source, warn, scope="declared")
            elif not (isinstance(entry, dict) and entry.keys() == {"include-group"}):
                warn(f"{source}: {str(entry)[:100]!r} is not a requirement")
    poetry = table(table(document.get("tool")).get("poetry"))
    tables = [poetry.get("dependencies"), poetry.get("dev-dependencies")]
    tables += [table(group).get("dependencies") for group in table(poetry.get("group")).values()]
    for entries in tables:
        for name, wanted in table(entries).items():
            if name.lower() != "python":
                for one in wanted if isinstance(wanted, list) else [wanted]:
                    yield from _poetry(name, one, source, warn)


def _poetry(name: str, wanted: object, source: str, warn: Warn) -> Iterator[Package]:
    """One Poetry dependency: a version constraint, or a table of it and where it comes from."""
    details = table(wanted)
    constraint = details.get("version") if details else wanted
    if "path" in details:
        return
    text = f"{name} {constraint}" if isinstance(constraint, str) and constraint else name
    git, url = details.get("git"), details.get("url")
    revision = details.get("rev") or details.get("tag") or details.get("branch")
    vcs = vcs_url("git", git, revision) if isinstance(git, str) else None
    link = clean_url(url) or None if isinstance(url, str) else None
    if vcs or link:
        text = f"{name} @ {vcs or link}"
    yield from make(name, None, "declared", source, warn, requirement=text, url=link, vcs=vcs)


def setup_cfg(data: bytes, source: str, warn: Warn) -> Iterator[Package]:
    """``install_requires`` and ``extras_require`` of setuptools."""
    import configparser

    parser = configparser.RawConfigParser()
    try:
        parser.read_string(data.decode("utf-8"))
    except configparser.Error as error:
        warn(f"{source}: {str(error).splitlines()[0][:200]}")
        return
    texts = [parser.get("options", "install_requires", fallback="")]
    if parser.has_section("options.extras_require"):
        texts += [value for _, value in parser.items("options.extras_require")]
    for text in texts:
        for line in text.splitlines():
            line = line.partition(" #")[0].strip().rstrip(";")
            if line and not line.startswith(("#", "file:")):
                yield from requirement(line, source, warn, scope="declared")


def environment(data: bytes, source: str, warn: Warn) -> Iterator[Package]:
    """The ``pip:`` list of a conda environment file; conda's own packages are not Python distributions."""
    import yaml

    if len(data) > 1024 * 1024:
        warn(f"{source}: too large for an environment file")
        return
    try:
        document = yaml.load(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe loaders
    except yaml.YAMLError as error:
        warn(f"{source}: not YAML, {str(error).splitlines()[0][:200]}")
        return
    for entry in items(table(document).get("dependencies")):
        for line in items(table(entry).get("pip")):
            if isinstance(line, str) and not line.startswith("-"):
                yield from requirement(line, source, warn)
