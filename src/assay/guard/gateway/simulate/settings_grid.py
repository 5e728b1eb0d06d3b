"""Which settings are tried: the usual ones, and those of the user's own file. Pure."""

from __future__ import annotations

import numpy as np

from assay.guard.gateway.hardening import noise, vectors
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.serving import Hardening
from assay.guard.gateway.simulate.interface import Setting

NONE = Setting("as it is", None)
LABEL_ONLY = Setting("label only", Hardening(label_only=True))

USUAL = (
    NONE,
    Setting("2 digits", Hardening(digits=2)),
    Setting("1 digit", Hardening(digits=1)),
    Setting("5 buckets", Hardening(buckets=5)),
    Setting("top 1", Hardening(top=1)),
    Setting("noise 0.1", Hardening(noise=0.1)),
    LABEL_ONLY,
)
"""Those of the guide."""


def settings_of(settings: Settings | None) -> tuple[Setting, ...]:
    """The usual ones, then those that the file names and that are not among them."""
    if settings is None:
        return USUAL
    known = {setting.how for setting in USUAL}
    own = (Setting(name, how, own=True) for name, how in settings.hardenings.items() if how not in known)
    return (*USUAL, *own)


def apply(setting: Setting, rows: np.ndarray, answers: np.ndarray, key: bytes) -> np.ndarray:
    """What a caller sees of ``answers`` (rows by classes) to ``rows``; the same for the same row, as in service."""
    how = setting.how
    if how is None or not len(answers):
        return answers
    seeds = noise.seeds(key, "simulated", rows.tolist()) if how.noise and not how.label_only else [None] * len(rows)
    values = answers.tolist()
    return np.array([vectors.harden(one, how, seed) for one, seed in zip(values, seeds, strict=True)])
