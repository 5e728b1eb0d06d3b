"""OpenAI's API as vLLM and others serve it: chat, completions, embeddings, responses. All else of theirs is denied.

Tokens are reserved before and settled after: a prompt by an estimate, an answer by what it may have at most, both times
the number of answers. A field that is not known is refused, for it could multiply.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from assay.guard.gateway.hardening import texts
from assay.guard.gateway.interface import Answers, Context, Decision, Measure, Table, Usage, Verb
from assay.guard.gateway.parts import Meter
from assay.guard.gateway.protocols import tokens
from assay.guard.gateway.protocols.events import Events, Reported
from assay.guard.gateway.protocols.interface import Asked, Found, Hardener, Pattern, find
from assay.guard.gateway.protocols.reading import Refused, exact, parse, require_media, require_readable

_PATTERNS = (
    Pattern("POST", "/v1/chat/completions", Verb.CHAT),
    Pattern("POST", "/v1/completions", Verb.COMPLETE),
    Pattern("POST", "/v1/embeddings", Verb.EMBED),
    Pattern("POST", "/v1/responses", Verb.CHAT),
    Pattern("GET", "/v1/models", Verb.METADATA),
    Pattern("GET", "/v1/models/{model}", Verb.METADATA),
    Pattern("GET", "/health", Verb.HEALTH),
)
MOST = 128
"""Answers to one request at most, as OpenAI's ``n``."""
INPUTS = 2048
"""Texts of one request at most, as OpenAI's embeddings."""

_COMMON = {
    "model", "user", "temperature", "top_p", "stream", "stream_options", "metadata", "store", "service_tier",
    "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    # vLLM's own that change how, not how much, is sampled.
    "top_k", "min_p", "repetition_penalty", "ignore_eos", "min_tokens", "skip_special_tokens",
    "spaces_between_special_tokens", "include_stop_str_in_output", "stop_token_ids", "bad_words", "length_penalty",
    "truncate_prompt_tokens", "add_special_tokens", "priority", "request_id", "cache_salt", "structured_outputs",
    "guided_json", "guided_regex", "guided_choice", "guided_grammar", "allowed_token_ids", "return_token_ids",
}  # fmt: skip
_SAMPLING = {
    "n", "max_tokens", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "seed", "stop",
    "response_format", "prompt_logprobs",
}  # fmt: skip
_FIELDS = {
    "/v1/chat/completions": frozenset(_COMMON | _SAMPLING | {
        "messages", "max_completion_tokens", "top_logprobs", "tools", "tool_choice", "parallel_tool_calls", "functions",
        "function_call", "modalities", "reasoning_effort", "verbosity", "prediction", "chat_template_kwargs",
        "add_generation_prompt", "continue_final_message", "include_reasoning", "echo",
    }),
    "/v1/completions": frozenset(_COMMON | _SAMPLING | {"prompt", "best_of", "echo", "suffix"}),
    "/v1/embeddings": frozenset(
        {"model", "input", "user", "dimensions", "encoding_format", "truncate_prompt_tokens", "add_special_tokens",
         "priority", "request_id"}
    ),
    "/v1/responses": frozenset(_COMMON | {
        "input", "instructions", "max_output_tokens", "tools", "tool_choice", "parallel_tool_calls", "text",
        "reasoning", "truncation", "include", "top_logprobs",
    }),
}  # fmt: skip
"""What each path takes. Left out on purpose: beam search, embeddings as prompts, audio answers, server-side
conversations and background jobs (others could read them), prompts by reference.
"""
_TEXTS = ("messages", "prompt", "input", "instructions", "tools", "functions", "suffix", "response_format", "text",
          "structured_outputs", "guided_json", "guided_grammar", "guided_regex", "guided_choice", "prediction",
          "chat_template_kwargs", "tool_choice", "stop")  # fmt: skip

_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_any = msgspec.json.Decoder().decode
_number = msgspec.json.Decoder(int | None).decode
_flag = msgspec.json.Decoder(bool | None).decode
_text = msgspec.json.Decoder(str).decode
_options = msgspec.json.Decoder(dict[str, Raw] | None).decode


class _Usage(msgspec.Struct, gc=False):
    usage: Reported | UnsetType | None = UNSET


_usage = msgspec.json.Decoder(_Usage).decode


class OpenAI:
    """See the module."""

    name = "openai"

    def match(self, method: str, path: str) -> Found | Decision:
        """See `interface.Serving`."""
        return find(_PATTERNS, method, path)

    def measure(self, asked: Asked) -> Measure:
        """See `interface.Serving`."""
        require_media(asked.content_type, b"application/json")
        require_readable(asked.body)
        fields = parse(_fields, asked.body)
        path = _path(fields, asked.verb)
        if fields.keys() - _FIELDS[path]:
            raise Refused(422, "the body has a field that is not passed on here")
        exact(asked.body)  # texts are full of colons: nothing cheaper would do
        if "model" not in fields or not (model := parse(_text, fields["model"])) or len(model) > 512:
            raise Refused(422, "the body names no model")
        times = _times(fields)
        rows, prompt = _prompt(fields, path)
        out = 0
        if path != "/v1/embeddings":
            given = [_given(fields, name) for name in ("max_tokens", "max_completion_tokens", "max_output_tokens")]
            # Of several, readers take different ones; and 0 is no limit to some (vLLM, SGLang).
            most = max((limit or asked.max_tokens for limit in given if limit is not None), default=asked.max_tokens)
            out = max(most, _given(fields, "min_tokens") or 0) * times * rows
        stream = _true(fields, "stream")
        body = _with_usage(asked.body, fields) if stream and path != "/v1/responses" else None
        if asked.hardened and path == "/v1/responses" and stream:
            raise Refused(422, "this caller's answers are not streamed")
        return Measure(rows * times, prompt, out, model, "", stream, body)

    def rows(self, asked: Asked) -> list[Any]:
        """One text a row."""
        fields = parse(_any, asked.body)
        if type(fields) is not dict:
            raise Refused(422, "the body is no object")
        given = fields.get("messages", fields.get("prompt", fields.get("input")))
        if type(given) is list and given and type(given[0]) is str:
            return given
        return ["\n".join(tokens.texts(given))]

    def table(self, asked: Asked) -> Table | None:
        """The prompts as a column of text."""
        import numpy as np

        found = [row if type(row) is str else "" for row in self.rows(asked)]
        return Table(np.full((len(found), 1), np.nan), ("prompt",), {"prompt": found})

    def answers(self, content_type: bytes, body: bytes) -> Answers | None:
        """A language model says no class."""
        return None

    def harden(self, hardener: Hardener, content_type: bytes, body: bytes) -> bytes:
        """See `interface.Serving`."""
        return texts.harden(hardener.how, hardener.question.verb is Verb.EMBED, content_type, body)

    def error(self) -> bytes:
        """See `interface.Serving`."""
        return b'{"error":{"message":"the model refused the request","type":"upstream_error","param":null,"code":null}}'

    def meter(self, context: Context) -> Meter | None:
        """See `interface.Serving`. A usage event that only we asked for is not passed on."""
        return Events(hide=context.body is not None)

    def settle(self, usage: Usage, status: int, content_type: bytes, body: bytes) -> None:
        """See `interface.Serving`. An answer that does not say its usage counts one token for each four bytes."""
        if status >= 400:
            usage.tokens_out = 0
            return
        try:
            reported = _usage(body).usage
        except (msgspec.DecodeError, RecursionError):
            reported = None
        if isinstance(reported, Reported):
            reported.settle(usage)
        elif usage.tokens_out:
            usage.tokens_out = min(usage.tokens_out, -(-len(body) // 4))


def _path(fields: dict[str, Raw], verb: Verb) -> str:
    if verb is Verb.COMPLETE:
        return "/v1/completions"
    if verb is Verb.EMBED:
        return "/v1/embeddings"
    return "/v1/chat/completions" if "messages" in fields else "/v1/responses"


def _given(fields: dict[str, Raw], name: str) -> int | None:
    """A count that must not be negative. None: not given."""
    if name not in fields:
        return None
    value: int | None = parse(_number, fields[name])
    if value is not None and not 0 <= value < 1 << 31:
        raise Refused(422, "a count in the body cannot be")
    return value


def _true(fields: dict[str, Raw], name: str) -> bool:
    return name in fields and parse(_flag, fields[name]) is True


def _times(fields: dict[str, Raw]) -> int:
    """Answers to each prompt."""
    times = 1
    for name in ("n", "best_of"):
        value = _given(fields, name)
        if value is not None:
            if not 1 <= value <= MOST:
                raise Refused(422, f"a request has at most {MOST} answers")
            times = max(times, value)
    return times


def _prompt(fields: dict[str, Raw], path: str) -> tuple[int, int]:
    """How many prompts, and tokens of all of them together."""
    rows = 1
    name = {"/v1/chat/completions": "messages", "/v1/completions": "prompt"}.get(path, "input")
    if name not in fields:
        raise Refused(422, "the body has no prompt")
    value = parse(_any, fields[name])
    if path in ("/v1/completions", "/v1/embeddings"):
        rows = _batch(value)
    elif type(value) is not list and not (type(value) is str and name == "input"):
        raise Refused(422, "the messages are no list")
    count = tokens.estimate(value) + 2 * rows
    for other in _TEXTS:
        if other != name and other in fields:
            count += tokens.estimate(parse(_any, fields[other]))
    return rows, count


def _batch(value: Any) -> int:
    """Prompts: a text, texts, token ids, or lists of them."""
    if type(value) is str and value:
        return 1
    if type(value) is list and value:
        kinds = set(map(type, value))
        if kinds == {int}:
            return 1
        if kinds == {str} or (kinds == {list} and all(one and set(map(type, one)) == {int} for one in value)):
            if len(value) > INPUTS:
                raise Refused(422, f"a request has at most {INPUTS} texts")
            return len(value)
    raise Refused(422, "the prompt is no text and no list of texts")


def _with_usage(body: bytes, fields: dict[str, Raw]) -> bytes | None:
    """The body with ``stream_options.include_usage``; None where it has it. All else stays byte for byte."""
    if "stream_options" not in fields:
        return b'{"stream_options":{"include_usage":true},' + body.lstrip(b" \t\r\n")[1:]
    options = parse(_options, fields["stream_options"]) or {}
    if _true(options, "include_usage"):
        return None
    return msgspec.json.encode({**fields, "stream_options": {**options, "include_usage": True}})
