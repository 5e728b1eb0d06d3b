"""Expressions of time: cron's five fields, SageMaker's and EventBridge's ``cron(…)`` and ``rate(…)``, and ``NOW``.

All times are UTC. An expression that never fires, or that two readers could read in two ways, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from assay.errors import MissingExtraError, UsageError

NOW = "NOW"
"""Once, when somebody asks (SageMaker's ``ScheduleExpression``)."""

_RATE = re.compile(r"rate\(\s*([1-9][0-9]{0,4})\s+(minute|hour|day)s?\s*\)")
_AWS = re.compile(r"cron\(([^()]*)\)")
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OPEN = re.compile(r"(?<![-\d])\d+/")
_FIELD = re.compile(r"[0-9A-Za-z*,/#?-]{1,100}")


@dataclass(frozen=True, slots=True)
class Expression:
    """When something is due."""

    text: str
    """As it was written."""
    cron: str | None = None
    """Five fields; None for a rate or ``NOW``."""
    every: timedelta | None = None
    """Of a rate, counted from 1970, so that every scheduler means the same moments."""

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """The moments after ``after`` and not after ``until``, in order; both UTC. None for ``NOW``."""
        if self.every is not None:
            count = (after - _EPOCH) // self.every + 1
            while (moment := _EPOCH + count * self.every) <= until:
                yield moment
                count += 1
        elif self.cron is not None:
            yield from takewhile(lambda moment: moment <= until, _cron(self.cron, after))

    def next(self, after: datetime) -> datetime | None:
        """The first moment after ``after``; None for ``NOW``."""
        if self.every is not None:
            return _EPOCH + ((after - _EPOCH) // self.every + 1) * self.every
        return next(_cron(self.cron, after)) if self.cron is not None else None

    def previous(self, until: datetime) -> datetime | None:
        """The last moment that is not after ``until``; None for ``NOW``."""
        if self.every is not None:
            return _EPOCH + ((until - _EPOCH) // self.every) * self.every
        # Backwards, CronSim gives minutes that are before the one it starts with.
        start = until.replace(second=0, microsecond=0) + timedelta(minutes=1)
        return next(_cron(self.cron, start, reverse=True)) if self.cron is not None else None


def parse(text: str) -> Expression:
    """Read ``text``: ``*/5 * * * *``, ``@hourly``, ``cron(0 * ? * * *)``, ``rate(1 hour)`` or ``NOW``.

    A day of the month and a day of the week together are refused: cron means either of them, people mean both. Raises
    `UsageError`.
    """
    stripped = " ".join(text.split())
    if stripped == NOW:
        return Expression(stripped)
    if rate := _RATE.fullmatch(stripped):
        return Expression(stripped, every=timedelta(**{f"{rate[2]}s": int(rate[1])}))
    aws = _AWS.fullmatch(stripped)
    cron = _from_aws(aws[1], stripped) if aws else _NICKNAMES.get(stripped, stripped)
    fields = cron.split(" ")
    if not aws and any(_OPEN.search(field) for field in fields):
        raise _wrong(stripped, "5/15 means one moment to some and four to others; write 5-59/15")
    if len(fields) != 5 or not all(_FIELD.fullmatch(field) for field in fields):
        raise _wrong(stripped, "it has not the five fields: minute hour day-of-month month day-of-week")
    if not fields[2].startswith("*") and not fields[4].startswith("*"):
        raise _wrong(stripped, "it names days of the month and of the week; write * for one of them")
    try:
        next(_cron(cron, _EPOCH))
    except UsageError as error:
        raise _wrong(stripped, error.message) from None
    return Expression(stripped, cron=cron)


def _from_aws(inner: str, whole: str) -> str:
    """EventBridge's six fields as five: ``?`` is ``*``, days of the week count from 1 (Sunday), years must be ``*``."""
    fields = inner.split()
    if len(fields) != 6:
        raise _wrong(whole, "cron(…) has six fields: minute hour day-of-month month day-of-week year")
    if fields[5] != "*":
        raise _wrong(whole, "years other than * are not supported")
    if "L" in fields[4].upper().replace("JUL", "") and not fields[4].isalpha():
        raise _wrong(whole, "L after a day of the week is not supported")
    fields = ["*" if field == "?" else field for field in fields[:5]]
    # 0/6 (every six from 0) means in other crons what 0-59/6 does.
    ends = ("59", "23", "31", "12", "7")
    fields = [
        _OPEN.sub(lambda found, end=end: f"{found[0][:-1]}-{end}/", field)  # type: ignore[misc]
        for field, end in zip(fields, ends, strict=True)
    ]
    fields[4] = re.sub(r"(?<![/#\d])[1-7](?!\d)", lambda m: str(int(m[0]) - 1), fields[4])
    return " ".join(fields)


def _cron(fields: str, after: datetime, *, reverse: bool = False) -> Iterator[datetime]:
    try:
        from cronsim import CronSim, CronSimError
    except ImportError:
        raise MissingExtraError("a schedule", "watch") from None
    try:
        found = CronSim(fields, after.astimezone(UTC).replace(microsecond=0), reverse=reverse)
        yield from found
    except CronSimError as error:
        raise UsageError(str(error) or "it is no cron expression") from None
    # CronSim stops after some decades without a match: 31 February.
    raise UsageError("it never fires")


def _wrong(text: str, why: str) -> UsageError:
    hint = "examples: '0 * * * *', '@daily', 'cron(0 * ? * * *)', 'rate(30 minutes)'"
    return UsageError(f"the schedule {text!r} cannot be read: {why}", hint=hint)
