"""HDF5: Keras's old format for whole models, its weights, and data that an HDF5 file fetches from other files.

The HDF5 library is only run in a process of its own, which can open no other file. What it cannot tell is a finding.
CVE-2025-9905 (``safe_mode`` has no effect here), CVE-2026-1669 (external data).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.headers.hdf5 import ELSEWHERE, MAGIC, is_hdf5, list_hdf5
from assay.collect.scan.models.formats.keras import examine_config
from assay.collect.scan.models.formats.telling import SUPPLY, read_json, shown, tell, tell_twice
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier
from assay.errors import MissingExtraError

_HARMLESS = ("is a soft link", "is empty", "is made of other datasets of this file")


class Hdf5:
    """``.h5``, ``.hdf5``, ``.weights.h5``."""

    name = "hdf5"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By the signature, also behind a user block."""
        if is_hdf5(head):
            return True
        at = len(head)
        while head and at < size:  # a block of the user's may have any power of two from 512 on
            file.seek(at)
            if file.read(len(MAGIC)) == MAGIC:
                return True
            at *= 2
        return False

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
        of_model = of_keras or scan.path.lower().endswith((".h5", ".keras"))
        for path, kind, name in listing.elsewhere:
            yield tell(
                scan,
                "hdf5/external-data",
                Tier.MALICIOUS if of_model else Tier.UNKNOWN,
                Severity.HIGH,
                f"{shown(path, 100)} {ELSEWHERE[kind]}: loading it reads a file of this machine (CVE-2026-1669)",
                call=f"open({name!r})" if name else None,
                atlas=SUPPLY,
                mitigation="do not load it; ask for a file that holds its own data",
            )
        for warning in listing.warnings:
            if "could not be read to its end" in warning:
                yield tell(scan, "hdf5/unreadable", Tier.UNREADABLE, Severity.HIGH, warning)
            elif not any(mark in warning for mark in _HARMLESS):
                yield tell(scan, "hdf5/not-examined", Tier.UNKNOWN, Severity.MEDIUM, warning)
        if listing.cut:
            yield tell(scan, "hdf5/not-examined", Tier.UNKNOWN, Severity.MEDIUM, "there is more in it than was told")
