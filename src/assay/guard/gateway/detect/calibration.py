"""How honest callers look, as a document: the space, p-values, slack and thresholds. Frozen; a new one is a new file.

It comes from a file and is checked as if a stranger had written it. Making one (`calibrating`) is another file.
"""

from __future__ import annotations

import hashlib
import math
from itertools import pairwise
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from assay.errors import DocumentError
from assay.files import read_file, write_atomic
from assay.guard.gateway.detect import features
from assay.guard.gateway.detect.cusum import BETS, SIGNALS, Signal
from assay.guard.gateway.detect.features import Space, TextColumn

LIMIT = 32 << 20
"""Largest document, in bytes."""
COLUMNS = 16_384
"""Most columns."""
RANDOM = 64
"""Random features of pools."""
KNOTS = 512
"""Most knots of a table of p-values."""

Numbers = Annotated[tuple[float, ...], Meta(max_length=KNOTS + 1)]
Short = Annotated[str, Meta(max_length=200)]
Share = Annotated[float, Meta(ge=0, le=1)]
Rate = Annotated[float, Meta(gt=0, le=1)]
Positive = Annotated[float, Meta(ge=0, le=1e15)]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """A part of the document."""


class Texts(_Part, frozen=True, kw_only=True):
    """A column of text, its values by digest."""

    name: Short
    surprise: Annotated[dict[Short, float], Meta(max_length=features.VALUES)]
    unknown: float


class SpacePart(_Part, frozen=True, kw_only=True):
    """A `features.Space`; matrices are little-endian, in base64."""

    centre: bytes
    """float64."""
    inverse: bytes
    """float64."""
    missing: bytes
    """A byte a column, 0 or 1."""
    matrix: bytes
    """float32, row by row."""
    components: Annotated[int, Meta(ge=1, le=features.COMPONENTS)]
    inner: Annotated[int, Meta(ge=1, le=features.COMPONENTS)]
    rest: Annotated[int, Meta(ge=0, le=features.FULL)]
    texts: Annotated[tuple[Texts, ...], Meta(max_length=200)] = ()
    names: Annotated[tuple[Annotated[str, Meta(max_length=500)], ...], Meta(max_length=COLUMNS)] = ()
    """Of the table's columns, where they have some."""


class SignalPart(_Part, frozen=True, kw_only=True):
    """A `cusum.Signal`."""

    name: Short
    knots: Numbers
    logs: Numbers
    slack: tuple[float, float, float]
    threshold: tuple[float, float, float]
    factor: Annotated[float, Meta(ge=1, le=100)] = 1.25
    """How far above the worst honest caller that is."""


class Pooled(_Part, frozen=True, kw_only=True):
    """What windows of many callers look like: see `pooled`."""

    tail: Share
    """Largest share of p-values below 0.001 in a window of several honest callers."""
    mean: Annotated[tuple[float, ...], Meta(max_length=RANDOM)]
    """Mean of the random features of honest queries."""
    distance: Positive
    """Largest distance of a window's mean from it, for windows of two callers."""
    distance_some: Positive
    """The same for windows of ten; of so many times more, so many times less."""
    seed: int
    """Of the random features."""
    width: Positive
    """Of the kernel, in the coordinates' units."""


class Crowded(_Part, frozen=True, kw_only=True):
    """How close honest callers come to each other: see `crowd`."""

    radius: Annotated[float, Meta(gt=0, le=1e15)]
    """Of what is one place, squared."""
    alike: Annotated[int, Meta(ge=2, le=1000)]
    """Callers (of different owners) there who are a crowd."""
    divided: Annotated[int, Meta(ge=2, le=1000)]
    """The same for those who were told the rarer of two answers."""


class Budgets(_Part, frozen=True, kw_only=True):
    """What honest callers use at most; 0: not known."""

    rows: Positive = 0.0
    """A day."""
    bits: Positive = 0.0
    """A day, as `budgets` counts them."""
    tokens: Positive = 0.0
    """A day."""
    rejected: Share = 0.05
    """Share of requests that the schema refuses, of an honest caller."""


class Calibration(_Part, frozen=True, kw_only=True):
    """The whole document."""

    assay_calibration: Annotated[int, Meta(ge=1, le=1)] = 1
    """Version of this format."""
    made: Short = ""
    """When, RFC 3339."""
    source: Short = ""
    """What honest callers were: ``observed``, ``simulated``."""
    digest: Short = ""
    """Hex SHA-256 of the rows and streams that it was made from."""
    streams: Annotated[int, Meta(ge=0)] = 0
    """How many callers."""
    queries: Annotated[float, Meta(ge=0)] = 0
    """Of each, on average."""
    excluded: Annotated[tuple[Short, ...], Meta(max_length=1000)] = ()
    """Callers who were left out because they were unlike the others: a person should look at them."""
    expected: Share = 1.0
    """Share of honest callers that is expected to be flagged in as many queries, by cross-validation."""
    usual: Annotated[float, Meta(gt=0, le=1e15)]
    """Squared distance of an honest query to its nearest earlier one: the median. Nearer ones are less news."""
    space: SpacePart
    signals: Annotated[tuple[SignalPart, ...], Meta(max_length=len(SIGNALS))]
    pooled: Pooled | None = None
    crowded: Crowded | None = None
    """None: honest callers were too few to tell, or ask about the same points themselves."""
    strays: tuple[Rate, Rate] | None = None
    """Shares of honest queries between the two of `strays.CUTS`, and beyond both; None: not known."""
    budgets: Budgets = Budgets()

    @property
    def version(self) -> str:
        """Digest of the document, 16 hex digits: goes into findings."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]


def write(calibration: Calibration, path: str) -> None:
    """Write the document as JSON."""
    write_atomic(path, msgspec.json.format(msgspec.json.encode(calibration), indent=1) + b"\n")


def load(path: str) -> Calibration:
    """Read and check a document. Raises `UsageError` or `DocumentError`."""
    return parse(read_file(path, LIMIT, hint="assay gateway calibrate writes one"), path)


def parse(data: bytes, name: str) -> Calibration:
    """Check a document. Raises `DocumentError` naming what is wrong."""
    try:
        found = msgspec.json.decode(data, type=Calibration)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise DocumentError(f"{name} is no calibration: {error}", hint="assay gateway calibrate writes one") from None
    if problem := _problem(found):
        raise DocumentError(f"{name} is no usable calibration: {problem}", hint="make it anew: assay gateway calibrate")
    return found


def space_of(part: SpacePart) -> Space:
    """The space of a checked document."""
    centre = np.frombuffer(part.centre, "<f8").astype(np.float64)
    matrix = np.frombuffer(part.matrix, "<f4").astype(np.float32).reshape(len(centre), -1)
    middles = matrix[:, part.components + part.rest :].astype(np.float64)
    return Space(
        centre,
        np.frombuffer(part.inverse, "<f8").astype(np.float64),
        np.frombuffer(part.missing, np.uint8) != 0,
        np.ascontiguousarray(matrix),
        part.components,
        part.inner,
        part.rest,
        (0.5 * (middles**2).sum(axis=0)).astype(np.float32),
        tuple(TextColumn(text.name, text.surprise, text.unknown) for text in part.texts),
        part.names,
    )


def part_of(space: Space) -> SpacePart:
    """A space as part of a document."""
    return SpacePart(
        centre=space.centre.astype("<f8").tobytes(),
        inverse=space.inverse.astype("<f8").tobytes(),
        missing=space.missing.astype(np.uint8).tobytes(),
        matrix=space.matrix.astype("<f4").tobytes(),
        components=space.components,
        inner=space.inner,
        rest=space.rest,
        texts=tuple(Texts(name=text.name, surprise=dict(text.surprise), unknown=text.unknown) for text in space.texts),
        names=space.names,
    )


def signals_of(parts: tuple[SignalPart, ...]) -> list[Signal]:
    """The signals of a checked document."""
    highs = {"far", "outlying", "residual"}
    return [Signal(p.name, p.name in highs, p.knots, p.logs, p.slack, p.threshold) for p in parts]


def _problem(found: Calibration) -> str | None:
    """What is wrong beside the types of fields. Sizes first: nothing is made before they are known to fit."""
    part = found.space
    columns, rest = divmod(len(part.centre), 8)
    if rest or not 1 <= columns <= COLUMNS:
        return "space.centre has no whole number of columns, or too many"
    if len(part.inverse) != 8 * columns or len(part.missing) != columns:
        return "space.inverse and space.missing are not as long as space.centre"
    across, rest = divmod(len(part.matrix), 4 * columns)
    if rest or not 0 < across - part.components - part.rest <= features.CENTROIDS:
        return "space.matrix does not have a row for each column"
    if part.inner > part.components or part.components > columns or 2 * len(part.texts) > columns:
        return "space.inner, space.components or space.texts are larger than they can be"
    if part.names and (len(part.names) != columns - 2 * len(part.texts) or len(set(part.names)) != len(part.names)):
        return "space.names has not one name for each column"
    numbers = [np.frombuffer(part.centre, "<f8"), np.frombuffer(part.inverse, "<f8"), np.frombuffer(part.matrix, "<f4")]
    if not all(np.isfinite(each).all() and np.abs(each).max() < 1e15 for each in numbers):
        return "space has numbers that are not finite"
    if any(not math.isfinite(text.unknown) or not _finite(text.surprise.values()) for text in part.texts):
        return "space.texts has numbers that are not finite"
    names = [signal.name for signal in found.signals]
    if len(set(names)) != len(names) or not set(names) <= set(SIGNALS):
        return "signals are not known, or come twice"
    for signal in found.signals:
        knots, logs = signal.knots, signal.logs
        if not knots or len(logs) != len(knots) + 1 or not _finite([*knots, *logs, *signal.slack, *signal.threshold]):
            return f"signals: {signal.name} needs a p-value for each knot and one more"
        if any(b <= a for a, b in pairwise(knots)):
            return f"signals: the knots of {signal.name} do not rise"
        if any(b < a for a, b in pairwise(logs)) or logs[-1] > 0:
            return f"signals: the p-values of {signal.name} do not rise to at most 1"
        if len(signal.threshold) != BETS or min(signal.threshold) <= 0 or min(signal.slack) < 0:
            return f"signals: {signal.name} needs thresholds above 0 and slack that is not negative"
    if found.pooled is not None and (len(found.pooled.mean) != RANDOM or not _finite(found.pooled.mean)):
        return f"pooled.mean has not {RANDOM} finite numbers"
    return None


def _finite(values: object) -> bool:
    return all(math.isfinite(value) for value in values)  # type: ignore[attr-defined]
