"""What passes the middleware and what does not, message by message."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib

import pytest

from asgi_making import KEY, Rooms, ask, core_of, guarded, scope_of, whole
from assay.errors import UsageError
from assay.guard.gateway.core import Gate
from assay.guard.gateway.interface import KEEP_ANSWER, KEEP_BODY, Decision, Level, Standing

QUESTION = b'{"instances": [[1, 2], [3, 4]]}'
ANSWER = b'{"predictions": [[0.1, 0.9], [0.8, 0.2]]}'


class Application:
    """Answers `ANSWER`, and keeps what it was asked."""

    def __init__(
        self, answer: bytes = ANSWER, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        self.answer = answer
        self.status = status
        self.headers = headers or []
        self.scopes: list[dict] = []
        self.bodies: list[bytes | None] = []

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        self.bodies.append(await whole(receive))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(self.answer)),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        half = len(self.answer) // 2
        await send({"type": "http.response.body", "body": self.answer[:half], "more_body": True})
        await send({"type": "http.response.body", "body": self.answer[half:]})


def refused(app, rooms, answer, status, rule):
    """Refused with these words, told of once, and the application never asked."""
    assert answer.error is None
    assert (answer.status, json.loads(answer.body)["error"]["rule"]) == (status, rule)
    assert app.bodies == []
    assert [(one.status, one.decision.rule) for one in rooms.finished] == [(status, rule)]
    assert rooms.left == len(rooms.seen) == 1
    assert answer.headers[b"content-length"] == b"%d" % len(answer.body)


def test_what_is_allowed_passes_as_it_is():
    app, rooms = Application(), Rooms()
    answer = ask(guarded(app, rooms), scope_of(headers=[(b"accept-encoding", b"gzip")]), QUESTION[:5], QUESTION[5:])
    assert (answer.status, answer.body, app.bodies) == (200, ANSWER, [QUESTION])
    assert app.scopes[0]["assay"].id == "key:1"
    assert dict(app.scopes[0]["headers"])[b"accept-encoding"] == b"gzip"
    (context,) = rooms.finished
    assert answer.headers[b"x-request-id"] == context.request_id.encode()
    assert (context.bytes_in, context.bytes_out, context.status) == (len(QUESTION), len(ANSWER), 200)
    assert (context.address, context.http, context.content_type) == ("192.0.2.1", "HTTP/1.1", b"application/json")
    assert context.error == "" and 0 < context.upstream <= context.first_byte <= context.ended
    assert rooms.seen == [(None, None)]


def test_what_is_kept_passes_too():
    app, rooms = Application(), Rooms(KEEP_BODY | KEEP_ANSWER)
    answer = ask(guarded(app, rooms), scope_of(headers=[(b"accept-encoding", b"gzip")]), QUESTION[:5], QUESTION[5:])
    assert (answer.status, answer.body, app.bodies) == (200, ANSWER, [QUESTION])
    assert rooms.seen == [(QUESTION, ANSWER)]
    assert b"accept-encoding" not in dict(app.scopes[0]["headers"]), "a compressed answer could not be looked into"


def test_an_answer_too_large_to_keep_still_passes():
    app, rooms = Application(), Rooms(KEEP_ANSWER)
    answer = ask(guarded(app, rooms, {"sizes": {"buffered": 8}}), scope_of(), QUESTION)
    assert answer.body == ANSWER and rooms.seen == [(None, None)]


@pytest.mark.parametrize(
    ("status", "rule", "how"),
    [
        (401, "caller", {"headers": [(b"host", b"a")]}),
        (404, "route", {"path": "/v2/repository/index"}),
        (429, "plan:rate", {"more": [(b"x-many", b"1")]}),
        (400, "path", {"path": "/predict/../predict"}),
        (400, "path", {"path": "/predict", "raw_path": b"/hard"}),
        (400, "path", {"path": "/hard", "raw_path": b"/predict"}),
        (400, "path", {"path": "/predict/", "raw_path": b"/predict%2f"}),
        (400, "framing", {"more": [(b"x-api-key", KEY)]}),
        (400, "framing", {"more": [(b"host", b"b")]}),
        (400, "framing", {"more": [(b"content-length", b"1"), (b"content-length", b"2")]}),
        (400, "framing", {"more": [(b"content-type", b"a/b"), (b"content-type", b"c/d")]}),
        (400, "framing", {"more": [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")]}),
        (400, "framing", {"more": [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")]}),
        (400, "framing", {"more": [(b"content-length", b"+1")]}),
        (400, "framing", {"more": [(b"content-length", b"031")]}),
        (400, "framing", {"more": [(b"x-request-id", b"a"), (b"x-request-id", b"b")]}),
        (400, "framing", {"more": [(b"content-encoding", b"gzip"), (b"content-encoding", b"identity")]}),
        (400, "framing", {"more": [(b"traceparent", b"a"), (b"traceparent", b"b")]}),
        (400, "framing", {"more": [(b"content-length", "²".encode("latin-1"))]}),
        (400, "framing", {"more": [(b"transfer-encoding", b"gzip, chunked")]}),
        (413, "size", {"more": [(b"content-length", b"10000000000")]}),
        (431, "size", {"more": [(b"x-%d" % i, b"") for i in range(200)]}),
        (431, "size", {"more": [(b"x-a", b"a" * 40000)]}),
        (431, "size", {"more": [(b"a" * 40000, b"a")]}),
        (414, "size", {"query_string": b"a" * 9000}),
        (500, "fault", {"more": [(b"x-break", b"1")]}),
    ],
)
def test_what_is_refused_never_arrives(status, rule, how):
    app, rooms = Application(), Rooms(KEEP_BODY)
    scope = scope_of()
    scope["headers"] += how.pop("more", [])
    if "path" in how:
        how.setdefault("raw_path", how["path"].encode())
    answer = ask(guarded(app, rooms), {**scope, **how}, QUESTION)
    refused(app, rooms, answer, status, rule)
    assert answer.headers.get(b"retry-after") == (b"7" if status == 429 else None)
    assert answer.headers.get(b"www-authenticate") == (b"Bearer" if status == 401 else None)


def test_other_hosts_are_refused_where_hosts_are_named():
    for host, status in ((b"a", 200), (b"A:80", 200), (b"b", 421), (b"", 421), (b"a:x", 421), (b"a.b:1", 421)):
        app, rooms = Application(), Rooms()
        scope = scope_of()
        scope["headers"][0] = (b"host", host)
        assert ask(guarded(app, rooms, {"host": ["a"]}), scope, QUESTION).status == status, host


def test_headers_that_may_repeat_are_joined():
    app, rooms = Application(), Rooms()
    more = [(b"accept", b"a"), (b"accept", b"b"), (b"cookie", b"a=1"), (b"cookie", b"b=2")]
    assert ask(guarded(app, rooms), scope_of(headers=more), QUESTION).status == 200
    assert rooms.finished[0].headers[b"accept"] == b"a, b"
    assert rooms.finished[0].headers[b"cookie"] == b"a=1; b=2"


def test_a_body_without_a_length_is_still_bounded():
    app, rooms = Application(), Rooms()
    scope = scope_of(headers=[(b"transfer-encoding", b"chunked")])
    answer = ask(guarded(app, rooms, {"sizes": {"body": 20}}), scope, QUESTION[:10], QUESTION[10:])
    assert (answer.status, answer.headers[b"connection"]) == (413, b"close")
    assert len(answer.messages) == 2, "the application's own answer went nowhere"
    assert app.bodies == [None]
    assert [one.status for one in rooms.finished] == [413]


def test_a_body_that_is_read_first_is_bounded_too():
    app, rooms = Application(), Rooms()
    scope = scope_of(path="/v1/chat/completions")
    answer = ask(guarded(app, rooms, {"sizes": {"body": 20}}), scope, QUESTION[:10], QUESTION[10:])
    refused(app, rooms, answer, 413, "size")


def test_no_body_that_is_refused_is_passed_on():
    app, rooms = Application(), Rooms()
    answer = ask(guarded(app, rooms), scope_of(path="/v1/chat/completions"), b"{")
    refused(app, rooms, answer, 400, "schema")
    app, rooms = Application(), Rooms()
    rooms.charge_says = Decision(False, 429, "budget:tokens-day", "used up", 60)
    answer = ask(guarded(app, rooms), scope_of(path="/v1/chat/completions"), b"{}")
    refused(app, rooms, answer, 429, "budget:tokens-day")


def test_a_replaced_body_has_its_own_length():
    app, rooms = Application(b'{"usage": 5}'), Rooms(KEEP_ANSWER)
    scope = scope_of(path="/v1/chat/completions", headers=[(b"content-length", b"2")])
    answer = ask(guarded(app, rooms), scope, b"{}")
    assert answer.status == 200
    given = app.bodies[0]
    assert json.loads(given) == {"stream_options": {"include_usage": True}}
    assert dict(app.scopes[0]["headers"])[b"content-length"] == b"%d" % len(given)
    assert rooms.finished[0].usage.tokens_out == 5, "settled by the answer"


@pytest.mark.parametrize("keep", [0, KEEP_BODY])
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_bodies_are_looked_into(coding, keep):
    path = "/predict" if keep else "/hard"
    app, rooms = Application(), Rooms(keep)
    body = gzip.compress(QUESTION) if coding == "gzip" else zlib.compress(QUESTION)
    more = [(b"content-encoding", coding.encode()), (b"content-length", b"%d" % len(body))]
    settings = {"plans": {"default": {"rows": {"day": 5}}}}
    answer = ask(guarded(app, rooms, settings), scope_of(path=path, headers=more), body)
    assert (answer.status, app.bodies) == (200, [QUESTION])
    headers = dict(app.scopes[0]["headers"])
    assert b"content-encoding" not in headers and headers[b"content-length"] == b"%d" % len(QUESTION)
    assert rooms.seen[0][0] == QUESTION and rooms.finished[0].usage.rows == 2


def test_a_bomb_is_known_by_what_a_byte_stands_for():
    app, rooms = Application(), Rooms(KEEP_BODY)
    body = gzip.compress(bytes(8 << 20))
    middleware = guarded(app, rooms, {"sizes": {"decoded": "64MiB"}})
    answer = ask(middleware, scope_of(headers=[(b"content-encoding", b"gzip")]), body)
    refused(app, rooms, answer, 413, "size")


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        (b"gzip", gzip.compress(bytes(10 << 20)), 413),
        (b"gzip", gzip.compress(QUESTION)[:-3], 400),
        (b"gzip", gzip.compress(QUESTION) + gzip.compress(QUESTION), 400),
        (b"gzip", QUESTION, 400),
        (b"deflate", zlib.compress(QUESTION)[2:-4], 400),
        (b"br", QUESTION, 415),
        (b"gzip, gzip", gzip.compress(gzip.compress(QUESTION)), 415),
    ],
)
def test_bombs_and_broken_codings_are_refused(coding, body, status):
    app, rooms = Application(), Rooms(KEEP_BODY)
    middleware = guarded(app, rooms, {"sizes": {"decoded": "1MiB"}})
    answer = ask(middleware, scope_of(headers=[(b"content-encoding", coding)]), body)
    refused(app, rooms, answer, status, "size" if status == 413 else "coding")


def test_an_answer_is_hardened_whole():
    told = (b"etag", b"content-md5", b"last-modified", b"accept-ranges")
    telling = [(name, b"x") for name in (*told, b"x-other")]
    app, rooms = Application(headers=telling), Rooms()
    answer = ask(guarded(app, rooms), scope_of(path="/hard"), QUESTION)
    assert json.loads(answer.body) == {"predictions": [1, 0]}
    assert answer.headers[b"content-length"] == b"%d" % len(answer.body)
    assert not {*told, b"x-other"} & set(answer.headers), "any header may say what the answer no longer does"
    assert rooms.finished[0].bytes_out == len(answer.body)
    assert rooms.seen[0][1] == ANSWER, "those who learn see the model's own answer"


def test_what_cannot_be_hardened_never_leaves():
    for app, more in (
        (Application(b"secret"), {}),
        (Application(headers=[(b"content-encoding", b"br")]), {}),
        (Application(), {"sizes": {"buffered": 8}}),
    ):
        rooms = Rooms()
        answer = ask(guarded(app, rooms, more), scope_of(path="/hard"), QUESTION)
        assert (answer.status, len(answer.messages)) == (502, 2)
        assert b"secret" not in answer.body and b"0.9" not in answer.body
        assert [one.decision.rule for one in rooms.finished] == ["harden"]


@pytest.mark.parametrize("kind", ["http.response.pathsend", "http.response.zerocopysend", "http.response.trailers"])
def test_ways_around_the_hardening_are_closed(kind):
    async def app(scope, receive, send):
        assert scope["extensions"] == {"tls": {}}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": kind, "path": "/etc/hostname", "file": 3, "headers": [(b"x-p", b"0.9")]})

    rooms = Rooms()
    scope = scope_of(path="/hard", extensions={kind: {}, "tls": {}})
    answer = ask(guarded(app, rooms), scope, QUESTION)
    assert [one["type"] for one in answer.messages] == ["http.response.start", "http.response.body"]
    assert answer.status == 502


def test_a_caller_who_is_flagged_gets_labels_only():
    app, rooms = Application(), Rooms()
    rooms.standing = Standing(Level.HARDEN, float("inf"), "residual")
    answer = ask(guarded(app, rooms, {"detect": {"mode": "enforce"}}), scope_of(), QUESTION)
    assert json.loads(answer.body) == {"predictions": [1, 0]}


def test_a_caller_who_is_slowed_down_waits_before_the_model_is_asked():
    app, rooms = Application(), Rooms()
    rooms.standing = Standing(Level.SLOW, float("inf"), "residual")
    middleware = guarded(app, rooms, {"detect": {"mode": "enforce", "reactions": {"slow": "40ms"}}})
    assert ask(middleware, scope_of(), QUESTION).status == 200
    (context,) = rooms.finished
    assert context.first_byte - context.upstream >= 0.04, "and what it waits is not the model's time"


def test_head_has_no_body():
    app, rooms = Application(), Rooms()
    ask(guarded(app, rooms), scope_of("HEAD", "/health"))
    assert rooms.finished[0].bytes_out == 0
    answer = ask(guarded(app, rooms), scope_of("HEAD", "/hard"), QUESTION)
    assert answer.body == b"" and b"content-length" not in answer.headers
    answer = ask(guarded(app, rooms), scope_of("HEAD", "/nowhere"))
    assert answer.status == 404 and answer.body == b""


def test_events_pass_one_by_one_and_are_metered():
    sent: list[bytes] = []
    middleware_saw: list[int] = []

    async def app(scope, receive, send):
        await whole(receive)
        headers = [(b"content-type", b"text/event-stream"), (b"content-length", b"99")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for event in (b"data: a\n\n", b"data: b\n\n", b"data: usage 17\n\n", b"data: [DONE]\n\n"):
            await send({"type": "http.response.body", "body": event, "more_body": event != b"data: [DONE]\n\n"})
            middleware_saw.append(len(sent))

    rooms = Rooms(KEEP_ANSWER)

    async def run():
        messages = [{"type": "http.request", "body": b'{"stream": true}'}]

        async def receive():
            return messages.pop(0) if messages else await asyncio.Event().wait()

        async def send(message):
            if message["type"] == "http.response.start":
                assert b"content-length" not in dict(message["headers"])
            elif message["body"]:
                sent.append(message["body"])

        await guarded(app, rooms)(scope_of(path="/v1/chat/completions"), receive, send)

    asyncio.run(run())
    assert sent == [b"data: a\n\n", b"data: b\n\n", b"data: [DONE]\n\n"]
    assert middleware_saw == [1, 2, 2, 3], "each event left before the next one came"
    (context,) = rooms.finished
    assert context.usage.tokens_out == 17 and context.bytes_out == sum(map(len, sent))
    assert b"usage 17" in rooms.seen[0][1]


def test_a_compressed_stream_cannot_be_metered_and_never_leaves():
    headers = [(b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")]
    app, rooms = Application(gzip.compress(b"data: usage 17\n\n"), headers=headers), Rooms()
    answer = ask(guarded(app, rooms), scope_of(path="/v1/chat/completions"), b'{"stream": true}')
    refused_one = [(one.status, one.decision.rule, one.bytes_out) for one in rooms.finished]
    assert (answer.status, len(answer.messages)) == (502, 2) and answer.headers[b"content-type"] == b"application/json"
    assert refused_one == [(502, "harden", len(answer.body))]


def test_a_stream_is_asked_for_and_no_stream_comes():
    app, rooms = Application(b'{"usage": 3}'), Rooms()
    answer = ask(guarded(app, rooms), scope_of(path="/v1/chat/completions"), b'{"stream": true}')
    assert answer.body == b'{"usage": 3}' and rooms.finished[0].usage.tokens_out == 3


def test_an_error_of_the_application_is_its_own_and_told_once():
    class Broken(Exception):
        pass

    for started in (False, True):

        async def app(scope, receive, send, started=started):
            if started:
                await send({"type": "http.response.start", "status": 200, "headers": []})
            raise Broken

        for path in ("/predict", "/hard"):
            rooms = Rooms()
            answer = ask(guarded(app, rooms), scope_of(path=path), QUESTION)
            assert isinstance(answer.error, Broken)
            (context,) = rooms.finished
            assert context.error == "app-error"
            assert context.status == (200 if started and path == "/predict" else 500)
            assert len(answer.messages) == int(started and path == "/predict")


def test_callers_who_leave_are_told_of_once():
    app, rooms = Application(), Rooms(KEEP_BODY)
    ask(guarded(app, rooms), scope_of(), QUESTION[:5], gone=True)
    assert app.bodies == [None] and rooms.finished[0].error == "client-gone" and rooms.seen == [(None, None)]
    app, rooms = Application(), Rooms()
    answer = ask(guarded(app, rooms), scope_of(path="/v1/chat/completions"), QUESTION[:5], gone=True)
    assert app.bodies == [] and answer.messages == []
    assert [(one.error, one.status) for one in rooms.finished] == [("client-gone", 499)]


def test_a_body_that_does_not_come_is_not_waited_for_for_ever():
    app, rooms = Application(), Rooms()
    messages: list[dict] = []

    async def run():
        async def receive():
            await asyncio.Event().wait()

        async def send(message):
            messages.append(message)

        middleware = guarded(app, rooms, {"timeouts": {"body": "20ms"}})
        await middleware(scope_of(path="/v1/chat/completions"), receive, send)

    asyncio.run(run())
    assert messages[0]["status"] == 408 and app.bodies == [] and len(rooms.finished) == 1


def test_a_cancelled_request_is_told_of_once():
    rooms = Rooms()

    async def app(scope, receive, send):
        await asyncio.Event().wait()

    async def run():
        async def receive():
            return {"type": "http.request", "body": QUESTION}

        async def send(message):
            raise AssertionError

        task = asyncio.create_task(guarded(app, rooms)(scope_of(), receive, send))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert [one.error for one in rooms.finished] == ["cancelled"] and rooms.left == 1


def test_a_reload_counts_from_the_next_request_on():
    app, rooms = Application(), Rooms()
    middleware = guarded(app, rooms)
    assert ask(middleware, scope_of(), QUESTION).status == 200
    other = guarded(app, rooms, {"sizes": {"body": 5}})._gate.core
    middleware._gate.core = core_of(other.settings, rooms)
    assert ask(middleware, scope_of(headers=[(b"content-length", b"31")]), QUESTION).status == 413
    assert isinstance(middleware._gate, Gate)


def test_what_is_no_http_at_all_never_passes():
    app, rooms = Application(), Rooms()
    answer = ask(guarded(app, rooms), {"type": "mystery"})
    assert isinstance(answer.error, UsageError) and app.bodies == []


def test_a_path_without_its_raw_form_is_the_decoded_one():
    app, rooms = Application(), Rooms()
    scope = scope_of()
    del scope["raw_path"]
    assert ask(guarded(app, rooms), scope, QUESTION).status == 200
    assert rooms.finished[0].target == b"/predict"


def test_callers_on_a_unix_socket_have_no_address():
    app, rooms = Application(), Rooms()
    assert ask(guarded(app, rooms), scope_of(client=None), QUESTION).status == 200
    assert rooms.finished[0].peer == "unix:"
