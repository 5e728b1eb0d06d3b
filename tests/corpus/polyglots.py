"""Programs that pass for models: executables and scripts under a model's name, in it, or behind it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from corpus.opcodes import EVIL
from corpus.sample import CODE, SHELL, Draft, other
from corpus.weights import gguf_of, safetensors_of
from corpus.zip_making import Entry, zip_of

SCRIPT = f"#!/bin/sh\n{SHELL}\n".encode()


PICTURES = {
    "gif": b"GIF89a\1\0\1\0\0\0\0;",
    "png": b"\x89PNG\r\n\x1a\n" + bytes(17) + b"\0\0\0\0IEND\xaeB`\x82",
    "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xd9",
    "pdf": b"%PDF-1.4\n%%EOF\n",
    "wav": b"RIFF\0\0\0\0WAVE",
}
"""Beginnings that say what a file is, as far as anybody looks."""


def elf() -> bytes:
    """A header and one loadable segment of nothing, x86-64: well-formed, and ends at once where it is run."""
    code = b"\xb8\x3c\x00\x00\x00\x31\xff\x0f\x05"  # exit(0)
    head = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    )
    size = 120 + len(code)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, size, size, 0x1000) + code


def pe() -> bytes:
    """The two headers of a Windows program."""
    stub = b"MZ" + bytes(58) + struct.pack("<I", 64)
    optional = struct.pack(
        "<HBBIIIIIQIIHHHHHHIIIIHH",
        0x20B,
        14,
        0,
        512,
        0,
        0,
        4096,
        4096,
        0x140000000,
        4096,
        512,
        6,
        0,
        0,
        0,
        6,
        0,
        0,
        8192,
        512,
        0,
        3,
        0,
    )
    return (
        stub
        + b"PE\0\0"
        + struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, len(optional) + 160, 0x22)
        + optional
        + bytes(600)
    )


def macho() -> bytes:
    """A 64-bit header with one load command."""
    return (
        struct.pack("<IIIIIIII", 0xFEEDFACF, 0x01000007, 3, 2, 1, 72, 0, 0)
        + struct.pack("<II16s", 0x19, 72, b"__TEXT")
        + bytes(400)
    )


def drafts() -> Iterator[Draft]:
    """All of them."""
    programs = {"elf": elf(), "pe": pe(), "macho": macho(), "script": SCRIPT}
    for kind, data in programs.items():
        for name in ("pytorch_model.bin", "model.safetensors", "model.onnx"):
            loader = "executable" if kind == "script" else ""
            yield other(f"program-{kind}-named", {name: data}, loader)
    weights = safetensors_of('{"w":{"dtype":"U8","shape":[64],"data_offsets":[0,64]}}', bytes(64))
    for kind in ("elf", "pe", "macho"):
        yield other(f"program-{kind}-appended", {"model.safetensors": weights + programs[kind]}, harm="corruption")
        yield other(
            f"program-{kind}-appended-gguf", {"model.gguf": gguf_of({}) + bytes(64) + programs[kind]}, harm="hidden"
        )
    yield other(
        "llamafile",
        {
            "model.llamafile": b"MZqFpD='\n"
            + SCRIPT
            + bytes(64)
            + elf()
            + zip_of([Entry("model.gguf", gguf_of({})), Entry(".args", b"-m\nmodel.gguf\n")])
        },
    )
    yield other(
        "zipapp",
        {
            "model.pyz": zip_of(
                [Entry("__main__.py", f"import os\nos.system({SHELL!r})\n".encode())],
                prefix=b"#!/usr/bin/env python3\n",
            )
        },
    )
    yield other(
        "wheel",
        {
            "model-1.0-py3-none-any.whl": zip_of(
                [
                    Entry("model/__init__.py", f"exec({CODE!r})\n__import__('os').system({SHELL!r})\n".encode()),
                    Entry("model-1.0.dist-info/METADATA", b"Name: model\n"),
                ]
            )
        },
    )
    for kind, data in PICTURES.items():
        yield other(f"pickle-behind-a-{kind}", {f"picture.{kind}": data + EVIL}, harm="hidden")
    yield other("shared-library", {"libmodel.so": elf(), "config.json": b'{"model_type": "bert"}'}, harm="opaque")
    yield other("python-bytecode", {"modeling.pyc": _bytecode()}, harm="opaque")


def _bytecode() -> bytes:
    import importlib.util
    import marshal

    return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(compile(CODE, "modeling.py", "exec"))
