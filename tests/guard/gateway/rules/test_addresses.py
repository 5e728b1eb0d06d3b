"""Networks, and who asks where proxies stand in front."""

from __future__ import annotations

import ipaddress
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import DocumentError, UsageError
from assay.guard.gateway.rules.addresses import Networks, address_set, canonical
from assay.guard.gateway.rules.forwarded import Trusted


@given(
    st.lists(st.tuples(st.ip_addresses(), st.integers(0, 128)), max_size=20),
    st.lists(st.ip_addresses(), min_size=1, max_size=20),
)
def test_sets_say_what_ipaddress_says(
    networks: list[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]],
    addresses: list[ipaddress.IPv4Address | ipaddress.IPv6Address],
) -> None:
    made = [ipaddress.ip_network((a, n % (a.max_prefixlen + 1)), strict=False) for a, n in networks]
    ours = Networks(map(str, made), "test")
    for address in [*addresses, *(a for a, _ in networks)]:
        if address.version == 6 and address.ipv4_mapped is not None:
            continue
        assert (str(address) in ours) == any(address in network for network in made)


def test_mapped_addresses_are_the_ipv4_ones() -> None:
    networks = Networks(["10.0.0.0/8", "::ffff:192.0.2.0/120", "2001:db8::/32"], "test")
    assert "::ffff:10.1.2.3" in networks and "192.0.2.77" in networks and "2001:db8:ffff::1" in networks
    assert "11.0.0.1" not in networks and "192.0.3.1" not in networks and "unix:" not in networks
    assert len(networks) == 3


@pytest.mark.parametrize(
    "bad", ["10.0.0.1/8", "10.0.0.0/33", "fe80::%eth0/64", "example.org", "", "10.0.0", "010.0.0.1"]
)
def test_what_is_no_network_is_told(bad: str) -> None:
    with pytest.raises(DocumentError, match=r"addresses\.deny"):
        Networks([bad], "addresses.deny")


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::FFFF:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("fe80::1%eth0", None),
        ("0300.1.2.3", None),
        ("1.2.3", None),
        ("unix:", None),
        ("1" * 100, None),
    ],
)
def test_one_form(text: str, form: str | None) -> None:
    assert canonical(text) == form


def test_files_are_read_again_and_a_bad_one_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "deny.txt"
    file.write_text("# comment\n10.0.0.0/8 # ours\n\n; more\n2001:db8::1\n")
    deny = address_set("deny", {"file": "deny.txt", "networks": ["192.0.2.0/24"]}, str(tmp_path))
    assert "10.1.1.1" in deny.networks and "2001:db8::1" in deny.networks and "192.0.2.1" in deny.networks
    assert not deny.refresh()
    file.write_text("11.0.0.0/8\n")
    assert deny.refresh()
    assert "10.1.1.1" not in deny.networks and "11.1.1.1" in deny.networks
    for spoil in (
        lambda: file.write_text("11.0.0.0/8\nnonsense\n"),
        lambda: file.write_bytes(b"\xff\xfe"),
        file.unlink,
    ):
        caplog.clear()
        spoil()
        with caplog.at_level(logging.WARNING):
            assert not deny.refresh()
            assert not deny.refresh()
        assert len(caplog.records) == 1 and "stays as it was" in caplog.text
        assert "11.1.1.1" in deny.networks
    file.write_text("12.0.0.0/8\n")
    assert deny.refresh() and "12.0.0.1" in deny.networks


def test_a_list_that_was_cut_to_nothing_lets_nobody_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "denied.txt"
    file.write_text("192.0.2.0/24\n")
    made = address_set("denied", {"file": str(file)}, "/")
    file.write_text("")
    assert not made.refresh() and "192.0.2.1" in made.networks
    assert "was emptied" in caplog.text
    assert not made.refresh()
    file.write_text("# nobody\n")
    assert made.refresh() and "192.0.2.1" not in made.networks


def test_a_list_that_begins_empty_may_stay_so(tmp_path: Path) -> None:
    file = tmp_path / "denied.txt"
    file.write_text("")
    made = address_set("denied", {"file": str(file)}, "/")
    assert not made.refresh() and "192.0.2.1" not in made.networks


def test_a_file_that_is_bad_at_the_start_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("10.0.0.0/8\nx\n")
    with pytest.raises(DocumentError, match="bad:2"):
        address_set("deny", {"file": "bad"}, str(tmp_path))
    with pytest.raises(UsageError, match="missing"):
        address_set("deny", {"file": "missing"}, str(tmp_path))
    for wrong in ({"files": "x"}, {"url": "x"}, "10.0.0.0/8", [1], {"networks": [None]}):
        with pytest.raises(DocumentError, match=r"addresses\.deny"):
            address_set("deny", wrong, str(tmp_path))


def test_a_file_replaced_within_the_same_second_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "deny"
    file.write_text("10.0.0.0/8\n")
    deny = address_set("deny", {"file": "deny"}, str(tmp_path))
    status = file.stat()
    other = tmp_path / "other"
    other.write_text("11.0.0.0/8\n")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(file)
    assert deny.refresh()


PROXIES = ("10.0.0.0/8", "2001:db8::/32", "unix")


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (b"203.0.113.7", "203.0.113.7"),
        (b"1.1.1.1, 203.0.113.7", "203.0.113.7"),
        (b"1.1.1.1, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        (b"203.0.113.7:4711", "203.0.113.7"),
        (b"[2a00::1]:4711", "2a00::1"),
        (b"2A00:0::1", "2a00::1"),
        (b"::ffff:203.0.113.7", "203.0.113.7"),
        (b"<script>, 203.0.113.7", "203.0.113.7"),
        (b"10.0.0.9, 10.0.0.2", "10.0.0.9"),
        (b"x" * 9000 + b", 203.0.113.7", "203.0.113.7"),
        (b"", None),
        (b"unknown", None),
        (b"1.1.1.1, unknown", None),
        (b"1.1.1.1,", None),
        (b"fe80::1%eth0", None),
        (b"203.0.113.7:99999x", None),
        (b"[203.0.113.7]", None),
        (b"203.0.113.7 evil", None),
        (b"\xff", None),
        (b", ".join([b"1.1.1.1"] + [b"10.0.0.1"] * 17), None),
        (b"1" * 9000, None),
    ],
)
def test_the_right_most_hop_that_is_no_proxy(value: bytes, client: str | None) -> None:
    assert Trusted(PROXIES, "x-forwarded-for").client(value) == client


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (b"for=203.0.113.7", "203.0.113.7"),
        (b'For="[2a00::1]:80";proto=https;by=10.0.0.1', "2a00::1"),
        (b"for=1.1.1.1, for=203.0.113.7;host=x, for=10.0.0.3", "203.0.113.7"),
        (b'for="1.1.1.1, for=203.0.113.7', "203.0.113.7"),
        (b"for=_hidden", None),
        (b"for=unknown", None),
        (b"proto=http", None),
        (b"for=203.0.113.7;for=1.1.1.1", None),
        (b'for="203.0.113.7', None),
    ],
)
def test_forwarded_as_rfc_7239_has_it(value: bytes, client: str | None) -> None:
    assert Trusted(PROXIES, "forwarded").client(value) == client


@given(st.binary(max_size=200))
def test_whatever_a_stranger_writes_before_a_proxys_own_word_changes_nothing(junk: bytes) -> None:
    assert Trusted(PROXIES, "x-forwarded-for").client(junk + b", 203.0.113.7") == "203.0.113.7"


@given(st.binary(max_size=200))
def test_any_bytes_are_an_address_or_nothing(junk: bytes) -> None:
    for header in ("x-forwarded-for", "forwarded"):
        client = Trusted(PROXIES, header).client(junk)
        assert client is None or str(ipaddress.ip_address(client)) == client


def test_a_proxy_that_is_no_network_is_told() -> None:
    with pytest.raises(DocumentError, match="trusted-proxies"):
        Trusted(("lb.example.org",), "x-forwarded-for")
