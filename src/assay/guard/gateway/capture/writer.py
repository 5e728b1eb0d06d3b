"""Inputs and outputs that are kept for `assay monitor`: which file a request goes to, when files end, what is counted.

Runs beside the requests, never in their way. Where the disk takes nothing, capture stops, says so, tries again later,
and costs nobody an answer; memory is bounded whatever comes.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from assay.errors import UsageError
from assay.guard.gateway.capture import events, places
from assay.guard.gateway.capture.lines import Lines
from assay.guard.gateway.capture.masking import Mask, Unmasked
from assay.guard.gateway.capture.tables import Rows, Shape, Unfit, shape
from assay.guard.gateway.interface import Answers, Sample, Table
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.keeping import Capture

OPEN = 64
"""Most open files; the one not used for longest is closed first."""
BEGUN = 256
"""Most kinds of files (format, model, variant, columns) of one hour: a caller who names another in each request must
not make a file of each. What comes then shares one of JSON Lines, and is in no Parquet file.
"""
MEMORY = 128 << 20
"""Bytes in all open files, about; beyond it all are closed."""
AGAIN = 60.0
"""Seconds after which it is tried again where the disk took nothing."""

VARIANT = "AllTraffic"
"""SageMaker's name of the only variant: where a request names no model."""
_OTHERS = "others~"
"""The folder of what is beyond `BEGUN`; no name becomes it by `places.part`."""

Key = tuple[str, str, str, str, Shape | None]


@dataclass(slots=True)
class Figures:
    """What became of the requests that were drawn."""

    captured: int = 0
    """Kept in at least one format."""
    too_large: int = 0
    """A body was beyond the limit, or came in a way that it could not be kept."""
    unreadable: int = 0
    """A format could not be made of it, a rule of masking not be applied, or it would have begun one kind of files too
    many.
    """
    unanswered: int = 0
    """Refused, or not answered with success."""
    dropped: int = 0
    """While the disk took nothing, and what was lost by that."""


class Capturer:
    """See the module. Used by one thread."""

    def __init__(self, capture: Capture, folder: str, secret: bytes, warn: Callable[[str], None]) -> None:
        """``folder`` absolute; ``secret`` keys the digests of callers and hashed fields; ``warn`` is told, in a
        sentence, what a person should know. Raises `AssayError`.
        """
        self.figures = Figures()
        self._capture, self._folder, self._warn = capture, folder, warn
        self._mask = Mask(capture.masking, secret)
        self._kinds = _kinds(capture)
        self._endpoint = places.part(capture.endpoint)
        self._open: OrderedDict[Key, Lines | Rows] = OrderedDict()
        self._fractional: dict[tuple[str, Shape], set[str]] = {}
        self._begun: OrderedDict[str, set[Key]] = OrderedDict()
        """Kinds of files by hour, of the last two."""
        self._stopped = 0.0
        self._now = 0.0
        self._tidied = 0.0
        try:
            os.makedirs(folder, mode=0o750, exist_ok=True)
            places.recover(folder, self._endpoint)
        except OSError as error:
            raise UsageError(
                f"captured requests cannot be kept in {folder}: {error.strerror}", hint="capture.folder names it"
            ) from None

    def see(self, sample: Sample, table: Table | None, answers: Answers | None) -> None:
        """Keep a request, where it was drawn. Raises nothing for what a stranger sent, or what the disk does."""
        if not sample.capture:
            return
        figures, capture = self.figures, self._capture
        if sample.rule or not 200 <= sample.status < 300:
            figures.unanswered += 1
        elif not self._fits(sample.request, capture.input) or not self._fits(sample.response, capture.output):
            figures.too_large += 1
        elif self._stopped:
            figures.dropped += 1
        else:
            self._now = max(self._now, sample.at)
            done = [self._keep(kind, sample, table, answers) for kind in self._kinds]
            figures.captured += any(done)
            figures.unreadable += not all(done) and not self._stopped
            figures.dropped += bool(self._stopped) and not any(done)

    def _fits(self, body: bytes | None, wanted: bool) -> bool:
        return not wanted or (body is not None and len(body) <= self._capture.limit)

    def _keep(self, kind: str, sample: Sample, table: Table | None, answers: Answers | None) -> bool:
        """Whether it was kept in this format."""
        caller = self._mask.digest(sample.caller)
        capture = self._capture
        try:
            if kind == "jsonl":
                names = table.names if table is not None else ()
                line = events.line(sample, self._mask, caller, names, request=capture.input, response=capture.output)
                file = self._file(kind, sample, None)
                assert isinstance(file, Lines)
                file.add(line)
            else:
                if table is None:
                    return False
                given = answers if capture.output else None
                form = shape(table, given)
                if not table.names and self._mask.applies(sample.model):
                    assert sample.request is not None  # `_fits` has seen it
                    width, kind_of = len(form.names), events.kind(sample.request_type)
                    if not self._mask.reaches(sample.model, kind_of, sample.request, width):
                        return False
                rows = self._file(kind, sample, form)
                assert isinstance(rows, Rows)
                rows.add(sample, events.event_id(sample), caller, table, given)
        except (Unmasked, Unfit, UnicodeError):
            return False
        except OSError as error:
            self._stop(error)
            return False
        if sum(one.bytes for one in self._open.values()) > MEMORY:
            self._close(list(self._open))
        return True

    def _file(self, kind: str, sample: Sample, form: Shape | None) -> Lines | Rows:
        variant, hour = places.part(sample.variant or sample.model or VARIANT), places.hour(sample.at)
        # Rules of masking are by model: those of lines are applied already, those of columns when the file is written.
        key = (kind, variant, sample.model if form is not None else "", hour, form)
        file = self._open.get(key)
        if file is None and not self._begin(key):
            if form is not None:
                raise Unfit("there are too many kinds of requests in this hour")
            variant = _OTHERS
            key = (kind, variant, "", hour, None)
            file = self._open.get(key)
        if file is None:
            while len(self._open) >= OPEN:
                self._close([next(iter(self._open))])
            folder = os.path.join(self._folder, kind, self._endpoint, variant, hour)
            if form is None:
                file = Lines(folder, sample.at, self._now)
            else:
                if len(self._fractional) >= 256:
                    self._fractional.clear()
                fractional = self._fractional.setdefault((variant, form), set())
                file = Rows(folder, sample.at, self._now, form, self._mask, fractional)
            self._open[key] = file
        self._open.move_to_end(key)
        return file

    def _begin(self, key: Key) -> bool:
        """Whether there may be files of this kind."""
        hour = key[3]
        begun = self._begun.get(hour)
        if begun is None:
            begun = self._begun[hour] = set()
            if len(self._begun) > 2:
                self._begun.popitem(last=False)
        if key not in begun and len(begun) >= BEGUN:
            return False
        begun.add(key)
        return True

    def tick(self, now: float) -> None:
        """Called each second or so: what gathered is written, old enough files are closed, too old ones deleted."""
        self._now = now
        if self._stopped and not 0 <= now - self._stopped < AGAIN:
            self._stopped = 0.0
        roll = float(self._capture.roll)
        old = [key for key, file in self._open.items() if file.full or not 0 <= now - file.opened < roll]
        self._close(old)
        for file in list(self._open.values()):
            try:
                file.flush()
            except OSError as error:
                self._stop(error)
                break
        if self._capture.keep is not None and not 0 <= now - self._tidied < 60:
            self._tidied = now
            places.forget(self._folder, self._endpoint, now - self._capture.keep)

    def close(self) -> None:
        """Close all files under their names."""
        self._close(list(self._open))

    def _close(self, keys: list[Key]) -> None:
        for key in keys:
            file = self._open.pop(key, None)
            if file is None:  # `_stop` has closed it
                continue
            try:
                file.finish()
            except OSError as error:
                self.figures.dropped += file.waiting
                self._stop(error)
            except Exception as error:  # of its own rows: others are not to be lost with them
                self._lost(file, error)

    def _stop(self, error: OSError) -> None:
        """The disk takes nothing."""
        self._stopped = self._now or 1.0
        lost = 0
        while self._open:
            _, file = self._open.popitem()
            try:
                file.finish()  # what is in a file already is not to be lost with the rest
            except OSError:
                lost += file.waiting
            except Exception as defect:
                self._lost(file, defect)
        self.figures.dropped += lost
        why = error.strerror or str(error)
        self._warn(f"capture to {self._folder} has stopped: {why}; it is tried again every {AGAIN:.0f} s")

    def _lost(self, file: Lines | Rows, error: Exception) -> None:
        self.figures.dropped += file.waiting
        self._warn(f"{file.waiting} captured requests could not be written: {type(error).__name__}")


def check(settings: Settings) -> None:
    """Raise `AssayError` for what `open_capture` would, without touching a folder."""
    if settings.capture is not None:
        Mask(settings.capture.masking, b"")
        _kinds(settings.capture)


def _kinds(capture: Capture) -> list[str]:
    """The formats that can be made."""
    found: list[str] = [kind for kind in capture.format if kind != "parquet" or capture.input]
    if not found:
        raise UsageError("capture: Parquet has rows of inputs", hint="set input: true, or format: [jsonl]")
    return found


def open_capture(settings: Settings, secret: bytes, warn: Callable[[str], None]) -> Capturer | None:
    """What the settings ask for; one in each gateway. Raises `AssayError`."""
    if settings.capture is None:
        return None
    return Capturer(settings.capture, settings.path(settings.capture.folder), secret, warn)
