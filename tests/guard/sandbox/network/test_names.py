"""Where a name may lead, and where it never does."""

from __future__ import annotations

import ipaddress

import pytest

from assay.guard.sandbox.network.destinations import parse
from assay.guard.sandbox.network.names import Names


def at(text):
    return ipaddress.ip_address(text)


def names(*destinations, hosts=()):
    return Names([parse(text) for text in destinations], hosts)


def test_a_name_is_reached_where_it_was_resolved_and_nowhere_else():
    made = names("pypi.org:443")
    assert not made.address(at("151.101.0.223"), 443).allowed
    assert made.resolved("pypi.org", [at("151.101.0.223")]) == [at("151.101.0.223")]
    verdict = made.address(at("151.101.0.223"), 443)
    assert (verdict.allowed, verdict.rule, verdict.host) == (True, "net:pypi.org:443", "pypi.org")
    assert not made.address(at("151.101.0.223"), 80).allowed
    assert made.address(at("151.101.0.224"), 443).rule == "net:not-listed"


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fe80::1", "fd00:ec2::254", "100.64.0.1", "0.0.0.0"]
)
def test_rebinding(address):
    made = names("evil.example:80", "localhost:80")
    assert made.resolved("evil.example", [at(address)]) == []
    assert not made.address(at(address), 80).allowed or at(address).is_loopback  # localhost is listed by itself


def test_a_private_address_is_reached_by_name_only_where_it_is_listed_itself():
    made = names("db.example:5432", "10.0.0.0/8:5432")
    assert made.resolved("db.example", [at("10.1.2.3"), at("192.168.0.1")]) == [at("10.1.2.3")]


def test_credentials_are_named_as_such():
    assert names().address(at("169.254.169.254"), 80).rule == "metadata"
    assert names("*.internal:80").name("metadata.google.internal").rule == "metadata"
    assert names("169.254.169.254:80").address(at("169.254.169.254"), 80).allowed


def test_what_the_administrator_wrote_counts_as_resolved():
    made = names("db.example:5432", hosts=["10.1.2.3 db.example other.example # text", "127.0.0.1 db.example", "junk"])
    assert made.address(at("10.1.2.3"), 5432).host == "db.example"
    assert not made.address(at("127.0.0.1"), 5432).allowed
    assert not names("db.example:1", hosts=["169.254.169.254 db.example"]).address(at("169.254.169.254"), 1).allowed


def test_two_names_at_one_address_each_have_their_own_ports():
    made = names("a.example:80", "b.example:443")
    for name in ("a.example", "b.example"):
        made.resolved(name, [at("151.101.0.223")])
    assert made.address(at("151.101.0.223"), 443).host == "b.example"
    assert made.address(at("151.101.0.223"), 80).host == "a.example"


def test_nothing_is_listed():
    assert names().name("pypi.org").rule == "net:none"
    assert names().address(at("151.101.0.223"), 443).rule == "net:none"
