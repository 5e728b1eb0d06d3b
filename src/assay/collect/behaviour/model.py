"""A profile: what the runs of one step did, how many of them each thing, and what they cost. Learning is pure.

Nothing is ever taken away by learning: what some run did stays, with the number of runs that did it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median

from assay.collect.behaviour.interface import DIGESTED, Fact, Facts, Kind
from assay.collect.behaviour.naming import crowd, place
from assay.errors import UsageError

MAX_FACTS = 20_000
"""Facts of a profile: more than people can review, and than steps have."""

MAX_VALUES = 20
"""Runs whose numbers are kept, the latest ones."""

MAX_DIGESTS = 20
"""Versions of one program, library or source file that are kept, the latest ones."""

CROWD = 20
"""More read files than this of one folder and ending become one entry, ``folder/*.ending``."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one fact."""

    runs: int
    """How many runs had it."""
    sha256: tuple[str, ...] = ()
    """Hex digests of the bytes that it had, oldest first."""
    refused: bool = False
    """It was only ever tried in vain. That it is tried again is no news; that it succeeds is."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a step usually does."""

    step: str
    pipeline: str = ""
    image: str = ""
    """Digest of the container image; empty outside of one."""
    runs: int = 0
    """How many were learned."""
    facts: Mapping[Fact, Known] = field(default_factory=dict)
    numbers: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """The latest runs' values, oldest first."""
    comments: Mapping[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    """What people wrote above an entry, by the entry's place in the file."""

    def known(self, fact: Fact, *, tried: bool = False) -> Known | None:
        """What is known of a fact, also as one of a crowd. What was only ever refused is known as long as it is only
        ``tried``.
        """
        found = self.facts.get(fact)
        if found is None and fact.kind is Kind.READ:
            found = self.facts.get(Fact(fact.kind, crowd(fact.text)))
        return None if found is not None and found.refused and not tried else found


def learn(profile: Profile, facts: Facts) -> Profile:
    """The profile with one more run in it.

    Raises `UsageError` when the profile would become larger than anybody can review.
    """
    known = dict(profile.facts)
    for fact, refused in _collapsed(known, facts).items():
        before = known.get(fact, Known(0, (), True))
        digests = _digests(before.sha256, facts.digests.get(fact))
        known[fact] = Known(before.runs + 1, digests, before.refused and refused)
    known = _crowded(known)
    if len(known) > MAX_FACTS:
        raise UsageError(
            f"the profile of {profile.step!r} would hold {len(known):,} facts; at most {MAX_FACTS:,} can be reviewed",
            hint="declare with --inputs and --outputs where the step reads and writes",
        )
    numbers = {
        name: (*profile.numbers.get(name, ()), *((facts.numbers[name],) if name in facts.numbers else ()))[-MAX_VALUES:]
        for name in sorted({*profile.numbers, *facts.numbers})
    }
    return replace(profile, runs=profile.runs + 1, facts=known, numbers=numbers)


def seeded(profile: Profile, network: Iterable[str] | None, inputs: int, outputs: int) -> Profile:
    """A new profile with what the step was declared to need, which is then no surprise: destinations, and that it reads
    and writes in its declared places. Declared facts have been in no run yet.
    """
    facts = [Fact(Kind.DESTINATION, f"tcp {text}") for text in network or ()]
    facts += [Fact(Kind.LIST, "$IN" if i == 0 else f"$IN{i + 1}") for i in range(inputs)]
    facts += [Fact(Kind.LIST, "$OUT" if i == 0 else f"$OUT{i + 1}") for i in range(outputs)]
    return replace(profile, facts={**dict.fromkeys(facts, Known(0)), **profile.facts})


def as_profile(facts: Facts, like: Profile) -> Profile:
    """One run by itself, in the form of a profile: what waits for somebody's acceptance, and can be compared."""
    return learn(Profile(like.step, like.pipeline, like.image), facts)


def as_facts(profile: Profile) -> Facts:
    """The run that `as_profile` wrote down. Raises `UsageError` for a profile of more or fewer runs."""
    if profile.runs != 1:
        raise UsageError(f"a profile of {profile.runs} runs is not one run that could be accepted")
    digests = {fact: known.sha256[-1] for fact, known in profile.facts.items() if known.sha256}
    tried = frozenset(fact for fact, known in profile.facts.items() if known.refused)
    numbers = {name: values[-1] for name, values in profile.numbers.items() if values}
    return Facts(frozenset(profile.facts), numbers, digests, tried)


def centre(values: Iterable[float]) -> tuple[float, float]:
    """Median, and median absolute deviation from it."""
    numbers = tuple(values)
    middle = median(numbers)
    return middle, median(abs(value - middle) for value in numbers)


def _collapsed(known: Mapping[Fact, Known], facts: Facts) -> dict[Fact, bool]:
    """The facts, with members of a known crowd as the crowd, and whether all that it was for was refused."""
    made: dict[Fact, bool] = {}
    for fact in facts.facts:
        many = Fact(fact.kind, crowd(fact.text)) if fact.kind is Kind.READ else fact
        one = many if many in known else fact
        made[one] = made.get(one, True) and fact in facts.tried
    return made


def _crowded(known: dict[Fact, Known]) -> dict[Fact, Known]:
    """Crowds of read files in declared places as one entry each; elsewhere every file keeps its name."""
    crowds: dict[Fact, list[Fact]] = defaultdict(list)
    for fact in known:
        if fact.kind is Kind.READ and place(fact.text) in ("$IN", "$OUT", "$CODE"):
            crowds[Fact(fact.kind, crowd(fact.text))].append(fact)
    for many, members in crowds.items():
        if len(members) > CROWD or (many in members and len(members) > 1):
            runs = max(known[member].runs for member in members)
            refused = all(known[member].refused for member in members)
            for member in members:
                del known[member]
            known[many] = Known(runs, (), refused)
    return known


def _digests(before: tuple[str, ...], digest: str | None) -> tuple[str, ...]:
    if digest is None or digest in before:
        return before
    return (*before, digest)[-MAX_DIGESTS:]


def same_bytes(fact: Fact, known: Known, facts: Facts) -> bool:
    """Whether a known fact has bytes that are known too, as far as anybody could tell."""
    digest = facts.digests.get(fact)
    return fact.kind not in DIGESTED or digest is None or not known.sha256 or digest in known.sha256
