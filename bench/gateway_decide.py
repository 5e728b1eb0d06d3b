"""Prints the microseconds that `Core.decide` takes in a loop, with a worker's rooms; run by `bench/gateway.py`.

python bench/gateway_decide.py GATEWAY.YAML KEY
"""

from __future__ import annotations

import sys
import tempfile
import time

import msgspec

from assay.guard.gateway.core import Proof
from assay.guard.gateway.interface import Context
from assay.guard.gateway.running import rooms
from assay.guard.gateway.running.state import State
from assay.guard.gateway.settings import load

COUNT = 100_000


def main() -> None:
    """The median of five loops; every request has its own context, whose making is not counted."""
    settings = msgspec.structs.replace(load(sys.argv[1]), state=tempfile.mkdtemp())
    state = State(settings).prepare()
    made = rooms.make(settings, state, rooms.counters(settings, state), {}, Proof())
    headers = {
        b"host": b"model.example",
        b"content-type": b"application/json",
        b"content-length": b"82",
        b"x-api-key": sys.argv[2].encode(),
    }
    taken = []
    for _ in range(5):
        now = time.time()
        contexts = [
            Context("POST", b"/v2/models/m/infer", headers, f"198.51.100.{i % 200}", now + i * 1e-5)
            for i in range(COUNT)
        ]
        decide = made.core.decide
        start = time.process_time()
        for context in contexts:
            decide(context)
        taken.append((time.process_time() - start) / COUNT * 1e6)
        assert all(context.decision.allowed for context in contexts), contexts[0].decision
        for context in contexts:
            made.core.finish(context)
        made.log.flush()
    print(sorted(taken)[2])


if __name__ == "__main__":
    main()
