"""Zip archives: each way in which two readers see two things, and whatever hides a pickle from one of them."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.collect.scan.models.formats.views import KEPT
from assay.collect.scan.models.interface import Tier
from collect.scan.formats.carriers import ATTACK, HONEST, Member, deflated, make_zip, scanned

SIMPLE = Member(b"archive/data.pkl", HONEST)


def test_an_honest_archive_has_no_findings():
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("archive/data.pkl", HONEST)
        archive.writestr("archive/version", b"3\n", zipfile.ZIP_DEFLATED)
        archive.writestr("notes/", b"")
    result = scanned(made.getvalue())
    assert (result.format, result.findings) == ("torch-zip", ())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("name", ["archive/data.pkl", "notes.txt", "deep/er/x"])
def test_a_payload_is_found_in_every_method_and_under_every_name(method, name):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("first.txt", b"nothing here")
        archive.writestr(name, ATTACK, method)
    result = scanned(made.getvalue())
    assert result.tier is Tier.MALICIOUS
    assert "system('true')" in result.calls()
    assert [f.member for f in result.findings if f.rule == "test/bad"] == [name]


@pytest.mark.parametrize("order", [(ATTACK, HONEST), (HONEST, ATTACK)])
def test_both_of_two_members_of_one_name_are_scanned(order):
    first, last = (Member(b"archive/data.pkl", data) for data in order)
    result = scanned(make_zip(first, last))
    assert {"zip/duplicate", "test/bad"} <= result.rules
    assert result.tier is Tier.MALICIOUS


def test_names_that_differ_only_in_case_are_duplicates():
    """miniz finds DATA.PKL when torch asks for data.pkl."""
    result = scanned(make_zip(Member(b"archive/DATA.PKL", ATTACK), SIMPLE))
    assert {"zip/duplicate", "test/bad"} <= result.rules


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"local_name": b"archive/other.xxx"}, "zip/name-mismatch"),
        ({"local_method": 8}, "zip/method-mismatch"),
        ({"local_size": 5}, "zip/size-mismatch"),
        ({"local_packed": 5}, "zip/packed-mismatch"),
        ({"local_crc": 5}, "zip/crc-mismatch"),
        ({"local_flags": 1}, "zip/encryption-mismatch"),
        ({"flags": 1, "local_flags": 0}, "zip/encryption-mismatch"),
        ({"flags": 1}, "zip/encrypted"),
        ({"crc": 7}, "zip/checksum"),
        ({"size": 3}, "zip/stored-size"),
        ({"listed": False}, "zip/hidden"),
        ({"name": b"../../x.pkl"}, "zip/path"),
        ({"name": b"/etc/x.pkl"}, "zip/path"),
        ({"name": b"a.pkl\0.txt"}, "zip/path"),
    ],
)
def test_a_trick_is_told_and_does_not_hide_the_payload(change, rule):
    """CVE-2025-1944, -1945, -10156 and their kin."""
    member = Member(**({"name": b"archive/data.pkl", "data": ATTACK} | change))
    result = scanned(make_zip(Member(b"archive/version", b"3\n"), member))
    assert {rule, "test/bad"} <= result.rules
    assert result.tier is Tier.MALICIOUS


@pytest.mark.parametrize("method", [1, 9, 97, 98, 99, 1234])
def test_a_method_that_nobody_can_unpack_is_unreadable(method):
    result = scanned(make_zip(Member(b"archive/data.pkl", HONEST, method=method, packed=HONEST)))
    assert "zip/not-unpacked" in result.rules
    assert result.tier.rank >= Tier.UNREADABLE.rank


def test_a_payload_before_the_breaking_point_is_found():
    packed = deflated(ATTACK + bytes(5000))[:-6]
    result = scanned(make_zip(Member(b"a/data.pkl", ATTACK, method=8, packed=packed)))
    assert {"zip/broken-member", "test/bad"} <= result.rules


def test_what_is_stored_under_the_flag_of_another_method_is_scanned_both_ways():
    packed = deflated(ATTACK)
    member = Member(b"a/data.pkl", ATTACK, method=0, packed=packed, size=len(packed), local_method=8)
    assert {"zip/method-mismatch", "test/bad"} <= scanned(make_zip(member)).rules


def test_two_directories_are_both_read():
    """One directory for who trusts the offset in the end record, one for who counts back from it."""
    first = make_zip(Member(b"archive/data.pkl", ATTACK))
    second = make_zip(SIMPLE, prefix=first, shifted=False)
    result = scanned(second)
    assert "test/bad" in result.rules
    assert result.tier is Tier.MALICIOUS


def test_a_directory_in_the_comment_is_read():
    inner = make_zip(Member(b"archive/data.pkl", ATTACK), prefix=b"")
    result = scanned(make_zip(SIMPLE, comment=inner))
    assert {"zip/two-directories", "test/bad"} <= result.rules


def test_prefix_and_suffix_are_told_and_scanned():
    result = scanned(make_zip(SIMPLE, suffix=ATTACK))
    assert {"zip/appended", "test/bad"} <= result.rules
    result = scanned(make_zip(SIMPLE, prefix=b"x" * 100))
    assert "zip/prefix" in result.rules
    assert result.tier is Tier.UNKNOWN


@pytest.mark.parametrize("shifted", [True, False])
def test_a_pickle_with_an_archive_behind_it_is_both(shifted):
    result = scanned(make_zip(SIMPLE, prefix=ATTACK, shifted=shifted))
    assert result.format == "torch-zip+pickle"
    assert {"zip/prefix", "test/bad"} <= result.rules


def test_members_in_gaps_are_found():
    hidden = make_zip(Member(b"hidden.pkl", ATTACK, listed=False))[:-22]
    result = scanned(make_zip(Member(b"a.txt", b"hello"), prefix=hidden))
    assert {"zip/hidden", "test/bad"} <= result.rules


def test_an_honest_archive_inside_an_archive_is_not_a_second_directory():
    inner = make_zip(Member(b"numbers.txt", b"1 2 3"))
    result = scanned(make_zip(Member(b"readme.txt", b"hello"), Member(b"inner.zip", inner)))
    assert result.findings == ()


def test_an_archive_at_the_end_of_a_tar_archive_is_a_member():
    import tarfile

    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        data = make_zip(Member(b"numbers.txt", b"1 2 3"))
        info = tarfile.TarInfo("inner.zip")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    assert scanned(made.getvalue(), "a.tar").findings == ()


def test_zip64_is_read_and_contradictions_are_told():
    extra = struct.pack("<HHQQ", 1, 16, len(ATTACK), len(ATTACK))
    plain = make_zip(Member(b"a/data.pkl", ATTACK, size=0xFFFFFFFF, local_size=len(ATTACK), extra=extra))
    at = plain.rindex(b"PK\x05\x06")
    begin = plain.index(b"PK\x01\x02")
    packed_at = plain.index(b"PK\x01\x02") + 20
    plain = plain[:packed_at] + b"\xff" * 8 + plain[packed_at + 8 :]
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, at - begin, begin)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    wide = plain[:at] + end64 + locator + end
    with zipfile.ZipFile(io.BytesIO(wide)) as archive:
        assert archive.read("a/data.pkl") == ATTACK
    result = scanned(wide)
    assert "test/bad" in result.rules
    assert "zip/zip64" not in result.rules
    lying = plain[:at] + end64 + locator + end.replace(b"\xff\xff\xff\xff\xff\xff\xff\xff", struct.pack("<2L", 0, 22))
    assert "zip/zip64" in scanned(lying).rules


def test_a_data_descriptor_is_no_mismatch():
    made = io.BytesIO()

    class Forward(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            return made.write(data)

    with zipfile.ZipFile(Forward(), "w") as archive:
        archive.writestr("archive/data.pkl", HONEST)
        archive.writestr("archive/version", b"3\n", zipfile.ZIP_DEFLATED)
    assert scanned(made.getvalue()).findings == ()


def test_overlapping_members_are_a_bomb():
    body = b"x" * 1000
    members = [Member(b"a0", body)] + [Member(b"a%d" % i, body, header=0) for i in range(1, 500)]
    result = scanned(make_zip(*members))
    assert {"zip/overlap", "zip/not-read"} <= result.rules
    assert result.tier is Tier.MALICIOUS


def test_a_bomb_ends_with_a_finding():
    bomb = deflated(bytes(100 << 20))
    result = scanned(make_zip(Member(b"a.bin", b"", method=8, packed=bomb, size=100 << 20)), unpacked=50 << 20)
    assert result.tier is Tier.UNREADABLE
    assert any("bomb" in finding.message for finding in result.findings)


def test_archives_nested_too_deeply_are_told():
    data = HONEST
    for number in range(12):
        data = make_zip(Member(b"%d.zip" % number, data))
    result = scanned(data)
    assert "archive/depth" in result.rules
    assert result.tier is Tier.UNREADABLE


def test_too_many_members_are_told():
    result = scanned(make_zip(*(Member(b"%d.txt" % i, b"x") for i in range(30))), members=20)
    assert result.tier is Tier.UNREADABLE


def test_a_cut_off_archive_is_unreadable():
    whole = make_zip(SIMPLE, Member(b"archive/version", b"3\n"))
    result = scanned(whole[: len(whole) // 2], "model.pt")
    assert result.tier is Tier.UNREADABLE


def test_a_long_packed_member_is_scanned_without_being_kept():
    """A pickle behind more zeros than are kept in memory, which the machine passes over."""
    data = b"\x80\x04\x8e" + struct.pack("<Q", KEPT + 1000) + bytes(KEPT + 1000) + b"0" + ATTACK
    assert "test/bad" in scanned(make_zip(Member(b"a/data.pkl", data, method=8))).rules


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=4), st.booleans())
def test_broken_archives_never_raise_and_never_pass(where, patch, deflate):
    """After any change: a bad tier, or Python's zipfile still reads the very same members."""
    whole = make_zip(SIMPLE, Member(b"archive/version", b"3\n", method=8 * deflate), Member(b"archive/n", b"12" * 40))
    where %= len(whole)
    broken = whole[:where] + patch + whole[where + len(patch) :]
    result = scanned(broken, "model.pt")
    if result.tier.rank <= Tier.SAFE.rank:
        with zipfile.ZipFile(io.BytesIO(broken)) as archive:
            read = {name.lower(): archive.read(name) for name in archive.namelist()}
        assert read["archive/data.pkl"] == HONEST


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4))
def test_no_change_hides_a_payload_that_zipfile_still_reads(patches):
    whole = make_zip(Member(b"archive/version", b"3\n"), Member(b"archive/data.pkl", ATTACK, method=8))
    data = bytearray(whole)
    for where, patch in patches:
        where %= len(whole)
        data[where : where + len(patch)] = patch
    result = scanned(bytes(data), "model.pt")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            hit = any(archive.read(name) == ATTACK for name in archive.namelist())
    except Exception:  # whatever zipfile raises for a broken archive
        hit = False
    if hit:
        assert "test/bad" in result.rules
