"""Lock files: Poetry, PDM, uv, Pipenv and PEP 751. Each function yields the packages that one file locks.

A package that is the project itself, or a folder beside it, is not a dependency and is left out.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from assay.collect.bom.interface import Package
from assay.collect.bom.packages.entries import Warn, hash_pair, items, make, table, vcs_url
from assay.collect.bom.purl import clean_url


def poetry(data: bytes, source: str, warn: Warn) -> Iterator[Package]:
    """poetry.lock: 1.x keeps the hashes in ``metadata.files``, 2.x with each package."""
    document = tomllib.loads(data.decode("utf-8"))
    older = table(table(document.get("metadata")).get("files"))
    for entry in items(document.get("package")):
        entry = table(entry)
        origin = table(entry.get("source"))
        if origin.get("type") in ("directory", "file"):
            continue
        files = items(entry.get("files")) or items(older.get(str(entry.get("name"))))
        vcs = url = None
        if origin.get("type") == "git":
            vcs = vcs_url("git", str(origin.get("url")), origin.get("resolved_reference"))
        elif origin.get("type") == "url":
            url = clean_url(str(origin.get("url"))) or None
        yield from _locked(entry, [table(item).get("hash") for item in files], source, warn, url, vcs)


def pdm(data: bytes, source: str, warn: Warn) -> Iterator[Package]:
    """pdm.lock; packages appear once for each set of extras."""
    document = tomllib.loads(data.decode("utf-8"))
    done: set[tuple[str, str]] = set()
    for entry in items(document.get("package")):
        entry = table(entry)
        key = (str(entry.get("name")), str(entry.get("version")))
        if "path" in entry or key in done:
            continue
        done.add(key)
        git, link = entry.get("git"), entry.get("url")
        vcs = vcs_url("git", git, entry.get("revision")) if isinstance(git, str) else None
        url = clean_url(link) or None if isinstance(link, str) else None
        hashes = [table(item).get("hash") for item in items(entry.get("files"))]
        yield from _locked(entry, hashes, source, warn, url, vcs)


def uv(data: bytes, source: str, warn: Warn) -> Iterator[Package]:
    """uv.lock."""
    document = tomllib.loads(data.decode("utf-8"))
    for entry in items(document.get("package")):
        entry = table(entry)
        origin = table(entry.get("source"))
        if origin.keys() & {"editable", "virtual", "directory", "path"}:
            continue
        vcs = url = None
        if isinstance(origin.get("git"), str):
            base, _, commit = origin["git"].partition("#")
            vcs = vcs_url("git", base, commit)
        elif isinstance(origin.get("url"), str):
            url = clean_url(origin["url"]) or None
        files = [table(entry.get("sdist")), *map(table, items(entry.get("wheels")))]
        yield from _locked(entry, [item.get("hash") for item in files], source, warn, url, vcs)


def pipfile(data: bytes, source: str, warn: Warn) -> Iterator[Package]:
    """Pipfile.lock."""
    document = table(json.loads(data))
    for group in ("default", "develop"):
        for name, value in table(document.get(group)).items():
            entry = table(value)
            if "path" in entry:
                continue
            git, link = entry.get("git"), entry.get("file")
            vcs = vcs_url("git", git, entry.get("ref")) if isinstance(git, str) else None
            url = clean_url(link) or None if isinstance(link, str) else None
            version = entry.get("version")
            plain = {
                "name": name,
                "version": version.removeprefix("==") if isinstance(version, str) else None,
            }
            yield from _locked(plain, items(entry.get("hashes")), source, warn, url, vcs)


def pylock(data: bytes, source: str, warn: Warn) -> Iterator[Package]:
    """pylock.toml (PEP 751, packaging.python.org "pylock.toml Specification")."""
    document = tomllib.loads(data.decode("utf-8"))
    for entry in items(document.get("packages")):
        entry = table(entry)
        if "directory" in entry:
            continue
        archive, repository = table(entry.get("archive")), table(entry.get("vcs"))
        vcs = url = None
        if isinstance(repository.get("url"), str):
            vcs = vcs_url(str(repository.get("type", "git")), repository["url"], repository.get("commit-id"))
        elif isinstance(archive.get("url"), str):
            url = clean_url(archive["url"]) or None
        files = [archive, table(entry.get("sdist")), *map(table, items(entry.get("wheels")))]
        hashes = [f"{name}:{value}" for item in files for name, value in table(item.get("hashes")).items()]
        yield from _locked(entry, hashes, source, warn, url, vcs)


def _locked(
    entry: Mapping[str, Any], hashes: list[Any], source: str, warn: Warn, url: str | None, vcs: str | None
) -> Iterator[Package]:
    where = f"{source}: {str(entry.get('name'))[:100]}"
    pairs = [pair for text in hashes if text is not None for pair in hash_pair(text, where, warn)]
    yield from make(entry.get("name"), entry.get("version"), "locked", source, warn, hashes=pairs, url=url, vcs=vcs)
