"""Which requests are captured: drawn by our own chance, so that no caller can choose to be seen or not to be.

On the hot path: nothing about a request but its route has a say.
"""

from __future__ import annotations

from random import Random

from assay.guard.gateway.interface import Context
from assay.guard.gateway.settings import Settings


class Draw:
    """For one process: each is given a chance of its own."""

    def __init__(self, settings: Settings, seed: int | None = None) -> None:
        """``seed`` only for tests: without it the kernel gives one, which nobody knows."""
        capture = settings.capture
        share = capture.sample / 100 if capture is not None and (capture.input or capture.output) else 0.0
        self._shares = [share if route.capture else 0.0 for route in settings.routes]
        self._random = Random(seed).random  # noqa: S311 - not a secret: no caller learns what was drawn

    def draw(self, context: Context) -> bool:
        """Whether to capture this one, which has a route."""
        route = context.route
        assert route is not None
        return self._random() < self._shares[route.index]  # below 1.0 always, so that all are all and none is none
