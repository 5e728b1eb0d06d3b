"""Torch archives whose two directories disagree, or that are dressed up as something else.

Each is loaded by the ``torch.load`` that is installed, or by `zipfile` where the trick is aimed at it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

from corpus.opcodes import EVIL, POP, STOP, SYSTEM, program
from corpus.sample import Draft, container
from corpus.zip_making import Entry, torch_entries, zip_of

GOOD = program(b"}")


def drafts() -> Iterator[Draft]:
    """All of them."""
    yield from plain()
    yield from lies()
    yield from doubles()
    yield from wrapped()


def plain() -> Iterator[Draft]:
    """The ordinary archive under names that scanners have skipped."""
    for name in (
        "model.pt",
        "pytorch_model.bin",
        "model.ckpt",
        "model.pth",
        "model.model",
        "weights",
        "model.txt",
        "model.data",
        "model.npz",
        "config.json",
        "model.safetensors",
        "model.h5",
        "model.tmp.7z",
        ".hidden.pt",
    ):
        cve = "CVE-2025-1889" if name.rsplit(".", 1)[-1] not in ("pt", "pth", "bin", "ckpt") else ""
        loader = "zip.member" if name.endswith(".safetensors") else "torch"  # torch.load goes by that one extension
        yield container("torch-zip-named", name, zip_of(torch_entries(EVIL)), loader, cve=cve)
    for folder in ("model", "a/b/c", "x" * 200, "däta", ".", "data.pkl"):
        yield container(
            "torch-zip-folder",
            "model.pt",
            zip_of(torch_entries(EVIL, folder)),
            "torch" if folder not in (".", "a/b/c") else "",
        )
    deflated = [replace(entry, deflate=True) for entry in torch_entries(EVIL)]
    yield container("torch-zip-deflated", "model.pt", zip_of(deflated), "torch")
    yield container("torch-zip-broken-after", "model.pt", zip_of(torch_entries(SYSTEM_BROKEN)), "torch")
    yield container(
        "torch-zip-honest-first", "model.pt", zip_of(torch_entries(GOOD[:-1] + SYSTEM + POP + STOP)), "torch"
    )
    yield container(
        "torch-zip-zip64", "model.pt", zip_of([replace(entry, zip64=True) for entry in torch_entries(EVIL)]), "torch"
    )
    many = [*torch_entries(EVIL), *(Entry(f"archive/data/{i}", bytes(64)) for i in range(300))]
    yield container("torch-zip-many-members", "model.pt", zip_of(many), "torch")
    yield container("torch-zip-last-member", "model.pt", zip_of([*many[1:], many[0]]), "torch")
    yield container("torch-zip-without-version", "model.pt", zip_of(torch_entries(EVIL)[:1]), "zip.member")
    padded = torch_entries(EVIL, extra=b"FB" + struct.pack("<H", 40) + b"Z" * 40)
    yield container("torch-zip-padded", "model.pt", zip_of(padded), "torch")


SYSTEM_BROKEN = program(SYSTEM + POP, stop=b"\xff\xff")


def lies() -> Iterator[Draft]:
    """One field of one of the headers is false."""
    for technique, change, loader, cve in (
        ("flag-encrypted-local", {"local_flags": 1}, "torch", "CVE-2025-1945"),
        ("flag-encrypted-central", {"central_flags": 1}, "", "CVE-2025-1945"),
        ("flag-encrypted-both", {"local_flags": 1, "central_flags": 1}, "", "CVE-2025-1945"),
        ("flag-strong-local", {"local_flags": 0x40}, "torch", "CVE-2025-1945"),
        ("flag-patched-local", {"local_flags": 0x20}, "torch", "CVE-2025-1945"),
        ("flag-patched-central", {"central_flags": 0x20}, "", "CVE-2025-1945"),
        ("flag-masked-local", {"local_flags": 0x2000}, "torch", "CVE-2025-1945"),
        ("flag-all-local", {"local_flags": 0xFFFF}, "", "CVE-2025-1945"),
        ("crc-central", {"central_crc": 1}, "", "CVE-2025-10156"),
        ("crc-local", {"local_crc": 1}, "torch", "CVE-2025-10156"),
        ("crc-both", {"local_crc": 0, "central_crc": 0}, "", "CVE-2025-10156"),
        ("local-name", {"local_name": "archive/data.txt"}, "torch", "CVE-2025-1944"),
        ("local-name-other-length", {"local_name": "archive/weights.bin.txt"}, "torch", "CVE-2025-1944"),
        ("local-name-empty", {"local_name": ""}, "torch", "CVE-2025-1944"),
        ("local-size", {"local_size": 7}, "torch", "CVE-2025-1944"),
        ("local-method", {"local_method": 99}, "torch", "CVE-2025-1944"),
        ("local-method-deflate", {"local_method": 8}, "torch", "CVE-2025-1944"),
        ("local-streamed", {"local_flags": 8, "local_size": 0, "local_crc": 0}, "torch", ""),
        ("central-method-unknown", {"central_method": 99}, "", ""),
        ("central-name-backslash", {"central_name": "archive\\data.pkl", "local_name": "archive\\data.pkl"}, "", ""),
    ):
        yield container(f"torch-zip-{technique}", "model.pt", zip_of(torch_entries(EVIL, **change)), loader, cve=cve)


def doubles() -> Iterator[Draft]:
    """Two entries of one name, or two names for one entry."""
    first, *rest = torch_entries(EVIL)
    good = replace(first, data=GOOD)
    yield container(
        "torch-zip-double-first-evil", "model.pt", zip_of([first, good, *rest]), "torch", cve="CVE-2025-1944"
    )
    yield container("torch-zip-double-last-evil", "model.pt", zip_of([good, first, *rest]), "zip.member")
    yield container("torch-zip-double-far", "model.pt", zip_of([first, *rest, good]), "torch")
    yield container(
        "torch-zip-double-case", "model.pt", zip_of([first, replace(good, name="archive/DATA.PKL"), *rest]), "torch"
    )
    yield container(
        "torch-zip-double-folders", "model.pt", zip_of([first, *rest, *torch_entries(GOOD, "other")]), "zip.member"
    )
    # The listed entry points at a hidden one; the one that stands under its name is harmless.
    hidden = Entry("archive/hidden", EVIL, listed=False)
    pointing = replace(first, data=GOOD, offset=0, central_size=len(EVIL), central_crc=_crc(EVIL))
    same = zip_of([replace(hidden, data=EVIL), replace(pointing, data=GOOD.ljust(len(EVIL), b" ")), *rest])
    yield container("torch-zip-offset-to-hidden", "model.pt", same, "torch")
    yield container(
        "torch-zip-unlisted-double",
        "model.pt",
        zip_of([replace(first, data=GOOD, listed=False), first, *rest]),
        "torch",
    )


def _crc(data: bytes) -> int:
    import zlib

    return zlib.crc32(data)


def wrapped() -> Iterator[Draft]:
    """Something before, behind or inside the comment."""
    entries = torch_entries(EVIL)
    for technique, prefix in (
        ("png", b"\x89PNG\r\n\x1a\n" + bytes(64)),
        ("script", b"#!/bin/sh\nexit 0\n"),
        ("elf", b"\x7fELF" + bytes(60)),
    ):
        yield container(f"zip-behind-{technique}", "model.pt", zip_of(entries, prefix=prefix), "zip.member")
        yield container(
            f"zip-behind-{technique}-unshifted", "model.pt", zip_of(entries, prefix=prefix, shifted=False), "zip.member"
        )
    yield container("torch-zip-comment", "model.pt", zip_of(entries, comment=b"nothing here " * 40), "torch")
    yield container(
        "torch-zip-comment-is-a-zip", "model.pt", zip_of(entries, comment=b"PK\x03\x04" + bytes(40)), "torch"
    )
    good = zip_of(torch_entries(GOOD))
    yield container("zip-after-zip", "model.pt", good + zip_of(entries), "zip.member")
    yield container("torch-zip-trailing", "model.pt", zip_of(entries, suffix=bytes(100)), "")
    yield container("torch-zip-comment-hides", "model.pt", zip_of(entries, comment=zip_of(torch_entries(GOOD))), "")
