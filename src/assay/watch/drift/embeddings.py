"""Drift of embeddings whose rows are at hand: maximum mean discrepancy against its own law, and a domain classifier.

Profiles of vectors are compared by `verdict`; what is here is sharper, because it sees the vectors themselves, and
needs a sample of the reference that the caller keeps. A row with a number that is not finite counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.errors import MissingExtraError, UsageError
from assay.watch.interface import Check, Outcome

if TYPE_CHECKING:
    from assay.collect.profile.interface import Floats
    from assay.watch.drift.separation import Separation

_PAIRS = 1_000
"""Pairs of rows whose median distance is the kernel's width (Garreau, Jitkrittum & Kanagawa 2017)."""


@dataclass(frozen=True, slots=True)
class EmbeddingSettings:
    """How embeddings are compared."""

    effect: float = 0.03
    """Maximum mean discrepancy that matters in practice."""
    auc: float = 0.55
    """Area under the domain classifier's curve that matters in practice."""
    significance: float = 0.001
    """Highest p-value of a violation, over both."""
    rows: int = 10_000
    """At most so many rows of either sample are used, drawn at random."""
    least: int = 100
    """Fewer rows than this of either sample decide nothing."""
    features: int = 256
    """Random frequencies, each with a sine and a cosine."""
    draws: int = 10_000
    """Draws from the discrepancy's law for alike samples."""
    folds: int = 3
    """Parts that the classifier's rows are held out in."""
    seed: int = 0
    """Of everything that is drawn."""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Maximum mean discrepancy of two samples."""

    distance: float
    """Of the random features' means, 0 to sqrt(2)."""
    floor: float
    """What 99 of 100 alike samples do not exceed."""
    p: float
    """Share of draws for alike samples that are as far apart, at least one of them."""


def embedding_drift(
    reference: Floats, current: Floats, settings: EmbeddingSettings | None = None
) -> tuple[Check, Check]:
    """The two checks ``drift:mmd`` and ``drift:domain-classifier`` of two samples of vectors; shape (rows, dimensions).

    Raises `UsageError` if the dimensions differ, `MissingExtraError` without scikit-learn.
    """
    settings = settings or EmbeddingSettings()
    if reference.ndim != 2 or current.ndim != 2 or reference.shape[1] != current.shape[1]:
        raise UsageError("the embeddings of reference and window do not have the same number of dimensions")
    random = np.random.default_rng(settings.seed)
    before, after = (_sample(rows, settings.rows, random) for rows in (reference, current))
    if min(len(before), len(after)) < settings.least:
        message = f"{min(len(before), len(after)):,} embeddings are too few to compare: {settings.least}"
        names = ("drift:mmd", "drift:domain-classifier")
        return tuple(Check(name, Outcome.UNDECIDED, message=message) for name in names)  # type: ignore[return-value]
    centre = before.mean(axis=0)
    deviation = before.std(axis=0)
    deviation[deviation == 0] = 1.0
    before, after = (before - centre) / deviation, (after - centre) / deviation
    found = discrepancy(before, after, settings, random)
    return _discrepancy_check(found, settings), _classifier_check(_classified(before, after, settings), settings)


def discrepancy(
    reference: Floats, current: Floats, settings: EmbeddingSettings, random: np.random.Generator
) -> Discrepancy:
    """Maximum mean discrepancy with a Gaussian kernel as wide as the median distance, by random Fourier features.

    For alike samples its square is a sum of chi-squares weighted by the eigenvalues of the features' covariance
    (Gretton, Fukumizu, Harchaoui & Sriperumbudur 2009), which is drawn from: no shuffling of rows.
    """
    from assay.watch.drift.separation import one_thread

    with one_thread():
        rows = np.concatenate((reference, current))
        one, other = random.integers(0, len(rows), size=(2, _PAIRS))
        width = float(np.median(np.linalg.norm(rows[one] - rows[other], axis=1))) or 1.0
        frequencies = random.standard_normal((rows.shape[1], settings.features)) / width
        angles = rows @ frequencies
        features = np.concatenate((np.cos(angles), np.sin(angles)), axis=1) / np.sqrt(settings.features)
        n, m = len(current), len(reference)
        distance = float(np.linalg.norm(features[m:].mean(axis=0) - features[:m].mean(axis=0)))
        spectrum = np.maximum(np.linalg.eigvalsh(np.cov(features, rowvar=False)), 0.0)
        spectrum = spectrum[spectrum > 1e-6 * spectrum.max()]
        law = np.sqrt((random.standard_normal((settings.draws, len(spectrum))) ** 2) @ spectrum * (1.0 / n + 1.0 / m))
        p = (1 + np.count_nonzero(law >= distance)) / (1 + settings.draws)
    return Discrepancy(distance, float(np.quantile(law, 0.99, method="higher")), float(p))


def _classified(reference: Floats, current: Floats, settings: EmbeddingSettings) -> Separation:
    """A logistic regression tells the samples apart."""
    from assay.watch.drift.separation import separate

    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise MissingExtraError("the domain classifier of embeddings", "watch") from None

    def make() -> Any:
        return LogisticRegression(C=0.1, max_iter=200)

    window = np.repeat(np.array([0, 1], dtype=np.int64), (len(reference), len(current)))
    rows = np.concatenate((reference, current))
    return separate(rows, window, make, folds=settings.folds, permutations=0, seed=settings.seed, drops=False)


def _sample(rows: Floats, most: int, random: np.random.Generator) -> Floats:
    """Finite rows, at most so many, as doubles."""
    finite = rows[np.isfinite(rows).all(axis=1)].astype(np.float64)
    return finite if len(finite) <= most else finite[random.choice(len(finite), most, replace=False)]


def _discrepancy_check(found: Discrepancy, settings: EmbeddingSettings) -> Check:
    return _check(
        "drift:mmd", "maximum mean discrepancy", found.distance, found.floor, settings.effect, found.p, settings
    )


def _classifier_check(found: Separation, settings: EmbeddingSettings) -> Check:
    what = "a classifier tells the embeddings apart: area under the curve"
    return _check("drift:domain-classifier", what, found.auc, found.floor, settings.auc, found.p, settings)


def _check(
    name: str, what: str, value: float, floor: float, effect: float, p: float, settings: EmbeddingSettings
) -> Check:
    """All three: above the floor, above the effect, and significant over the two tests."""
    violated = value > floor and value > effect and p * 2 <= settings.significance
    message = (
        f"{what} {value:.3g}; noise floor {floor:.3g}, practical effect {effect:g}, p-value {p:.2g} times two tests"
        f" against {settings.significance:g}"
    )
    measures = {"distance": value, "floor": floor, "effect": effect, "p": p, "q": min(1.0, 2 * p)}
    outcome = Outcome.VIOLATED if violated else Outcome.HOLDS
    return Check(name, outcome, expected=max(floor, effect), observed=value, message=message, measures=measures)
