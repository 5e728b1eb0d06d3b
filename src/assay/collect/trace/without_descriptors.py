"""An arbiter for a monitor that can hand the step no descriptor: what would need one is refused, and listed as refused.

It must never let go on what the arbiter behind it wanted to do itself.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from time import time_ns

from msgspec.structs import replace

from assay.collect.trace.interface import Answer, Arbiter, Contact, Decision, RareCall, Request, Watch

RULE = "no-mediation"
"""By which such a call is refused."""


class WithoutDescriptors:
    """An arbiter whose answers need no descriptor in the step: a refusal takes the place of those that do."""

    def __init__(self, arbiter: Arbiter) -> None:
        self._arbiter = arbiter
        self.watches: Sequence[Watch] = arbiter.watches
        self.blocked: Mapping[str, int] = arbiter.blocked
        self._asked: dict[int, Request] = {}

    def decide(self, request: Request) -> Answer:
        """The answer, or the refusal."""
        answer = self._arbiter.decide(request)
        if answer.later:
            self._asked[request.id] = request
        return _possible(request, answer)

    def pending(self) -> Mapping[int, Callable[[], Sequence[tuple[int, Answer]]]]:
        """The same, of answers that come later."""
        return {handle: self._later(found) for handle, found in self._arbiter.pending().items()}

    def _later(self, found: Callable[[], Sequence[tuple[int, Answer]]]) -> Callable[[], Sequence[tuple[int, Answer]]]:
        return lambda: [(id, _possible(self._asked.pop(id), answer)) for id, answer in found()]

    def told(self) -> Sequence[Contact | RareCall]:
        """What the arbiter tells."""
        return self._arbiter.told()


def _possible(request: Request, answer: Answer) -> Answer:
    if answer.descriptor is None:
        return answer
    os.close(answer.descriptor)
    records = [_refused(record) for record in answer.records]
    if not records and request.call == "socket":
        family = "inet6" if request.arguments[0] & 0xFFFFFFFF == socket.AF_INET6 else "inet"
        seen = Contact(time_ns(), request.process, "socket", family, "udp", "", None, None, Decision.SEEN, "")
        records = [_refused(seen)]
    return Answer(error=errno.EPERM, records=records)


def _refused(record: Contact | RareCall) -> Contact | RareCall:
    if isinstance(record, Contact):
        return replace(record, decision=Decision.DENIED, rule=RULE, error=errno.EPERM)
    return replace(record, decision=Decision.DENIED, rule=RULE)
