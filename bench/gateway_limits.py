"""What a limit should have let through of what a caller asked: a plain bucket of tokens by the caller's clock, which
shares no code with the gateway's.

A caller who does not ask has no use of its limit, and neither has one who was not answered: how long the bucket was
full is therefore told, not hidden in a ratio.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

REFUSED = 429


@dataclass(frozen=True, slots=True)
class Question:
    """One request of a caller who asks more than it may."""

    at: float
    """When it was sent, in seconds of a clock that nobody sets."""
    answered: float
    """When its answer began; of one that had none, when that was clear."""
    status: int
    """Zero: no answer came. An answer that broke off counts, since it was let through."""


@dataclass(frozen=True, slots=True)
class Account:
    """Of one caller."""

    asked: int
    let_through: int
    unanswered: int
    """Nobody knows whether these were let through: where the most is told, they were, and where the least, not."""
    exact: int
    """What a bucket that is exact lets through of the same questions."""
    unused: float
    """Seconds in which that bucket was full: the caller could have had more, had it asked."""
    most: float
    """Most that was let through and not yet earned again. A limit that is exact leaves it at the burst, and at most so
    many more as the caller has questions under way, since these are decided later than they are sent.
    """

    @property
    def share(self) -> float:
        """Of what an exact limit lets through."""
        return self.let_through / self.exact if self.exact else 1.0


def account(
    questions: Iterable[Question], start: float, end: float, rate: float, burst: int, *, empty: bool = False
) -> Account:
    """Of those asked from ``start`` to before ``end``. ``rate``: tokens a second; ``burst``: most that there are, which
    the bucket has at the start unless it is ``empty`` then.
    """
    ordered = sorted((one for one in questions if start <= one.at < end), key=lambda question: question.at)
    exact = through = unanswered = 0
    tokens, owed, most, unused, last = 0.0 if empty else float(burst), 0.0, 0.0, 0.0, start
    for question in ordered:
        earned = (question.at - last) * rate
        last = question.at
        tokens += earned
        if tokens > burst:
            unused += (tokens - burst) / rate
            tokens = float(burst)
        if tokens >= 1.0:
            tokens -= 1.0
            exact += 1
        owed = max(0.0, owed - earned)
        if question.status != REFUSED:
            owed += 1.0
            most = max(most, owed)
            through += question.status != 0
            unanswered += question.status == 0
    unused += max(0.0, tokens + (end - last) * rate - burst) / rate
    return Account(len(ordered), through, unanswered, exact, unused, most)


def together(accounts: Iterable[Account]) -> Account:
    """Of several stretches of time."""
    several = list(accounts)
    return Account(
        sum(one.asked for one in several),
        sum(one.let_through for one in several),
        sum(one.unanswered for one in several),
        sum(one.exact for one in several),
        sum(one.unused for one in several),
        max((one.most for one in several), default=0.0),
    )
