from datetime import UTC, datetime, timedelta

import pytest

from assay.errors import UsageError
from assay.watch.suspicion.ledger import Ledger

AT = datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(str(tmp_path / "s.db"))


def test_a_suspicion_stays_open_until_a_person_releases_it(ledger):
    assert ledger.open("credit", AT, "dir:model", "feedback", "copies from two sources")
    assert not ledger.open("credit", AT, "dir:model", "feedback", "the same window again")
    assert ledger.open("credit", AT + timedelta(hours=1), "dir:model", "backdoor", "a sign in common")
    assert [one.pattern for one in ledger.standing(monitor="credit")] == ["feedback", "backdoor"]
    assert [one.pattern for one in ledger.standing(target="dir:model")] == ["feedback", "backdoor"]
    assert ledger.standing(monitor="other", target="dir:other") == []
    released = ledger.release("credit", AT, "Ada", "the two are our testers", AT + timedelta(days=1))
    assert [one.pattern for one in released] == ["feedback"]
    assert [one.pattern for one in ledger.standing()] == ["backdoor"]
    assert not ledger.open("credit", AT, "dir:model", "feedback", "again")
    entry = next(one for one in ledger.recent() if one.due == AT)
    assert (entry.by, entry.reason, entry.released) == ("Ada", "the two are our testers", AT + timedelta(days=1))
    ledger.release("credit", None, "Ada", "all of it", AT)
    assert ledger.standing() == []


@pytest.mark.parametrize(("by", "reason"), [("", "because"), ("Ada", ""), ("  ", "because"), ("Ada", "\n")])
def test_nobody_is_no_person(ledger, by, reason):
    ledger.open("credit", AT, "dir:model", "feedback", "copies")
    with pytest.raises(UsageError, match="name and a reason"):
        ledger.release("credit", AT, by, reason, AT)
    assert ledger.standing()


def test_words_of_strangers_are_kept_as_words(ledger):
    name = "x'; DROP TABLE suspicion; --"
    ledger.open(name, AT, name, "feedback", name * 1000)
    assert ledger.standing(monitor=name)[0].target == name
