"""A caller who names things anew in each request: files, folders and slow writes must not grow with it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from assay.guard.gateway.capture.writer import BEGUN
from assay.guard.gateway.interface import Answers, Table
from guard.gateway.capture.samples import asked, capturer, events, sample


def all_files(folder: Path) -> list[str]:
    return [os.path.join(place, name) for place, _, names in os.walk(folder) for name in names]


def test_a_name_that_is_new_each_time_makes_no_file_each_time(tmp_path: Path) -> None:
    """A container with one model answers whatever model or variant a header names."""
    one, said = capturer(tmp_path, format=("jsonl",))
    count = 4 * BEGUN
    for number in range(count):
        one.see(sample(number % 3, model=f"m{number}", variant=f"v{number}"), None, None)
    one.close()
    assert len(all_files(tmp_path)) <= BEGUN + 1
    assert one.figures.captured == count and not said


def test_columns_that_are_new_each_time_make_no_file_each_time(tmp_path: Path) -> None:
    """A model that looks for its own columns answers whatever others stand beside them."""
    one, said = capturer(tmp_path)
    count = 2 * BEGUN
    for number in range(count):
        about, table, answers = asked(number % 3, np.array([[30.0, 0.5]]))
        one.see(about, Table(table.features, ("age", f"x{number}")), answers)
    one.close()
    assert len(all_files(tmp_path)) <= BEGUN + 1
    assert one.figures.captured == count and not said
    assert len(events(tmp_path)) == count


def test_the_next_hour_begins_anew(tmp_path: Path) -> None:
    one, _ = capturer(tmp_path, format=("parquet",))
    for hour in range(3):
        for number in range(BEGUN + 10):
            about, table, answers = asked(3600 * hour, np.array([[30.0, 0.5]]))
            one.see(about, Table(table.features, ("age", f"x{number}")), answers)
    one.close()
    assert len(all_files(tmp_path)) == 3 * BEGUN
    assert one.figures.unreadable == 3 * 10
    assert isinstance(answers, Answers)
