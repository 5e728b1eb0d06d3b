"""What the gateway's detectors see: honest callers and attackers, query by query, with PRADA beside them.

    python bench/gateway_detect.py [--world digits people] [--only seen spread cost] [--callers 300] [--attackers 20]
                                   [--queries 1000] [--pairs 5]

Seeds are fixed, and those of calibration, of the honest callers and of the attackers are different ones. Thresholds
come from the calibration alone. While the detectors were written, callers of other seeds were looked at (50 to 53, 60,
70, 4001 to 4004, 7001 to 7003); those here were run when nothing was changed any more. PRADA (Juuti 2019) is written
after its authors' code, on columns scaled to their range. Results replace those of the same world in
``bench/results/gateway_detect.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gateway_worlds
from assay.guard.gateway.detect import calibrating
from assay.guard.gateway.detect.calibration import Calibration
from assay.guard.gateway.detect.detectors import Detectors
from assay.guard.gateway.interface import Answers, Sample, Table
from assay.guard.gateway.settings.keeping import Detect
from assay.guard.gateway.simulate import attackers, honest_callers
from assay.guard.gateway.simulate.world import World

RESULTS = Path(__file__).parent / "results/gateway_detect.json"

SEEDS = {"calibration": 8001, "honest": 8002, "attack": 8003}
CLAIMS = {
    "flagged": 0.02,
    "cpu_us": 20.0,
    "bytes": 12_288,
    "digits": {
        "random": 20, "knock-off": 20, "line-search": 20, "hop-skip-jump": 20, "inversion": 50, "label-only": 150,
        "mixup": 150, "jacobian": 200,
    },
    "people": dict.fromkeys(
        ("random", "knock-off", "line-search", "hop-skip-jump", "inversion", "label-only", "mixup", "jacobian"), 150
    ),
}  # fmt: skip
"""Honest callers flagged, cost, and queries (median) until an attack is flagged; on people by schema or detector."""

DILUTED = {"jacobian": 0.5, "hop-skip-jump": 0.2, "random": 0.2}
"""Attacks that are also run between honest queries, and the attack's share."""
SPREAD = 0.1
"""Share of all queries, where an attack comes with one key a query."""
PRADA_HONEST = 80
PRADA_ATTACKERS = 6
NEVER = 10**9


def requests(caller: str, rows: np.ndarray, answers: np.ndarray) -> Iterable[tuple[Sample, Table, Answers]]:
    """A caller's requests, of one row each, one a second; every caller has its own owner and network."""
    number = zlib.crc32(caller.encode())
    address = f"{20 + (number >> 16) % 80}.{number >> 8 & 255}.{number & 255}.1"
    labels = answers.argmax(axis=1)
    for i in range(len(rows)):
        sample = Sample(
            f"{i:032x}", 1.7e9 + i, caller, caller, address, "open-inference", "infer", "model", "1", "", 200, "", 1, 0,
            b"", b"", None, None, False, 0,
        )  # fmt: skip
        yield sample, Table(rows[i : i + 1]), Answers(labels[i : i + 1], answers[i : i + 1])


def first(calibration: Calibration, rows: np.ndarray, answers: np.ndarray) -> tuple[int, str]:
    """After how many queries a caller who is alone is flagged, and why."""
    detectors = Detectors(Detect(mode="enforce"), calibration)
    for i, (sample, table, answer) in enumerate(requests("caller", rows, answers)):
        if changes := detectors.see(sample, table, answer):
            return i + 1, changes[0][1].why
    return NEVER, ""


def at_once(calibration: Calibration, honest: Sequence[calibrating.Stream]) -> Counter[str]:
    """Honest callers who are flagged where all ask at the same time, by kind and signal."""
    detectors = Detectors(Detect(mode="enforce"), calibration)
    found = {}
    for turn in zip(*(requests(one.name, one.table.features, probabilities(one)) for one in honest), strict=True):
        for call in turn:
            for key, standing in detectors.see(*call):
                found.setdefault(key, standing.why)
    return Counter(f"{key.partition('-')[0]}: {why}" for key, why in found.items())


def spread(
    calibration: Calibration, honest: Sequence[calibrating.Stream], rows: np.ndarray, answers: np.ndarray
) -> dict[str, float]:
    """Shares of keys that are flagged where each query of an attack comes with a key, owner and network of its own,
    between those of honest callers who ask for the first time.
    """
    detectors = Detectors(Detect(mode="enforce"), calibration)
    ordinary = (
        call
        for turn in zip(*(requests(one.name, one.table.features, probabilities(one)) for one in honest), strict=True)
        for call in turn
    )
    owed, found = 0.0, set()
    for i in range(len(rows)):
        owed += 1 / SPREAD - 1
        while owed >= 1:
            owed -= 1
            found.update(key for key, _ in detectors.see(*next(ordinary)))
        for call in requests(f"attack-{i}", rows[i : i + 1], answers[i : i + 1]):
            found.update(key for key, _ in detectors.see(*call))
    caught = sum(key.startswith("attack-") for key in found)
    names = {one.name for one in honest}
    return {"caught": caught / len(rows), "honest": sum(key in names for key in found) / len(honest)}


class Prada:
    """The authors' detector: for each class a growing set, the distances to it, and the Shapiro-Wilk test of them."""

    def __init__(self, delta: float) -> None:
        self.delta = delta
        self.sets: dict[int, list[np.ndarray]] = {}
        self.thresholds: dict[int, float] = {}
        self.kept: dict[int, list[float]] = {}
        self.distances: list[float] = []

    def first(self, rows: np.ndarray, labels: np.ndarray) -> int:
        from scipy.stats import shapiro

        for i, (row, label) in enumerate(zip(rows, labels.tolist(), strict=True)):
            known = self.sets.get(label)
            if known is None:
                self.sets[label], self.thresholds[label], self.kept[label] = [row], 0.0, []
                continue
            nearest = float(np.sqrt(((np.array(known) - row) ** 2).sum(axis=1)).min())
            self.distances.append(nearest)
            if nearest > self.thresholds[label]:
                known.append(row)
                self.kept[label].append(nearest)
                kept = np.array(self.kept[label])
                self.thresholds[label] = max(self.thresholds[label], float(kept.mean() - kept.std()))
            # The test at every tenth query: its cost grows with all that came before.
            if len(self.distances) > 100 and i % 10 == 0:
                far = np.array(self.distances)
                inside = far[np.abs(far - far.mean()) <= 3 * far.std()]
                if np.ptp(inside) > 0 and shapiro(inside).statistic < self.delta:
                    return i + 1
        return NEVER


def streams(world: World, seed: int, callers: int, queries: int) -> list[calibrating.Stream]:
    """Honest callers with their answers."""
    found = []
    for i, (kind, rows) in enumerate(honest_callers.honest(world, np.random.default_rng(seed), callers, queries)):
        answers = world.predict(rows)
        found.append(calibrating.Stream(f"{kind}-{i}", Table(rows), Answers(answers.argmax(axis=1), answers)))
    return found


def probabilities(stream: calibrating.Stream) -> np.ndarray:
    found = stream.answers.probabilities
    assert found is not None
    return found


def attack(world: World, name: str, calibration: Calibration, count: int, queries: int, share: float) -> dict[str, Any]:
    """Attackers of one kind before the detectors, the schema and PRADA."""
    firsts, whys, refused, either, prada = [], Counter[str](), [], [], []
    for i in range(count):
        rng = np.random.default_rng([SEEDS["attack"], i, round(share * 100)])
        rows, answers = attackers.record(world, name, rng, queries, share)
        found, why = first(calibration, rows, answers)
        firsts.append(found)
        whys[why] += bool(why)
        bad = np.flatnonzero(~world.valid(rows))
        refused.append(int(bad[0]) + 1 if len(bad) else NEVER)
        either.append(min(found, refused[-1]))
        if i < PRADA_ATTACKERS:
            prada.append(Prada(0.95).first(rows / world.range, answers.argmax(axis=1)))
    return {
        "attack": name,
        "share": share,
        "attackers": count,
        "flagged": {str(n): sum(f <= n for f in firsts) / count for n in (20, 50, 100, 150, 250, 1000)},
        "median": told(statistics.median(firsts)),
        "p90": told(float(np.quantile(firsts, 0.9))),
        "signals": dict(whys),
        "schema": told(statistics.median(refused)),
        "either": told(statistics.median(either)),
        "prada": sum(f < NEVER for f in prada) / len(prada),
        "prada_median": told(statistics.median(prada)),
    }


def told(value: float) -> float | None:
    """A number of queries; None: more than half are never flagged."""
    return None if value >= NEVER / 2 else value


def cost(calibration: Calibration, honest: Sequence[calibrating.Stream], pairs: int) -> dict[str, float]:
    """CPU of one query, by one and in requests of 64, and bytes of a caller. Callers take turns, as they do."""
    some = honest[:50]
    calls = [
        call
        for turn in zip(*(requests(s.name, s.table.features[:200], probabilities(s)[:200]) for s in some), strict=True)
        for call in turn
    ]
    singles, batches, predas = [], [], []
    for _ in range(pairs):
        detectors = Detectors(Detect(mode="enforce"), calibration)
        start = time.process_time()
        for call in calls:
            detectors.see(*call)
        singles.append((time.process_time() - start) / len(calls))
        detectors = Detectors(Detect(mode="enforce"), calibration)
        wholes = []
        for stream in some:
            sample = calls[0][0]
            for at in range(0, 192, 64):
                answers = probabilities(stream)[at : at + 64]
                wholes.append((sample, Table(stream.table.features[at : at + 64]), Answers(None, answers)))
        start = time.process_time()
        for call in wholes:
            detectors.see(*call)
        batches.append((time.process_time() - start) / (64 * len(wholes)))
        start = time.process_time()
        Prada(0.0).first(some[0].table.features, probabilities(some[0]).argmax(axis=1))
        predas.append((time.process_time() - start) / len(some[0].table.features))
    tracemalloc.start()
    detectors = Detectors(Detect(mode="enforce"), calibration)
    before = tracemalloc.get_traced_memory()[0]
    for call in calls:
        detectors.see(*call)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return {
        "cpu_us": statistics.median(singles) * 1e6,
        "cpu_us_batch": statistics.median(batches) * 1e6,
        "prada_us": statistics.median(predas) * 1e6,
        "bytes": used / len(some),
    }


def run(world: World, rows: np.ndarray, entry: dict[str, Any], only: Sequence[str], args: argparse.Namespace) -> None:
    """The experiment on one world, or parts of it; ``entry`` becomes what was found."""
    name = entry["world"]
    calibration = calibrating.calibrate(Table(rows), streams(world, SEEDS["calibration"], 300, 1000))
    honest = streams(world, SEEDS["honest"], args.callers, args.queries)
    if "seen" in only:
        entry |= seen(world, name, calibration, honest, args)
    if "spread" in only:
        all_at_once = at_once(calibration, honest)
        entry["at_once"] = sum(all_at_once.values()) / len(honest)
        entry["at_once_by"] = dict(all_at_once)
        print(f"{name}: {all_at_once} flagged of {len(honest)} who ask at the same time", flush=True)
        entry["spread"] = {}
        for kind in attackers.ATTACKS:
            rng = np.random.default_rng([SEEDS["attack"], 1 << 20])
            asked = attackers.record(world, kind, rng, args.queries, 1.0)
            entry["spread"][kind] = found = spread(calibration, honest, *asked)
            print(f"  {kind:16} one query a key: {found}", flush=True)
    if "cost" in only:
        entry["cost"] = cost(calibration, honest, args.pairs)
        print("  " + ", ".join(f"{key} {value:.1f}" for key, value in entry["cost"].items()), flush=True)


def seen(
    world: World, name: str, calibration: Calibration, honest: Sequence[calibrating.Stream], args: argparse.Namespace
) -> dict[str, Any]:
    """What becomes of callers each of whom is alone."""
    flags = [(s.name.partition("-")[0], first(calibration, s.table.features, probabilities(s))) for s in honest]
    flagged = [(kind, why) for kind, (found, why) in flags if found < NEVER]
    tests = [
        (s.name.partition("-")[0], s.table.features / world.range, probabilities(s).argmax(axis=1))
        for s in honest[:PRADA_HONEST]
    ]
    prada = {str(d): sum(Prada(d).first(x, y) < NEVER for _, x, y in tests) / len(tests) for d in (0.95, 0.9)}
    print(
        f"{name}: {len(flagged)} of {len(honest)} honest callers flagged ({dict(Counter(flagged))}), "
        f"expected {calibration.expected:.3f}; PRADA {prada}",
        flush=True,
    )
    entry: dict[str, Any] = {
        "callers": args.callers,
        "queries": args.queries,
        "flagged": len(flagged) / len(honest),
        "flagged_by": {f"{kind}: {why}": n for (kind, why), n in Counter(flagged).items()},
        "expected": calibration.expected,
        "factors": {signal.name: signal.factor for signal in calibration.signals},
        "prada_flagged": prada,
        "attacks": [],
    }
    for kind in attackers.ATTACKS:
        for share in (1.0, DILUTED[kind]) if kind in DILUTED else (1.0,):
            count = min(args.attackers, 8) if kind == "hop-skip-jump" else args.attackers
            found = attack(world, kind, calibration, count, args.queries, share)
            entry["attacks"].append(found)
            limit = CLAIMS[name].get(kind) if share == 1.0 else None  # type: ignore[attr-defined]
            what = found["either"] if name == "people" else found["median"]
            missed = " (missed)" if limit is not None and (what is None or what > limit) else ""
            print(
                f"  {kind:16} {share:.1f}  median {found['median']}, p90 {found['p90']}, "
                f"schema {found['schema']}{missed} {found['signals']}; PRADA {found['prada']:.2f} "
                f"at {found['prada_median']}",
                flush=True,
            )
    return entry


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", choices=tuple(gateway_worlds.WORLDS), nargs="+", default=list(gateway_worlds.WORLDS))
    parts = ("seen", "spread", "cost")
    parser.add_argument("--only", choices=parts, nargs="+", default=list(parts))
    parser.add_argument("--callers", type=int, default=300)
    parser.add_argument("--attackers", type=int, default=20)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=5)
    parsed = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    for name in parsed.world:
        kept = json.loads(RESULTS.read_text())["worlds"] if RESULTS.exists() else []
        entry = next((old for old in kept if old["world"] == name), {"world": name})
        run(*gateway_worlds.WORLDS[name](), entry, parsed.only, parsed)
        about = {"cores": os.cpu_count(), "python": platform.python_version(), "seeds": SEEDS, "claims": CLAIMS}
        worlds = sorted([*(old for old in kept if old["world"] != name), entry], key=lambda e: e["world"])
        RESULTS.write_text(json.dumps(about | {"worlds": worlds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
