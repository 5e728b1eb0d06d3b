"""Constraints as files: what is read is what was meant, and everything else is refused with its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.collect.profile.interface import Kind
from assay.errors import DocumentError
from assay.watch.constraints import reading
from assay.watch.constraints.model import Column, Constraints, Drift, Settings

WHOLE = b"""
assay-constraints: 1
settings:
  least-rows: 50
  chance: 0
  type-share: 0.9
  extra-columns: warning
  drift: {effects: {ks: 0.05}}
columns:
  age:
    type: integral
    completeness: 0.99
    non-negative: true
    range: [0, 120]
    range-share: 0.999
  country:
    type: string
    domain: [de, fr, "no"]
    domain-share: 0.95
    drift: {compare: false}
  note: {required: false}
"""


def test_everything_that_can_be_said_is_read():
    found = reading.loads(WHOLE, "c.yaml")
    assert found.settings.least_rows == 50
    assert found.settings.chance == 0
    assert found.settings.extra_columns == "warning"
    assert found.settings.drift.effects == {"ks": 0.05}
    assert list(found.columns) == ["age", "country", "note"]
    assert found.columns["age"] == Column(
        type=Kind.INTEGRAL, completeness=0.99, non_negative=True, range=(0, 120), range_share=0.999
    )
    assert found.columns["country"].domain == ["de", "fr", "no"]
    assert not found.drift("country").compare
    assert found.drift("age").effects == {"ks": 0.05}
    assert not found.columns["note"].required


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("assay-constraints: 1\ncolumns:\n  a:\n    rnge: [0, 1]\n", 4, "rnge"),
        ("assay-constraints: 1\ncolumns:\n  a:\n    type: integral\n    range: [5, 1]\n", 3, "ends before it starts"),
        ("assay-constraints: 1\ncolumns:\n  a:\n    range: [0, x]\n", 4, "range"),
        ("assay-constraints: 1\ncolumns:\n  a:\n    completeness: 1.5\n", 4, "completeness"),
        ("assay-constraints: 1\ncolumns:\n  a:\n    type: number\n", 4, "number"),
        ("assay-constraints: 1\ncolumns:\n  a:\n    drift:\n      effect: {ks: 1}\n", 5, "effect"),
        ("assay-constraints: 1\ncolumns:\n  a:\n    drift:\n      effects: {kss: 1}\n", 4, "kss"),
        ("assay-constraints: 1\ncolumns:\n  a:\n    domain: [x, x]\n", 3, "twice"),
        ("assay-constraints: 1\nsettings:\n  chance: 1e-4\n", 3, "1.0e-4"),
        ("assay-constraints: 1\nsettings:\n  least-rows: 0\n", 3, "least-rows"),
        ("assay-constraints: 2\n", 1, "version"),
        ("assay-constraints: true\n", 1, "version"),
        ("assay-constraints: 1\ncolumn: {}\n", 2, "column"),
        ("assay-constraints: 1\ncolumns: [a]\n", 2, "columns"),
        ("assay-constraints: 1\ncolumns:\n  a: {}\n  a: {}\n", 4, "twice"),
    ],
)
def test_a_mistake_is_told_with_its_line(text, line, words):
    with pytest.raises(DocumentError) as caught:
        reading.loads(text.encode(), "c.yaml")
    assert str(caught.value).startswith(f"c.yaml:{line}: "), caught.value
    assert words in str(caught.value)


def test_another_document_is_refused():
    with pytest.raises(DocumentError, match="assay-constraints"):
        reading.loads(b"assay-policy: 1\n", "p.yaml")
    with pytest.raises(DocumentError, match="assay-constraints"):
        reading.loads(b'{"version": 0, "features": []}', "constraints.json")


def test_json_is_read_strictly():
    assert reading.loads(b'{"assay-constraints": 1, "columns": {"a": {}}}', "c.json").columns == {"a": Column()}
    with pytest.raises(DocumentError, match="twice"):
        reading.loads(b'{"assay-constraints": 1, "columns": {"a": {}, "a": {"required": false}}}', "c.json")
    with pytest.raises(DocumentError, match="unknown key 'x'"):
        reading.loads(b'{"assay-constraints": 1, "columns": {"a": {"x": 1}}}', "c.json")


_NAMES = st.text(min_size=0, max_size=12)
_SHARES = st.floats(0, 1)
_COLUMNS = st.builds(
    Column,
    type=st.none() | st.sampled_from(Kind),
    type_share=st.none() | _SHARES,
    required=st.booleans(),
    completeness=st.none() | _SHARES,
    non_negative=st.booleans(),
    range=st.none() | st.tuples(st.none() | st.floats(-1e300, 0), st.none() | st.floats(0, 1e300)),
    range_share=_SHARES,
    domain=st.none() | st.lists(_NAMES, unique=True, max_size=4),
    domain_share=st.none() | _SHARES,
    distinctness=st.none() | _SHARES,
    drift=st.none() | st.builds(Drift, compare=st.booleans(), effects=st.dictionaries(st.just("ks"), _SHARES)),
)


@given(
    st.dictionaries(_NAMES, _COLUMNS, max_size=4), st.builds(Settings, chance=st.floats(0, 0.1), evaluate=st.booleans())
)
def test_what_is_written_is_read_as_the_same(columns, settings):
    made = Constraints(columns=columns, settings=settings)
    assert reading.loads(reading.dumps(made), "c") == made


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_with_a_sentence(data):
    for start in (b"", b"assay-constraints: 1\n", b'{"assay-constraints": 1, "columns": {"a": {'):
        try:
            reading.loads(start + data, "c")
        except DocumentError as error:
            assert error.message


def test_a_file_of_a_gigabyte_is_not_read(tmp_path):
    path = tmp_path / "big.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(Exception, match="larger than"):
        reading.load(str(path))
