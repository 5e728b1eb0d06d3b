"""What honest callers look like: the detectors' calibration, from training data and from callers who were observed, or
simulated on the user's own model where none have been.

The model is handed in as an object: whoever loads it decides whether its bytes may be trusted (`assay.load`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assay.api import rows as tables
from assay.api.baselines import Data as Place
from assay.errors import MissingExtraError, UsageError
from assay.files import require_folder

if TYPE_CHECKING:
    import numpy
    import polars

    from assay.guard.gateway.detect.calibrating import Stream
    from assay.guard.gateway.interface import Table

QUERIES = 1000
"""Of each simulated caller: what a share of false alarms is about."""
CALLERS = 300
"""Simulated callers."""
REFERENCE = 5000
"""Training rows that are looked at."""
NOT_FEATURES = (
    "eventId",
    "inferenceId",
    "inferenceTime",
    "caller",
    "model",
    "modelVersion",
    "prediction",
    "probabilities",
)
"""Columns of captured traffic that are no inputs."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What was learned, in short."""

    version: str
    """Digest of the calibration."""
    streams: int
    """Callers that it rests on."""
    expected: float
    """Share of honest callers that it would flag in `QUERIES` queries."""
    excluded: tuple[str, ...]
    """Observed callers who were too far from the others to learn from, with the id of a request of theirs."""


def calibrate(
    data: str,
    output: str,
    *,
    model: Any = None,
    captured: str | None = None,
    leave_out: Sequence[str] = (),
    false_alarms: float = 0.01,
    seed: int = 0,
    now: datetime | None = None,
) -> Calibrated:
    """Write a calibration to ``output``: from the training rows ``data`` (columns of numbers, ``leave_out`` not among
    them) and either the folder ``captured`` (Parquet, as the gateway captures) or callers simulated on ``model`` (it
    has ``predict_proba``; a pipeline may take columns of text, too). Raises `AssayError`.
    """
    try:
        import numpy as np
    except ImportError:
        raise MissingExtraError("a calibration", "gateway") from None
    from assay.guard.gateway.detect import calibrating, calibration
    from assay.guard.gateway.interface import Table

    require_folder(output)
    if not 0 < false_alarms < 1:
        raise UsageError(f"the share of false alarms is between 0 and 1, not {false_alarms}")
    if seed < 0:
        raise UsageError("a seed is no negative number")
    if (model is None) == (captured is None):
        raise UsageError(
            "what do honest callers look like?", hint="--captured FOLDER, or --model FILE to simulate them"
        )
    frame = tables.sampled(tables.opened(Place(data), tables.ALWAYS, None)).head(REFERENCE)
    frame = tables.without(frame, leave_out)
    if not frame.width or not frame.height:
        raise UsageError(f"{data} has nothing to learn from: {frame.height} row(s) of {frame.width} column(s)")
    if captured is not None:
        rows = _numbers(frame, frame.columns, data)
        reference = Table(rows[np.isfinite(rows).all(axis=1)], tuple(frame.columns))
        streams = _observed(captured, frame.columns)
    else:
        reference, streams = _simulated(model, frame, seed)
    made = calibrating.calibrate(
        reference,
        streams,
        observed=captured is not None,
        false_alarms=false_alarms,
        made=f"{now or datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        seed=seed,
    )
    calibration.write(made, output)
    return Calibrated(made.version, made.streams, made.expected, made.excluded)


def _simulated(model: Any, frame: polars.DataFrame, seed: int) -> tuple[Table, list[Stream]]:
    """What detectors see of the training data, its numbers, and of honest callers who ask about rows like these."""
    import numpy as np

    from assay.guard.gateway.detect.calibrating import Stream
    from assay.guard.gateway.interface import Answers, Table
    from assay.guard.gateway.simulate import honest_callers
    from assay.guard.gateway.simulate.predictors import Fitted
    from assay.guard.gateway.simulate.texts import encoding_of
    from assay.guard.gateway.simulate.world import world_of

    predictor = Fitted(model, frame.columns, "the model")
    encoding = encoding_of(frame, predictor.names)
    if encoding.groups:
        predictor.encode(encoding)
    if not encoding.numbers:
        raise UsageError("detectors look at numbers, and the data have none")
    rows = encoding.rows(frame)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        raise UsageError("no row of the data is complete: in each of them a number or a text is missing")
    world = world_of(predictor.predict, rows, predictor.names, None, predictor.texts)
    columns = tuple(predictor.names[i] for i in world.seen)
    streams = []
    for i, (kind, asked) in enumerate(honest_callers.honest(world, np.random.default_rng(seed), CALLERS, QUERIES)):
        said = predictor.predict(asked)
        seen = Table(asked[:, world.seen], columns)
        streams.append(Stream(f"{kind}-{i}", seen, Answers(said.argmax(axis=1), said)))
    return Table(rows[:, world.seen], columns), streams


def _observed(folder: str, columns: Sequence[str]) -> list[Stream]:
    import numpy as np
    import polars

    from assay.guard.gateway.detect.calibrating import Stream
    from assay.guard.gateway.interface import Answers, Table

    inside = os.path.join(folder, "parquet")  # the folder that `capture` names has one for each form
    place = inside if os.path.isdir(inside) else folder
    frame = tables.collected(tables.opened(Place(place, kind="parquet"), tables.ALWAYS, None))
    if missing := [name for name in ("caller", "inferenceTime", *columns) if name not in frame.columns]:
        raise UsageError(f"{folder} has no column {missing[0][:100]!r}", hint="capture: {format: [parquet]} writes one")
    streams = []
    for (caller,), mine in frame.sort("inferenceTime").group_by(["caller"], maintain_order=True):
        said = None
        if (
            isinstance(mine.schema.get("probabilities"), polars.List)
            and (lists := mine["probabilities"].drop_nulls()).len() == mine.height
        ):
            widths = set(lists.list.len().to_list())
            said = np.array(lists.to_list(), dtype=np.float64) if len(widths) == 1 and 0 not in widths else None
        labels = said.argmax(axis=1) if said is not None else None
        table = Table(_numbers(mine, columns, folder), tuple(columns))
        try:
            seconds = _seconds(mine)
        except polars.exceptions.PolarsError:
            raise UsageError(f"the column 'inferenceTime' of {folder} holds no times") from None
        streams.append(Stream(_named(str(caller), mine), table, Answers(labels, said), seconds))
    return streams


def _named(caller: str, frame: polars.DataFrame) -> str:
    """What was captured knows callers by a keyed digest; the access log tells who asked one of their requests."""
    ids = frame["inferenceId"].drop_nulls() if "inferenceId" in frame.columns else frame.clear()["caller"]
    return f"{caller} (request {ids[0]})" if ids.len() else caller


def _seconds(frame: polars.DataFrame) -> float:
    """From a caller's first query to the last."""
    times = frame["inferenceTime"]
    if not times.dtype.is_temporal():
        times = times.str.to_datetime(time_zone="UTC")
    first, last = times.min(), times.max()
    return float((last - first).total_seconds()) if first is not None and last is not None else 0.0  # type: ignore[operator,union-attr]


def _numbers(frame: polars.DataFrame, columns: Sequence[str], place: str) -> numpy.ndarray:
    import polars

    for name in columns:
        if not (frame.schema[name].is_numeric() or frame.schema[name] == polars.Boolean):
            raise UsageError(
                f"the column {name[:100]!r} of {place} is no number", hint="leave it out, or calibrate on encoded rows"
            )
    made: numpy.ndarray = frame.select(polars.col(name).cast(polars.Float64) for name in columns).to_numpy()
    return made
