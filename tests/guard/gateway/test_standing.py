"""What a caller's standing does to its requests, with the real rooms: being flagged is never of use to anybody."""

import time

import pytest

from assay.guard.gateway.callers import directory
from assay.guard.gateway.core import PERMITS, Core, Parts, Proof
from assay.guard.gateway.interface import Context, Level, Standing
from assay.guard.gateway.limits.local import Local
from assay.guard.gateway.limits.plans import Plans
from assay.guard.gateway.logs import open_log
from assay.guard.gateway.metrics.registry import Registry
from assay.guard.gateway.protocols import routes
from assay.guard.gateway.rules import ruleset
from assay.guard.gateway.running.remote import Remote
from assay.guard.gateway.settings import convert

NOW = time.time()


def core(standings, tmp_path, **raw) -> Core:
    given = {"assay-gateway": 1, "callers": {"anonymous": "default"}, "plans": {"default": {}}, **raw}
    settings = convert(given, "gateway.yaml", str(tmp_path))
    counters = Local()
    rooms = Parts(
        routes.build(settings, b"k" * 32),
        directory.build(settings),
        ruleset.compile(settings, counters),
        Plans(settings, counters),
        open_log(settings, b"k" * 32),
        Remote(settings, None, Registry().record),
        standings,
    )
    return Core(settings, rooms, Proof())


def decided(one: Core, target: bytes = b"/predict", address: str = "192.0.2.7", method: str = "POST") -> Context:
    context = Context(method, target, {}, address, NOW)
    one.decide(context)
    return context


HARDENINGS = {
    "strict": {"label-only": True},
    "two": {"top": 2, "digits": 2},
    "one": {"top": 1, "digits": 1},
    "noisy": {"noise": 0.1},
    "rounded": {"digits": 1},
}


@pytest.mark.parametrize(
    ("always", "flagged", "wanted"),
    [
        ("strict", "two", "strict"),
        ("two", "strict", "strict"),
        ("two", "one", "one"),
        ("one", "two", "one"),
        ("one", "rounded", "one"),
        ("noisy", "rounded", "label-only"),  # neither says less than the other
        ("noisy", "label-only", "label-only"),
        (None, "two", "two"),
        ("one", "one", "one"),
    ],
)
def test_who_is_flagged_is_never_told_more(tmp_path, always, flagged, wanted):
    route = {"protocol": "json", "path": "/predict"} | ({} if always is None else {"harden": always})
    standings = {"net:192.0.2.0/24": Standing(Level.HARDEN, NOW + 60, "near")}
    detect = {"mode": "enforce", "reactions": {"harden": flagged}}
    one = core(standings, tmp_path, routes=[route], hardenings=HARDENINGS, detect=detect)
    assert decided(one).harden == wanted
    assert decided(one, address="198.51.100.7").harden == (always or "")


def test_what_is_remembered_of_callers_and_targets_is_bounded_together(tmp_path):
    """Each of many targets must not remember each of many callers."""
    one = core({}, tmp_path, routes=[{"protocol": "json", "path": "/predict"}])
    for target in range(40):
        for caller in range(PERMITS // 35):
            context = decided(one, b"/predict?%d" % target, f"10.0.{caller >> 8}.{caller & 255}")
            assert context.decision.allowed
    held = sum(len(target[3]) for target in one._targets.values())
    assert 0 < held <= PERMITS
