"""Behind a real uvicorn, with real FastAPI and Starlette applications, on loopback."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading

import pytest
from fastapi import FastAPI, Request
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from asgi_making import KEY, Rooms, guarded, nothing, served
from assay.guard.gateway.interface import KEEP_ANSWER, KEEP_BODY
from gateway_making import PATIENCE, until

QUESTION = b'{"instances": [[1, 2], [3, 4]]}'
HEADERS = {"x-api-key": KEY.decode(), "content-type": "application/json"}


@pytest.fixture
def fast(running):
    """A FastAPI application that predicts; its rooms. No request of an earlier test is still under way."""
    place, rooms, under_way = running
    until(lambda: not under_way)
    return place, rooms


@pytest.fixture(scope="module")
def running():
    lived = []

    async def lifespan(app):
        lived.append("began")
        yield
        lived.append("ended")

    from contextlib import asynccontextmanager

    app = FastAPI(lifespan=asynccontextmanager(lifespan))

    @app.post("/predict")
    @app.post("/hard")
    async def predict(request: Request, body: dict) -> dict:
        assert request.scope["assay"].user == "ann"
        return {"predictions": [[0.25, 0.75] for _ in body["instances"]]}

    @app.post("/v1/chat/completions")
    async def chat(body: dict):
        if body.get("fail"):
            raise RuntimeError("the model broke")
        return {"usage": 4, "asked": body}

    rooms = Rooms(KEEP_BODY | KEEP_ANSWER)
    middleware, under_way = guarded(app, rooms), set()

    async def counted(scope, receive, send):
        if scope["type"] == "http":
            under_way.add(id(scope))
        try:
            await middleware(scope, receive, send)
        finally:
            under_way.discard(id(scope))

    with served(counted) as place:
        assert lived == ["began"], "lifespan passes through"
        yield place, rooms, under_way
    assert lived == ["began", "ended"]


def asked(place, path, body=QUESTION, headers=HEADERS, method="POST"):
    connection = http.client.HTTPConnection(place, timeout=PATIENCE)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def ended(rooms, count):
    """The requests that have ended, once there are ``count``: the last one ends after its answer has left."""
    until(lambda: len(rooms.finished) >= count)
    assert len(rooms.finished) == count
    return rooms.finished


def test_predictions_pass(fast):
    place, rooms = fast
    before = len(rooms.finished)
    answer, body = asked(place, "/predict")
    assert answer.status == 200 and json.loads(body) == {"predictions": [[0.25, 0.75]] * 2}
    context = ended(rooms, before + 1)[-1]
    assert answer.headers["x-request-id"] == context.request_id
    assert context.peer == "127.0.0.1" and rooms.seen[-1] == (QUESTION, body)


def test_answers_are_hardened_with_their_length(fast):
    answer, body = asked(fast[0], "/hard")
    assert answer.status == 200 and json.loads(body) == {"predictions": [1, 1]}
    assert answer.headers["content-length"] == str(len(body))


def test_refusals_leave_the_connection_usable(fast):
    place, _ = fast
    connection = http.client.HTTPConnection(place, timeout=PATIENCE)
    for headers, status in (({}, 401), (HEADERS, 200), ({**HEADERS, "x-many": "1"}, 429), (HEADERS, 200)):
        connection.request("POST", "/predict", QUESTION, {"content-type": "application/json", **headers})
        answer = connection.getresponse()
        assert answer.status == status
        json.loads(answer.read())
    connection.close()


def test_a_chunked_bomb_ends_the_connection(fast):
    place, rooms = fast
    before = len(rooms.finished)
    host, port = place.split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nhost: a\r\nx-api-key: " + KEY + b"\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        piece = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        received = b""
        try:
            for _ in range(64):  # 64 MiB, where 10 are allowed
                client.sendall(piece)
        except OSError:
            pass
        else:
            pytest.fail("all of it was taken")
        try:
            while data := client.recv(65536):
                received += data
        except OSError:
            pass
    assert received == b"" or received.startswith(b"HTTP/1.1 413")
    assert ended(rooms, before + 1)[-1].status == 413


def test_two_lengths_never_arrive(fast):
    place, _ = fast
    host, port = place.split(":")
    head = b"POST /predict HTTP/1.1\r\nhost: a\r\nx-api-key: " + KEY + b"\r\n"
    for lengths in (
        b"content-length: 5\r\ncontent-length: 6\r\n",
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
        b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as client:
            client.sendall(head + lengths + b"\r\n0\r\n\r\nGET /health HTTP/1.1\r\nhost: a\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 400"), lengths


def test_an_error_of_the_application_is_a_500(fast):
    place, rooms = fast
    before = len(rooms.finished)
    answer, body = asked(place, "/v1/chat/completions", b'{"fail": 1}')
    assert answer.status == 500 and b"broke" not in body
    assert ended(rooms, before + 1)[-1].status == 500


def test_values_come_without_white_space(fast):
    place, _ = fast
    host, port = place.split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nhost: a\r\nx-api-key:  \t" + KEY + b" \t\r\nconnection: close\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 404"), "the application's own answer: it has no /health"


def test_streams_events_files_and_compression(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 5000)
    released = asyncio.Event()

    async def events(request):
        async def steps():
            yield b"data: a\n\n"
            await asyncio.wait_for(released.wait(), PATIENCE)
            yield b"data: b\n\n"

        return StreamingResponse(steps(), media_type="text/event-stream")

    async def release(request):
        released.set()
        return FileResponse(tmp_path / "file")

    begun = threading.Event()

    async def never(request):
        async def steps():
            while True:
                begun.set()
                yield b"data: again\n\n"
                await asyncio.sleep(0.01)

        return StreamingResponse(steps(), media_type="text/event-stream")

    app = Starlette(
        routes=[
            Route("/predict", events, methods=["POST"]),
            Route("/health", release),
            Route("/hard", never, methods=["POST"]),
        ],
    )
    app.add_middleware(GZipMiddleware, minimum_size=100)
    rooms = Rooms(KEEP_ANSWER)
    with served(guarded(app, rooms)) as place:
        connection = http.client.HTTPConnection(place, timeout=PATIENCE)
        connection.request("POST", "/predict", QUESTION, HEADERS)
        answer = connection.getresponse()
        assert answer.read1(100) == b"data: a\n\n", "the first event passes before the second one is there"
        compressed, body = asked(place, "/health", None, {**HEADERS, "accept-encoding": "gzip"}, "GET")
        assert compressed.status == 200 and compressed.headers["content-encoding"] == "gzip" and len(body) < 200
        assert answer.read() == b"data: b\n\n"
        connection.close()
        first, second = ended(rooms, 2)
        assert {first.path, second.path} == {"/predict", "/health"}
        assert (b"data: a\n\ndata: b\n\n") in [response for _, response in rooms.seen]

        connection = http.client.HTTPConnection(place, timeout=PATIENCE)
        connection.request("POST", "/hard", QUESTION, HEADERS)
        assert begun.wait(PATIENCE)
        connection.close()  # the answer is held back, and nobody waits for it
        assert ended(rooms, 3)[-1].error == "client-gone"


def test_a_stream_whose_caller_leaves_ends():
    ran = []

    async def never(request):
        async def steps():
            try:
                while True:
                    yield b"data: again\n\n"
                    await asyncio.sleep(0.005)
            finally:
                ran.append("ended")

        return StreamingResponse(steps(), media_type="text/event-stream")

    rooms = Rooms()
    app = guarded(Starlette(routes=[Route("/predict", never, methods=["POST"])]), rooms)
    with served(app) as place:
        connection = http.client.HTTPConnection(place, timeout=PATIENCE)
        connection.request("POST", "/predict", QUESTION, HEADERS)
        assert connection.getresponse().read1(10)
        connection.close()
        (context,) = ended(rooms, 1)
    assert context.error == "client-gone" and context.bytes_out > 0 and ran == ["ended"]


async def echo(socket_):
    await socket_.accept()
    async for message in socket_.iter_text():
        await socket_.send_text(message)


def test_websockets():
    import websockets
    from websockets.sync.client import connect

    app = Starlette(
        routes=[WebSocketRoute("/predict", echo), WebSocketRoute("/hard", echo)], lifespan=lambda _: nothing()
    )
    rooms = Rooms()
    with served(guarded(app, rooms, {"sizes": {"body": 1000}}), ws="websockets-sansio") as place:
        key = {"x-api-key": KEY.decode()}
        with connect(f"ws://{place}/predict", additional_headers=key) as client:
            client.send("hello")
            assert client.recv() == "hello"
            assert "x-request-id" in client.response.headers
        context = ended(rooms, 1)[0]
        assert (context.status, context.bytes_in, context.bytes_out, context.error) == (101, 5, 5, "")

        for path, headers, status in (
            ("/predict", {}, 401),
            ("/hard", key, 403),  # its route takes none, and its answers are hardened
            ("/elsewhere", key, 404),
        ):
            with (
                pytest.raises(websockets.InvalidStatus) as caught,
                connect(f"ws://{place}{path}", additional_headers=headers),
            ):
                pass
            assert caught.value.response.status_code == status
            assert json.loads(caught.value.response.body)["error"]["code"] == status
        assert [one.status for one in ended(rooms, 4)[1:]] == [401, 403, 404]

        with connect(f"ws://{place}/predict", additional_headers=key) as client:
            client.send("x" * 1001)
            with pytest.raises(websockets.ConnectionClosed) as closed:
                client.recv()
            assert closed.value.rcvd.code == 1009
        assert ended(rooms, 5)[-1].error == "message-size"


def test_a_websocket_server_without_words_of_its_own_refuses_with_403():
    from asgi_making import ask, scope_of

    rooms = Rooms()

    async def app(scope, receive, send):
        raise AssertionError

    answer = ask(guarded(app, rooms), {**scope_of(path="/hard"), "type": "websocket", "method": "GET"})
    assert answer.error is None and answer.messages == [{"type": "websocket.close", "code": 1008, "reason": ""}]
    assert [one.status for one in rooms.finished] == [403] and rooms.left == 1


def test_certificates_of_the_servers_tls_extension():
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    from asgi_making import ask, scope_of

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "robot")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("a.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM).decode()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    def status(**tls):
        rooms = Rooms()
        scope = scope_of(headers=[], scheme=tls.pop("scheme", "https"), extensions={"tls": tls})
        scope["headers"] = [(b"host", b"a")]
        answer = ask(guarded(app, rooms), scope)
        return answer.status, rooms.finished[0].caller, rooms.finished[0].certificate

    allowed, caller, certificate = status(client_cert_chain=[pem], client_cert_error=None)
    assert (allowed, caller.id) == (200, "mtls:CN=robot")
    assert certificate.names == ("DNS:a.example",) and certificate.digest == made.fingerprint(hashes.SHA256()).hex()
    assert certificate.not_after == made.not_valid_after_utc.timestamp()
    for tls in (
        {"client_cert_chain": [pem], "client_cert_error": "expired"},
        {"client_cert_chain": []},
        {"client_cert_chain": ["nonsense"]},
        {"client_cert_chain": [pem], "scheme": "http"},
    ):
        assert status(**tls)[:2] == (401, None), tls
