"""The reader of tars by strangers: held against the standard library's writer and reader, and fuzzed."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import TargetError
from assay.targets.oci.tarstream import TarStream
from helpers import one_sentence
from targets.oci_making import tar


def members(data: bytes, *, seek: bool = False) -> list[tuple[str, str, bytes]]:
    file = io.BytesIO(data)
    stream = TarStream(file.read, "t.tar", skip=(lambda count: file.seek(count, 1)) if seek else None)
    if seek:
        found = [(item.name, item.kind, stream.offset, item.size) for item in stream]
        return [(name, kind, data[at : at + size]) for name, kind, at, size in found]
    return [(item.name, item.kind, b"".join(stream.data())) for item in stream]


def refused(data: bytes) -> str:
    with pytest.raises(TargetError) as caught:
        members(data)
    return one_sentence(caught.value)


def raw(*infos: tarfile.TarInfo, data: bytes = b"", format: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for info in infos:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def info(name: str = "a", **changes: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for key, value in changes.items():
        setattr(made, key, value)
    return made


def pax(name: str = "a", **headers: str) -> bytes:
    return raw(info(name, pax_headers={key.replace("__", "."): value for key, value in headers.items()}), format=2)


_NAME = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=150).filter(
    lambda text: not text.endswith("/")
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(_NAME, st.binary(max_size=1500), max_size=5), st.sampled_from([1, 2]), st.booleans())
def test_reads_what_the_standard_library_writes(files: dict[str, bytes], format: int, seek: bool) -> None:
    data = tar(files, format=format)
    assert members(data, seek=seek) == [(name, "file", content) for name, content in files.items()]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_tar_is_an_error_or_reads_as_for_everybody(data: st.DataObject) -> None:
    whole = bytearray(tar({"a": b"x" * 700, "d/b": b"", "n" * 120: b"y"}, format=data.draw(st.sampled_from([1, 2]))))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    whole = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        found = members(bytes(whole))
    except TargetError as error:
        one_sentence(error)
        return
    with tarfile.open(fileobj=io.BytesIO(bytes(whole))) as archive:
        known = [(item.name, archive.extractfile(item).read() if item.isreg() else b"") for item in archive]  # type: ignore[union-attr]
    assert [(name.rstrip("/"), content) for name, _, content in found] == known


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=2000))
def test_noise(data: bytes) -> None:
    with pytest.raises(TargetError):
        members(data + b"x")


def test_kinds_are_told_apart() -> None:
    kinds = [
        tarfile.DIRTYPE,
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.FIFOTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        b"7",
    ]
    found = members(raw(*(info(str(n), type=kind) for n, kind in enumerate(kinds))))
    assert [kind for _, kind, _ in found] == [
        "folder",
        "symbolic link",
        "hard link",
        "FIFO",
        "character device",
        "block device",
        "something of an unknown kind",
    ]


def test_headers_that_lie() -> None:
    good = tar({"a": b"x" * 10})
    assert "checksum" in refused(b"b" + good[1:])
    assert "ends too early" in refused(good[:512])
    assert "ends too early" in refused(good[:1024]), "no end of the archive"
    assert "behind its end" in refused(good + tar({"b": b"y"}))
    assert "ends too early" in refused(_sized(10 << 30))
    assert "folder" in refused(_sized(512, kind=b"5"))
    assert "number" in refused(_sized(b"77777777777\x80"))
    assert "number" in refused(_sized(b"-0000000001\0"))
    assert "number" in refused(_sized(b"\x80" + b"\xff" * 11))
    assert "not UTF-8" in refused(_sized(0, name=b"\xff"))


def test_extended_headers_that_lie() -> None:
    assert "header of" in refused(_sized(1 << 30, kind=b"x"))
    assert "sparse" in refused(pax(GNU__sparse__major="1", GNU__sparse__minor="0"))
    assert "character set" in refused(pax(hdrcharset="BINARY"))
    assert "malformed" in refused(_extended(b"x", b"9 path=a"))
    assert "malformed" in refused(_extended(b"x", b"99 path=a\n"))
    assert "malformed" in refused(_extended(b"x", b"path=a\n"))
    assert "malformed" in refused(_extended(b"x", b"9 size=-\n"))
    assert "malformed" in refused(_extended(b"x", b"8 path=\n"))
    assert "malformed" in refused(_extended(b"x", b"9 path=a\n9 path=b\n"))
    assert "twice" in refused(_extended(b"g", b"9 path=a\n"))
    assert "twice" in refused(_extended(b"x", b"9 path=a\n", _extended(b"x", b"9 path=b\n")))
    assert "ends after the name" in refused(_extended(b"x", b"9 path=a\n", bytes(1024)))
    assert members(_extended(b"x", b"9 path=b\n", tar({"a": b"1"}))) == [("b", "file", b"1")]
    assert members(_extended(b"g", b"13 comment=x\n"[:13], tar({"a": b"1"}))) == [("a", "file", b"1")]


def _header(name: bytes, size: bytes, kind: bytes) -> bytes:
    made = bytearray(512)
    made[: len(name)] = name
    made[100:108] = b"0000644\0"
    made[124:136] = size
    made[156:157] = kind
    made[257:265] = b"ustar\x0000"
    made[148:156] = b" " * 8
    made[148:156] = b"%06o\0 " % sum(made)
    return bytes(made)


def _sized(size: int | bytes, *, kind: bytes = b"0", name: bytes = b"a") -> bytes:
    return _header(
        name,
        size if isinstance(size, bytes) else b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big"),
        kind,
    )


def _extended(kind: bytes, records: bytes, rest: bytes | None = None) -> bytes:
    rest = tar({"a": b"1"}) if rest is None else rest
    return _header(b"h", b"%011o\0" % len(records), kind) + records + bytes(-len(records) % 512) + rest
