"""Answers of language models that say less: without log-probabilities, embeddings with fewer digits.

A text itself is not touched. Other hardenings of embeddings mean nothing and are refused.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from assay.guard.gateway.hardening.vectors import How
from assay.guard.gateway.parts import Unhardened

TELLING = re.compile(
    r"log_?prob|(^|_)prob(s|abilit(y|ies))?(_|$)|logits|token_ids|hidden_states|kv_transfer_params", re.IGNORECASE
)
"""Names of fields that become null wherever they stand: vLLM's, SGLang's, llama.cpp's, Text Generation Inference's."""
DEPTH = 64

_any = msgspec.json.Decoder().decode


def harden(how: How, embeddings: bool, content_type: bytes, body: bytes) -> bytes:
    """The answer, JSON or a stream of events. Raises `Unhardened`."""
    if embeddings:
        return _embeddings(how, body)
    if content_type.partition(b";")[0].strip().lower() == b"text/event-stream":
        return b"\n".join(_line(line) for line in body.split(b"\n"))
    return msgspec.json.encode(_without(_parse(body)))


def _parse(body: bytes) -> Any:
    try:
        value = _any(body)
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise Unhardened("the answer is no JSON") from None
    if type(value) is not dict:
        raise Unhardened("the answer is no object")
    return value


def _line(line: bytes) -> bytes:
    """One line of a stream. Fields that are no JSON object are known ones or refused."""
    ending = b"\r" if line.endswith(b"\r") else b""
    text = line.removesuffix(b"\r")
    name, _, rest = text.partition(b":")
    rest = rest.removeprefix(b" ")
    if b"\r" in text or (name == b"data" and rest != b"[DONE]" and not rest.startswith(b"{")):
        raise Unhardened("an event is no JSON object")
    if name == b"data" and rest != b"[DONE]":
        return b"data: " + msgspec.json.encode(_without(_parse(rest))) + ending
    if name in (b"data", b"event", b"id", b"retry", b""):
        return line if name else ending  # comments may say anything
    raise Unhardened("a line of the stream is no field")


def _without(value: Any, depth: int = 0) -> Any:
    if depth > DEPTH:
        raise Unhardened("the answer is nested too deeply")
    if type(value) is dict:
        return {name: None if TELLING.search(name) else _without(one, depth + 1) for name, one in value.items()}
    if type(value) is list:
        return [_without(one, depth + 1) for one in value]
    return value


def _embeddings(how: How, body: bytes) -> bytes:
    if how.digits is None or how.label_only or how.top or how.noise or how.buckets:
        raise Unhardened("of embeddings only digits can be taken away")
    answer = _parse(body)
    data = answer.get("data")
    if type(data) is not list:
        raise Unhardened("the answer has no embeddings")
    for one in data:
        vector = one.get("embedding") if type(one) is dict else None
        if type(vector) is not list or not all(type(value) in (float, int) for value in vector):
            raise Unhardened("an embedding is no list of numbers")
        one["embedding"] = [round(value, how.digits) + 0.0 for value in vector]  # -0.0 would tell a sign
    return msgspec.json.encode(answer)
