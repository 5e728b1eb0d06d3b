"""An attack that is split over many keys of one network, from the request to the standing to the next request."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from assay.alerts.settings import Settings as AlertSettings
from assay.guard.gateway import detect
from assay.guard.gateway.callers import directory, keys
from assay.guard.gateway.core import Core, Parts, Proof
from assay.guard.gateway.detect import calibration
from assay.guard.gateway.interface import ANSWER, BODY, Context, Level, Standing
from assay.guard.gateway.limits.local import Local
from assay.guard.gateway.limits.plans import Plans
from assay.guard.gateway.logs import open_log
from assay.guard.gateway.metrics.registry import Registry
from assay.guard.gateway.protocols import routes
from assay.guard.gateway.rules import ruleset
from assay.guard.gateway.running.observation import Learning, Observation
from assay.guard.gateway.running.remote import Remote
from assay.guard.gateway.settings import convert
from guard.gateway.detect import detect_making as making

THEN = 1_800_000_000.0


def created(file: keys.KeyFile) -> tuple[keys.KeyFile, dict[str, str]]:
    """Keys of sixty owners, of six more, and thirty of one."""
    owners = {f"bad-{i}": f"bad-{i}" for i in range(60)} | {f"good-{i}": f"good-{i}" for i in range(6)}
    owners |= {f"mallory-{i}": "mallory" for i in range(30)}
    secrets = {}
    for name, owner in owners.items():
        file, _, secrets[name] = keys.create(file, datetime.fromtimestamp(THEN, UTC), owner)
    return file, secrets


class Place:
    """A gateway without its sockets: the rooms, a model, and whoever observes."""

    def __init__(self, folder: Path) -> None:
        calibration.write(making.calibration(), str(folder / "calibration.json"))
        self.secrets = keys.change(str(folder / "keys.json"), created)
        raw = {
            "assay-gateway": 1,
            "callers": {"keys": "keys.json", "anonymous": "default"},
            "plans": {"default": {}},
            "routes": [{"protocol": "kserve-v1"}],
            "detect": {
                "mode": "enforce",
                "calibration": "calibration.json",
                "reactions": {"escalate": False},
            },
        }
        settings = convert(raw, "gateway.yaml", str(folder))
        counters, serving = Local(), routes.build(settings, b"k" * 32)
        self.standings: dict[str, Standing] = {}
        self.remote = Remote(settings, None, Registry().record)
        parts = Parts(
            serving,
            directory.build(settings),
            ruleset.compile(settings, counters),
            Plans(settings, counters),
            open_log(settings, b"k" * 32),
            self.remote,
            self.standings,
        )
        self.core = Core(settings, parts, Proof())
        self.observation = Observation(
            Learning(serving, detect.build(settings), None, AlertSettings()),
            str(folder / "standings.json"),
            scope="gateway",
            tell=self._tell,
            warn=pytest.fail,
        )
        self.at = THEN

    def _tell(self, changes: object) -> None:
        self.standings |= {key: standing for key, standing in changes if standing is not None}  # type: ignore[attr-defined]

    def ask(self, key: str, address: str, row: np.ndarray) -> Context:
        """One question, answered, and seen by whoever observes. ``key``: which key is shown; empty: none."""
        self.at += 1.0
        headers = {b"content-type": b"application/json"}
        if key:
            headers[b"x-api-key"] = self.secrets[key].encode()
        context = Context("POST", b"/v1/models/m:predict", headers, address, self.at)
        body = json.dumps({"instances": [row.tolist()]}).encode()
        assert self.core.decide(context).allowed, context.decision
        assert context.needs & BODY and self.core.admit(context, body).allowed
        said = {"predictions": making.small()[0].predict(row[None, :]).tolist()}
        answer, context.status, context.content_type = json.dumps(said).encode(), 200, b"application/json"
        if context.needs & ANSWER:
            assert self.core.answer(context, 200, context.content_type, answer, body) != answer
        self.core.finish(context, body, answer)
        self.observation.take(self.remote.take())
        return context


@pytest.mark.parametrize("name", ["random", "line-search"])
def test_keys_of_one_network_that_take_part_are_met_and_their_neighbours_are_not(tmp_path: Path, name: str) -> None:
    place = Place(tmp_path)
    rows = making.attack(name, 120)
    honest = making.honest(51, 6, 20)
    for i, row in enumerate(rows):
        place.ask(f"bad-{i % 60}", f"203.0.113.{i % 60}", row)
        if i % 6 == 0:
            for j, one in enumerate(honest):
                place.ask(f"good-{j}", f"203.0.113.{200 + j}", one.table.features[i // 6])
    assert place.standings["net:203.0.113.0/24"].level is Level.HARDEN
    fresh = making.small()[0].draw(np.random.default_rng(1), 1)[0]
    met = [place.ask(f"bad-{i}", f"203.0.113.{i}", fresh).level for i in range(60)]
    assert met.count(Level.HARDEN) >= 20
    moved = [place.ask(f"bad-{i}", f"198.51.{i}.9", fresh).level for i in range(60)]
    assert moved == met, "wherever they come from next"
    assert [place.ask(f"good-{j}", f"203.0.113.{200 + j}", fresh).level for j in range(6)] == [Level.OK] * 6
    assert place.ask("", "203.0.113.77", fresh).level is Level.HARDEN, "who proves nothing answers for its network"
    assert place.ask("", "198.51.100.77", fresh).level is Level.OK


def test_keys_of_one_owner_are_met_together_wherever_they_are(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for i, row in enumerate(making.attack("line-search", 90)):
        place.ask(f"mallory-{i % 29}", f"10.0.{i % 29}.9", row)
    assert place.standings["owner:mallory"].level is Level.HARDEN
    fresh = making.small()[0].draw(np.random.default_rng(1), 1)[0]
    assert place.ask("mallory-29", "198.51.100.1", fresh).level is Level.HARDEN, "a key that has asked nothing yet"
    assert place.ask("good-0", "10.0.1.9", fresh).level is Level.OK


def test_an_administrator_sees_how_far_somebody_is_towards_an_alarm(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for row in making.small()[0].draw(np.random.default_rng(5), 30):
        place.ask("good-1", "192.0.2.1", row)
    nearest = 0.0
    for row in making.attack("line-search", 40):
        place.ask("bad-1", "192.0.2.2", row)
        shown = {one.owner: one for one in place.observation.callers(10)}
        if shown["bad-1"].level != "ok":
            break  # its sums begin anew
        nearest = max(nearest, *shown["bad-1"].scores.values(), 0.0)
    assert (shown["bad-1"].level, shown["good-1"].level) == ("harden", "ok")
    assert 1 > nearest > 0.5 > max(shown["good-1"].scores.values(), default=0.0)
