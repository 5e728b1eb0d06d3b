"""Lines that are taken out of the access log, put into it twice or moved, and what evidence says of it."""

from __future__ import annotations

import gzip
import json
import random
from datetime import UTC, datetime, timedelta

import pytest

from assay.api.endpoint import HOLES, Limits, judge, observe
from assay.cli.main import main
from assay.guard.gateway.core import _ids
from assay.guard.gateway.interface import ALLOW, Context
from assay.guard.gateway.logs import missing
from assay.guard.gateway.logs.summary import summarise
from assay.guard.gateway.logs.writer import Writer
from assay.guard.gateway.settings.keeping import Log
from assay.guard.gateway.settings.words import Bytes
from assay.watch.interface import Outcome, Window
from gateway_making import attested_model
from guard.gateway.logs.contexts import finished

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Process:
    """Requests of one core, as they are logged: numbered as the core numbers them."""

    def __init__(self):
        self.ids = _ids()

    def asked(self, seconds, took=0.01):
        """One request that began so many seconds before `NOW`."""
        context = finished()
        context.id = context.request_id = next(self.ids)
        context.at, context.ended, context.model_version = NOW.timestamp() - seconds, took, "ab" * 32
        return context


def write(path, contexts, **settings):
    log = Writer(Log(file=str(path), **settings), str(path), b"k")
    for context in contexts:
        log.write(context)
    assert log.close() == 0


def steady(process, count=1000, since=3000.0, to=900.0):
    """So many requests in the hour, the youngest old enough."""
    return [process.asked(since - (since - to) * i / count) for i in range(count)]


def look(*paths, window=None, limits=Limits()):  # noqa: B008 - frozen
    window = window or Window(NOW - HOUR, NOW)
    summary = summarise(
        map(str, paths), window.start.timestamp(), window.end.timestamp(), limits.unfinished.total_seconds()
    )
    return judge(summary, window, "ab" * 32, limits)


def ids(*paths, **more):
    return next(check for check in look(*paths, **more).checks if check.check == "endpoint:ids")


def metric(found, name):
    return next(one.value for one in found.metrics if one.name == name)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "access.log"


def rewritten(path, change):
    """What somebody does who may write to the file."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(change(lines)))


def test_a_whole_log_of_two_processes_misses_nothing(log):
    mixed = steady(Process()) + steady(Process(), 500)
    random.Random(1).shuffle(mixed)
    write(log, mixed)
    check = ids(log)
    assert (check.outcome, check.observed, check.expected) == (Outcome.HOLDS, (), 0)
    assert look(log).outcome is Outcome.HOLDS


def test_lines_that_were_taken_out_are_counted_and_said_between_which(log):
    process, other = Process(), Process()
    contexts = steady(process)
    write(log, contexts + steady(other))
    rewritten(log, lambda lines: lines[:100] + lines[107:500] + lines[501:])
    check = ids(log)
    assert check.outcome is Outcome.VIOLATED and check.severity == "error"
    assert check.observed == (
        f"7 between {contexts[99].id} and {contexts[107].id}",
        f"1 between {contexts[499].id} and {contexts[501].id}",
    )
    assert check.message.startswith("8 request ids of 1 process(es)")
    assert metric(look(log), "log_ids_missing") == 8
    assert look(log).outcome is Outcome.VIOLATED


def test_holes_of_several_processes_are_told_apart(log):
    write(log, steady(Process()) + steady(Process()))
    rewritten(log, lambda lines: lines[:10] + lines[11:1500] + lines[1502:])
    assert ids(log).message.startswith("3 request ids of 2 process(es)")


def test_a_statement_names_some_holes_and_counts_all(log):
    write(log, steady(Process()))
    rewritten(log, lambda lines: lines[::2])
    check = ids(log)
    assert len(check.observed) == HOLES and metric(look(log), "log_ids_missing") > 490


def test_order_says_nothing_and_hides_nothing(log):
    write(log, steady(Process()))
    rewritten(log, lambda lines: random.Random(2).sample(lines, len(lines)))
    assert ids(log).outcome is Outcome.HOLDS
    rewritten(log, lambda lines: [line for line in lines if line != sorted(lines)[500]])
    assert ids(log).observed[0].startswith("1 between")
    rewritten(log, lambda lines: lines[::-1])
    assert ids(log).message.startswith("1 ")


def test_a_line_that_stands_twice_counts_once_and_is_said(log):
    write(log, steady(Process(), 100))
    rewritten(log, lambda lines: [*lines, *lines[20:30]])
    found = look(log)
    assert found.samples == 100 and metric(found, "log_lines_twice") == 10
    assert ids(log).outcome is Outcome.VIOLATED and ids(log).message.endswith("10 in two")


def test_another_line_under_an_id_that_was_there_counts_nowhere(log):
    write(log, steady(Process(), 100))
    rewritten(log, lambda lines: [*lines, lines[50].replace(b'"200"', b'"500"')])
    found = look(log)
    assert metric(found, "failed") == 0 and found.outcome is Outcome.VIOLATED


def test_what_was_cut_off_at_the_end_leaves_no_trace(log):
    """The guide says so, and what helps: lines go elsewhere as they are written."""
    write(log, steady(Process()))
    rewritten(log, lambda lines: lines[:-300])
    assert ids(log).outcome is Outcome.HOLDS


def test_files_that_were_rotated_away_and_packed_are_one_log(log):
    mixed = sorted(steady(Process(), 3000) + steady(Process(), 3000), key=lambda context: context.at)
    write(log, mixed, rotate=Bytes(200_000), keep=1000, compress=False)
    files = sorted(log.parent.iterdir())
    assert len(files) > 5  # the newest comes first, then from the oldest on
    for number, file in enumerate(files):
        if file != log and number % 2:
            (file.parent / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
            file.unlink()
    files = sorted(log.parent.iterdir())
    assert ids(*files).outcome is ids(*files[::-1]).outcome is Outcome.HOLDS
    packed = files[3]
    count = len(gzip.decompress(packed.read_bytes()).splitlines())
    packed.unlink()
    assert ids(*sorted(log.parent.iterdir())).message.startswith(f"{count:,} request ids")


def test_a_file_that_is_deleted_for_its_age_is_no_hole(log):
    """Requests of different lengths are under way when it is rotated, so that ids of both files mix."""
    process, chance = Process(), random.Random(3)
    contexts = [process.asked(3000 - i * 0.5, chance.uniform(0.001, 60)) for i in range(3000)]
    contexts.sort(key=lambda context: context.at + context.ended)
    write(log, contexts[1000:])
    assert ids(log).outcome is Outcome.HOLDS
    rewritten(log, lambda lines: lines[:500] + lines[501:])
    assert ids(log).message.startswith("1 ")


def test_several_logs_begin_when_they_begin(log):
    process, chance, other = Process(), random.Random(4), log.with_name("other.log")
    contexts = [process.asked(2000 - i * 0.5, chance.uniform(0.001, 60)) for i in range(2000)]
    contexts.sort(key=lambda context: context.at + context.ended)
    write(other, contexts[1000:])
    write(log, steady(Process()))
    assert ids(log, other).outcome is Outcome.HOLDS


def test_requests_that_are_under_way_are_not_missing_yet(log):
    process = Process()
    old = steady(process)
    young = [process.asked(300 - i / 10) for i in range(1000)]
    write(log, old + young[:200] + young[203:])
    assert ids(log).outcome is Outcome.HOLDS
    assert ids(log, limits=Limits(unfinished=timedelta(minutes=1))).message.startswith("3 ")
    later = Window(NOW, NOW + HOUR)
    assert ids(log, window=later).message.startswith("3 "), "an hour later they should have ended"


def test_each_hole_is_in_one_of_the_periods_that_follow_on_each_other(log):
    process = Process()
    contexts = [process.asked(7000 - i) for i in range(7000)]
    write(log, [context for number, context in enumerate(contexts) if number % 100 != 50])
    periods = [Window(NOW - HOUR * (i + 1), NOW - HOUR * i) for i in range(-1, 3)]
    told = [metric(look(log, window=one), "log_ids_missing") for one in periods]
    assert sum(told) == 70 and sum(map(bool, told)) == 3


def test_lines_that_the_log_says_are_lost_explain_their_number(log):
    process = Process()
    contexts = steady(process)
    telling = Context("-", b"", {}, "", contexts[500].at, http="-")
    telling.path, telling.decision, telling.error = "log-lost:5", ALLOW, "5 lines of this log are missing"
    write(log, [*contexts[:500], telling, *contexts[505:]])
    check = ids(log)
    assert check.outcome is Outcome.HOLDS and "5 of them are told to be lost" in check.message
    assert {one.check for one in look(log).violations} == {"endpoint:log"}
    rewritten(log, lambda lines: lines[:700] + lines[701:])
    assert ids(log).message.startswith("6 request ids of 1 process(es) are in no line of the log (5 of them")
    assert {one.check for one in look(log).violations} == {"endpoint:log", "endpoint:ids"}


@pytest.mark.parametrize("settings", [{"drop": ("extendedRequestId",)}, {"hash": ("extendedRequestId",)}])
def test_where_ids_are_hidden_nothing_is_claimed(log, settings):
    write(log, steady(Process()), **settings)
    found = look(log)
    assert ids(log).outcome is Outcome.UNDECIDED and found.outcome is Outcome.HOLDS
    assert found.samples == 1000


def test_whoever_blanks_ids_to_hide_a_hole_gets_no_better_answer(log):
    write(log, steady(Process()))
    rewritten(log, lambda lines: [*lines[:500], *lines[501:]])
    held = log.read_bytes()

    def blank(line):
        return json.dumps(json.loads(line) | {"extendedRequestId": "-"}).encode() + b"\n"

    rewritten(log, lambda lines: [*lines[:500], *map(blank, lines[500:])])
    assert ids(log).outcome is Outcome.UNDECIDED
    log.write_bytes(held)
    rewritten(log, lambda lines: [*lines[:600], *map(blank, lines[600:])])
    assert ids(log).outcome is Outcome.VIOLATED


@pytest.mark.parametrize("moment", [0.0, 1e12, NOW.timestamp() + 1e9, 1e300])
@pytest.mark.parametrize("which", [0, 498, 499, 500, 501, 998])
def test_no_time_that_is_written_into_a_line_hides_a_hole(log, moment, which):
    write(log, steady(Process()))
    rewritten(log, lambda lines: lines[:500] + lines[501:])

    def moved(lines):
        lines[which] = json.dumps(json.loads(lines[which]) | {"requestTimeEpoch": f"{moment * 1000:.0f}"}).encode()
        lines[which] += b"\n"
        return lines

    rewritten(log, moved)
    assert ids(log).message.startswith("1 ")


def test_a_clock_that_stepped_back_hides_no_hole_and_makes_none(log):
    process = Process()
    contexts = [process.asked(3000 - i) for i in range(1000)] + [process.asked(3500 - i) for i in range(1000)]
    write(log, contexts)
    assert ids(log).outcome is Outcome.HOLDS
    rewritten(log, lambda lines: lines[:700] + lines[701:1500] + lines[1501:])
    assert ids(log).message.startswith("2 ")


@pytest.mark.parametrize(
    "changes",
    [
        {"requestTimeEpoch": "inf"},
        {"requestTimeEpoch": "-inf"},
        {"rows": "9" * 400},
        {"rows": "-1"},
        {"rows": "9" * 4000},
        {"rows": "9" * 5000},
    ],
)
def test_numbers_that_cannot_be_are_unreadable_and_no_traceback(log, changes):
    write(log, steady(Process()))
    line = json.loads(log.read_bytes().splitlines()[500]) | changes
    rewritten(log, lambda lines: [*lines[:500], json.dumps(line).encode() + b"\n", *lines[501:]])
    assert {one.check for one in look(log).violations} == {"endpoint:log", "endpoint:ids"}


@pytest.mark.parametrize("count", ["9" * 4000, "9" * 5000, "", "x", "-3", "٣" * 4])
def test_a_number_of_lost_lines_that_is_none_counts_as_one(log, count):
    write(log, steady(Process()))
    line = {"httpMethod": "-", "protocol": "-", "resourcePath": f"log-lost:{count}", "extendedRequestId": "-"}
    line |= {"requestTimeEpoch": f"{NOW.timestamp() * 1000 - 2e6:.0f}", "status": "-"}
    rewritten(log, lambda lines: [*lines, json.dumps(line).encode() + b"\n"])
    found = next(one for one in look(log).violations if one.check == "endpoint:log")
    assert found.observed in (1, 3333)


def test_a_stranger_cannot_say_that_lines_are_lost(log):
    process = Process()
    contexts = steady(process)
    contexts[500].method, contexts[500].path, contexts[500].target = "-", "", b"log-lost:900"
    write(log, contexts)
    assert not look(log).violations


def test_what_is_scattered_too_widely_is_bounded_and_undecided(log, monkeypatch):
    monkeypatch.setattr(missing, "STRETCHES", 50)
    write(log, [context for one in range(100) for context in steady(Process(), 3)])
    assert ids(log).outcome is Outcome.UNDECIDED


def test_one_request_of_each_process_shows_nothing(log):
    write(log, [context for _ in range(50) for context in steady(Process(), 1)])
    assert ids(log).outcome is Outcome.UNDECIDED
    assert look(log).outcome is Outcome.HOLDS


def test_a_policy_that_asks_for_it_rejects_holes_and_what_was_not_looked_at(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    attested_model(tmp_path)
    (tmp_path / "policy.yml").write_text(
        "assay-policy: 1\nid: p\nname: P\nversion: 1\ncontrols:\n- id: c\n  name: C\n  rules:\n"
        "  - {id: live, name: Live, risk: R, require: {evidence: monitoring, newest: true,"
        " monitoring: {kind: endpoint, checks: ['endpoint:ids']}}}\n"
    )
    from assay.targets.registry import resolve

    with resolve("model") as thing:
        version = thing.manifest(blake3=False).contents().hex()
    now = datetime.now(UTC).timestamp()
    process, log = Process(), tmp_path / "access.log"
    contexts = steady(process)
    for context in contexts:
        context.at += now - NOW.timestamp()
        context.model_version = version
    attest = ["gateway", "attest", "--log", "access.log", "--target", "model", "--key", "keys/a.pem", "-d", "evidence"]
    verify = ["verify", "model", "-p", "policy.yml", "--key", "keys/a.pub", "-d", "evidence"]
    write(log, contexts)
    assert main(attest) == 0 and main(verify) == 0
    assert main([*attest, "--unfinished", "0s"]) == 2
    assert main([*attest, "--unfinished", "2h"]) == 0 and main(verify) == 1, "nothing was old enough to be missing"
    rewritten(log, lambda lines: lines[:500] + lines[501:])
    assert main(attest) == 1 and main(verify) == 1
    said = capfd.readouterr()
    assert "1 request ids of 1 process(es) are in no line of the log" in said.out + said.err
    assert "Traceback" not in said.err
    log.unlink()
    write(log, contexts, drop=("extendedRequestId",))
    assert main(attest) == 0 and main(verify) == 1, "undecided is not checked"
    assert observe(["access.log"], "model", timedelta(days=1), sign=False).exit_code == 0
