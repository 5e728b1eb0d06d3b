import io
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from PIL import Image

from assay.collect.profile.interface import Kind
from assay.collect.profile.partial import decode, partial
from assay.collect.profile.spec import specify
from assay.watch.report.drawing import file_name
from assay.watch.report.interface import AlarmEvent, AlarmState, Material, Window
from assay.watch.report.page import draw, page

AT = datetime(2026, 11, 22, 10, tzinfo=UTC)
NASTY = "<script>alert(1)</script>\x1b[31m\u202e$x^{2}$"


def table(rows=500, seed=0):
    draw = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "age": draw.integers(18, 90, rows),
            "balance": draw.normal(1000, 200, rows),
            NASTY: draw.choice(["web", NASTY, "</svg>"], rows),
            "when": [AT + timedelta(seconds=int(s)) for s in draw.integers(0, 86_400, rows)],
            "vector": draw.normal(size=(rows, 4)).tolist(),
            "constant": [1.5] * rows,
            "nothing": [None] * rows,
        },
        schema_overrides={"nothing": pl.Float64},
    )


def looks(value):
    violated = value > 1
    check = {
        "check": "drift:ks",
        "feature": NASTY,
        "outcome": "violated" if violated else "holds",
        "severity": "error",
        "expected": 0.02,
        "observed": 0.02 * value,
        "message": f"{NASTY}: moved",
        "measures": {},
    }
    quality = {
        "check": "accuracy",
        "feature": None,
        "outcome": "undecided",
        "severity": "error",
        "expected": 0.9,
        "observed": 0.92,
        "message": "few labels",
        "measures": {"low": 0.88, "high": 0.95},
    }
    return [
        {"topic": "drift", "outcome": check["outcome"], "samples": 500, "checks": [check]},
        {"topic": "model-quality", "outcome": "undecided", "samples": 40, "checks": [quality]},
    ]


def material(**changes):
    before = table()
    spec = specify(before)
    profiles = [decode(partial(frame, spec), labels=None) for frame in (before, table(seed=1))]
    made = {
        "title": NASTY,
        "baseline": profiles[0],
        "current": profiles[1],
        "windows": [Window(AT + timedelta(hours=n), looks(0.5 * n)) for n in range(5)],
        "made": AT,
        "alarms": [AlarmState(NASTY, "ALARM", AT, NASTY)],
        "events": [AlarmEvent(NASTY, AT + timedelta(hours=2), "OK", "ALARM")],
        "notes": [NASTY],
    }
    return Material(**(made | changes))


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen, self.addresses = set(), []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action") or name.startswith("on"):
                self.addresses.append((name, value))


@pytest.fixture(scope="module")
def made():
    one = material()
    drawn = draw(one)
    return one, drawn, page(one, drawn)


def test_a_page_is_one_file_without_scripts_and_addresses(made):
    _, _, text = made
    tags = Tags()
    tags.feed(text)
    assert not tags.seen & {"script", "link", "iframe", "object", "embed", "image", "foreignobject"}
    assert all(name == "xlink:href" and value.startswith("#") for name, value in tags.addresses)
    assert "default-src 'none'" in text
    outside = [address for address in re.findall(r"https?://[^\s\"'<>)]+", text) if "www.w3.org" not in address]
    assert outside == []
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_ids_of_one_picture_do_not_meet_those_of_another(made):
    _, _, text = made
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    for used in re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', text):
        assert used in ids


def test_each_column_and_each_time_has_its_chart(made):
    _, drawn, text = made
    names = [chart.name for chart in drawn]
    assert names[:3] == ["outcomes", "drift", "quality-accuracy"]
    assert f"column-{'balance'}" in names
    assert "column-nothing" not in names
    assert len(names) == len(set(names)) == 3 + 6
    for chart in drawn:
        image = Image.open(io.BytesIO(chart.png))
        assert image.format == "PNG"
        assert len(image.convert("RGB").getcolors(1 << 20)) > 5
        assert chart.svg.startswith("<svg")
        assert 'role="img"' in chart.svg
        assert chart.alt
    assert "violations" in text
    assert "undecided" in text


def test_the_same_material_makes_the_same_page():
    one = material()
    assert page(one, draw(one)) == page(one, draw(one))


def test_one_window_has_no_course_and_no_alarm():
    one = material(windows=[Window(AT, looks(3))], alarms=(), events=())
    names = [chart.name for chart in draw(one)]
    assert "drift" not in names
    assert "outcomes" not in names
    assert "drift:ks" in page(one, draw(one))


def test_an_empty_window_still_shows_the_baseline():
    spec = specify(table())
    empty = decode(partial(table().head(0), spec), labels=None)
    drawn = draw(material(current=empty))
    assert "column-age" in [chart.name for chart in drawn]


def test_times_beyond_any_calendar_are_numbers():
    from assay.watch.report.charts import distribution

    frame = pl.DataFrame({"t": [1e17, 2e17, 3e17] * 20})
    spec = specify(frame)
    state = decode(partial(frame, spec)).columns["t"]
    assert distribution("t", state, state, Kind.TIME) is not None


def test_names_of_files_are_harmless_and_different():
    names = [file_name(text) for text in ("a/b", "a b", "../a", "a-b", NASTY, "", "x" * 300, "x" * 301)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", name) and ".." not in name for name in names)
