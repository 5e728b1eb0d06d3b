"""The distributions of a Python environment, from the facts of an ``env:`` target (`targets.environment`).

Their metadata was written by strangers: it is read as text, and a licence is repeated as it is stated.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from assay.collect.bom.interface import Licence, Package
from assay.collect.bom.packages.entries import Warn, items, make, table, vcs_url
from assay.collect.bom.purl import clean_url
from assay.targets.interface import DIGEST, Manifest, contents_digest

_MAX_LICENCE = 200
"""Characters of a licence field that can be a name; more is the licence's text."""


def read_installed(notes: object, warn: Warn) -> list[Package]:
    """Packages from ``Facts.notes["distributions"]``: one mapping a distribution.

    A package's ``source`` is the folder that its files have in the manifest.
    """
    found: list[Package] = []
    for entry in map(table, items(notes)):
        folder = f"{entry.get('name')}-{entry.get('version')}"
        direct_url = table(entry.get("direct_url"))
        repository = table(direct_url.get("vcs_info"))
        link = str(direct_url.get("url") or "")
        vcs = vcs_url(str(repository.get("vcs", "git")), link, repository.get("commit_id")) if repository else None
        url = clean_url(link) if link.startswith(("http://", "https://")) and not vcs else None
        made = make(entry.get("name"), entry.get("version"), "installed", folder, warn, url=url, vcs=vcs)
        found += [replace(package, licences=stated_licences(entry, folder)) for package in made]
    return found


def stated_licences(entry: Mapping[str, Any], folder: str) -> tuple[Licence, ...]:
    """The expression where there is one, else the older field's first line, else the classifiers."""
    from assay.collect.bom.licences import parse_licence

    expression, text = entry.get("license_expression"), entry.get("license")
    if isinstance(expression, str) and expression.strip():
        return (parse_licence(expression, f"{folder} METADATA#License-Expression"),)
    if isinstance(text, str) and text.strip() and text.strip().upper() != "UNKNOWN":
        line = text.strip().splitlines()[0].strip()
        if len(line) <= _MAX_LICENCE:
            return (parse_licence(line, f"{folder} METADATA#License"),)
    names = [str(name).rpartition("::")[2].strip() for name in items(entry.get("classifiers"))]
    return tuple(parse_licence(name, f"{folder} METADATA#Classifier") for name in names if name)


def with_hashes(packages: Sequence[Package], manifest: Manifest) -> list[Package]:
    """Installed packages with one SHA-256 each: `Manifest.contents` over the files of their folder alone."""
    return [replace(package, hashes=_contents(package.source, manifest)) for package in packages]


def _contents(folder: str, manifest: Manifest) -> tuple[tuple[str, str], ...]:
    start = bisect_left(manifest.names, folder + "/")
    end = bisect_left(manifest.names, folder + "0")  # "0" is the character after "/"
    if start == end or not manifest.sha256:
        return ()
    digests = manifest.sha256[start * DIGEST : end * DIGEST]
    made = contents_digest(manifest.names[start:end], manifest.sizes[start:end], digests)
    return (("SHA-256", made.hex()),)
