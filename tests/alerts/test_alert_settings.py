"""The `alerts:` section: what is accepted, and a sentence with file and field for everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from alerts.alert_making import alert, settings
from assay.alerts.finding import Severity
from assay.alerts.references import scrub
from assay.alerts.settings import AppriseSettings, FileSettings, Settings, SyslogSettings, WebhookSettings, parse
from assay.config import load_yaml
from assay.errors import DocumentError

GUIDE = """
outbox: state/alerts.db
sinks:
  - name: team-chat
    type: apprise
    url: ${ASSAY_ALERT_CHAT}
    severity: high
  - name: soc
    type: webhook
    url: https://soc.example.com/assay
    secret: ${ASSAY_ALERT_SOC_SECRET}
  - name: log
    type: file
    path: alerts.jsonl
    states: [new]
  - name: syslog
    type: syslog
    address: tcp://log.example.com:601
"""


def test_the_guide_is_understood(tmp_path: Path) -> None:
    place = tmp_path / "assay.yaml"
    made = parse(load_yaml(GUIDE.encode(), "assay.yaml"), str(place))
    chat, soc, log, syslog = made.sinks
    assert isinstance(chat, AppriseSettings) and chat.severity is Severity.HIGH
    assert isinstance(soc, WebhookSettings) and not soc.insecure
    assert isinstance(log, FileSettings) and log.path == str(tmp_path / "alerts.jsonl")
    assert (log.wants(alert("new")), log.wants(alert("resolved"))) == (True, False)
    assert isinstance(syslog, SyslogSettings) and syslog.address == "tcp://log.example.com:601"
    assert made.outbox == str(tmp_path / "state" / "alerts.db")


def test_severity_is_the_least_that_goes_there(tmp_path: Path) -> None:
    (sink,) = settings(tmp_path, {"name": "f", "type": "file", "path": "x", "severity": "medium"}).sinks
    wanted = {level: sink.wants(alert(severity=level)) for level in Severity}
    assert wanted == {"critical": True, "high": True, "medium": True, "low": False, "info": False}


def test_nothing_is_nothing(tmp_path: Path) -> None:
    assert settings(tmp_path).sinks == parse({}, "assay.yaml").sinks == ()


FILE = {"name": "f", "type": "file", "path": "x"}
HOOK = {"name": "h", "type": "webhook", "url": "https://example.com/"}
CHAT = {"name": "c", "type": "apprise", "url": "${ASSAY_ALERT_X}"}
LOG = {"name": "s", "type": "syslog"}


@pytest.mark.parametrize(
    ("sink", "said"),
    [
        ({**FILE, "pth": "x"}, "pth"),
        ({"name": "f", "type": "file"}, "path"),
        ({**FILE, "path": ""}, "path"),
        ({**FILE, "path": 3}, "path"),
        ({**FILE, "type": "pigeon"}, "pigeon"),
        ({"name": "f", "path": "x"}, "type"),
        ({**FILE, "name": "A b"}, "name"),
        ({**FILE, "name": "x" * 64}, "name"),
        ({**FILE, "severity": "awful"}, "awful"),
        ({**FILE, "states": ["opened"]}, "opened"),
        ({**FILE, "states": []}, "states"),
        ({**HOOK, "url": "gopher://x/"}, "url"),
        ({**HOOK, "url": "https://user:pass@example.com/"}, "url"),
        ({**HOOK, "url": "https://example.com/\r\nX: y"}, "url"),
        ({**HOOK, "url": "https://example.com/${AWS_SECRET_ACCESS_KEY}"}, "AWS_SECRET_ACCESS_KEY"),
        ({**HOOK, "url": "https://example.com/${ASSAY_PASSPHRASE}"}, "ASSAY_PASSPHRASE"),
        ({**HOOK, "url": "https://example.com/${ASSAY_ALERT_X"}, "url"),
        ({**HOOK, "secret": "in the file"}, "secret"),
        ({**HOOK, "secret": "${HOME}"}, "HOME"),
        ({**HOOK, "secret": "${ASSAY_ALERT_X}", "secret-file": "x"}, "exclude"),
        ({**CHAT, "url": "slack://token"}, "environment"),
        ({**CHAT, "url": "${SLACK}"}, "SLACK"),
        ({**LOG, "address": "log.example.com"}, "address"),
        ({**LOG, "address": "udp://log.example.com"}, "address"),
        ({**LOG, "address": "udp://log.example.com:99999"}, "address"),
        ({**LOG, "address": "http://log.example.com:1"}, "address"),
        ("file", "sinks[0]"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_field(sink: Any, said: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse({"sinks": [sink]}, "assay.yaml")
    assert caught.value.message.startswith("assay.yaml: ")
    assert said in caught.value.message


@pytest.mark.parametrize("raw", [{"snks": []}, {"sinks": {}}, {"sinks": [FILE, FILE]}, {"place": "x"}, {"outbox": 3}])
def test_the_section_is_strict_too(raw: dict[str, Any]) -> None:
    with pytest.raises(DocumentError, match="assay.yaml: "):
        parse(raw, "assay.yaml")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
FIELDS = ["name", "type", "url", "path", "states", "severity", "secret", "secret-file", "address", "insecure", True]
SINKS = st.dictionaries(
    st.sampled_from(FIELDS) | SCALARS,
    st.sampled_from(["f", "file", "webhook", "syslog", "apprise", "udp://[x:1", "https://[", "${", "info"])
    | SCALARS
    | st.lists(SCALARS, max_size=2),
    max_size=6,
)


@examples(deadline=None, max_examples=150)
@given(
    raw=st.dictionaries(st.sampled_from(["sinks", "outbox", "place"]) | SCALARS, st.lists(SINKS | SCALARS) | SCALARS)
)
def test_any_section_is_settings_or_a_sentence(raw: Any) -> None:
    try:
        made = parse(raw, "assay.yaml")
    except DocumentError as error:
        assert error.message.startswith("assay.yaml: ")
    else:
        assert isinstance(made, Settings)


def test_settings_go_through_the_pipe_unchanged(tmp_path: Path) -> None:
    import msgspec

    made = parse(load_yaml(GUIDE.encode(), "assay.yaml"), str(tmp_path / "assay.yaml"))
    assert msgspec.json.decode(msgspec.json.encode(made), type=Settings) == made


def test_scrubbing_removes_every_part_of_a_secret() -> None:
    url = "mailtos://bot:p%40ssw0rd@smtp.example.com/?to=ceo@example.com"
    said = "cannot log in as bot with p@ssw0rd (p%40ssw0rd) at smtp.example.com, to ceo@example.com"
    clean = scrub(said, url)
    for part in ("p@ssw0rd", "p%40ssw0rd", "smtp"):
        assert part not in clean
    assert clean.startswith("cannot log in as")
