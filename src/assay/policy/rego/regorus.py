"""Rego by `regorus`, a native library without a way to stop it, in a worker process that can be killed.

What differs from OPA, deliberately: every failure of a built-in function is an error (OPA's strict mode), `time.now_ns`
is the time of the decision, `rand.intn` and `uuid.rfc4122` are functions of their arguments, and the environment is
empty. The parent process asks the network for ``http.send``, so that neither the rule nor the library that runs it
holds a connection, a credential or a proxy setting. This module must never take a failure for an answer.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from assay.policy.rego import library
from assay.policy.rego.interface import Answer, Limits, Query
from assay.policy.rego.process import Died, Frame, Process, pack

CALLS = 3
"""All inputs of one call together may take this many times what one may take."""
PROGRAMS = 64
"""Programs that a worker keeps; `worker` forgets the oldest in the same order."""
ENTRY = re.compile(r"data(\.[A-Za-z_][A-Za-z0-9_]*)+", re.ASCII)
_PLACE = re.compile(r"--> (.*):([0-9]+):([0-9]+)\n")
_MESSAGE = re.compile(r"^error: (.+)$", re.MULTILINE)
_RAISED = re.compile(r"extension '[^']*' raises Python error: (?:\w+: )?(.*)", re.DOTALL)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RegorusEngine:
    """See `interface.Engine`. An input that is `bytes` is JSON text already; none at all when it is empty."""

    name = "regorus"

    def __init__(self) -> None:
        self._process = Process()
        self._loaded: list[str] = []
        """Keys of the programs that the worker has, the one used last at the end."""
        self._began = False
        """The program of the conversation is loaded."""

    def __enter__(self) -> RegorusEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker."""
        self._process.kill()

    def evaluate(
        self,
        query: Query,
        inputs: Sequence[Any],
        *,
        now: datetime,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> list[Answer]:
        """One answer for each input, in order; all of them together within `CALLS` times the time for one."""
        if ENTRY.fullmatch(query.entry) is None:
            return [Answer(error=f"{query.entry!r} is not the name of a rule")] * len(inputs)
        if (problem := library.unavailable(query.modules)) is not None:
            return [Answer(error=problem)] * len(inputs)
        try:
            program = _program(query, now, limits)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            return [Answer(error=f"the rule's data cannot be written as JSON: {error}")] * len(inputs)
        texts = [encode(item) for item in inputs]
        answers = [item if isinstance(item, Answer) else Answer(error="the rule was not evaluated") for item in texts]
        pending = [index for index, item in enumerate(texts) if isinstance(item, bytes)]
        last = time.monotonic() + CALLS * limits.seconds
        while pending:
            done = 0
            batch = [text for index in pending if isinstance(text := texts[index], bytes)]
            try:
                for answer in self._replies(program, batch, query, limits, last):
                    answers[pending[done]] = answer
                    done += 1
            except Died as error:
                # What one input did to the engine says nothing about the others, as long as there is time for them.
                died = Answer(error=f"the rule {error}")
                hit = pending[done : done + 1 if self._began and time.monotonic() < last else None]
                for index in hit:
                    answers[index] = died
                done += len(hit)
            pending = pending[done:]
        return answers

    def look(self, modules: Mapping[str, str], version: str, limits: Limits) -> dict[str, Any]:
        """What `looking.look` sees in modules. Raises `Died`."""
        question: dict[str, Any] = {"modules": list(modules.items()), "version": version}
        question |= {"seconds": limits.seconds, "memory": limits.memory}
        frame = pack(b"C", json.dumps(question).encode())
        with closing(self._process.exchange([frame], limits.seconds, time.monotonic() + limits.seconds)) as frames:
            kind, payload = next(frames)
            if kind != b"C":
                self.close()
                raise Died("was answered by nonsense")
        seen: dict[str, Any] = json.loads(payload)
        return seen

    def _replies(
        self, program: dict[str, Any], texts: list[bytes], query: Query, limits: Limits, last: float
    ) -> Iterator[Answer]:
        """The answers to ``texts``, as they come. Raises `Died`."""
        self._began = False
        if not self._process.running:
            self._loaded.clear()
        key = program["key"]
        if known := key in self._loaded:
            self._loaded.remove(key)
            program = program | {"modules": [], "library": [], "data": ""}
        self._loaded = [*self._loaded[1 - PROGRAMS :], key]
        frames = [pack(b"U" if known else b"P", json.dumps(program).encode()), *(pack(b"I", item) for item in texts)]
        prints: tuple[str, ...] = ()
        left = len(texts)
        with closing(self._process.exchange(frames, limits.seconds, last)) as conversation:
            frame = next(conversation)
            while True:
                reply = None
                if frame.kind == b"L":
                    self._began = True
                    if frame.payload:
                        self._loaded.remove(key)
                elif frame.kind == b"T":
                    prints = tuple(str(line) for line in json.loads(frame.payload))
                elif frame.kind == b"H":
                    reply = pack(b"H", _respond(frame.payload, query, min(limits.seconds, last - time.monotonic())))
                else:
                    yield _answer(frame, prints, limits)
                    prints = ()
                    left -= 1
                    if not left:
                        return
                frame = conversation.send(reply)


def encode(item: Any) -> bytes | Answer:
    """An input's JSON text, or the error that it has none."""
    if isinstance(item, bytes):
        return item
    try:
        try:
            return msgspec.json.encode(item)
        except OverflowError:  # whole numbers beyond 64 bits
            return json.dumps(item, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        return Answer(error=f"the rule's input cannot be written as JSON: {error}")


def sentence(text: str) -> str:
    """regorus' message with its drawing of the place, as one sentence that starts with the place."""
    message = _MESSAGE.search(text)
    said = message[1] if message else text.strip().split("\n")[0]
    if raised := _RAISED.search(text):
        said = raised[1].strip().split("\n")[0]
    said = "".join(char if char.isprintable() else " " for char in said)[:1_000]
    place = _PLACE.search(text)
    return f"{place[1]}:{place[2]}: {said}" if place else said  # the column is that of a text with guards


def nanoseconds(now: datetime) -> int:
    """What ``time.now_ns`` says."""
    return (now - _EPOCH) // timedelta(microseconds=1) * 1_000


def _program(query: Query, now: datetime, limits: Limits) -> dict[str, Any]:
    """The frame that announces a program."""
    modules, ours = list(query.modules.items()), list(library.needed(query.modules).items())
    data = json.dumps(query.data, allow_nan=False) if query.data else ""
    key = hashlib.sha256(json.dumps([modules, ours, query.version, query.entry, data]).encode()).hexdigest()
    return {
        "key": key,
        "modules": modules,
        "library": ours,
        "version": query.version,
        "entry": query.entry,
        "data": data,
        "now": nanoseconds(now),
        "answer": limits.answer,
        "network": bool(query.network or query.answers),
        "seconds": limits.seconds,
        "memory": limits.memory,
    }


def _respond(payload: bytes, query: Query, seconds: float) -> bytes:
    """The response to a request of a rule, as `worker` reads it."""
    from assay.policy.rego.network import Refused, respond  # http.client and ssl cost 30 ms that few rules need

    try:
        return json.dumps({"response": respond(json.loads(payload), query.network, query.answers, seconds)}).encode()
    except Refused as error:
        return json.dumps({"error": str(error)}).encode()
    except (ValueError, TypeError, RecursionError):
        return json.dumps({"error": "http.send: neither the request nor its response may be what they are"}).encode()


def _answer(frame: Frame, prints: tuple[str, ...], limits: Limits) -> Answer:
    if frame.kind == b"N":
        return Answer(prints=prints)
    if frame.kind == b"V" and len(frame.payload) <= limits.answer:
        try:
            return Answer(msgspec.json.decode(frame.payload), True, prints=prints)
        except (ValueError, RecursionError):
            return Answer(error="the rule's result cannot be read", prints=prints)
    if frame.kind == b"E":
        return Answer(error=sentence(frame.payload.decode(errors="replace")) or "the rule failed", prints=prints)
    return Answer(error="the rule was answered by nonsense", prints=prints)
