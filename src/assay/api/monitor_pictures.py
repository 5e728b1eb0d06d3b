"""The pictures of a check or of a monitor's history: one page, and each chart in files of its own."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from assay.errors import UndecidedError, UsageError
from assay.watch import settings as files

if TYPE_CHECKING:
    from assay.api.monitoring import Checked
    from assay.watch.report.interface import Material

SHOWN = 200
"""Windows of the past that a page shows."""


def of_check(checked: Checked, title: str, now: datetime | None = None) -> Material:
    """A page of one check."""
    from assay.api.monitoring import look_json
    from assay.watch.report.interface import Material, Window

    moment = now or datetime.now(UTC)
    looks = [look_json(look) for look in checked.seen.looks]
    return Material(
        title,
        checked.seen.baseline.profile,
        checked.seen.current,
        [Window(moment, looks)],
        moment,
        notes=checked.seen.notes,
    )


def of_monitor(monitors: files.Monitors, name: str, now: datetime | None = None) -> Material:
    """A page of a monitor's past. Raises `UndecidedError` where it has none, `UsageError` for an unknown name."""
    from assay.api.monitor_listing import standings
    from assay.api.tending import alarms
    from assay.collect.profile.partial import decode
    from assay.watch.constraints import baseline
    from assay.watch.report.interface import AlarmEvent, AlarmState, Material, Window
    from assay.watch.windows import Windows

    monitor = monitors.monitor(name)
    kept = Windows(monitors.path(monitors.store)).last(name, SHOWN)
    if not kept:
        raise UndecidedError(f"{name} has not run yet", hint=f"assay monitor run {name}")
    mine = {one.name for one, about in alarms(monitors) if about == name}
    states, events = standings(monitors)
    return Material(
        f"Monitor {name}",
        baseline.load(monitors.path(monitor.baseline)).profile,
        decode(kept[-1].state, labels=None),
        [Window(one.due, one.looks) for one in kept],
        now or datetime.now(UTC),
        [AlarmState(one.name, one.state.value, one.since, one.reason) for one in states if one.name in mine],
        [AlarmEvent(one.alarm, one.time, one.old.value, one.new.value) for one in events if one.alarm in mine],
    )


def write(material: Material, path: str, pictures: str | None = None) -> list[str]:
    """Write the page, and with ``pictures`` each chart as SVG and PNG into that folder; the files' paths."""
    from assay.files import require_folder, write_atomic
    from assay.watch.report.page import draw, page

    require_folder(path)
    drawn = draw(material)
    write_atomic(path, page(material, drawn).encode())
    written = [path]
    if pictures is not None:
        try:
            os.makedirs(pictures, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{pictures!r} cannot be made: {error.strerror}") from None
        for chart in drawn:
            for ending, data in (("svg", chart.svg.encode()), ("png", chart.png)):
                written.append(os.path.join(pictures, f"{chart.name}.{ending}"))
                write_atomic(written[-1], data)
    return written
