"""HDF5: Keras's old format for whole models, its weights, and data that an HDF5 file fetches from other files.

The HDF5 library is only run in a process of its own, which can open no other file. What it cannot tell is a finding.
CVE-2025-9905 (``safe_mode`` has no effect here), CVE-2026-1669 (external data).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.headers.hdf5 import is_hdf5, list_hdf5
from assay.collect.scan.models.formats.keras import examine_config
from assay.collect.scan.models.formats.telling import SUPPLY, read_json, shown, tell, tell_twice
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier
from assay.errors import MissingExtraError

_EXTERNAL = ("external link", "outside of this file", "datasets in other files")
"""How the listing says that a file's data are elsewhere."""

_HARMLESS = ("is a soft link", "is empty")
_MANY = 20
"""Warnings from which on the listing keeps further ones to itself."""


class Hdf5:
    """``.h5``, ``.hdf5``, ``.weights.h5``."""

    name = "hdf5"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By the signature, also behind a user block."""
        return is_hdf5(head)

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """What Keras's configuration in it would do, and what is fetched from elsewhere."""
        try:
            listing = list_hdf5(file, 0, size)
        except MissingExtraError:
            yield tell(
                scan,
                "hdf5/not-examined",
                Tier.UNKNOWN,
                Severity.MEDIUM,
                "HDF5 was not examined: h5py is not installed",
                mitigation="install assay's extra 'keras'",
            )
            return
        names = [name for name, _, _ in listing.tensors]
        of_keras = bool(listing.attributes) or any(
            name.split("/")[0] in ("model_weights", "layers", "optimizer_weights", "_layer_checkpoint_dependencies")
            for name in names
        )
        for attribute in ("model_config", "training_config"):
            if text := listing.attributes.get(attribute):
                document, twice = read_json(text.encode("utf-8", "replace"), attribute)
                yield from tell_twice(scan, twice, attribute)
                yield from examine_config(document, scan, legacy=True)
        yield from _warnings(listing.warnings, of_keras or scan.path.endswith((".h5", ".keras")), scan)


def _warnings(warnings: list[str], of_model: bool, scan: Scan) -> Iterator[Finding]:
    for warning in warnings:
        if any(mark in warning for mark in _EXTERNAL):
            yield tell(
                scan,
                "hdf5/external-data",
                Tier.MALICIOUS if of_model else Tier.UNKNOWN,
                Severity.HIGH,
                f"{shown(warning, 200)}: loading the weights reads a file of this machine (CVE-2026-1669)",
                atlas=SUPPLY,
                mitigation="do not load it; ask for a file that holds its own data",
            )
        elif "could not be read to its end" in warning:
            yield tell(scan, "hdf5/unreadable", Tier.UNREADABLE, Severity.HIGH, warning)
        elif not any(mark in warning for mark in _HARMLESS):
            yield tell(scan, "hdf5/not-examined", Tier.UNKNOWN, Severity.MEDIUM, warning)
    if len(warnings) >= _MANY:
        yield tell(scan, "hdf5/not-examined", Tier.UNKNOWN, Severity.MEDIUM, "there is more in it than was told")
