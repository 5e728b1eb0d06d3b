"""`simulate`: what attackers learn from a model that is asked, under each setting of the gateway, from the user's data.

The model is handed in as an object: whoever loads it decides whether its bytes may be trusted (`assay.load`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay.api import rows as tables
from assay.api.baselines import Data as Place
from assay.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    import polars

    from assay.guard.gateway.settings import Settings
    from assay.guard.gateway.simulate.interface import Labelled, Progress, Report
    from assay.guard.gateway.simulate.texts import Encoding

LABELS = ("label", "target", "class", "y")
"""Columns that are taken for the label where nobody names one, in this order."""
MOST = 200_000
"""Rows of a file that are read."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is simulated."""

    data: Any
    """Rows that the model was trained on: a path, a folder, a pattern, or a table."""
    holdout: Any = None
    """Rows that it has never seen; None: half of ``data`` stands for them, and membership then means nothing."""
    label: str | None = None
    """Column of labels; None: the one that the model does not know, or one of `LABELS`."""
    config: str | None = None
    """The gateway's file: its hardenings are tried beside the usual ones, its plans' budgets are told."""
    queries: int = 2500
    seed: int = 0
    callers: int = 200
    """Honest callers that calibrate the detectors; 0: without detectors."""
    leave_out: tuple[str, ...] = ()
    """Columns that are neither label nor anything that the model is asked with."""


def simulate(model: Any, asked: Asked, name: str = "the model", *, progress: Progress | None = None) -> Report:
    """Attack ``model`` (it has ``predict_proba``), and say what each setting costs whom. Raises `AssayError`."""
    try:
        import numpy as np

        from assay.guard.gateway.simulate.interface import Data
        from assay.guard.gateway.simulate.predictors import Fitted
        from assay.guard.gateway.simulate.run import simulate as run
        from assay.guard.gateway.simulate.settings_grid import settings_of
        from assay.guard.gateway.simulate.texts import encoding_of
    except ImportError:
        raise MissingExtraError("a simulation", "simulate") from None
    if asked.queries < 25:
        raise UsageError("attacks of fewer than 25 queries say nothing", hint="--queries 2500")
    if asked.seed < 0:
        raise UsageError("a seed is no negative number")
    if 0 < asked.callers < 20:
        raise UsageError("detectors cannot be calibrated on fewer than 20 honest callers", hint="--callers 200, or 0")
    settings = _settings(asked.config)
    frame = tables.without(_frame(asked.data), asked.leave_out)
    label = _label(frame.columns, model, asked.label)
    predictor = Fitted(model, [column for column in frame.columns if column != label], name)
    encoding = encoding_of(frame, predictor.names)
    notes = [f"Labels are the column {label!r}."] if asked.label is None else []
    if encoding.groups:
        predictor.encode(encoding)
        notes.append(
            "Attackers send texts as they are, one for another; detectors look at the columns of numbers alone."
        )
    members = _labelled(frame, label, predictor.classes, encoding, notes)
    if asked.holdout is not None:
        others = _labelled(
            _frame(asked.holdout).drop(asked.leave_out, strict=False), label, predictor.classes, encoding, notes
        )
        if shared := _shared(members, others):
            notes.append(f"{shared:,} rows of the holdout are also in the data: they count on both sides.")
        data = Data(members, others, True)
    else:
        order = np.random.default_rng(asked.seed).permutation(len(members))
        half = len(order) // 2
        data = Data(members.part(order[:half]), members.part(order[half:]), False)
    _require()
    return run(
        predictor,
        data,
        settings_of(settings),
        model=name,
        queries=asked.queries,
        seed=asked.seed,
        detect=_detect(settings) if asked.callers and encoding.numbers else None,
        callers=asked.callers,
        budget=_budget(settings),
        notes=notes,
        **({"progress": progress} if progress is not None else {}),
    )


def _require() -> None:
    """Raise `MissingExtraError` before minutes are spent, not after; and keep to ourselves what the toolbox lacks."""
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch is not there, and is not needed
            import art.attacks.evasion
            import art.attacks.inference.membership_inference
            import art.estimators.classification  # noqa: F401
    except ImportError:
        raise MissingExtraError(
            "a simulation (the adversarial-robustness-toolbox is not installed)", "simulate"
        ) from None


def _settings(path: str | None) -> Settings | None:
    if path is None:
        return None
    from assay.guard.gateway.settings import load

    return load(path)


def _detect(settings: Settings | None) -> Any:
    from assay.guard.gateway.settings.keeping import Detect

    return settings.detect if settings is not None else Detect()


def _budget(settings: Settings | None) -> dict[str, dict[str, int]]:
    """Budgets in rows, by plan and period."""
    plans = settings.plans if settings is not None else {}
    return {
        name: {str(period): limit for period, limit in plan.rows.items()} for name, plan in plans.items() if plan.rows
    }


def _frame(place: Any) -> polars.DataFrame:
    source = tables.opened(Place(place), tables.ALWAYS, None)
    frame = tables.collected(source)
    if not frame.height:
        raise UsageError(f"{_name(place)} has no rows")
    return frame.head(MOST)


def _name(place: Any) -> str:
    return os.fspath(place) if isinstance(place, str | os.PathLike) else "the table"


def _label(columns: Sequence[str], model: Any, wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in columns:
            raise UsageError(f"the data have no column {wanted!r}", hint=f"they have {', '.join(columns)[:300]}")
        return wanted
    known = getattr(model, "feature_names_in_", None)
    unknown = [column for column in columns if known is not None and column not in set(known)]
    if len(unknown) == 1:
        return unknown[0]
    for name in LABELS:
        if name in columns:
            return name
    raise UsageError("which column has the labels is not clear", hint="name it: --label COLUMN")


def _labelled(
    frame: polars.DataFrame, label: str, classes: Sequence[str], encoding: Encoding, notes: list[str]
) -> Labelled:
    """The rows that can be used: numbers and known texts in all columns of the model, and a label."""
    import numpy as np

    from assay.guard.gateway.simulate.interface import Labelled
    from assay.guard.gateway.simulate.predictors import word

    if missing := [name for name in (*(name for name, _ in encoding.columns), label) if name not in frame.columns]:
        raise UsageError(f"the data have no column {missing[0][:100]!r}")
    rows = encoding.rows(frame)
    said = [word(value) for value in frame[label].to_list()]
    places = {name: i for i, name in enumerate(classes)}
    labels = np.array([places.get(one, -1) for one in said])
    if (labels < 0).all():
        raise UsageError(
            f"no label of the column {label!r} is a class of the model: {said[0][:60]!r} is not among "
            f"{', '.join(classes)[:200]}"
        )
    usable = np.isfinite(rows).all(axis=1) & (labels >= 0)
    if left := int((~usable).sum()):
        notes.append(f"{left:,} rows were left out: a number, a known text or a known label was missing.")
    return Labelled(np.ascontiguousarray(rows[usable], dtype=np.float64), labels[usable])


def _shared(members: Labelled, others: Labelled) -> int:
    """How many rows of ``others`` are members as well."""
    known = {row.tobytes() for row in members.rows}
    return sum(row.tobytes() in known for row in others.rows)
