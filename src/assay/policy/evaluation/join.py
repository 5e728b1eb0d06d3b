"""Evidence that must fit together: equal fields, digests that lead from one to the next, an order in time.

The search is over pieces that satisfy their own selector, hence over what expected signers signed. It finds any
combination that fits; a rule needs only one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from assay.policy import conditions, fields
from assay.policy.case import Case, Item
from assay.policy.evaluation.choose import Chosen, Evidence, choose
from assay.policy.evaluation.standing import Standing, document, made
from assay.policy.model import Require, Selector

MAX_STEPS = 200_000
"""Combinations that are tried."""


class TooManyError(Exception):
    """There are more combinations than anybody would wait for."""


def choose_all(require: Require, evidence: Evidence, case: Case, *, one: bool) -> dict[str, Chosen]:
    """What each selector found, by alias. Linked ones are looked up by the digests that others name as inputs.

    With ``one`` nothing but the evidence itself decides: the first piece that satisfies is enough.
    """
    found: dict[str, Chosen] = {}
    waiting = [*require.selectors]
    while waiting:
        ready = [item for item in waiting if not item.linked or _consumers(require, item.alias) & found.keys()]
        if not ready:
            # Nothing leads there: the reader of the policy refuses that, a policy made by hand gets no evidence.
            for selector in waiting:
                found[selector.alias] = Chosen(selector, ())
            break
        for selector in ready:
            pool = _linked(selector, require, found, case) if selector.linked else evidence
            # What is linked was looked up just now, and only then turned out to be unreadable.
            incomplete = case.incomplete or (case.doubt() if selector.linked else None)
            found[selector.alias] = choose(selector, pool, incomplete, case.now, one=one)
            waiting.remove(selector)
    return {selector.alias: found[selector.alias] for selector in require.selectors}


def _consumers(require: Require, alias: str) -> set[str]:
    return {target for source, target in require.edges if source == alias}


def _linked(selector: Selector, require: Require, found: Mapping[str, Chosen], case: Case) -> Evidence:
    """Evidence about the inputs of what was found so far."""
    digests: dict[str, None] = {}
    for consumer in sorted(_consumers(require, selector.alias) & found.keys()):
        for standing in found[consumer].satisfying:
            digests |= dict.fromkeys(sorted(fields.inputs(standing.item.statement)))
    # One statement about two inputs is two pieces of evidence: what it says of the one it does not say of the other.
    items: dict[tuple[str, str], Item] = {}
    for digest in digests:
        for item in case.lookup(digest):
            items.setdefault((item.digest, digest), item)
    return Evidence(items.values())


def fit(require: Require, found: Mapping[str, Chosen], now: datetime) -> dict[str, Standing] | str:
    """One combination that fits, by alias; or a sentence that says what keeps them apart. Raises `TooManyError`."""
    pools: dict[str, Sequence[Standing]] = {alias: chosen.satisfying for alias, chosen in found.items()}
    for condition in require.where:
        kept = []
        reason = ""
        for standing in pools[condition.alias]:
            wrong = conditions.violation(condition, document(standing.item, now))
            if wrong is None:
                kept.append(standing)
            reason = reason or (wrong.message if wrong else "")
        if not kept:
            return f"{condition.alias}: {reason}"
        pools[condition.alias] = kept
    search = _Search(require, pools)
    for combination in search.run():
        return combination
    return search.reason()


class _Search:
    def __init__(self, require: Require, pools: Mapping[str, Sequence[Standing]]) -> None:
        self._require = require
        self._pools = pools
        self._steps = 0
        self._refused: dict[str, int] = {}
        self._order = [selector.alias for selector in require.selectors]
        self._inputs: dict[str, frozenset[str]] = {}
        self._outputs: dict[str, frozenset[str]] = {}

    def run(self) -> Iterator[dict[str, Standing]]:
        yield from self._extend({}, 0)

    def reason(self) -> str:
        return max(self._refused, key=self._refused.__getitem__, default="no combination of the evidence fits")

    def _extend(self, chosen: dict[str, Standing], at: int) -> Iterator[dict[str, Standing]]:
        if at == len(self._order):
            yield dict(chosen)
            return
        alias = self._order[at]
        for standing in self._pools[alias]:
            self._steps += 1
            if self._steps > MAX_STEPS:
                raise TooManyError
            chosen[alias] = standing
            problem = self._problem(chosen, alias)
            if problem is None:
                yield from self._extend(chosen, at + 1)
            else:
                self._refused[problem] = self._refused.get(problem, 0) + at
            del chosen[alias]

    def _problem(self, chosen: Mapping[str, Standing], alias: str) -> str | None:
        """Why the evidence just chosen does not fit that chosen before it."""
        statement = chosen[alias].item.statement
        for name in self._require.same:
            value = fields.named(statement, name)
            if not value:
                return f"{alias} states no {name}"
            for other, standing in chosen.items():
                if other != alias and (theirs := fields.named(standing.item.statement, name)) != value:
                    return f"{name} differs: {_text(value)} in {alias}, {_text(theirs)} in {other}"
        for source, target in self._require.edges:
            if alias not in (source, target) or source not in chosen or target not in chosen:
                continue
            if self._out(chosen[source].item).isdisjoint(self._in(chosen[target].item)):
                return f"what {source} is about is no input of {target}, by digest"
        return self._in_time(chosen, alias)

    def _in_time(self, chosen: Mapping[str, Standing], alias: str) -> str | None:
        order = [name for name in self._require.order if name in chosen]
        if alias not in order:
            return None
        times: list[tuple[str, datetime]] = []
        for name in order:
            time = made(chosen[name].item, proved=chosen_proved(self._require, name))
            if time is None:
                return f"{name} has no time to be ordered by"
            times.append((name, time))
        for (earlier, first), (later, second) in pairwise(times):
            if first > second:
                return f"{later} ({second:%Y-%m-%dT%H:%M:%SZ}) is older than {earlier} ({first:%Y-%m-%dT%H:%M:%SZ})"
        return None

    def _in(self, item: Item) -> frozenset[str]:
        if item.digest not in self._inputs:
            self._inputs[item.digest] = fields.inputs(item.statement)
        return self._inputs[item.digest]

    def _out(self, item: Item) -> frozenset[str]:
        if item.digest not in self._outputs:
            self._outputs[item.digest] = fields.outputs(item.statement)
        return self._outputs[item.digest]


def chosen_proved(require: Require, alias: str) -> bool:
    """Whether the selector of this name counts proved times only."""
    return any(selector.proved_time for selector in require.selectors if selector.alias == alias)


def _text(value: object) -> str:
    if isinstance(value, frozenset):
        return ", ".join(sorted(map(str, value)))[:100] or "nothing"
    return "nothing" if value is None else str(value)[:100]
