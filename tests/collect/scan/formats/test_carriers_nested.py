"""Containers in byte strings of pickles, and archives of every kind with every trick: the payload is always found.

Honest archives by the tools that people use give no alarm; what cannot be opened is said and never clean.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import random
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import lz4.frame
import numpy as np
import py7zr
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.collect.scan.models.interface import Tier
from collect.scan.formats.carriers import ATTACK, HONEST, Member, make_zip, scanned


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def seven_zip(
    payload: bytes, filters: list[dict[str, int]] | None = None, password: str | None = None, encoded: bool = True
) -> bytes:
    file = io.BytesIO()
    with py7zr.SevenZipFile(file, "w", filters=filters, password=password) as archive:
        archive.set_encoded_header_mode(encoded)
        archive.writestr(b"hello " * 50, "README.txt")
        archive.writestr(payload, "model/data.pkl")
        archive.writestr(b"", "model/empty")
    return file.getvalue()


WRAPS = {
    "zip": lambda data: make_zip(Member(b"archive/data.pkl", data)),
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zlib": zlib.compress,
    "zst": zstandard.compress,
    "lz4": lz4.frame.compress,
    "7z": seven_zip,
}


class TestByteStrings:
    @pytest.mark.parametrize("protocol", range(6))
    @pytest.mark.parametrize("way", WRAPS)
    def test_what_they_hold_is_scanned(self, way, protocol):
        evil, good = (pickle.dumps({"n": 1, "b": WRAPS[way](data)}, protocol) for data in (ATTACK, HONEST))
        result = scanned(evil, "model.pkl")
        assert result.tier is Tier.MALICIOUS
        assert "system('true')" in result.calls()
        assert (scanned(good, "model.pkl").format, scanned(good, "model.pkl").findings) == ("pickle", ())

    @pytest.mark.parametrize("way", ["zip", "gzip", "7z", "zst"])
    def test_long_ones_too(self, way):
        """Longer than what the machine reads: only their edges are looked at before they are handed on."""
        chance = random.Random(11)
        data = WRAPS[way](ATTACK + chance.randbytes(100_000))
        assert "test/bad" in scanned(pickle.dumps([data], 4), "model.pkl").rules
        prefixed = chance.randbytes(90_000) + make_zip(Member(b"archive/data.pkl", ATTACK))
        assert "test/bad" in scanned(pickle.dumps([prefixed, 1] * 3, 4), "model.pkl").rules

    def test_archives_within_archives_within_byte_strings(self):
        inner = pickle.dumps({"z": make_zip(Member(b"a/data.pkl", pickle.dumps(gzip.compress(ATTACK), 4)))}, 4)
        result = scanned(pickle.dumps([inner], 4), "model.pkl")
        assert "test/bad" in result.rules
        deep = HONEST
        for _ in range(12):
            deep = pickle.dumps([make_zip(Member(b"a/data.pkl", deep))], 4)
        assert scanned(deep, "model.pkl").tier is Tier.UNREADABLE

    def test_arrays_of_objects_and_tar_archives(self):
        file = io.BytesIO()
        np.save(file, np.array([1, "a"], dtype=object))
        assert "npy/objects" in scanned(pickle.dumps([file.getvalue()], 4), "model.pkl").rules
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            info = tarfile.TarInfo("a.pkl")
            info.size = len(ATTACK)
            archive.addfile(info, io.BytesIO(ATTACK))
        for many in (0, 100_000):
            data = file.getvalue() + bytes(many)
            assert "test/bad" in scanned(pickle.dumps([data], 4), "model.pkl").rules

    def test_several_honest_archives_are_no_second_directory(self):
        documents = [make_zip(Member(b"%d.txt" % i, b"text")) for i in range(5)]
        result = scanned(pickle.dumps(documents, 4), "model.pkl")
        assert (result.format, result.findings) == ("pickle", ())

    def test_random_bytes_are_no_streams(self):
        generator = np.random.default_rng(1)
        result = scanned(pickle.dumps([generator.bytes(500) for _ in range(5000)], 4), "model.pkl")
        assert result.findings == ()

    def test_a_bomb_in_a_byte_string_is_told(self):
        result = scanned(pickle.dumps([gzip.compress(gzip.compress(bytes(64 << 20)))], 4), "m.pkl", unpacked=8 << 20)
        assert result.tier is Tier.UNREADABLE


class TestStreams:
    @pytest.mark.parametrize("way", ["zst", "lz4"])
    def test_the_library_is_named_where_it_is_missing(self, way, monkeypatch):
        monkeypatch.setitem(sys.modules, "zstandard", None)
        monkeypatch.setitem(sys.modules, "lz4.frame", None)
        result = scanned(WRAPS[way](HONEST), "model.pkl.zst")
        finding = next(one for one in result.findings if one.rule == "archive/not-installed")
        assert result.tier is Tier.UNREADABLE
        assert "'archives'" in finding.message
        assert "[archives]" in finding.mitigation
        packed = zstandard.compress(HONEST)
        member = scanned(make_zip(Member(b"a", HONEST, method=93, packed=packed))).findings
        assert any("[archives]" in finding.mitigation for finding in member)

    @pytest.mark.parametrize("way", ["zst", "lz4"])
    def test_frames_that_are_passed_over(self, way):
        skipped = b"\x51\x2a\x4d\x18\x04\0\0\0abcd"
        assert "test/bad" in scanned(skipped + WRAPS[way](ATTACK)).rules
        assert "test/bad" in scanned(WRAPS[way](HONEST) + skipped + WRAPS[way](ATTACK)).rules
        assert scanned(skipped * 3 + WRAPS[way](HONEST)).findings == ()

    @pytest.mark.parametrize("way", ["zst", "lz4"])
    def test_bombs(self, way):
        result = scanned(WRAPS[way](bytes(100 << 20)), unpacked=20 << 20)
        assert result.tier is Tier.UNREADABLE

    def test_many_members_of_a_long_compressed_archive_are_read(self):
        """Formats are told by looking ahead and going back; that must not unpack the whole again each time."""
        noise = np.random.default_rng(2).standard_normal(3 << 20)
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            for number in range(9):
                data = npy(noise) if number < 8 else ATTACK
                info = tarfile.TarInfo(f"{number}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        machine = zlib.compressobj(0, wbits=31)
        packed = machine.compress(file.getvalue()) + machine.flush()
        result = scanned(packed, "model.tar.gz")
        assert {finding.rule for finding in result.findings} == {"weights/sampled", "test/bad"}


CHAINS = {
    "lzma2": [{"id": py7zr.FILTER_LZMA2, "preset": 7}],
    "lzma": [{"id": py7zr.FILTER_LZMA}],
    "copy": [{"id": py7zr.FILTER_COPY}],
    "bz2": [{"id": py7zr.FILTER_BZIP2}],
    "deflate": [{"id": py7zr.FILTER_DEFLATE}],
    "zstd": [{"id": py7zr.FILTER_ZSTD, "level": 3}],
    "x86": [{"id": py7zr.FILTER_X86}, {"id": py7zr.FILTER_LZMA2, "preset": 7}],
    "delta": [{"id": py7zr.FILTER_DELTA}, {"id": py7zr.FILTER_LZMA2, "preset": 7}],
}


class TestSevenZip:
    @pytest.mark.parametrize("chain", CHAINS)
    def test_what_py7zr_wrote_is_read(self, chain):
        good, evil = (seven_zip(data, CHAINS[chain]) for data in (HONEST, ATTACK))
        assert (scanned(good, "a.7z").format, scanned(good, "a.7z").findings) == ("7z", ())
        found = [one.member for one in scanned(evil, "pytorch_model.bin").findings if one.rule == "test/bad"]
        assert found == ["model/data.pkl"]

    @pytest.mark.parametrize(
        "data",
        [
            seven_zip(HONEST, [{"id": py7zr.FILTER_PPMD, "order": 6, "mem": 24}]),
            seven_zip(HONEST, [{"id": py7zr.FILTER_BROTLI, "level": 3}]),
            seven_zip(HONEST, password="secret"),
            seven_zip(HONEST)[:-9],
            b"Rar!\x1a\x07\x01\x00" + bytes(100),
        ],
        ids=["ppmd", "brotli", "encrypted", "cut-off", "rar"],
    )
    def test_what_cannot_be_opened_is_said(self, data):
        assert scanned(data, "model.pt").tier is Tier.UNREADABLE

    def test_what_follows_and_where_names_lead(self):
        assert {"7z/appended", "test/bad"} <= scanned(seven_zip(HONEST) + ATTACK, "a.7z").rules
        plain = _PLAIN
        at = plain.index("model/empty".encode("utf-16-le"))
        renamed = bytearray(plain)
        renamed[at : at + 22] = "../../empty".encode("utf-16-le")
        offset, length = (int.from_bytes(plain[a : a + 8], "little") for a in (12, 20))
        renamed[28:32] = zlib.crc32(renamed[32 + offset : 32 + offset + length]).to_bytes(4, "little")
        renamed[8:12] = zlib.crc32(renamed[12:32]).to_bytes(4, "little")
        result = scanned(bytes(renamed), "a.7z")
        assert "7z/path" in result.rules
        assert result.tier is Tier.MALICIOUS

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
    def test_a_changed_header_never_raises(self, changes):
        """With checksums put right, so that whatever reads the header is reached."""
        data = bytearray(_PLAIN)
        offset, length = (int.from_bytes(data[a : a + 8], "little") for a in (12, 20))
        for at, value in changes:
            data[32 + offset + at % length] = value
        data[28:32] = zlib.crc32(data[32 + offset :]).to_bytes(4, "little")
        data[8:12] = zlib.crc32(data[12:32]).to_bytes(4, "little")
        scanned(bytes(data), "a.7z")


_PLAIN = seven_zip(HONEST, CHAINS["copy"], encoded=False)


def tar_member(name: str, data: bytes, **fields: object) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        for field, value in fields.items():
            setattr(info, field, value)
        archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


_HALF = len(ATTACK) // 2
_MAP = f"0,{_HALF},{_HALF},{len(ATTACK) - _HALF}"
SPARSE = {
    "0.0": (ATTACK, {"GNU.sparse.size": str(len(ATTACK)), "GNU.sparse.numblocks": "1", "GNU.sparse.offset": "0",
                     "GNU.sparse.numbytes": str(len(ATTACK))}),
    "0.1": (ATTACK, {"GNU.sparse.size": str(len(ATTACK) + 600), "GNU.sparse.map": _MAP}),
    "1.0": (padded(b"1\n0\n%d\n" % len(ATTACK)) + ATTACK, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
            "GNU.sparse.name": "s.pkl", "GNU.sparse.realsize": str(len(ATTACK))}),
}  # fmt: skip


class TestTar:
    @pytest.mark.parametrize("version", SPARSE)
    def test_a_sparse_file_is_scanned_as_it_is_unpacked(self, version):
        data, headers = SPARSE[version]
        packed = tar_member("GNUSparseFile.0/x", data, pax_headers=headers)
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            assert archive.extractfile(archive.getmembers()[0]).read().startswith(ATTACK)
        assert "test/bad" in scanned(packed, "a.tar").rules

    @pytest.mark.parametrize(
        "headers",
        [
            {"GNU.sparse.map": "0,99999", "GNU.sparse.size": "10"},
            {"GNU.sparse.map": "0,x", "GNU.sparse.size": "10"},
            {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9" * 15},
        ],
    )
    def test_a_broken_map_is_never_clean(self, headers):
        assert scanned(tar_member("x", b"1\n0\n5\n" + HONEST, pax_headers=headers), "a.tar").tier is Tier.UNREADABLE

    def test_tar_reads_and_writes_real_holes(self, tmp_path: Path):
        with (tmp_path / "holes.npy").open("wb") as file:
            file.write(npy(np.zeros(1 << 17)))
            file.truncate(128 + (1 << 20))
        subprocess.run(["tar", "--format=gnu", "-S", "-cf", "a.tar", "holes.npy"], cwd=tmp_path, check=True)
        assert scanned((tmp_path / "a.tar").read_bytes(), "a.tar").findings == ()

    def test_what_follows_a_broken_header_is_found(self):
        broken = tar_member("a", HONEST)[:1024] + b"\1" * 512 + tar_member("b", ATTACK)
        assert {"tar/broken", "test/bad"} <= scanned(broken, "a.tar").rules


class TestZip:
    @pytest.mark.parametrize(
        ("target", "bad"), [(b"data.pkl", False), (b"../x.pkl", False), (b"../../x", True), (b"/etc/passwd", True)]
    )
    def test_links(self, target, bad):
        """What a link holds is a path, and no pickle, whatever it is called."""
        link = Member(b"archive/link.pkl", target, attributes=0xA1FF << 16)
        result = scanned(make_zip(Member(b"archive/data.pkl", HONEST), link))
        assert result.rules == ({"zip/link"} if bad else set())
        assert result.tier is (Tier.MALICIOUS if bad else Tier.SAFE)
        hidden = Member(b"archive/link.pkl", ATTACK, attributes=0xA1FF << 16)
        assert "test/bad" in scanned(make_zip(hidden)).rules


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder as people have them, with links, empty files and what macOS leaves behind."""
    base = tmp_path_factory.mktemp("honest")
    model = base / "model"
    (model / "sub").mkdir(parents=True)
    (model / "a.pkl").write_bytes(HONEST)
    (model / "sub" / "weights.npy").write_bytes(npy(np.arange(5.0)))
    (model / "README.md").write_text("# a model\n")
    (model / "empty.txt").touch()
    (model / ".DS_Store").write_bytes(b"\0\0\0\1Bud1" + bytes(6000))
    (model / "._a.pkl").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(100))
    (model / "link.pkl").symlink_to("a.pkl")
    (model / "hard.pkl").hardlink_to(model / "a.pkl")
    return base


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "bztar", "xztar"])
def test_archives_by_shutil_are_clean(folder: Path, kind: str) -> None:
    made = Path(shutil.make_archive(str(folder / f"by-{kind}"), kind, folder, "model"))
    assert scanned(made.read_bytes(), made.name).findings == ()


@pytest.mark.parametrize("how", ["--format=v7", "--format=ustar", "--format=gnu", "--format=posix", "-z", "-j", "-J"])
def test_archives_by_tar_are_clean(folder: Path, how: str) -> None:
    made = subprocess.run(["tar", how, "-cf", "-", "model"], cwd=folder, check=True, capture_output=True).stdout
    assert scanned(made, "model.bin").findings == ()


def test_archives_as_macos_and_streams_write_them_are_clean(folder: Path) -> None:
    class Forward(io.RawIOBase):
        def __init__(self) -> None:
            self.got = io.BytesIO()

        def writable(self) -> bool:
            return True

        def write(self, data) -> int:
            return self.got.write(data)

    out = Forward()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/", "")
        archive.writestr("model/a.pkl", HONEST)
        archive.writestr("__MACOSX/", "")
        archive.writestr("__MACOSX/model/._a.pkl", (folder / "model" / "._a.pkl").read_bytes())
        archive.writestr("model/.DS_Store", (folder / "model" / ".DS_Store").read_bytes())
    assert scanned(out.got.getvalue(), "model.zip").findings == ()
