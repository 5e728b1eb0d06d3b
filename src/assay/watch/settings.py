"""The monitors file as typed values: what is watched and when, which alarms look at its numbers, what they set off.

One file, edited and reviewed like code. Alarms and actions have readers of their own (`watch.alarms`, `watch.actions`),
so here they are what the file says.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from typing import Any, Literal

import msgspec

from assay import strict_yaml
from assay.errors import DocumentError, UsageError
from assay.files import read_file
from assay.policy import durations
from assay.watch.interface import Topic
from assay.watch.schedule.expressions import parse as expression

VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """Base of the file's parts: keys in kebab-case, and a key that is not known is an error."""


class Data(_Section, frozen=True, kw_only=True):
    """Where rows come from."""

    place: str = msgspec.field(name="from")
    """A file, a folder, or a database (``sqlite:///…``, ``postgresql://…``); relative to the monitors file."""
    format: Literal["parquet", "csv", "jsonl", "arrow", "captured", "sql"] | None = None
    """None: by the name's ending."""
    query: str | None = None
    """For a database. ``:start`` and ``:end`` stand for the window."""
    columns: tuple[str, ...] = ()
    """Names of the columns, where the data has no header: captured CSV."""
    outputs: tuple[str, ...] = ()
    """Names of the columns of captured answers."""
    time: str | None = None
    """Column that says when a row happened: only rows of the window count. None: all rows do, but for folders by
    year, month, day and hour, of which the window's are read.
    """


class Quality(_Section, frozen=True, kw_only=True):
    """How predictions are held against the truth."""

    problem: Literal["regression", "binary", "multiclass"]
    label: str = "label"
    """Column with the truth."""
    prediction: str = "prediction"
    """Column with the model's answer."""
    probability: str | None = None
    """Column with its probability, of the positive class or (multiclass) a list."""
    positive: str = "1"
    """The positive class's name."""
    truth: Data | None = None
    """Where labels that come later are; None where the data has them."""
    id: str = "id"
    """Column by which they are joined."""
    segments: tuple[str, ...] = ()
    """Columns whose values are looked at one by one."""
    thresholds: dict[str, float] = {}
    """Metric to the worst value that is still right; metrics not named are held against the baseline's."""
    reference: Data | None = None
    """Predictions with labels from when the model was right: thresholds that are not named here come from them."""
    attributions: bool = False
    """Whether the data have a column ``attribution:NAME`` for each feature: for the topic explainability."""


class Bias(_Section, frozen=True, kw_only=True):
    """Whether groups are treated alike."""

    facet: str
    """Column that says which group a row belongs to."""
    disadvantaged: tuple[str, ...]
    """The group's values that may be treated worse."""
    favourable: tuple[str, ...] = ("1",)
    """Values of label and prediction that people want."""
    allowed: dict[str, tuple[float, float]] = {}
    """Metric to the range that is allowed, instead of the reference's value."""


class Monitor(_Section, frozen=True, kw_only=True):
    """One thing that is looked at again and again."""

    name: str
    data: Data
    baseline: str
    """The baseline file that `assay baseline` wrote, relative to the monitors file."""
    baseline_keys: tuple[str, ...] = ()
    """Public key files, relative to the monitors file: one of these must have signed the baseline."""
    target: str | None = None
    """What its evidence is about: the model in service. None: no evidence is made."""
    constraints: str | None = None
    """A constraints file instead of the baseline's own."""
    topics: tuple[Topic, ...] = (Topic.DATA_QUALITY, Topic.DRIFT)
    schedule: str | None = None
    """When: cron's five fields, ``cron(0 * ? * * *)``, ``rate(1 hour)``. None: only when somebody asks."""
    window: str | None = None
    """How much time a run looks at, up to its due time; None: since the run before."""
    delay: str | None = None
    """How long after the window's end its data is complete."""
    missed: Literal["all", "last"] = "last"
    """Which runs that nobody ran are caught up."""
    least: int = 200
    """Rows below which a window says nothing."""
    quality: Quality | None = None
    bias: Bias | None = None
    drift: dict[str, Any] = {}
    """Settings of the drift verdict: see `watch.drift`."""
    reference: Data | None = None
    """The very data that the baseline was made from: what poisoning is looked for beside."""
    source: str | None = None
    """Column that says who contributed a row: for the question whether it is poisoning."""
    label: str | None = None
    """Column with labels that a retraining would learn from: for the same question."""
    labels: dict[str, str] = {}
    """Labels that the evidence carries."""

    def span(self) -> timedelta | None:
        """`window` as a time."""
        return durations.parse(self.window, "window") if self.window is not None else None

    def waiting(self) -> timedelta:
        """`delay` as a time."""
        return durations.parse(self.delay, "delay") if self.delay is not None else timedelta(0)


class Monitors(_Section, frozen=True, kw_only=True):
    """The whole file."""

    assay_monitors: Literal[1]
    """Version of this format."""
    monitors: tuple[Monitor, ...]
    store: str = "monitoring.db"
    """Where metrics, alarms and runs are kept: a SQLite file relative to this one, or ``postgresql://…``."""
    alarms: tuple[dict[str, Any], ...] = ()
    """See `watch.alarms.model`."""
    actions: tuple[dict[str, Any], ...] = ()
    """See `watch.actions.settings`."""
    exports: tuple[dict[str, Any], ...] = ()
    """Where else metrics go: see `watch.metrics.export`."""
    directory: str = ""
    """Where the file lies; set while reading."""

    def path(self, value: str) -> str:
        """A path of this file as an absolute one; a URL stays as it is."""
        if "://" in value and not value.startswith("sqlite:///"):
            return value
        return os.path.normpath(os.path.join(self.directory, os.path.expanduser(value.removeprefix("sqlite:///"))))

    def monitor(self, name: str) -> Monitor:
        """The one with this name. Raises `UsageError`."""
        for one in self.monitors:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self.monitors)
        raise UsageError(f"there is no monitor {name!r}", hint=f"there are: {known}")


def load(path: str) -> Monitors:
    """Read a monitors file. Raises `UsageError` where it cannot be read, `DocumentError` naming what is wrong."""
    data = read_file(path, strict_yaml.MAX_BYTES)
    raw = strict_yaml.loads(data, path)
    if not isinstance(raw, dict):
        raise DocumentError(f"{path} is no monitors file", hint="it begins with 'assay-monitors: 1'")
    if raw.get("assay-monitors") != VERSION:
        raise DocumentError(f"{path} does not begin with 'assay-monitors: {VERSION}'")
    if "directory" in raw:
        raise DocumentError(f"{path}: 'directory' is not a key of this file")
    try:
        read = msgspec.convert(raw, Monitors)
    except msgspec.ValidationError as error:
        raise DocumentError(f"{path}: {error}") from None
    if not read.monitors:
        raise DocumentError(f"{path}: monitors: is empty")
    names: set[str] = set()
    for i, monitor in enumerate(read.monitors):
        if wrong := _problem(monitor, names):
            raise DocumentError(f"{path}: monitors[{i}] ({monitor.name[:100]!r}): {wrong}")
        names.add(monitor.name)
    return msgspec.structs.replace(read, directory=os.path.dirname(os.path.abspath(path)))


def _problem(monitor: Monitor, before: set[str]) -> str | None:
    """What is wrong with a monitor beside the types of its fields."""
    if not _NAME.fullmatch(monitor.name):
        return "name: letters, digits, '.', '_' and '-', at most 100"
    if monitor.name in before:
        return "name: another monitor has it"
    if not monitor.topics:
        return "topics: is empty"
    if monitor.least < 1:
        return "least: at least 1"
    if Topic.ENDPOINT in monitor.topics:
        return "topics: an endpoint is what a gateway looks at: assay gateway attest"
    if Topic.MODEL_QUALITY in monitor.topics and monitor.quality is None:
        return "topics: model-quality needs the section 'quality'"
    if Topic.BIAS in monitor.topics and (monitor.bias is None or monitor.quality is None):
        return "topics: bias needs the sections 'bias' and 'quality'"
    if Topic.EXPLAINABILITY in monitor.topics and not (monitor.quality and monitor.quality.attributions):
        return "topics: explainability needs 'attributions: true' in the section 'quality'"
    if Topic.POISONING in monitor.topics and monitor.reference is None:
        return "topics: poisoning needs 'reference', the data that the baseline was made from"
    try:
        if monitor.schedule is not None:
            expression(monitor.schedule)
        monitor.span()
        monitor.waiting()
    except (DocumentError, UsageError) as error:
        return error.message
    quality = monitor.quality
    for place, data in (
        ("data", monitor.data),
        ("reference", monitor.reference),
        ("quality.truth", quality.truth if quality is not None else None),
        ("quality.reference", quality.reference if quality is not None else None),
    ):
        if data is not None and (data.query is not None) != (data.format == "sql" or "://" in data.place):
            return f"{place}: a database needs 'query', and nothing else has one"
    return None
