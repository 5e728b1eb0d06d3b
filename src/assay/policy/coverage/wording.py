"""What a coverage report says in words, the same in every format: the states, the summary, what to do next.

Names in a report come from documents that anybody may have written. `plain` is the one place that makes them safe to
show as text; it never decides what a row's state is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from assay.policy.coverage.interface import Report, Row, State


@dataclass(frozen=True, slots=True)
class Words:
    """How to speak of a state."""

    symbol: str
    """One character that tells the states apart without colour."""
    short: str
    """For a label."""
    long: str
    """Completes "The row is …"."""


WORDS = {
    State.EVIDENCE: Words("✓", "Verified evidence", "backed by verified evidence"),
    State.CONFIGURATION: Words("◐", "Configuration only", "backed only by a setting"),
    State.NOTHING: Words("✗", "Nothing", "backed by nothing"),
    State.NOT_ASSESSABLE: Words("–", "Not assessable", "not assessable by any tool"),
}
"""In the order in which reports list them."""

_RANK = {State.EVIDENCE: 0, State.CONFIGURATION: 1, State.NOTHING: 2}


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do next."""

    title: str
    """Of the measure."""
    how: str
    """What to run or set; the first of several ``ways``."""
    kind: State
    """What it gives."""
    rows: int
    """How many rows it moves up, beside those that the other steps move."""
    ways: int = 1
    """In how many different ways it is done to move them all."""


def plain(value: str, limit: int = 0) -> str:
    """One line of text that shows everything it holds, of at most ``limit`` characters (0: any number).

    White space becomes single spaces. What is invisible or reorders text (controls, direction marks, lone surrogates)
    becomes its number in brackets: a reader must see the name that a machine compares.
    """
    value = " ".join(value.split())
    if limit and len(value) > limit:
        value = value[: limit - 1] + "…"
    if value.isprintable():
        return value
    return "".join(char if char.isprintable() else f"[U+{ord(char):04X}]" for char in value)


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC, to the second; a time without a zone is taken for UTC."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="seconds") + "Z"


def percent(part: int, whole: int) -> int:
    """Rounded down, so that only all of them are 100."""
    return 100 * part // whole if whole else 0


def counted(count: int, noun: str) -> str:
    """``1 row``, ``2 rows``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def summary(report: Report) -> str:
    """The answer in plain words, for a reader who has one minute."""
    total, outside = len(report.rows), report.count(State.NOT_ASSESSABLE)
    assessable = total - outside
    if not total:
        return "The framework has no rows, so that nothing can be said."
    backed, set_up, nothing = (report.count(state) for state in (State.EVIDENCE, State.CONFIGURATION, State.NOTHING))
    evidence = f"{backed:,} ({percent(backed, assessable)} %)"
    parts = [f"A tool can assess {_of(assessable, total)} of {plain(f'{report.name} {report.version}')}."]
    if assessable:
        parts.append(
            f"Of these, {evidence} {'is' if backed == 1 else 'are'} backed by signed evidence that was verified, "
            f"{set_up:,} only by a setting that nothing signed confirms, and {nothing:,} by nothing."
        )
    if outside:
        parts.append(
            f"The other {outside:,} {'is a matter' if outside == 1 else 'are matters'} of people and organisation "
            "and never counted as covered."
        )
    return " ".join(parts)


def _of(part: int, whole: int) -> str:
    if part < whole:
        return f"{part:,} of the {counted(whole, 'row')}"
    return "the only row" if whole == 1 else f"all {whole:,} rows"


def next_steps(report: Report, limit: int = 5) -> list[Step]:
    """The measures to take first: each moves more of the rows that are left than any other one would.

    A measure that is done differently for each row (a rule that names it) is one step, ranked by what its best way
    moves.
    """
    moves: dict[tuple[str, State, str], set[int]] = {}
    for at, row in enumerate(report.rows):
        for measure in row.measures:
            if not measure.met and _improves(measure.kind, row):
                moves.setdefault((measure.title, measure.kind, measure.how), set()).add(at)
    steps: dict[tuple[str, State], Step] = {}
    while moves:
        title, kind, how = best = min(moves, key=lambda key: (-len(moves[key]), _RANK[key[1]], key))
        moved = moves.pop(best)
        if step := steps.get((title, kind)):
            steps[title, kind] = replace(step, rows=step.rows + len(moved), ways=step.ways + 1)
        elif len(steps) < limit:
            steps[title, kind] = Step(title, how, kind, len(moved))
        else:
            continue
        moves = {key: left for key, rows in moves.items() if (left := rows - moved)}
    return list(steps.values())


def _improves(kind: State, row: Row) -> bool:
    return row.state in _RANK and kind in _RANK and _RANK[kind] < _RANK[row.state]
