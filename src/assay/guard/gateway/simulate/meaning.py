"""What the figures mean, in plain sentences. Pure; a sentence is never kinder than its figure."""

from __future__ import annotations

from collections.abc import Mapping

from assay.guard.gateway.simulate.interface import Outcome

SMALL = 0.03
"""A change of an area or of a fidelity that is not worth a word."""
LITTLE = 0.55
"""An area below which membership inference finds next to nothing."""


def of_setting(one: Outcome, before: Outcome, proper: bool) -> str:
    """What a setting buys, held against answers as they are."""
    copy, area = strongest(one), max(one.membership.values())
    if one is before:
        stolen = (
            f"A copy made of {copy[1]:,} {copy[0]} queries answers as the model does on {copy[2]:.0%} of honest rows."
        )
        if not proper:
            return stolen
        found = "next to nothing" if area < LITTLE else f"who was in the training with an area of {area:.2f}"
        return f"{stolen} Membership inference finds {found}."
    parts = []
    if proper:
        parts.append(_membership(one, before))
    gained = strongest(before)[2] - copy[2]
    parts.append(
        f"Extraction still reaches {copy[2]:.0%} ({copy[0]})" + ("." if gained <= SMALL else f", {gained:.0%} less.")
    )
    if one.change >= 0.0005:
        parts.append(f"Honest callers see probabilities that are off by {one.change:.3f} on average.")
    if one.relabelled:
        parts.append(f"{one.relabelled:.1%} of labels change.")
    return " ".join(parts)


def _membership(one: Outcome, before: Outcome) -> str:
    was = max(before.membership["confidence"], before.membership["learned"])
    now = max(one.membership["confidence"], one.membership["learned"])
    if was < LITTLE:
        return "There was next to nothing to find about membership."
    if was - now <= SMALL:
        return f"Buys nothing against membership inference ({was:.2f} before, {now:.2f} now)."
    text = f"Membership inference by confidence falls from {was:.2f} to {now:.2f}"
    copies = one.membership["copies"]
    return text + (f"; by noisy copies, labels alone still give {copies:.2f}." if copies >= LITTLE else ".")


def strongest(one: Outcome) -> tuple[str, int, float]:
    """The extraction that came furthest: source, queries, fidelity."""
    source, queries, fidelity = max(
        ((source, size, value) for source, by in one.extraction.items() for size, value in by.items()),
        key=lambda found: (found[2], -found[1]),
    )
    return source, queries, fidelity


def of_stream(
    attack: str,
    seen: float,
    median: int | None,
    stopped: float | None,
    fidelity: float | None,
    refused: int | None = None,
) -> str:
    """What the detectors see of one kind of attacker, and a schema of the training data; see `Stream`."""
    text = _seen(attack, seen, median, stopped, fidelity)
    if refused is None:
        return text
    return f"{text} A schema refuses " + ("its first query." if refused == 1 else f"one of its first {refused:,}.")


def _seen(attack: str, seen: float, median: int | None, stopped: float | None, fidelity: float | None) -> str:
    if median is None:
        why = {
            "in-distribution": "its queries are like everybody's: only budgets, price and regularised training help",
            "confidence": "one query for each candidate is like everybody's: label-only answers and regularised "
            "training help",
        }.get(attack, "its queries are too much like honest ones here")
        return f"{'Not seen' if seen == 0 else f'Seen in {seen:.0%} of cases only'}: {why}."
    text = f"Flagged after {median:,} queries"
    if stopped is None or fidelity is None:
        return text + "."
    if fidelity - stopped <= SMALL and stopped > 0.5:
        return f"{text}: too late, a copy is as good by then as it becomes ({stopped:.0%})."
    return f"{text}, when a copy reaches {stopped:.0%} instead of {fidelity:.0%}."


DAYS = {"month": 30.0, "week": 7.0, "day": 1.0, "hour": 1 / 24}
"""Periods of a budget, the longest first, in days."""


def budget(plan: str, rows: Mapping[str, int], one: Outcome) -> str:
    """How long a plan's budgets in rows, by period, hold up the strongest extraction."""
    source, queries, fidelity = strongest(one)
    said = [f"{rows[period]:,} rows a{'n' if period == 'hour' else ''} {period}" for period in DAYS if period in rows]
    if "life" in rows:
        said.append(f"{rows['life']:,} rows for life")
    words = f"Plan {plan}: {' and '.join(said)}, so {queries:,} {source} queries (a copy of {fidelity:.0%})"
    if rows.get("life", queries) < queries:
        return f"{words} are more than one caller ever gets."
    days = days_of(queries, rows)
    return f"{words} take one caller {days:,} {'day' if days == 1 else 'days'}."


def days_of(queries: int, rows: Mapping[str, int]) -> int:
    """On how many days in a row somebody asks who uses each period up, the longest first."""
    before = 0.0
    for period, length in DAYS.items():
        if period in rows:
            full = -(-queries // rows[period]) - 1
            before += full * length
            queries -= full * rows[period]
    return int(before + 1e-9) + 1


def always(proper: bool) -> tuple[str, ...]:
    """What holds for every model."""
    found = (
        "Rounding, buckets and top-k do not stop extraction: labels alone are enough for a good copy.",
        "No detector sees extraction with in-distribution data, nor membership inference by one query a candidate: "
        "budgets, price and training with regularisation or differential privacy help there.",
        "Copies are the best of four students, judged as if the attacker knew which: a better student copies better.",
    )
    if proper:
        return found
    return (
        "The model may have seen all of these rows: figures about membership mean nothing without rows that it has not "
        "seen (--holdout).",
        *found,
    )
