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
    from assay.guard.gateway.simulate.interface import Labelled, Predictor, Progress, Report

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


def simulate(model: Any, asked: Asked, name: str = "the model", *, progress: Progress | None = None) -> Report:
    """Attack ``model`` (it has ``predict_proba``), and say what each setting costs whom. Raises `AssayError`."""
    try:
        import numpy as np

        from assay.guard.gateway.simulate.interface import Data
        from assay.guard.gateway.simulate.predictors import Fitted
        from assay.guard.gateway.simulate.run import simulate as run
        from assay.guard.gateway.simulate.settings_grid import settings_of
    except ImportError:
        raise MissingExtraError("a simulation", "simulate") from None
    if asked.queries < 25:
        raise UsageError("attacks of fewer than 25 queries say nothing", hint="--queries 2500")
    if 0 < asked.callers < 20:
        raise UsageError("detectors cannot be calibrated on fewer than 20 honest callers", hint="--callers 200, or 0")
    settings = _settings(asked.config)
    frame = _frame(asked.data)
    label = _label(frame.columns, model, asked.label)
    predictor = Fitted(model, [column for column in frame.columns if column != label], name)
    notes = [f"Labels are the column {label!r}."] if asked.label is None else []
    members = _labelled(frame, label, predictor, notes)
    if asked.holdout is not None:
        others = _labelled(_frame(asked.holdout), label, predictor, notes)
        if shared := _shared(members, others):
            notes.append(f"{shared:,} rows of the holdout are also in the data: they count on both sides.")
        data = Data(members, others, True)
    else:
        order = np.random.default_rng(asked.seed).permutation(len(members))
        half = len(order) // 2
        data = Data(members.part(order[:half]), members.part(order[half:]), False)
    return run(
        predictor,
        data,
        settings_of(settings),
        model=name,
        queries=asked.queries,
        seed=asked.seed,
        detect=_detect(settings) if asked.callers else None,
        callers=asked.callers,
        budget=_budget(settings),
        notes=notes,
        **({"progress": progress} if progress is not None else {}),
    )


def _settings(path: str | None) -> Settings | None:
    if path is None:
        return None
    from assay.guard.gateway.settings import load

    return load(path)


def _detect(settings: Settings | None) -> Any:
    from assay.guard.gateway.settings.keeping import Detect

    return settings.detect if settings is not None else Detect()


def _budget(settings: Settings | None) -> dict[str, int]:
    """Rows a day by plan: the daily quota, or the part of a longer one that a day has."""
    found = {}
    for name, plan in (settings.plans if settings is not None else {}).items():
        days = {"day": 1.0, "week": 7.0, "month": 30.0}
        limits = [limit / days[period] for period, limit in plan.rows.items() if period in days]
        limits += [limit * 24.0 for period, limit in plan.rows.items() if period == "hour"]
        if limits:
            found[name] = max(1, int(min(limits)))
    return found


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


def _labelled(frame: polars.DataFrame, label: str, predictor: Predictor, notes: list[str]) -> Labelled:
    """The rows that can be used: numbers in all columns that the model knows, and a label."""
    import numpy as np
    import polars

    from assay.guard.gateway.simulate.interface import Labelled
    from assay.guard.gateway.simulate.predictors import word

    if missing := [name for name in (*predictor.names, label) if name not in frame.columns]:
        raise UsageError(f"the data have no column {missing[0][:100]!r}")
    for name in predictor.names:
        if not (frame.schema[name].is_numeric() or frame.schema[name] == polars.Boolean):
            raise UsageError(
                f"the column {name[:100]!r} is no number, and attacks move numbers",
                hint="simulate the last step of the pipeline on the encoded columns",
            )
    rows = frame.select(polars.col(name).cast(polars.Float64) for name in predictor.names).to_numpy()
    said = [word(value) for value in frame[label].to_list()]
    places = {name: i for i, name in enumerate(predictor.classes)}
    labels = np.array([places.get(one, -1) for one in said])
    if (labels < 0).all():
        raise UsageError(
            f"no label of the column {label!r} is a class of the model: {said[0][:60]!r} is not among "
            f"{', '.join(predictor.classes)[:200]}"
        )
    usable = np.isfinite(rows).all(axis=1) & (labels >= 0)
    if left := int((~usable).sum()):
        notes.append(f"{left:,} rows were left out: a number or a known label was missing.")
    return Labelled(np.ascontiguousarray(rows[usable], dtype=np.float64), labels[usable])


def _shared(members: Labelled, others: Labelled) -> int:
    """How many rows of ``others`` are members as well."""
    known = {row.tobytes() for row in members.rows}
    return sum(row.tobytes() in known for row in others.rows)
