"""Drift of the joint distribution: a classifier tries to tell reference rows from those of the window, and the columns
without which it cannot are named. Sees what no single column shows, such as two columns that were correlated before.

Needs sampled rows of the reference, which the caller decides to keep or not. Its features are the rows' values;
a column that counts up (an id, a time) tells any two samples apart and has to be left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay.errors import MissingExtraError, UsageError
from assay.watch.interface import Check, Outcome

if TYPE_CHECKING:
    import polars as pl

    from assay.collect.profile.interface import Floats
    from assay.watch.drift.separation import Separation

_CATEGORIES = 250
"""Categories that are told apart; HistGradientBoosting takes 255 values of a column."""
_FEWEST = 30
"""Values that a column must have: a fold without any could not be fitted."""


@dataclass(frozen=True, slots=True)
class JointSettings:
    """How the joint distribution is looked at."""

    effect: float = 0.55
    """Area under the curve that matters in practice; a half is no difference."""
    significance: float = 0.001
    """Highest p-value of a violation."""
    rows: int = 10_000
    """At most so many rows of either sample are used, drawn at random."""
    least: int = 200
    """Fewer rows than this of either sample decide nothing."""
    folds: int = 3
    """Parts that are held out in turn."""
    permutations: int = 5
    """Times that the labels are shuffled and everything is fitted again, for the noise floor."""
    seed: int = 0
    """Of drawing, folds and permutations."""
    ignore: frozenset[str] = frozenset()
    """Columns that are left out."""


@dataclass(frozen=True, slots=True)
class Joint:
    """What was found."""

    outcome: Outcome
    separation: Separation | None
    """None where there were too few rows."""
    columns: tuple[tuple[str, float], ...]
    """Columns that tell the samples apart, the most telling first, with the area that is lost without each."""
    rows: tuple[int, int]
    """Rows of reference and window that were used."""
    settings: JointSettings

    def check(self) -> Check:
        """As a check of the whole window."""
        found = self.separation
        if found is None:
            message = f"{min(self.rows):,} rows are too few to look at the joint distribution: {self.settings.least}"
            return Check("drift:joint", Outcome.UNDECIDED, message=message)
        names = ", ".join(f"{name} ({drop:.3f})" for name, drop in self.columns) or "no single column"
        message = (
            f"a classifier tells the window from the reference with AUC {found.auc:.3f} ({found.lower:.3f} to"
            f" {found.upper:.3f}); noise floor {found.floor:.3f}, practical effect {self.settings.effect:g}, p-value"
            f" {found.p:.2g} against {self.settings.significance:g}; told apart by {names}"
        )
        measures = {"distance": found.auc, "floor": found.floor, "effect": self.settings.effect, "p": found.p}
        measures |= {"lower": found.lower, "upper": found.upper}
        threshold = max(found.floor, self.settings.effect)
        return Check(
            "drift:joint", self.outcome, expected=threshold, observed=found.auc, message=message, measures=measures
        )


def joint_drift(reference: pl.DataFrame, current: pl.DataFrame, settings: JointSettings | None = None) -> Joint:
    """Look for drift of all columns together that both frames have.

    Raises `UsageError` if they share no column that can be looked at, `MissingExtraError` without scikit-learn.
    """
    settings = settings or JointSettings()
    names = [name for name in reference.columns if name in current.columns and name not in settings.ignore]
    reference, current = _sample(reference, settings, 0), _sample(current, settings, 1)
    rows = len(reference), len(current)
    if min(rows) < settings.least:
        return Joint(Outcome.UNDECIDED, None, (), rows, settings)
    used, x, categorical = _features(reference, current, names)
    if not used:
        raise UsageError("the window and the reference have no column of numbers or strings in common")
    return _joint(x, rows, used, categorical, settings)


def _joint(
    x: Floats, rows: tuple[int, int], names: list[str], categorical: list[bool], settings: JointSettings
) -> Joint:
    import numpy as np

    from assay.watch.drift.separation import separate

    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError:
        raise MissingExtraError("drift of the joint distribution", "watch") from None

    def make() -> Any:
        return HistGradientBoostingClassifier(
            max_iter=60,
            max_leaf_nodes=15,
            min_samples_leaf=20,
            early_stopping=False,
            categorical_features=categorical,
            random_state=settings.seed,
        )

    window = np.repeat(np.array([0, 1], dtype=np.int64), rows)
    found = separate(
        x, window, make, folds=settings.folds, permutations=settings.permutations, seed=settings.seed, drops=True
    )
    apart = found.auc > max(found.floor, settings.effect) and found.p <= settings.significance
    telling = sorted(zip(names, found.drops, strict=True), key=lambda pair: -pair[1])
    least = max(found.floor - 0.5, 0.1 * (found.auc - 0.5))
    named = tuple((name, drop) for name, drop in telling if drop > least) if apart else ()
    return Joint(Outcome.VIOLATED if apart else Outcome.HOLDS, found, named, rows, settings)


def _sample(frame: pl.DataFrame, settings: JointSettings, salt: int) -> pl.DataFrame:
    if len(frame) <= settings.rows:
        return frame
    return frame.sample(settings.rows, seed=settings.seed * 2 + salt)


def _features(reference: pl.DataFrame, current: pl.DataFrame, names: list[str]) -> tuple[list[str], Floats, list[bool]]:
    """Columns that can be looked at, as numbers; categories are numbered by their frequency, rare ones are one."""
    import numpy as np
    import polars as pl

    used: list[str] = []
    arrays: list[Floats] = []
    categorical: list[bool] = []
    for name in names:
        pair = [frame[name] for frame in (reference, current)]
        if all(
            series.dtype.is_numeric() or series.dtype.is_temporal() or series.dtype == pl.Boolean for series in pair
        ):
            array = np.concatenate([_numbers(series) for series in pair])
        elif any(series.dtype in (pl.String, pl.Categorical, pl.Enum) for series in pair):
            array = _codes(pl.concat([series.cast(pl.String, strict=False) for series in pair]))
        else:
            continue
        if np.count_nonzero(np.isfinite(array)) < _FEWEST:
            continue
        used.append(name)
        arrays.append(array)
        categorical.append(any(series.dtype in (pl.String, pl.Categorical, pl.Enum) for series in pair))
    return used, np.column_stack(arrays) if arrays else np.empty((0, 0)), categorical


def _numbers(series: pl.Series) -> Floats:
    """As doubles, missing values and infinities as NaN, which the trees send their own way."""
    import numpy as np
    import polars as pl

    physical = series.to_physical() if series.dtype.is_temporal() else series
    array = physical.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return np.where(np.isfinite(array), array, np.nan)


def _codes(series: pl.Series) -> Floats:
    """The place of each category by its frequency, then its text; those beyond `_CATEGORIES` are one, missing NaN."""
    import polars as pl

    name = series.name
    counts = series.drop_nulls().value_counts(name="assay count")
    ranked = counts.sort(["assay count", name], descending=[True, False]).head(_CATEGORIES)[name]
    codes = series.replace_strict(
        ranked, pl.Series(range(len(ranked)), dtype=pl.Float64), default=float(_CATEGORIES), return_dtype=pl.Float64
    )
    return codes.set(series.is_null(), float("nan")).to_numpy()
