"""The other side of the contract: operations that remember in memory what they were asked."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from assay.errors import DocumentError
from assay.guard.gateway.admin.interface import CallerFigures, Denied, Health, Proof
from assay.guard.gateway.interface import Level, Standing


class Memory:
    """Implements `Operations`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.ready = True
        self.broken = False
        self.bad_file = False
        self.standing: dict[str, Standing] = {}
        self.list: dict[str, Denied] = {}
        self.did: list[tuple[Any, ...]] = []

    def health(self) -> Health:
        if self.broken:
            raise RuntimeError("/secret/path")
        return Health(self.ready, [] if self.ready else ["the model is not proved"], 2)

    def metrics_text(self) -> str:
        return "# TYPE assay_requests_total counter\nassay_requests_total 1\n"

    def standings(self) -> Mapping[str, Standing]:
        with self.lock:
            return dict(self.standing)

    def set_level(self, key: str, level: Level, seconds: float | None, why: str) -> Standing:
        made = Standing(level, math.inf if seconds is None else 1000.0 + seconds, why)
        with self.lock:
            self.standing[key] = made
        return made

    def release(self, key: str, why: str) -> bool:
        with self.lock:
            self.did.append(("release", key, why))
            return self.standing.pop(key, None) is not None

    def approve(self, key: str, why: str) -> bool:
        with self.lock:
            if key not in self.standing or self.standing[key].level is not Level.APPROVE:
                return False
            del self.standing[key]
            return True

    def callers(self) -> Sequence[CallerFigures]:
        return [
            CallerFigures("key:a", "team", "gold", "harden", "rows", 5, 1, 9, 0, 1.0, {"rows": math.inf, "ood": 0.5})
        ]

    def denied(self) -> Sequence[Denied]:
        with self.lock:
            return list(self.list.values())

    def deny(self, address: str, seconds: float | None, why: str) -> Denied:
        made = Denied(address, None if seconds is None else 1000.0 + seconds, why)
        with self.lock:
            self.list[address] = made
        return made

    def undeny(self, address: str) -> bool:
        with self.lock:
            return self.list.pop(address, None) is not None

    def reset(self, key: str) -> bool:
        return key == "key:a"

    def reload(self) -> Sequence[str]:
        if self.bad_file:
            raise DocumentError("gateway.yaml: there is no plan 'x'", hint="name one that is there")
        return ["nothing has changed"]

    def configuration(self) -> Mapping[str, Any]:
        return {"upstream": "http://127.0.0.1:1"}

    def proof(self) -> Proof:
        return Proof("ab" * 32, "pass", True)
