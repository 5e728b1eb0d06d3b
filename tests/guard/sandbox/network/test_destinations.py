"""What a destination means, and what it never means."""

from __future__ import annotations

import ipaddress

import pytest

from assay.errors import UsageError
from assay.guard.sandbox.network.destinations import (
    allows_address,
    allows_name,
    parse,
    reachable_by_name,
)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("pypi.org:443", "pypi.org:443"),
        ("PyPI.org.:443", "pypi.org:443"),
        ("*.example.com:*", "*.example.com:*"),
        ("10.0.0.0/8:5432", "10.0.0.0/8:5432"),
        ("[::1]:5432", "[::1]:5432"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1:80"),
        ("localhost:*", "localhost:*"),
        ("bücher.example:443", "xn--bcher-kva.example:443"),
    ],
)
def test_what_people_write(text: str, written: str) -> None:
    assert str(parse(text)) == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pypi.org",
        ":443",
        "pypi.org:",
        "pypi.org:0",
        "pypi.org:65536",
        "pypi.org:+443",
        "pypi.org:４４３",
        "::1",
        "*:443",
        "*.*:443",
        "a.*.com:443",
        "10.0.0.1/8:80",
        "https://pypi.org:443",
        "user@pypi.org:443",
        "1.2.3:443",
        "0x7f.1:80",
        "pypi.org\n:443",
        "a" * 64 + ".org:443",
        "-a.org:443",
    ],
)
def test_what_is_no_destination(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


def by_name(text: str, name: str, port: int | None = 443) -> bool:
    return allows_name([parse(text)], name, port) is not None


def by_address(text: str, address: str, port: int = 443) -> bool:
    return allows_address([parse(text)], ipaddress.ip_address(address), port) is not None


def test_names() -> None:
    assert by_name("pypi.org:443", "PyPI.org.")
    assert not by_name("pypi.org:443", "pypi.org", 80)
    assert not by_name("pypi.org:443", "evilpypi.org")
    assert not by_name("pypi.org:443", "files.pypi.org")
    assert by_name("*.pypi.org:443", "files.pypi.org")
    assert not by_name("*.pypi.org:443", "pypi.org")
    assert not by_name("*.pypi.org:443", "evilpypi.org")
    assert by_name("pypi.org:443", "pypi.org", None)
    assert not by_name("*.internal:80", "metadata.google.internal", 80)
    assert by_name("metadata.google.internal:80", "metadata.google.internal", 80)


def test_addresses() -> None:
    assert by_address("192.0.2.1:443", "192.0.2.1")
    assert not by_address("192.0.2.1:443", "192.0.2.1", 80)
    assert by_address("192.0.2.0/24:443", "192.0.2.77")
    assert not by_address("192.0.2.0/24:443", "198.51.100.1")
    assert by_address("localhost:443", "127.0.0.5")
    assert not by_address("pypi.org:443", "192.0.2.1")


def test_credentials_are_reached_only_when_they_are_written_out() -> None:
    assert not by_address("169.254.0.0/16:80", "169.254.169.254", 80)
    assert not by_address("0.0.0.0/0:80", "169.254.169.254", 80)
    assert not by_address("[::/0]:80", "64:ff9b::a9fe:a9fe", 80) and not by_address("[::/0]:80", "fd00:ec2::254", 80)
    assert by_address("[::/0]:80", "64:ff9b::101:101", 80)
    assert by_address("169.254.169.254:80", "169.254.169.254", 80)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "::1",
        "fe80::1",
        "fd00:ec2::254",
        "0.0.0.0",
        "224.0.0.1",
        "168.63.129.16",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::7f00:1",
        "2002:a9fe:a9fe::1",
        "2002:7f00:1::",
    ],
)
def test_a_name_leads_nowhere_private(address: str) -> None:
    assert not reachable_by_name(ipaddress.ip_address(address))


def test_a_name_leads_into_the_world() -> None:
    assert reachable_by_name(ipaddress.ip_address("151.101.0.223"))
