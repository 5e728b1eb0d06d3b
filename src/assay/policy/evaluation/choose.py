"""Which evidence a selector's rule looks at, and the best standing among it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from assay.policy.case import Item
from assay.policy.evaluation.standing import SKEW, Standing, believed, concerned, explained, labelled, made, stand
from assay.policy.model import Selector
from assay.policy.verdict import Kind, Verdict


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a selector found."""

    selector: Selector
    standings: tuple[Standing, ...]
    """Newest first; empty when there is no evidence of the kind."""
    error: str | None = None
    """Why nothing may be concluded from them."""

    @property
    def satisfying(self) -> tuple[Standing, ...]:
        """Those that satisfy everything that is asked of one piece alone."""
        return tuple(standing for standing in self.standings if standing.verdict is Verdict.PASS)

    @property
    def best(self) -> Standing | None:
        """The one that came furthest, the newest of equals."""
        return max(self.standings, key=lambda standing: standing.verdict.rank, default=None)

    def explained(self, now: datetime) -> Chosen:
        """The same with everything that is wrong with the best, and with nothing else."""
        best = self.best
        return self if best is None else replace(self, standings=(explained(best, self.selector, now),))

    @property
    def verdict(self) -> Verdict:
        """How far the evidence came."""
        if self.error is not None:
            return Verdict.ERROR
        return self.best.verdict if self.best is not None else Verdict.MISSING


class Evidence:
    """The items of a case by predicate type, so that fifty rules need not each look at all of them."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._by_type: dict[str, list[Item]] = {}
        for item in sorted(items, key=lambda item: -item.sequence):
            self._by_type.setdefault(item.statement.predicate_type, []).append(item)

    def of(self, types: Sequence[str]) -> list[Item]:
        """Items of one of these types, newest first. A type that ends with ``*`` stands for any ending."""
        found: list[Item] = []
        for kind, items in self._by_type.items():
            if any(kind == wanted or (wanted[-1:] == "*" and kind.startswith(wanted[:-1])) for wanted in types):
                found = found + items if found else items
        return found


def choose(
    selector: Selector, evidence: Evidence, incomplete: str | None, now: datetime, *, one: bool = False
) -> Chosen:
    """The standings of all evidence that the selector asks for; with ``one`` only up to the first that satisfies.

    With ``newest`` only the newest counts: it takes back what older evidence says, also when it was itself discarded.
    That is sound only over a log that is known to be whole; otherwise hiding the newest would bring the older back.
    """
    pool = [item for item in evidence.of(selector.types) if labelled(item, selector) and concerned(item, selector, now)]
    if not selector.newest:
        return Chosen(selector, _stand(pool, selector, now, one))
    if incomplete is not None:
        return Chosen(selector, (), f"it cannot be known which evidence is the newest: {incomplete}")
    # Only what the expected signers signed, and what is about these contents, can supersede: nobody else may veto.
    counting = [item for item in pool if item.matched and believed(item, selector)]
    if not counting:
        return Chosen(selector, _stand(pool, selector, now, one))
    newest = _newest(counting, now)
    if isinstance(newest, str):
        return Chosen(selector, (), f"it cannot be known which evidence is the newest: {newest}")
    standing = stand(newest, selector, pool, now)
    if newest.discarded:
        standing = Standing(newest, Verdict.MISSING, "was taken back, and nothing newer is there", Kind.ATTEST)
    return Chosen(selector, (standing,))


def _newest(items: Sequence[Item], now: datetime) -> Item | str:
    """The newest by the time that its signer states or a log proves, or why none can be called so.

    The position in the store decides between equal times only: whoever can write there could add an old statement
    again, and it would be the last one.
    """
    if len(items) == 1:
        return items[0]
    dated: list[tuple[datetime, int, Item]] = []
    for item in items:
        time = made(item, proved=False)
        if time is None:
            return f"{item.source} has no time"
        if time > now + SKEW:
            return f"{item.source} says that it was made in the future ({time:%Y-%m-%dT%H:%M:%SZ})"
        dated.append((time, item.sequence, item))
    return max(dated, key=lambda entry: entry[:2])[2]


def _stand(pool: Sequence[Item], selector: Selector, now: datetime, one: bool) -> tuple[Standing, ...]:
    made: list[Standing] = []
    for item in pool:
        made.append(stand(item, selector, pool, now))
        if one and made[-1].verdict is Verdict.PASS:
            break  # a rule needs one; what is newer and says otherwise was looked at before it
    return tuple(made)
