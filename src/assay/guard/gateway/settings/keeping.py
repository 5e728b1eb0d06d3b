"""What is remembered and learned: `log`, `capture` and `detect` of the gateway file."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from assay.guard.gateway.settings.words import Bytes, Count, Seconds, Section


class Log(Section, frozen=True):
    """The access log."""

    file: str | None = None
    """None: none; ``-``: standard output."""
    format: Literal["json", "clf", "csv", "xml", "cloudtrail"] = "json"
    """The ten fields of API Gateway's logs; ``json`` and ``cloudtrail`` have more."""
    rotate: Bytes = Bytes(100 << 20)
    """A new file begins at this size."""
    keep: Count = 10
    """So many old files are kept."""
    compress: bool = True
    """Whether old files are packed (gzip)."""
    drop: tuple[str, ...] = ()
    """Fields that are left empty."""
    hash: tuple[str, ...] = ()
    """Fields of which only a keyed digest is kept."""


class Masking(Section, frozen=True):
    """What becomes of a field of captured data."""

    field: str
    """A glob over names of columns or paths (``$.instances[*].email``)."""
    do: Literal["drop", "hash", "mask"]
    """``drop`` it, keep a keyed digest (``hash``), or write ``***`` (``mask``)."""
    model: str = "*"
    """A glob over names of models."""


class Capture(Section, frozen=True):
    """Inputs and outputs that are kept, for `assay monitor`."""

    folder: str
    """Where files lie: ``FORMAT/ENDPOINT/MODEL/YYYY/MM/DD/HH``."""
    format: tuple[Literal["parquet", "jsonl"], ...] = ("parquet", "jsonl")
    """Parquet has a row for each prediction, JSON Lines an event for each request (SageMaker's form)."""
    sample: Annotated[float, Meta(ge=0, le=100)] = 100.0
    """Percentage of requests."""
    input: bool = True
    """Whether requests are kept."""
    output: bool = True
    """Whether answers are kept."""
    limit: Bytes = Bytes(64 << 10)
    """Bodies beyond it are not captured (and counted)."""
    roll: Seconds = Seconds(300)
    """After so long a file is closed and gets its name."""
    masking: tuple[Masking, ...] = ()
    """What becomes of fields."""
    endpoint: str = "assay"
    """The first folder, as SageMaker names it."""
    keep: Seconds | None = None
    """Older files are deleted."""


SIGNALS = (
    "near", "far", "outlying", "residual", "margin", "flip", "rejected", "rows", "bits", "tokens",
    "pooled:owner", "pooled:net", "pooled:near", "pooled:flip", "pooled:outlying",
)  # fmt: skip
"""What detectors can be asked to look at; ``pooled`` is all that begin so."""


class Reactions(Section, frozen=True):
    """What a score leads to: the caller's level, by detector, and how long it lasts."""

    default: Literal["log", "slow", "harden", "approve", "block"] = "harden"
    """For signals that ``by-signal`` does not name."""
    by_signal: dict[str, Literal["log", "slow", "harden", "approve", "block"]] = {}
    """For ``near``, ``far``, ``outlying``, ``residual``, ``margin``, ``flip``, ``rejected``, ``rows``, ``bits``,
    ``tokens``, ``pooled:owner``, ``pooled:net``, ``pooled:near``, ``pooled:flip``,
    ``pooled:outlying``.
    """
    lasts: Seconds | None = Seconds(86400)
    """None: until a person releases it."""
    slow: Seconds = Seconds(1)
    """How long each answer waits at the level ``slow``."""
    harden: str = "label-only"
    """Name of the hardening."""
    escalate: bool = True
    """A caller who is flagged again goes up one level."""


class Detect(Section, frozen=True):
    """What callers learn."""

    mode: Literal["off", "count", "enforce"] = "count"
    """``count`` treats nobody otherwise and says what would have been; what a person decides holds in both."""
    calibration: str | None = None
    """File that `assay gateway calibrate` writes; without it only signals that need none are used."""
    signals: tuple[str, ...] = ()
    """Only these; none: all."""
    callers: Count = 10_000
    """Most callers that are remembered; the one not seen for longest goes first."""
    false_alarms: Annotated[float, Meta(gt=0, lt=1)] = 0.01
    """Share of honest callers who may be flagged in their first thousand queries, for ``simulate``."""
    reactions: Reactions = Reactions()
    """What becomes of somebody who is flagged."""
    encoder: str | None = None
    """For texts: ``module:function`` from a list of texts to an array of embeddings."""
