"""The observer that a worker asks: it draws what is captured, and puts samples aside for the keeper.

What waits is bounded in bytes: beyond it bodies go first, since a request without its body still counts, and then
whole samples. Both are counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from assay.guard.gateway.interface import KEEP_ANSWER, KEEP_BODY, Context, Sample, Verb
from assay.guard.gateway.parts import COUNTED
from assay.guard.gateway.settings import Settings

BODIES = 16 << 20
"""Bytes of bodies that may wait."""

LARGE = 64 << 10
"""Bytes beyond which bodies share half of that: a caller who sends large ones hides from nobody what others ask."""

COUNT = 50_000
"""Samples that may wait."""


@dataclass(slots=True)
class Waiting:
    """What waits for the keeper. Each number has one writer, so that a thread may take while another adds."""

    samples: deque[Sample] = field(default_factory=deque)
    added: int = 0
    taken: int = 0
    """Bytes of bodies, as `added`."""
    dropped: int = 0
    shortened: int = 0


_BOTH = KEEP_BODY | KEEP_ANSWER
_ASKING = frozenset({Verb.INFER, Verb.EXPLAIN, Verb.CHAT, Verb.COMPLETE, Verb.EMBED})


class Remote:
    """See `parts.Observer`."""

    def __init__(
        self, settings: Settings, draw: Callable[[Context], bool] | None, record: Callable[[Context], None]
    ) -> None:
        self._draw = draw
        self._record = record
        self._learning = settings.detect.mode != "off"
        self._waiting = Waiting()

    @property
    def dropped(self) -> int:
        """Samples that nobody will see."""
        return self._waiting.dropped

    @property
    def shortened(self) -> int:
        """Samples that lost their bodies."""
        return self._waiting.shortened

    def draw(self, context: Context) -> int:
        """See `parts.Observer.draw`."""
        if self._draw is not None and self._draw(context):
            context.drawn = True
            return _BOTH
        return _BOTH if self._learning else 0

    def see(self, context: Context, request: bytes | None, response: bytes | None) -> None:
        """See `parts.Observer.see`."""
        self._record(context)
        route, caller = context.route, context.caller
        if not (self._learning or context.drawn) or route is None or caller is None or route.verb not in _ASKING:
            return
        waiting = self._waiting
        if len(waiting.samples) >= COUNT:
            waiting.dropped += 1
            return
        size = (len(request) if request is not None else 0) + (len(response) if response is not None else 0)
        if waiting.added - waiting.taken + size > (BODIES if size <= LARGE else BODIES // 2):
            request = response = None
            waiting.shortened += 1
        else:
            waiting.added += size
        usage, headers = context.usage, context.headers
        waiting.samples.append(
            Sample(
                context.id,
                context.at,
                caller.id,
                caller.owner,
                context.address,
                route.protocol,
                route.verb,
                context.model,
                route.version,
                context.model_version,
                context.status,
                context.decision.rule,
                usage.rows if usage is not None else 0,
                usage.tokens_in + usage.tokens_out if usage is not None else 0,
                headers.get(b"content-type", b""),
                context.content_type,
                request,
                response,
                context.drawn,
                route.index,
                headers.get(b"x-amzn-sagemaker-target-variant", b"").decode("latin-1")[:100],
                context.request_id,
                COUNTED in context.counted,
                caller.plan,
            )
        )

    def take(self) -> list[Sample]:
        """What waits; it waits no longer."""
        waiting = self._waiting
        taken = [waiting.samples.popleft() for _ in range(len(waiting.samples))]
        waiting.taken += sum(len(one.request or b"") + len(one.response or b"") for one in taken)
        return taken

    def take_over(self, before: Remote) -> None:
        """Go on where another one ends, after a reload; what is under way there still comes to us."""
        self._waiting = before._waiting
