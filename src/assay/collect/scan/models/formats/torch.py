"""What torch keeps in zip archives: checkpoints, TorchScript modules, mobile modules and packages.

The members themselves are scanned by `zips`, like those of any archive. Here is what only torch's reader does with
them: which pickle it takes, code that it compiles, and files that must be there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.scan.models.formats.telling import EXECUTION, SUPPLY, shown, tell
from assay.collect.scan.models.formats.torch_storages import examine_storages
from assay.collect.scan.models.formats.torchscript import source_findings
from assay.collect.scan.models.formats.zip_entries import Archive, Entry
from assay.collect.scan.models.formats.zips import is_zip, member
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier
from assay.errors import DocumentError

MAX_SOURCE = 16 << 20
"""Bytes of source of one member of a TorchScript archive that are read."""

_PICKLES = ("/data.pkl", "/bytecode.pkl", "/constants.pkl")
_SCRIPT = ("/constants.pkl", "/bytecode.pkl")
_PACKAGE = (b"/.data/extern_modules", b"/.data/python_version")


class TorchZip:
    """``torch.save`` since 1.6, ``torch.jit.save``, and modules for mobile devices. `zips` calls `checkpoint`."""

    name = "torch-zip"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """A zip archive with a ``data.pkl`` in a folder."""
        return (
            is_zip(head, tail, file, size)
            and (b"/data.pkl" in head or b"/data.pkl" in tail or b"/bytecode.pkl" in tail)
            and not any(mark in tail for mark in _PACKAGE)
        )

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """None: this is only the name of what `zips` scans."""
        return iter(())


class TorchPackage:
    """``torch.package``: pickles, and the Python modules that they are loaded with. `zips` calls `package`."""

    name = "torch-package"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """A zip archive with the package's own records."""
        return is_zip(head, tail, file, size) and any(mark in tail for mark in _PACKAGE)

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """None: this is only the name of what `zips` scans."""
        return iter(())


def checkpoint(archive: Archive, file: BinaryIO, scan: Scan) -> Iterator[Finding]:
    """What only checkpoints and TorchScript modules have; nothing for other archives."""
    entries = archive.entries
    if not any(entry.name.endswith(_PICKLES) for entry in entries) or _is_package(archive):
        return
    root = entries[0].name.split("/")[0] + "/"
    script = is_script(archive)
    code = [entry for entry in entries if script and is_source(entry.name)]
    if not script and not any(entry.name.casefold() == f"{root}data.pkl".casefold() for entry in entries):
        yield tell(
            scan, "torch/no-data", Tier.UNKNOWN, Severity.MEDIUM,
            f"{shown(root, 60)}data.pkl is not in the archive, and that is what torch would read", atlas=SUPPLY,
        )  # fmt: skip
    yield from _order(entries, root, file, scan)
    if not script:
        yield from examine_storages(archive, root, file, scan)
    if script:
        yield tell(
            scan, "torchscript/code", Tier.CODE, Severity.MEDIUM,
            f"it is a TorchScript module: torch compiles and runs the code in it ({len(code)} source files)",
            atlas=EXECUTION,
            mitigation="Load it only from a source that you trust, or ask for the weights as safetensors.",
        )  # fmt: skip
    for entry in code:
        yield from _source(entry, file, scan)


def package(archive: Archive, file: BinaryIO, scan: Scan) -> Iterator[Finding]:
    """That loading a package runs the modules that come with it; nothing for other archives."""
    if _is_package(archive):
        modules = sum(entry.name.endswith(".py") for entry in archive.entries)
        yield tell(
            scan, "torch/package", Tier.CODE, Severity.HIGH,
            f"it is a torch package: loading it imports {modules} Python modules from it", atlas=EXECUTION,
            mitigation="Read the modules in it before you load it.",
        )  # fmt: skip


def is_script(archive: Archive) -> bool:
    """Whether torch reads it as a TorchScript module; `checkpoint` says so then."""
    return any(entry.name.endswith(_SCRIPT) for entry in archive.entries) and not _is_package(archive)


def is_source(name: str) -> bool:
    """Whether a member of a TorchScript module is source, which is called ``.py`` and is no Python."""
    return "/code/" in name and name.endswith(".py")


def _is_package(archive: Archive) -> bool:
    return any(f"/{entry.name}".encode("utf-8", "replace").endswith(_PACKAGE) for entry in archive.entries)


def _order(entries: list[Entry], root: str, file: BinaryIO, scan: Scan) -> Iterator[Finding]:
    for entry in entries:
        if entry.name == f"{root}byteorder" and entry.method == 0:
            file.seek(entry.start)
            order = file.read(min(entry.packed, 16))
            if order not in (b"little", b"big"):
                yield tell(
                    scan, "torch/byteorder", Tier.UNKNOWN, Severity.LOW,
                    f"the byte order {shown(order.decode('latin1'), 20)!r} is none: torch refuses the file",
                )  # fmt: skip


def _source(entry: Entry, file: BinaryIO, scan: Scan) -> Iterator[Finding]:
    try:
        data, size, problem = member(file, entry, scan)
        if size > MAX_SOURCE:
            problem = f"it has {size:,} bytes, of which the first {MAX_SOURCE:,} were read"
        data.seek(0)
        text = data.read(min(size, MAX_SOURCE)).decode("utf-8", "replace")
    except DocumentError:
        return  # told by `zips`
    if problem:
        yield tell(scan, "torchscript/source", Tier.UNREADABLE, Severity.MEDIUM, f"{shown(entry.name, 100)}: {problem}")
    yield from source_findings(text, entry.name, scan)
