"""Files, the system log and Apprise: whole lines only, nothing injected, nothing told."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from alerts.alert_making import NOW, alert, receiver, settings
from assay.alerts.finding import Alert, Severity, State, bounded
from assay.alerts.sinks import make, syslog
from assay.alerts.sinks.interface import Sink, SinkError
from assay.alerts.wording import cloud_event


def sink(folder: Path, **options: Any) -> Sink:
    return make(settings(folder, {"name": "x", **options}).sinks[0])


# A file


def test_a_file_gets_one_line_an_alert(tmp_path: Path) -> None:
    log = sink(tmp_path, type="file", path="alerts.jsonl")
    for state in ("new", "resolved"):
        log.send(alert(state, message="two\nlines"))
    path = tmp_path / "alerts.jsonl"
    lines = path.read_bytes().splitlines()
    assert lines == [cloud_event(alert(state, message="two\nlines")) for state in ("new", "resolved")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_line_that_was_cut_off_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    path.write_bytes(cloud_event(alert())[:50])
    sink(tmp_path, type="file", path="alerts.jsonl").send(alert())
    assert json.loads(path.read_bytes().splitlines()[-1])["id"] == alert().id


@pytest.mark.parametrize("content", [b"export PATH=/usr/bin\n", b"\n", b"#!/bin/sh\n"])
def test_no_other_file_is_appended_to(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / ".bashrc"
    path.write_bytes(content)
    with pytest.raises(SinkError, match="not a file of alerts"):
        sink(tmp_path, type="file", path=".bashrc").send(alert(title="$(touch it)"))
    assert path.read_bytes() == content


def test_links_pipes_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "link", "pipe", "missing/alerts.jsonl"):
        with pytest.raises(SinkError, match=name.split("/", maxsplit=1)[0]):
            sink(tmp_path, type="file", path=name).send(alert())
    assert not (tmp_path / "target").exists()


def test_a_full_disk_is_an_error() -> None:
    with pytest.raises(SinkError, match="is not a file"):  # /dev/full is the device that is always full
        sink(Path("/dev"), type="file", path="full").send(alert())


def test_many_writers_at_once_keep_lines_whole(tmp_path: Path) -> None:
    big = alert(message="x" * 3000)
    threads = [
        threading.Thread(target=sink(tmp_path, type="file", path="alerts.jsonl").send, args=(big,)) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "alerts.jsonl").read_bytes().splitlines() == [cloud_event(big)] * 16


# The system log

RFC5424 = re.compile(
    rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ([!-~]{1,255}) assay (\d+) finding-\w+ - (.+)",
    re.DOTALL,
)
"""Section 6 of RFC 5424, as far as it is used."""


@pytest.fixture
def device(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """What listens at /dev/log."""
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(10)
        yield path, listener


def test_the_local_log_gets_one_message(tmp_path: Path, device: tuple[str, socket.socket]) -> None:
    path, listener = device
    sink(tmp_path, type="syslog", address=path).send(alert())
    found = RFC5424.fullmatch(listener.recv(1 << 16))
    assert found
    assert (int(found[1]), found[2], int(found[4])) == (1 * 8 + 3, b"2026-06-01T12:00:00.123Z", os.getpid())
    assert found[5].startswith(b"New high finding: Rule licence does not pass: the licence is GPL-3.0")
    assert alert().id.encode() in found[5]


def test_udp(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(10)
        sink(tmp_path, type="syslog", address=f"udp://127.0.0.1:{listener.getsockname()[1]}").send(alert("resolved"))
        found = RFC5424.fullmatch(listener.recv(1 << 16))
    assert found and int(found[1]) == 1 * 8 + 5
    assert found[5].startswith(b"Resolved: ")


def test_tcp_counts_octets(tmp_path: Path) -> None:
    got = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as stream:
                got.append(stream.read())

        thread = threading.Thread(target=serve)
        thread.start()
        sink(tmp_path, type="syslog", address=f"tcp://127.0.0.1:{listener.getsockname()[1]}").send(alert(message="été"))
        thread.join()
    count, _, message = got[0].partition(b" ")
    assert int(count) == len(message)
    assert RFC5424.fullmatch(message)


@pytest.mark.parametrize("address", ["/nonexistent/log", "tcp://127.0.0.1:1", "udp://nowhere.invalid:514"])
def test_a_log_that_is_not_there_is_an_error(tmp_path: Path, address: str) -> None:
    with pytest.raises(SinkError, match="cannot be reached"):
        sink(tmp_path, type="syslog", address=address).send(alert())


@examples(deadline=None, max_examples=150)
@given(
    title=st.text() | st.just("x\n<0>1 - - forged - - root logged in"),
    message=st.text() | st.just("é" * 3000),
    host=st.text(max_size=20),
    scope=st.text(max_size=20),
)
def test_nobody_can_add_a_line_or_a_field(title: str, message: str, host: str, scope: str) -> None:
    made = Alert("1" * 36, State.NEW, NOW, scope, bounded(alert(title=title, message=message).finding))
    data = syslog.message(made, host, 7)
    assert RFC5424.fullmatch(data)
    assert len(data) <= syslog.LIMIT
    assert all(char.isprintable() for char in data.decode())
    assert made.id.encode() in data


# Apprise

TOKEN = "S3cretTokenOfTheChat"


def test_apprise_notifies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("apprise")
    with receiver() as server:
        server.status = 200
        monkeypatch.setenv("ASSAY_ALERT_CHAT", f"json://127.0.0.1:{server.port}/{TOKEN}")
        chat = sink(tmp_path, type="apprise", url="${ASSAY_ALERT_CHAT}")
        chat.send(alert(title="a \\n b :smile:"))
        chat.send(alert("resolved"))
        (path, _, first), (_, _, second) = server.requests
    assert path.strip("/") == TOKEN
    said = json.loads(first)
    assert (said["title"], said["type"]) == ("New high finding: a \\n b :smile:", "failure")
    assert "the licence is GPL-3.0, and only MIT is allowed" in said["message"]
    assert "choose a model with another licence" in said["message"]
    assert alert().id in said["message"]
    assert json.loads(second)["type"] == "success"


@pytest.mark.parametrize(
    "url",
    [
        f"json://user:{TOKEN}@127.0.0.1:1/{TOKEN}?x={TOKEN}",
        f"jsons://{TOKEN}.invalid/",
        f"slack://{TOKEN}",
        f"nosuch://{TOKEN}",
        TOKEN,
    ],
)
def test_apprise_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: Any, url: str
) -> None:
    pytest.importorskip("apprise")
    monkeypatch.setenv("ASSAY_ALERT_CHAT", url)
    with caplog.at_level(logging.WARNING), pytest.raises(SinkError) as caught:
        sink(tmp_path, type="apprise", url="${ASSAY_ALERT_CHAT}").send(alert())
    out, err = capfd.readouterr()
    for text in (str(caught.value), caplog.text, out, err):
        assert TOKEN not in text


def test_apprise_follows_no_redirect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("apprise")
    with receiver() as server, receiver() as elsewhere:
        server.status, server.headers = 307, {"Location": elsewhere.url}
        monkeypatch.setenv("ASSAY_ALERT_CHAT", f"json://127.0.0.1:{server.port}/{TOKEN}")
        with pytest.raises(SinkError):
            sink(tmp_path, type="apprise", url="${ASSAY_ALERT_CHAT}").send(alert())
        assert elsewhere.requests == []


def test_every_severity_has_its_words(tmp_path: Path, device: tuple[str, socket.socket]) -> None:
    path, listener = device
    levels = []
    for severity in Severity:
        sink(tmp_path, type="syslog", address=path).send(alert(severity=severity))
        found = RFC5424.fullmatch(listener.recv(1 << 16))
        assert found and found[5].startswith(f"New {severity} finding".encode())
        levels.append(int(found[1]) % 8)
    assert levels == [2, 3, 4, 5, 6]
