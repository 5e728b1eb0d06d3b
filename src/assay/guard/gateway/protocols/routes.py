"""All configured routes as one `parts.Routes`: which request is served, what it asks for, what its answer may say.

Whatever no route serves is denied; whatever a protocol does not understand is refused, on both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from assay.errors import DocumentError, UsageError
from assay.guard.gateway.interface import Answers, Context, Decision, Measure, Route, Sample, Table, Verb
from assay.guard.gateway.parts import COUNTED, Meter, Unhardened
from assay.guard.gateway.protocols.interface import NOT_FOUND, Asked, Found, Hardener
from assay.guard.gateway.protocols.interface import Serving as Protocol
from assay.guard.gateway.protocols.kserve1 import KServe1
from assay.guard.gateway.protocols.open_inference import OpenInference
from assay.guard.gateway.protocols.openai import OpenAI
from assay.guard.gateway.protocols.plain import Plain
from assay.guard.gateway.protocols.reading import Refused
from assay.guard.gateway.protocols.sagemaker import SageMaker
from assay.guard.gateway.schemas import model
from assay.guard.gateway.schemas.validate import Validator
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.serving import RouteSettings

PROTOCOLS: dict[str, Callable[[RouteSettings], Protocol]] = {
    "open-inference": lambda route: OpenInference(),
    "kserve-v1": lambda route: KServe1(),
    "sagemaker": lambda route: SageMaker(),
    "openai": lambda route: OpenAI(),
    "json": lambda route: Plain(route.path or "/", route.rows, route.answers, route.websocket),
}
_UNREADABLE = (Refused, ValueError, OverflowError, RecursionError)
HARDENED = 10_000
"""Rows of a request at most whose answer is hardened: each prediction takes its time, and everybody waits."""
_MANY = Decision(False, 413, "schema", f"this caller's requests have at most {HARDENED} rows")
_NO_MODEL = Decision(False, 404, "route", "this model is not served here")
_UNSERVED = Decision(False, 404, "route", "this is not served here")


class _Served:
    """One route at work."""

    __slots__ = (
        "counting",
        "index",
        "listed",
        "model",
        "models",
        "prefix",
        "protocol",
        "settings",
        "validator",
        "verbs",
    )

    def __init__(self, index: int, route: RouteSettings, schema: model.Schema | None) -> None:
        self.index = index
        self.settings = route
        self.protocol = PROTOCOLS[route.protocol](route)
        self.prefix = "" if route.protocol == "json" else (route.path or "").rstrip("/")
        self.models = () if "*" in route.models else route.models
        self.model = route.models[0] if len(route.models) == 1 and not set("*?[") & set(route.models[0]) else ""
        """The one model, for protocols whose paths name none."""
        self.listed = bool(self.models) and not set("*?[") & set("".join(self.models))
        """Whether the models are listed one by one."""
        if unknown := [verb for verb in route.verbs if verb not in set(Verb)]:
            raise DocumentError(f"routes[{index}]: {unknown[0][:40]!r} is no verb (there are: {', '.join(Verb)})")
        self.verbs = frozenset(Verb(verb) for verb in route.verbs) or frozenset(Verb)
        self.validator = None
        self.counting = False
        if schema is not None and route.schema is not None:
            self.validator = Validator(schema, route.schema.rows)
            self.counting = route.schema.mode == "count"

    def route(self, method: str, path: str) -> Route | Decision:
        if self.prefix:
            if not path.startswith(self.prefix + "/"):
                return NOT_FOUND
            path = path[len(self.prefix) :]
        found = self.protocol.match(method, path)
        if not isinstance(found, Found):
            return found
        if found.verb not in self.verbs:
            return _UNSERVED
        named = found.model or (self.model if self.protocol.name in ("sagemaker", "json") else "")
        if named and not self.serves(named):
            return _NO_MODEL
        return Route(self.protocol.name, found.verb, named, found.version, self.prefix + found.template, self.index)

    def serves(self, name: str) -> bool:
        return not self.models or any(fnmatchcase(name, glob) for glob in self.models)


class Serving:
    """`parts.Routes`. Immutable; safe to share between threads."""

    def __init__(self, settings: Settings, key: bytes, schemas: Mapping[int, model.Schema]) -> None:
        self._hardenings = settings.hardenings
        self._key = key
        self._served = tuple(
            _Served(i, route, schemas.get(i) or _schema(settings, i)) for i, route in enumerate(settings.routes)
        )

    def route(self, method: str, path: str) -> Route | Decision:
        """See `parts.Routes`: the first route that serves it, else what comes nearest."""
        refusal = NOT_FOUND
        for served in self._served:
            found = served.route(method, path)
            if isinstance(found, Route):
                return found
            if refusal is NOT_FOUND or found.status == 405:
                refusal = found
        return refusal

    def measure(self, context: Context, body: bytes) -> Measure | Decision:
        """See `parts.Routes`."""
        route = context.route
        assert route is not None
        served = self._served[route.index]
        try:
            measured = served.protocol.measure(self._asked(served, context, body, served.validator))
        except Refused as refused:
            if not served.counting or refused.decision.status != 422:
                return refused.decision
            try:
                measured = served.protocol.measure(self._asked(served, context, body, None))
            except Refused as again:
                return again.decision
            context.counted = (*context.counted, COUNTED)
        if measured.model and not served.serves(measured.model):
            return _NO_MODEL
        return measured if measured.rows <= HARDENED or not context.harden else _MANY

    def harden(self, context: Context, status: int, content_type: bytes, body: bytes, question: bytes) -> bytes:
        """See `parts.Routes`."""
        route = context.route
        assert route is not None
        served = self._served[route.index]
        if status >= 400:
            return served.protocol.error()
        if not body:
            return b""
        if route.verb is Verb.EXPLAIN:
            raise Unhardened("an explanation tells more than any answer")
        how = self._hardenings[context.harden]
        asked = self._asked(served, context, question, served.validator)
        # A name that only a header says, and that no list holds, is the caller's to vary: it must not vary the noise.
        model = context.model or route.model if route.model or served.listed else ""
        hardener = Hardener(how, self._key, model, asked)
        try:
            return served.protocol.harden(hardener, content_type, body)
        except _UNREADABLE as error:
            raise Unhardened(str(error) or "the answer cannot be read") from None

    def meter(self, context: Context) -> Meter | None:
        """See `parts.Routes`."""
        return None if context.route is None else self._served[context.route.index].protocol.meter(context)

    def settle(self, context: Context, content_type: bytes, body: bytes) -> None:
        """See `parts.Routes`."""
        if context.route is not None and context.usage is not None:
            protocol = self._served[context.route.index].protocol
            protocol.settle(context.usage, context.status, content_type, body)

    def table(self, sample: Sample) -> Table | None:
        """See `parts.Routes`."""
        if sample.request is None or not 0 <= sample.route < len(self._served):
            return None
        served = self._served[sample.route]
        try:
            verb = Verb(sample.verb)
            return served.protocol.table(Asked(verb, sample.request_type, {}, sample.request, served.validator))
        except _UNREADABLE:
            return None

    def answers(self, sample: Sample) -> Answers | None:
        """See `parts.Routes`."""
        if sample.response is None or sample.status >= 400 or not 0 <= sample.route < len(self._served):
            return None
        try:
            return self._served[sample.route].protocol.answers(sample.answer_type, sample.response)
        except _UNREADABLE:
            return None

    def _asked(self, served: _Served, context: Context, body: bytes, validator: Validator | None) -> Asked:
        headers = context.headers
        assert context.route is not None
        return Asked(
            context.route.verb,
            headers.get(b"content-type", b""),
            headers,
            body,
            validator,
            bool(context.harden),
            served.settings.max_tokens,
        )


def build(settings: Settings, key: bytes = b"", schemas: Mapping[int, model.Schema] | None = None) -> Serving:
    """The routes of ``settings``.

    ``key``: for noise, 16 to 64 bytes, the same after a restart. ``schemas``: by the route's index, for those that name
    a baseline; schema files are read here. Raises `UsageError` or `DocumentError`.
    """
    if any(hardening.noise for hardening in settings.hardenings.values()) and not 16 <= len(key) <= 64:
        raise UsageError("a hardening adds noise, and there is no key for it")
    return Serving(settings, key, schemas or {})


def _schema(settings: Settings, index: int) -> model.Schema | None:
    wanted = settings.routes[index].schema
    if wanted is None:
        return None
    if wanted.file is not None:
        return model.read(settings.path(wanted.file))
    raise UsageError(
        f"routes[{index}].schema names a baseline that was not read"
        if wanted.baseline
        else f"routes[{index}].schema names neither a file nor a baseline"
    )
