"""Flow logs as others read them: by the words of AWS's documentation, and by a JSON parser."""

from __future__ import annotations

import ipaddress
import json
import re

import pytest
from msgspec import structs

from assay.collect.trace.flow_log import json_lines, lines
from assay.collect.trace.interface import Contact, Decision, Gap, Process, Trace, Usage

# docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html, the fields of version 2 in their order and with their
# types; "-" where a field does not apply or could not be computed.
RECORD = re.compile(
    r"(?P<version>2) (?P<account_id>\d{12}|unknown|-) (?P<interface_id>eni-[0-9a-f]{8,17}) "
    r"(?P<srcaddr>[0-9a-f.:]+|-) (?P<dstaddr>[0-9a-f.:]+|-) (?P<srcport>\d{1,5}|-) (?P<dstport>\d{1,5}|-) "
    r"(?P<protocol>\d{1,3}|-) (?P<packets>\d+|-) (?P<bytes>\d+|-) (?P<start>\d{10}) (?P<end>\d{10}) "
    r"(?P<action>ACCEPT|REJECT|-) (?P<log_status>OK|NODATA|SKIPDATA)"
)
SECOND = 10**9
START = 1_700_000_000 * SECOND


def trace(*contacts: Contact, gaps=()) -> Trace:
    return Trace(
        "seccomp-unotify",
        START,
        START + 9 * SECOND,
        0,
        None,
        [Process(77, None, b"/usr/bin/pyth\xffn", (b"python",), START)],
        {},
        contacts,
        [],
        1,
        gaps,
        Usage(1, 1, 1, 1),
    )


def contact(**more) -> Contact:
    facts = {
        "time": START + SECOND,
        "process": 0,
        "call": "connect",
        "family": "inet",
        "transport": "tcp",
        "address": "192.0.2.1",
        "port": 443,
        "host": None,
        "decision": Decision.DENIED,
        "rule": "net:none",
    }
    return Contact(**(facts | more))


def read(log: bytes) -> list[dict[str, str]]:
    assert log.endswith(b"\n")
    found = [RECORD.fullmatch(line) for line in log.decode("ascii").splitlines()]
    assert all(found), log
    return [match.groupdict() for match in found if match]


def test_an_allowed_connection():
    [record] = read(
        lines(
            trace(
                contact(
                    decision=Decision.MEDIATED,
                    rule="net:pypi.org:443",
                    host="pypi.org",
                    source="10.0.0.5",
                    source_port=40000,
                    sent=100,
                    received=23,
                    finished=START + 5 * SECOND,
                )
            ),
            "run",
        )
    )
    assert record | {"interface_id": ""} == {
        "version": "2",
        "account_id": "-",
        "interface_id": "",
        "srcaddr": "10.0.0.5",
        "dstaddr": "192.0.2.1",
        "srcport": "40000",
        "dstport": "443",
        "protocol": "6",
        "packets": "-",
        "bytes": "123",
        "start": "1700000001",
        "end": "1700000005",
        "action": "ACCEPT",
        "log_status": "OK",
    }


def test_refused_ones_and_what_is_not_known():
    [one, two, three] = read(
        lines(
            trace(
                contact(rule="metadata", address="169.254.169.254", port=80),
                contact(call="sendto", transport="udp", address="2001:db8::1", port=53),
                contact(transport="", address="fe80::1%eth0"),
            ),
            "run",
        )
    )
    assert (one["action"], one["dstaddr"], one["bytes"], one["srcaddr"]) == ("REJECT", "169.254.169.254", "-", "-")
    assert (two["protocol"], two["dstaddr"], two["packets"]) == ("17", "2001:db8::1", "-")
    assert (three["protocol"], three["dstaddr"]) == ("-", "fe80::1")


@pytest.mark.parametrize(
    "item",
    [
        contact(call="dns", address="", port=None, host="evil.example"),
        contact(call="bind", address="127.0.0.1", port=80),
        contact(call="socket", address="", port=None),
        contact(family="unix", address="/run/docker.sock", port=None),
        contact(family="unix", address="@x y\n2 -", port=None),
    ],
)
def test_what_has_no_other_end_is_no_flow(item):
    [record] = read(lines(trace(item), "run"))
    assert record["log_status"] == "NODATA" and record["action"] == record["dstaddr"] == "-"
    assert (record["start"], record["end"]) == ("1700000000", "1700000009")


def test_what_is_missing_is_said():
    records = read(lines(trace(contact(), gaps=[Gap("too-many-contacts", "…")]), "run"))
    assert [record["log_status"] for record in records] == ["OK", "SKIPDATA"]


def test_each_run_has_an_interface_of_its_own():
    first, again, other = (read(lines(trace(), run))[0]["interface_id"] for run in ("a", "a", "b"))
    assert first == again != other


def test_json_lines_say_the_rest():
    log = json_lines(
        trace(
            contact(call="dns", address="", port=None, host="evil.example\n{}", rule="net:not-listed"),
            contact(call="bind", address="127.0.0.1", port=80, decision=Decision.MEDIATED, rule="net:loopback"),
            contact(process=9, decision=Decision.MEDIATED, rule="net:192.0.2.1:443", error=0),
        ),
        "run-1",
        {"/usr/bin/pyth\\xffn": "ab" * 32},
    )
    dns, bind, connect = (json.loads(line) for line in log.decode().splitlines())
    assert dns["host"] == "evil.example\n{}" and dns["action"] == "REJECT" and "dstaddr" not in dns
    assert dns["reason"] == "it is in no destination of the allow-list"
    assert dns["program"] == "/usr/bin/pyth\\xffn" and dns["program-sha256"] == "ab" * 32 and dns["pid"] == 77
    assert (bind["flow-direction"], dns["flow-direction"]) == ("ingress", "egress")
    assert bind["reason"] == "it is the step's own"
    assert connect["errno"] == 0 and "program" not in connect and connect["run"] == "run-1"
    assert connect["reason"] == "it is in the allow-list" and ipaddress.ip_address(connect["dstaddr"])
    assert json_lines(trace(), "run") == b""


@pytest.mark.parametrize("rule", ["unix:name-service", "unix:none"])
def test_what_was_never_let_through_is_not_accepted(rule):
    absent = contact(family="unix", transport="unix", address="/run/nscd/socket", port=None, rule=rule, error=2)
    (entry,) = map(json.loads, json_lines(trace(structs.replace(absent, decision=Decision.MEDIATED)), "r").splitlines())
    assert (entry["action"], entry["errno"], entry["rule"]) == ("REJECT", 2, rule)
    assert entry["reason"]
