"""The distributions of a Python environment, as ``targets.environment`` lists them in its facts."""

from __future__ import annotations

from dataclasses import replace

from assay.collect.bom.interface import Licence, Package
from assay.collect.bom.packages import Warn, items, make, table, vcs_url
from assay.collect.bom.purl import clean_url


def read_installed(notes: object, warn: Warn) -> list[Package]:
    """Packages from ``Facts.notes["distributions"]``: one mapping a distribution."""
    found: list[Package] = []
    for entry in items(list(notes) if isinstance(notes, tuple) else notes):
        entry = table(entry)
        direct_url = table(entry.get("direct_url"))
        repository = table(direct_url.get("vcs_info"))
        link = str(direct_url.get("url") or "")
        vcs = (
            vcs_url(str(repository.get("vcs", "git")), link, repository.get("commit_id"))
            if repository
            else None
        )
        url = clean_url(link) if link.startswith(("http://", "https://")) and not vcs else None
        name = str(entry.get("name"))
        for package in make(
            entry.get("name"), entry.get("version"), "installed", name, warn, url=url, vcs=vcs
        ):
            found.append(replace(package, licences=_licences(entry, name)))
    return found


def _licences(entry: dict[str, object], name: str) -> tuple[Licence, ...]:
    raise NotImplementedError
