"""Draws what a verdict rests on: the distance of clean windows shrinks with their size, and so does the noise floor.

``python verdict_picture.py FILE.svg``, beside what ``make_data.py`` and ``assay baseline train.parquet`` wrote.
"""

from __future__ import annotations

import json
import sys

import matplotlib as mpl
import numpy as np
import polars as pl
from make_data import customers
from matplotlib import pyplot

from assay.collect.profile.build import profile
from assay.collect.profile.partial import decode
from assay.collect.profile.sources.opening import open_source
from assay.watch.constraints import baseline as baselines
from assay.watch.drift import floors
from assay.watch.drift.verdict import compare
from assay.watch.interface import Outcome

SIZES = [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800]
WINDOWS = 6
GREY, BLUE, ORANGE = "#777777", "#0072B2", "#D55E00"


def seen(known: baselines.Baseline, frame: pl.DataFrame) -> tuple[float, float, bool]:
    """Kolmogorov-Smirnov distance of ``age`` in a window, its noise floor, and the verdict."""
    state = profile(open_source(frame), known.profile.spec).state
    noise = floors.decode(json.dumps(known.floors).encode())
    drift = next(one for one in compare(known.profile, decode(state), floors=noise) if one.column == "age")
    test = next(one for one in drift.tests if one.name == "values")
    distance = next(one for one in test.distances if one.name == "ks")
    return distance.value, distance.floor, test.outcome is Outcome.VIOLATED


def main(path: str) -> None:
    """Draw it."""
    random, known = np.random.default_rng(1), baselines.load("baseline.json")
    pyplot.rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "assay", "font.size": 9, "axes.spines.top": False})
    figure, axes = pyplot.subplots(figsize=(7.6, 3.8), layout="constrained")
    floor = {}
    for partner, marker, name in ((0.0, "o", "clean window"), (0.1, "^", "every tenth row is from the partner")):
        found = []
        for size in SIZES:
            for _ in range(WINDOWS):
                value, floor[size], violated = seen(known, customers(random, size, partner=partner))
                found.append((size * np.exp(random.normal(0, 0.05)), value, violated))
        for wanted, colour, word in ((False, GREY, "passes"), (True, ORANGE, "is drift")):
            chosen = [(x, y) for x, y, violated in found if violated is wanted]
            if chosen:
                axes.scatter(*zip(*chosen, strict=True), s=18, c=colour, marker=marker, label=f"{name}: {word}")
    axes.plot(SIZES, [floor[size] for size in SIZES], color=BLUE, label="noise floor (1 % of clean windows are above)")
    axes.axhline(0.02, color="black", linestyle="--", linewidth=1.2, label="practical effect: 0.02")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(SIZES, [f"{size:,}" for size in SIZES])
    axes.minorticks_off()
    axes.set_yticks([0.01, 0.02, 0.05, 0.1, 0.2], ["0.01", "0.02", "0.05", "0.1", "0.2"])
    axes.spines["right"].set_visible(False)
    axes.set_xlabel("rows of the window")
    axes.set_ylabel("distance of 'age' (KS)")
    axes.legend(loc="upper right", frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None, dpi=110)
    mpl.pyplot.close(figure)


if __name__ == "__main__":
    main(sys.argv[1])
