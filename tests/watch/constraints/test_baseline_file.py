"""The baseline file: what is written is read again, and what was tampered with is refused."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.profile.partial import decode, partial, publish
from assay.collect.profile.spec import specify
from assay.errors import DocumentError
from assay.watch.constraints import baseline
from assay.watch.constraints.suggest import suggest
from watch.constraints.profiles import table

MADE = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def _make() -> baseline.Baseline:
    frame = table(500, 1).with_columns(
        vector=pl.Series([[0.5 * i, 1.0] for i in range(500)], dtype=pl.Array(pl.Float64, 2))
    )
    state = publish(partial(frame, specify(frame, seed=7)))
    profile = decode(state)
    source = baseline.Source("file:train.parquet", {"sha256": "ab" * 32})
    return baseline.Baseline(state, profile, suggest(profile), MADE, {"version": 1, "x": [1.5]}, (source,))


ONE = _make()
DATA = baseline.dumps(ONE)


def test_what_is_written_is_read_as_the_same(tmp_path):
    path = str(tmp_path / "baseline.json")
    baseline.write(path, ONE)
    found = baseline.load(path)
    assert found.state == ONE.state
    assert found.digest == ONE.digest == found.profile.digest
    assert found.constraints == ONE.constraints
    assert found.made == MADE
    assert found.floors == {"version": 1, "x": [1.5]}
    assert found.sources == ONE.sources
    assert baseline.dumps(found) == DATA


def test_people_can_read_it():
    columns = {item["name"]: item for item in json.loads(DATA)["columns"]}
    assert columns["amount"]["missing"] + columns["amount"]["present"] == 500
    assert columns["age"]["min"] >= 0
    assert next(iter(columns["country"]["top"])) == "de"
    assert columns["vector"]["dimensions"] == 2
    assert columns["empty"]["mean"] is None


def test_a_rare_value_is_nowhere_in_the_file():
    frame = pl.DataFrame({"name": ["often"] * 99 + ["Karoline von Rarus"]})
    state = publish(partial(frame, specify(frame)))
    data = baseline.dumps(baseline.Baseline(state, decode(state), suggest(decode(state)), MADE))
    assert b"often" in data
    assert b"Rarus" not in data
    assert b"Rarus" not in state


def _changed(**changes):
    return json.dumps({**json.loads(DATA), **changes}).encode()


def _state(**changes):
    return _changed(state={**json.loads(DATA)["state"], **changes})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_changed(rows=501), "other things than the state"),
        (_changed(columns=[]), "other things than the state"),
        (
            _changed(columns=[{**item, "missing": 0, "present": 1} for item in json.loads(DATA)["columns"]]),
            "other things",
        ),
        (_changed(more=1), "unknown key 'more'"),
        (_changed(made="yesterday"), "made"),
        (_changed(made="2026-03-04T05:06:07+02:00"), "made"),
        (_changed(sources=[{"name": "x"}]), "sources"),
        (_changed(sources=7), "sources"),
        (_changed(constraints={"assay-constraints": 1, "columns": {"a": {"typo": 1}}}), "typo"),
        (_changed(**{"assay-baseline": 2}), "version"),
        (_changed(**{"assay-baseline": True}), "version"),
        (_state(sha256="0" * 64), "another digest"),
        (_state(sha256="short"), "sha256"),
        (_state(bytes=10), "does not unpack"),
        (_state(bytes=1 << 40), "state.bytes"),
        (_state(bytes=True), "state.bytes"),
        (_state(data="!!!"), "zlib"),
        (_state(data=base64.b64encode(b"not zlib").decode()), "zlib"),
        (_state(encoding="pickle"), "encoding"),
        (_state(extra=1), "unknown key"),
        (_changed(state=None), "state is not an object"),
        (b"[]", "not a baseline"),
        (b"{", "JSON"),
        (DATA.replace(b'"rows"', b'"rows": 1, "rows"'), "twice"),
    ],
)
def test_what_was_tampered_with_is_refused_with_a_sentence(data, words):
    with pytest.raises(DocumentError) as caught:
        baseline.loads(data, "b.json")
    assert words in str(caught.value)
    assert str(caught.value).startswith("b.json")


def test_a_bomb_is_not_unpacked():
    bomb = zlib.compress(bytes(200 << 20), 9)
    data = _state(bytes=1000, sha256=hashlib.sha256(bytes(1000)).hexdigest(), data=base64.b64encode(bomb).decode())
    with pytest.raises(DocumentError, match="does not unpack"):
        baseline.loads(data, "b.json")


def test_another_state_under_its_own_digest_is_still_no_profile():
    state = b"x" * 100
    packed = base64.b64encode(zlib.compress(state)).decode()
    with pytest.raises(DocumentError):
        baseline.loads(_state(bytes=100, sha256=hashlib.sha256(state).hexdigest(), data=packed), "b.json")


def test_a_state_with_something_after_it_is_refused():
    packed = base64.b64encode(zlib.compress(ONE.state) + b"more").decode()
    with pytest.raises(DocumentError, match="does not unpack"):
        baseline.loads(_state(data=packed), "b.json")


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(DATA) - 1), st.binary(min_size=1, max_size=3))
def test_no_change_of_bytes_is_a_traceback(place, new):
    try:
        baseline.loads(DATA[:place] + new + DATA[place + len(new) :], "b.json")
    except DocumentError as error:
        assert error.message


def test_what_a_file_is_can_be_told_without_reading_it():
    assert baseline.is_baseline(DATA)
    assert not baseline.is_baseline(b'{"version": 0.0, "dataset": {}}')
