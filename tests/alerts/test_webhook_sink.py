"""The webhook: what it sends, what it refuses, and that no error tells its address or its secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import ssl
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

import small_ca
from alerts.alert_making import NOW, Receiver, alert, receiver, settings
from assay.alerts.finding import bounded, identifier
from assay.alerts.sinks import make, webhook
from assay.alerts.sinks.interface import Sink, SinkError
from assay.alerts.wording import cloud_event


def sink(folder: Path, url: str, **options: Any) -> Sink:
    return make(settings(folder, {"name": "hook", "type": "webhook", "url": url, **options}).sinks[0])


def test_it_posts_a_cloud_event(tmp_path: Path) -> None:
    with receiver() as server:
        sink(tmp_path, server.url + "?team=ml").send(alert())
        ((path, headers, body),) = server.requests
    assert path == "/hook?team=ml"
    assert headers["content-type"].startswith("application/cloudevents+json")
    assert headers["webhook-id"] == alert().id
    assert "webhook-signature" not in headers
    event = json.loads(body)
    assert {name: event[name] for name in ("specversion", "id", "type", "subject", "datacontenttype")} == {
        "specversion": "1.0",
        "id": alert().id,
        "type": "dev.assay.finding.new",
        "subject": "licence",
        "datacontenttype": "application/json",
    }
    assert unquote(event["source"]) == "/assay/verify my-model"
    assert datetime.fromisoformat(event["time"]) == NOW
    assert event["data"]["target"] == {"name": "my-model", "sha256": "ab" * 32}
    assert (event["data"]["severity"], event["data"]["state"]) == ("high", "new")
    assert event["data"]["frameworks"] == {"atlas": ["AML.T0010"]}


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("in_file", [False, True])
def test_it_signs_as_standard_webhooks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoded: bool, in_file: bool
) -> None:
    key = b"a secret of this test"
    text = "whsec_" + base64.b64encode(key).decode() if encoded else key.decode()
    monkeypatch.setenv("ASSAY_ALERT_SECRET", text)
    (tmp_path / "secret").write_text(text + "\n")
    options = {"secret-file": "secret"} if in_file else {"secret": "${ASSAY_ALERT_SECRET}"}
    with receiver() as server:
        sink(tmp_path, server.url, **options).send(alert())
        ((_, headers, body),) = server.requests
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_the_signature_of_the_specification() -> None:
    """The example in Standard Webhooks' own libraries."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = webhook.signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(("status", "said"), [(302, "redirect"), (307, "redirect"), (400, "400"), (503, "503")])
def test_any_other_answer_is_a_failure(tmp_path: Path, status: int, said: str) -> None:
    with receiver() as server, receiver() as elsewhere:
        server.status, server.headers = status, {"Location": elsewhere.url}
        with pytest.raises(SinkError, match=said):
            sink(tmp_path, server.url).send(alert())
        assert elsewhere.requests == []


def test_plain_http_stays_on_this_machine(tmp_path: Path) -> None:
    for host in ("example.com", "127.0.0.1.example.com", "localhost.example.com", "10.0.0.1", "0.0.0.0"):
        with pytest.raises(SinkError, match="plain http"):
            sink(tmp_path, f"http://{host}/").send(alert())


def test_no_proxy_gets_what_is_for_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as server, receiver() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        sink(tmp_path, server.url).send(alert())
        assert (len(server.requests), proxy.requests) == (1, [])


def test_insecure_allows_it(tmp_path: Path) -> None:
    with receiver() as server:
        url = f"http://0.0.0.0:{server.port}/"  # arrives here, and is no address of this machine by name
        sink(tmp_path, url, insecure=True).send(alert())
        assert len(server.requests) == 1


TOKEN = "T0pS3cretTokenInThePath"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/{token}",
        "https://127.0.0.1:1/{token}",
        "https://{token}.invalid/",
        "https://user:{token}@127.0.0.1/",
        "http://127.0.0.1:1/{token}\r\nX-Injected: yes",
        "http://127.0.0.1:1/{token} HTTP/1.1",
        "http://127.0.0.1:99999/{token}",
        "http://[::1/{token}",
        "ftp://127.0.0.1/{token}",
        "file:///etc/{token}",
        "http://127.0.0.1:1/\x01{token}",
        "{token}",
    ],
)
def test_no_error_tells_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    written = url.replace("{token}", TOKEN)
    monkeypatch.setenv("ASSAY_ALERT_HOOK", written)
    with pytest.raises(SinkError) as caught:
        sink(tmp_path, "${ASSAY_ALERT_HOOK}").send(alert())
    assert TOKEN not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_variable_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSAY_ALERT_HOOK", raising=False)
    with pytest.raises(SinkError, match="ASSAY_ALERT_HOOK is not set"):
        sink(tmp_path, "${ASSAY_ALERT_HOOK}").send(alert())


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"whsec_!!!"])
def test_a_bad_secret_sends_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    with receiver() as server:
        with pytest.raises(SinkError, match="secret"):
            sink(tmp_path, server.url, **{"secret-file": "secret"}).send(alert())
        assert server.requests == []


def _answering(data: bytes, *, keep: bool = False) -> tuple[socket.socket, threading.Thread]:
    """A server that reads a request and answers with these bytes, then closes or holds the connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(data)
            while keep and connection.recv(1 << 16):
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listener, thread


@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 100, b"HTTP/1.1 abc\r\n\r\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 " + b"2" * 70_000]
)
def test_an_answer_that_is_not_http_is_a_sentence(tmp_path: Path, data: bytes) -> None:
    listener, thread = _answering(data)
    with listener, pytest.raises(SinkError, match="cannot be reached"):
        sink(tmp_path, f"http://127.0.0.1:{listener.getsockname()[1]}/").send(alert())
    thread.join()


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: "])
def test_a_server_that_never_ends_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(webhook, "DEADLINE", 0.2)  # the limit, not the code: half a minute is too long for a test
    listener, thread = _answering(data, keep=True)
    with listener, pytest.raises(SinkError, match="cannot be reached"):
        sink(tmp_path, f"http://127.0.0.1:{listener.getsockname()[1]}/").send(alert())
    thread.join()


def test_https_verifies_the_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority, server_cert = _server_certificate(tmp_path)
    server = Receiver()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_cert)
    server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
    thread = threading.Thread(target=server.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        hook = sink(tmp_path, f"https://localhost:{server.port}/{TOKEN}")
        monkeypatch.delenv("https_proxy", raising=False)
        monkeypatch.delenv("HTTPS_PROXY", raising=False)
        with pytest.raises(SinkError, match="certificate does not verify") as caught:
            hook.send(alert())
        assert TOKEN not in str(caught.value)
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        hook.send(alert())
        assert len(server.requests) == 1
    finally:
        server.server.shutdown()
        server.server.server_close()
        thread.join()


def _server_certificate(folder: Path) -> tuple[Path, Path]:
    """Files with an authority, and with a key and certificate for localhost that it issued."""
    valid = {"start": datetime.now(UTC) - timedelta(days=1), "end": datetime.now(UTC) + timedelta(days=1)}
    root = small_ca.root(**valid)
    leaf = root.leaf(
        "localhost", names=[x509.DNSName("localhost")], purposes=[ExtendedKeyUsageOID.SERVER_AUTH], **valid
    )
    authority, server = folder / "authority.pem", folder / "server.pem"
    authority.write_bytes(root.pem)
    server.write_bytes(leaf.key_pem + leaf.pem)
    return authority, server


TEXTS = st.text(max_size=30)


@examples(deadline=None, max_examples=100)
@given(title=TEXTS, key=TEXTS, scope=TEXTS)
def test_every_event_is_one_line_of_valid_json(title: str, key: str, scope: str) -> None:
    made = replace(alert(), scope=identifier(scope), finding=bounded(replace(alert().finding, title=title, key=key)))
    data = cloud_event(made)
    event = json.loads(data)
    assert b"\n" not in data and data.isascii()
    assert event.get("subject", "") == key
    assert unquote(event["source"]) == f"/assay/{scope}"
    # CloudEvents 1.0, section 3: attributes that are there are not empty.
    assert all(event[name] for name in event)
