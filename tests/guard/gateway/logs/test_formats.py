from __future__ import annotations

import csv
import io
import json
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import DocumentError
from assay.guard.gateway.interface import Caller, Decision, Level, Route, Verb
from assay.guard.gateway.logs.csv_lines import COLUMNS
from assay.guard.gateway.logs.fields import ARTICLE, FIELDS, LINE
from assay.guard.gateway.logs.formats import FILES, layout
from assay.guard.gateway.logs.layout import FORMS, Liner
from guard.gateway.logs.contexts import finished


def line(form: str, drop: tuple[str, ...] = (), hashed: tuple[str, ...] = (), **changed: Any) -> bytes:
    return Liner(layout(form), drop, hashed, b"k" * 32)(finished(**changed))


ATTACKS = [
    'x\n{"requestId":"forged"}',
    "x\r\n192.0.2.1 - - forged",
    'quote"and\\back"slash\\',
    "\x1b]0;title\x07\x1b[2J",
    "\x9b31mC1",
    "\u202etxt.exe\u2066",
    "line\u2028separator\u2029\x85",
    "<script>&amp;]]></caller><caller>root",
    "=cmd|' /C calc'!A0",
    "  @SUM(1+1)",
    "\t=1+1",
    "%s%d%(caller)s%",
    "\ud800 lone",
    "\ufffe\x00\x7f",
    "a b [c] d",
    "é☃𝄞",
]


def test_json_has_the_articles_fields_first_and_ours_after_them() -> None:
    found = json.loads(line("json"))
    assert tuple(found) == FIELDS
    assert {name: found[name] for name in ARTICLE} == {
        "requestId": "00000000000000000000000000000001",
        "ip": "192.0.2.7",
        "caller": "key:7Qx",
        "user": "ada",
        "requestTime": "21/Sep/2026:14:13:20 +0000",
        "httpMethod": "POST",
        "resourcePath": "/v2/models/m/infer",
        "status": "200",
        "protocol": "HTTP/1.1",
        "responseLength": "101",
    }
    assert (found["integrationLatency"], found["responseLatency"], found["requestTimeEpoch"]) == (
        "1.200",
        "1.400",
        "1790000000250",
    )
    assert (found["rows"], found["tokensIn"], found["tokensOut"]) == ("4", "10", "20")
    assert all(isinstance(value, str) for value in found.values())


def test_what_is_not_known_is_a_dash_in_every_format() -> None:
    bare = {"caller": None, "route": None, "usage": None, "model": "", "status": 0, "upstream": 0.0, "headers": {}}
    found = json.loads(line("json", **bare))
    for name in ("caller", "user", "apiKeyId", "rows", "tokensIn", "integrationLatency", "status", "userAgent", "rule"):
        assert found[name] == "-", name
    assert line("clf", **bare) == (
        b'192.0.2.7 - - [21/Sep/2026:14:13:20 +0000] "POST /v2/models/m/infer HTTP/1.1" - 101 '
        b"00000000000000000000000000000001\n"
    )
    assert json.loads(line("cloudtrail", **bare))["requestParameters"]["rows"] is None


def test_no_query_is_logged_and_of_a_target_without_normal_form_the_path() -> None:
    assert b"secret" not in b"".join(line(form) for form in FILES)
    found = json.loads(line("json", path="", target=b"/a//b\xff\x1b?token=secret"))
    assert found["resourcePath"] == "/a//b\\xff\x1b"


def test_common_log_format_is_read_by_its_usual_expression() -> None:
    usual = re.compile(rb'^(\S+) (\S+) (\S+) \[([^\]]+)\] "(\S+) (\S+) (\S+)" (\d{3}|-) (\d+) (\S+)\n$')
    for attack in ["plain", *ATTACKS]:
        data = line("clf", path="/" + attack, caller=Caller(attack, attack), request_id=attack)
        assert usual.match(data), data
        assert data.count(b"\n") == 1


def test_csv_has_one_column_for_each_field() -> None:
    for attack in ATTACKS:
        rows = list(csv.reader(io.StringIO(line("csv", caller=Caller(attack, attack), path="/" + attack).decode())))
        assert [len(row) for row in rows] == [len(COLUMNS)]
        found = dict(zip(COLUMNS, rows[0], strict=True))
        assert not found["user"].lstrip().startswith(("=", "+", "-", "@", "\t", "\r"))
    assert tuple(COLUMNS[:10]) == (
        "ip",
        "caller",
        "user",
        "requestTime",
        "httpMethod",
        "resourcePath",
        "protocol",
        "status",
        "responseLength",
        "requestId",
    )


def test_xml_is_one_element_and_gives_back_what_xml_can_hold() -> None:
    for attack in ATTACKS:
        element = ElementTree.fromstring(line("xml", caller=Caller(attack, "u"), request_id=attack))
        assert [child.tag for child in element] == [name for name in FIELDS if name != "requestId"]
        if attack.isprintable() and "\\" not in attack:
            assert element.findtext("caller") == attack


@pytest.mark.parametrize("form", FILES)
@pytest.mark.parametrize("attack", ATTACKS)
def test_what_strangers_write_stays_on_its_line_and_steers_no_terminal(form: str, attack: str) -> None:
    data = line(
        form,
        path="/" + attack,
        caller=Caller(attack, attack, key=attack),
        method=attack,
        request_id=attack,
        trace=attack,
        model=attack,
        headers={b"user-agent": attack.encode(errors="surrogatepass")},
        decision=Decision(False, 403, attack),
        status=403,
    )
    assert data.endswith(b"\n")
    assert all(0x20 <= byte < 0x7F for byte in data[:-1])
    if form == "json":
        assert json.loads(data)["user"] == attack
        assert json.loads(data)["extendedRequestId"] == "0" * 31 + "1"
    if form == "cloudtrail":
        assert json.loads(data)["userIdentity"]["userName"] == attack


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(), max_size=700), form=st.sampled_from(sorted(FILES)))
def test_any_text_is_one_bounded_ascii_line(text: str, form: str) -> None:
    data = line(form, path="/" + text, caller=Caller(text, text), method=text, model=text)
    assert data.count(b"\n") == 1 and data.endswith(b"\n") and data.isascii()
    assert len(data) <= 4096


def test_a_line_is_short_enough_for_a_pipe_whatever_is_in_it() -> None:
    worst = "\U0001f480" * 5000
    everything = dict.fromkeys(("path", "model", "harden", "error", "http", "method", "address"), worst)
    for form in FILES:
        data = line(
            form,
            **everything,
            caller=Caller(worst, worst, key=worst),
            counted=(worst,) * 20,
            decision=Decision(False, 403, worst),
            route=Route("json", Verb.INFER, worst, "", worst),
            headers={b"user-agent": worst.encode()},
        )
        assert len(data) <= 4096, form
        assert len(data) > 400 or form == "clf"
    assert LINE < 4096


def test_fields_are_dropped_and_hashed_also_those_that_change() -> None:
    plain = json.loads(line("json"))
    drop, hashed = ("ip", "requestTimeEpoch", "userAgent"), ("user", "caller", "trace", "requestId")
    first = json.loads(line("json", drop, hashed, trace="00-ab-cd-01"))
    other = json.loads(line("json", drop, hashed, caller=Caller("key:other", "bob")))
    for name in drop:
        assert first[name] == "-"
    for name in hashed:
        assert re.fullmatch(r"[0-9a-f]{32}", first[name]), name
        assert first[name] != plain[name]
    assert first["user"] == json.loads(line("json", (), ("user",)))["user"] != other["user"]
    assert other["trace"] == "-"  # nothing is not hashed
    assert first["resourcePath"] == plain["resourcePath"]
    changed_key = json.loads(Liner(layout("json"), (), ("user",), b"another")(finished()))
    assert changed_key["user"] != first["user"]


@pytest.mark.parametrize("form", FILES)
def test_what_is_hidden_is_hidden_in_every_format(form: str) -> None:
    data = line(form, ("ip", "user", "responseLength"), ("caller", "apiKeyId", "requestLength"))
    assert b"192.0.2.7" not in data and b"ada" not in data and b"7Qx" not in data
    if form == "cloudtrail":
        assert isinstance(json.loads(data)["requestParameters"]["requestLength"], str)


def test_a_field_that_is_none_is_an_error() -> None:
    with pytest.raises(DocumentError, match="no field 'ipaddress'"):
        Liner(layout("json"), ("ipaddress",), (), b"k")


def test_what_is_remembered_for_speed_never_changes_a_line() -> None:
    lined = Liner(layout("json"), (), (), b"k")
    for number in range(FORMS + 500):
        found = json.loads(lined(finished(number, path=f"/p{number % 1400}", status=200 + number % 3)))
        assert found["resourcePath"] == f"/p{number % 1400}"
        assert found["status"] == str(200 + number % 3)
        assert found["extendedRequestId"] == f"{number + 1:032x}"
    # one attribute after the other makes another line
    first = json.loads(lined(finished()))
    changes: dict[str, tuple[str, Any, str]] = {
        "address": ("ip", "192.0.2.8", "192.0.2.8"),
        "level": ("level", Level.HARDEN, "harden"),
        "counted": ("counted", ("a", "b"), "a,b"),
        "error": ("error", "client-gone", "client-gone"),
        "harden": ("harden", "label-only", "label-only"),
        "decision": ("decision", Decision(False, 429, "plan:rate"), "deny"),
        "route": ("verb", Route("kserve-v1", Verb.EXPLAIN, "m", "", "/x", 1), "explain"),
        "http": ("protocol", "HTTP/2", "HTTP/2"),
        "model_version": ("modelVersion", "sha256:cd", "sha256:cd"),
    }
    for attribute, (name, value, shown) in changes.items():
        found = json.loads(lined(finished(**{attribute: value})))
        assert found[name] == shown != first[name]


def test_cloudtrail_records_are_of_the_record_format_and_refusals_are_no_use_of_a_permission() -> None:
    record = json.loads(line("cloudtrail"))
    required = {"eventVersion", "userIdentity", "eventTime", "eventSource", "eventName", "awsRegion"}
    required |= {"sourceIPAddress", "userAgent", "requestParameters", "responseElements", "additionalEventData"}
    required |= {"requestID", "eventID", "eventType", "readOnly", "managementEvent", "eventCategory"}
    assert required <= record.keys() and "errorCode" not in record
    assert (record["eventVersion"], record["eventTime"]) == ("1.11", "2026-09-21T14:13:20Z")
    assert record["eventID"] == "00000000-0000-0000-0000-000000000001"
    assert record["eventName"] == "InvokeModel"
    assert record["userIdentity"]["type"] == "WebIdentityUser"
    assert record["userIdentity"]["arn"] == "arn:assay:gateway:::caller/key:7Qx"
    assert record["resources"] == [{"type": "Assay::Model", "ARN": "arn:assay:gateway:::model/m"}]
    assert record["requestParameters"]["rows"] == 4
    for status, code in (
        (401, "AccessDenied"),
        (403, "AccessDenied"),
        (429, "ThrottlingException"),
        (422, "Validation"),
    ):
        refused = {"decision": Decision(False, status, "plan:rate"), "status": status}
        assert json.loads(line("cloudtrail", **refused))["errorCode"].startswith(code)
        # neither where the fields that say so are dropped
        hidden = json.loads(line("cloudtrail", ("decision", "status", "rule", "verb"), (), **refused))
        assert hidden["errorCode"].startswith(code) and "plan:rate" not in hidden["errorMessage"]
    failed = json.loads(line("cloudtrail", status=200, error="upstream-reset"))
    assert (failed["errorCode"], failed["errorMessage"]) == ("ModelError", "upstream-reset")
    stranger = json.loads(line("cloudtrail", caller=Caller("address:192.0.2.7")))
    assert stranger["userIdentity"]["type"] == "Unknown"
