"""The gateway inside of a Python service: the same rooms, with a thread in the keeper's place.

Each process of the service has one. Those that share a state folder share their limits, exactly; what is learned about
callers stays in the process that learned it, so several processes are better served by the proxy in front.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from assay.guard.gateway.core import Gate, Proof
from assay.guard.gateway.running import rooms
from assay.guard.gateway.running.keeper import warn
from assay.guard.gateway.running.proving import PENDING, Prover, Watcher
from assay.guard.gateway.running.state import State
from assay.guard.gateway.settings import Settings

TURN = 0.1
"""Seconds between two looks at what has ended."""


class Embedded:
    """A gateway's core with everything around it. Raises `AssayError` where the settings do not fit together."""

    def __init__(self, settings: Settings, prover: Callable[[Settings], Prover | None]) -> None:
        self.settings = settings
        self._state = state = State(settings).prepare()
        self._counters = rooms.counters(settings, state)
        place, self._held = state.own_standings()
        self.observation = rooms.observation(settings, state, lambda _changes: None, warn, place)
        self._proof = Proof(PENDING.refusal) if settings.model is not None else Proof()
        self._made = rooms.make(settings, state, self._counters, self.observation.standings, self._proof)
        self._made.log.start()
        self.gate = Gate(self._made.core)
        """What a face asks."""
        self._sync = rooms.synchronised(settings, self._counters)
        self._over = threading.Event()
        self._watcher: Watcher | None = None
        asks = prover(settings) if settings.model is not None else None
        if asks is not None and settings.model is not None:
            self._watcher = Watcher(asks, float(settings.model.every), self._know, warn)
            self._watcher.start()
        self._thread = threading.Thread(target=self._run, name="assay-gateway", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Everything that has ended is written."""
        if self._over.is_set():
            return
        self._over.set()
        self._thread.join(30)
        if self._watcher is not None:
            self._watcher.stop()
        if self._sync is not None:
            self._sync.stop()
        self._made.close()
        self._counters.close()
        os.close(self._held)

    def _know(self, proof: Proof) -> None:
        self._proof.refusal = proof.refusal
        self._proof.version = proof.version

    def _run(self) -> None:
        last, over = 0.0, False
        while not over:
            over = self._over.wait(TURN)
            now = time.time()
            try:
                self.observation.take(self._made.samples())
                if not 0 <= now - last < 1.0 or over:
                    last = now
                    self._made.refresh()
                    self.observation.tick(now)
                    self._counters.sync()
            except Exception as error:  # without this thread no key would ever be revoked
                warn(f"the gateway's housekeeping has failed, and is tried again: {type(error).__name__}: {error}")
        self.observation.close()
