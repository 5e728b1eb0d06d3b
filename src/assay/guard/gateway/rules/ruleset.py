"""The rules of a configuration as one chain of functions, asked by rising priority. It must never ask a network or a
file on a request's way; `Ruleset.refresh` does, when somebody who may wait calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile

from assay.errors import DocumentError
from assay.guard.gateway.interface import Context, Counters, Decision
from assay.guard.gateway.rules.addresses import REMEMBERED, AddressSet, address_set, canonical
from assay.guard.gateway.rules.countries import Database
from assay.guard.gateway.rules.forwarded import Trusted
from assay.guard.gateway.rules.rates import compile_rate
from assay.guard.gateway.rules.statements import Surroundings, Test, compile_statement
from assay.guard.gateway.settings.model import Settings
from assay.guard.gateway.settings.serving import Rule

CHALLENGE = 'Bearer realm="assay"'
"""What a rule's 401 asks for."""
_SHORT = 100
"""Longest forwarding header whose answer is remembered."""


class Compiled:
    """One rule at work."""

    __slots__ = ("decision", "matches", "name", "test")

    def __init__(self, name: str, test: Test | None, decision: Decision | None) -> None:
        self.name = name
        self.test = test
        """None: it matches every request."""
        self.decision = decision
        """None: it only counts."""
        self.matches = 0


class Ruleset:
    """`parts.Rules`."""

    def __init__(self, first: list[Compiled], rules: list[Compiled], trusted: Trusted, around: Surroundings) -> None:
        """``first``: those that are asked before ``rules``, and look at nothing but the address."""
        self._first = tuple(first)
        self._rules = tuple(rules)
        self._trusted = trusted
        self._header = trusted.header if trusted else b""
        self._around = around
        self._peers: dict[str, str] = {}
        self._judged: dict[str, tuple[Decision | None, tuple[str, ...], tuple[Compiled, ...]]] = {}
        """By address: what the first rules decide, which only count, and all that match; until a file changes."""
        self._clients: dict[tuple[str, bytes], str | None] = {}

    def address(self, context: Context) -> Decision | None:
        """Set `Context.address`: of the peer, in its one form, or what a trusted proxy says. Then ask the rules that
        need no more than that: whom they block costs us no look at credentials.
        """
        peer = self._peers.get(context.peer)
        if peer is None:
            if len(self._peers) >= REMEMBERED:
                self._peers.clear()
            peer = self._peers[context.peer] = canonical(context.peer) or context.peer
        context.address = peer
        if self._header and (value := context.headers.get(self._header)) is not None:
            client = self._client(peer, value)
            if client is not None:
                context.address = client
                context.forwarded = True
        judged = self._judged.get(context.address)
        if judged is None:
            judged = self._judge(context)
        decision, counted, matching = judged
        if matching:
            context.counted = counted
            for rule in matching:
                rule.matches += 1
        return decision

    def _judge(self, context: Context) -> tuple[Decision | None, tuple[str, ...], tuple[Compiled, ...]]:
        """Remembered in the dictionary that was there before the sets were asked: `refresh` makes another one after
        they have changed.
        """
        known = self._judged
        counted: list[str] = []
        matching: list[Compiled] = []
        decision = None
        for rule in self._first:
            if rule.test is None or rule.test(context):
                matching.append(rule)
                if rule.decision is not None:
                    decision = rule.decision
                    break
                counted.append(rule.name)
        if len(known) >= REMEMBERED:
            known.clear()
        judged = known[context.address] = decision, tuple(counted), tuple(matching)
        return judged

    def _client(self, peer: str, value: bytes) -> str | None:
        if len(value) > _SHORT:
            return self._trusted.client(value) if self._trusted.believes(peer) else None
        key = (peer, value)
        if key in self._clients:
            return self._clients[key]
        if len(self._clients) >= REMEMBERED:
            self._clients.clear()
        client = self._clients[key] = self._trusted.client(value) if self._trusted.believes(peer) else None
        return client

    def decide(self, context: Context) -> Decision | None:
        """The first of the other rules that ends it. Those that only count, and match before, are in
        `Context.counted`.
        """
        for rule in self._rules:
            test = rule.test
            if test is None or test(context):
                rule.matches += 1
                if rule.decision is not None:
                    return rule.decision
                context.counted += (rule.name,)
        return None

    def refresh(self) -> list[str]:
        """Read files that have changed; call it every few seconds from where it may block. Returns what is new."""
        changed: list[str] = []
        try:
            for name, one in self._around.sets.items():
                if one.refresh():
                    changed.append(f"addresses.{name}")
        finally:  # a disk that fails at the next set does not keep what is known of this one
            if changed:
                self._judged = {}
        countries = self._around.countries
        if isinstance(countries, Database) and countries.refresh():
            changed.append("countries")
        return changed

    def figures(self) -> Mapping[str, int]:
        """How often each rule has matched, by id."""
        return {rule.name: rule.matches for rule in (*self._first, *self._rules)}


def compile(settings: Settings, counters: Counters) -> Ruleset:
    """The rules, ready to be asked. Raises `DocumentError` or `UsageError` naming the rule or set that is wrong."""
    sets: dict[str, AddressSet] = {
        name: address_set(name, given, settings.path("")) for name, given in settings.addresses.items()
    }
    around = Surroundings(sets, None if settings.countries is None else Database(settings.path(settings.countries)))
    ordered = sorted(settings.rules, key=lambda rule: rule.priority)
    rules = [_rule(rule, counters, around) for rule in ordered]
    first = len(list(takewhile(_by_address, ordered)))
    return Ruleset(rules[:first], rules[first:], Trusted(settings.trusted_proxies, settings.trusted_header), around)


def _by_address(rule: Rule) -> bool:
    return rule.match.keys() == {"address-in"} and rule.rate is None and rule.action != "challenge"


def _rule(rule: Rule, counters: Counters, around: Surroundings) -> Compiled:
    what = f"rule {rule.id}"
    test = compile_statement(rule.match, around, what)
    if rule.rate is None:
        if rule.action == "challenge":
            test = _both(test, _unproved)
        return Compiled(rule.id, test, _decision(rule, 403, 0))
    if rule.action == "allow":
        raise DocumentError(f"{what}: a rate-based rule cannot allow", hint="block, challenge or count")
    exceeded, silence = compile_rate(rule.rate, rule.id, counters, around, what)
    return Compiled(
        rule.id, _both(test, exceeded), _decision(rule, 429 if rule.action == "challenge" else 403, silence)
    )


def _both(test: Test | None, exceeded: Test) -> Test:
    """A rate-based rule's ``match`` narrows it as its scope-down does: what does not match is not counted."""
    return exceeded if test is None else lambda context: test(context) and exceeded(context)


def _unproved(context: Context) -> bool:
    """Who has proved who it is has met the challenge already."""
    return context.caller is None or context.caller.id.startswith("address:")


def _decision(rule: Rule, status: int, retry_after: int) -> Decision | None:
    name = f"rule:{rule.id}"
    if rule.action == "count":
        return None
    if rule.action == "allow":
        return Decision(True, 200, name)
    if retry_after:
        return Decision(False, rule.status or status, name, "too many requests", retry_after)
    if rule.action == "challenge":
        status = rule.status or 401
        return Decision(False, status, name, "credentials are needed", 0, CHALLENGE if status == 401 else "")
    return Decision(False, rule.status or status, name, "this request is not let through")
