"""The profile's file: stable, readable, commented, and no way to say more in it than learning could."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.collect.behaviour import document
from assay.collect.behaviour.compare import compare
from assay.collect.behaviour.interface import DIGESTED, Fact, Facts, Kind
from assay.collect.behaviour.model import CROWD, MAX_FACTS, Known, Profile, as_facts, as_profile, learn
from assay.collect.behaviour.naming import printable
from assay.errors import DocumentError, UsageError

SHA = "ab" * 32
SMALL = """\
version: 1
step: "train"
runs: 3
facts:
  programs:
    "$ENV/bin/python3": {runs: 3, sha256: ["%s"]}
  reads:
    "$IN/part-<n>.csv": 3
numbers:
  opens: [10, 11, 12]
"""


def replaced(old: str, new: str) -> bytes:
    text = SMALL % SHA
    assert old in text
    return text.replace(old, new).encode()


def test_what_is_written_is_read_back_and_written_alike() -> None:
    profile = document.load(SMALL.replace("%s", SHA).encode(), "p")
    assert profile.runs == 3 and profile.facts[Fact(Kind.READ, "$IN/part-<n>.csv")] == Known(3)
    assert profile.facts[Fact(Kind.PROGRAM, "$ENV/bin/python3")].sha256 == (SHA,)
    written = document.dump(profile)
    again = document.load(written, "p")
    assert again == profile and document.dump(again) == written


def test_comments_of_people_stay_where_they_are() -> None:
    text = replaced(
        '    "$IN/part-<n>.csv": 3', '    # the shards of the night\n    # (Ada)\n    "$IN/part-<n>.csv": 3  # ok'
    )
    profile = learn(document.load(text, "p"), Facts(frozenset({Fact(Kind.READ, "$IN/a-new-one")}), {}))
    written = document.dump(profile).decode()
    assert '    # the shards of the night\n    # (Ada)\n    # ok\n    "$IN/part-<n>.csv": 3\n' in written
    assert document.dump(document.load(written.encode(), "p")).decode() == written


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"$IN/part-<n>.csv": 3', '"/**": 3', "wider"),
        ('"$IN/part-<n>.csv": 3', '"*": 3', "wider"),
        ('"$IN/part-<n>.csv": 3', '"~/*": 3', "wider"),
        ('"$IN/part-<n>.csv": 3', '"/etc/*.conf": 3', "wider"),
        ('"$IN/part-<n>.csv": 3', '"$IN/**/*.csv": 3', "wider"),
        ('"$IN/part-<n>.csv": 3', '"$ENV/*": 3', "wider"),
        ('"$IN/part-<n>.csv": 3', '"/": 3', "whole place"),
        ('"$IN/part-<n>.csv": 3', '"$IN/../../etc/shadow": 3', "with . or .."),
        ('"$IN/part-<n>.csv": 3', '"$IN/part-<n>.csv": 4', "in 4 of 3 runs"),
        ('"$IN/part-<n>.csv": 3', '"$IN/part-<n>.csv": -1', "no profile"),
        ('"$IN/part-<n>.csv": 3', '"$IN/part-<n>.csv": yes', "no profile"),
        ('"$IN/part-<n>.csv": 3', '"$IN/\\u202Ex": 3', "not a name"),
        ('"$IN/part-<n>.csv": 3', '"a\\u0007": 3', "control characters"),
        ('"$IN/part-<n>.csv": 3', '"a": &x 3', "anchors"),
        ('"$IN/part-<n>.csv": 3', '"a": *x', "anchors"),
        ('"$IN/part-<n>.csv": 3', '"$IN/part-<n>.csv": 3\n    "$IN/part-<n>.csv": 2', "stands twice"),
        ('"$IN/part-<n>.csv": 3', f'"a": {{runs: 3, sha256: ["{SHA}"]}}', "no digests"),
        ('"$IN/part-<n>.csv": 3', '"a": {runs: 3, anything: 1}', "no profile"),
        ("  reads:", "  everything:", "no profile"),
        ("runs: 3\nfacts", "runs: 3\nextra: 1\nfacts", "no profile"),
        ("version: 1", "version: 2", "version 2"),
        ("version: 1", "version: 1\n---\nversion: 1", "second document"),
        (SHA, SHA.upper(), "lower-case hex"),
        ('step: "train"', "step: !!python/object:os.system x", "tag"),
        ("[10, 11, 12]", "[.nan]", "finite"),
        ("[10, 11, 12]", str(list(range(21))), "no profile"),
    ],
)
def test_what_learning_cannot_have_written_is_refused(old: str, new: str, said: str) -> None:
    with pytest.raises(DocumentError) as caught:
        document.load(replaced(old, new), "p.yaml")
    assert said in str(caught.value) and "p.yaml" in str(caught.value)


@pytest.mark.parametrize("text", ["tcp *:443", "tcp *.example.com:443", "tcp *", "*", "dns *"])
def test_destinations_name_one_host(text: str) -> None:
    data = replaced('  reads:\n    "$IN/part-<n>.csv": 3', f'  destinations:\n    "{text}": 3')
    with pytest.raises(DocumentError, match="wider"):
        document.load(data, "p")


def test_a_file_that_is_too_large_is_refused() -> None:
    with pytest.raises(DocumentError, match="larger"):
        document.load(b"#" * (document.MAX_BYTES + 1), "p")
    many = "".join(f'    "/srv/{i}": 3\n' for i in range(MAX_FACTS + 1))
    with pytest.raises(DocumentError, match="more than"):
        document.load(replaced("  reads:\n", "  reads:\n" + many), "p")
    with pytest.raises(UsageError, match="at most"):
        learn(Profile("train"), Facts(frozenset(Fact(Kind.READ, f"/srv/{i}") for i in range(MAX_FACTS + 1)), {}))


NAMES = st.text(min_size=1, max_size=40).map(lambda text: "/" + printable(text).replace("/", "_").replace(".", "_"))


@given(st.dictionaries(st.tuples(st.sampled_from(list(Kind)), NAMES), st.sampled_from(["", SHA]), max_size=30))
def test_whatever_a_run_did_can_be_written_and_read(made: dict[tuple[Kind, str], str]) -> None:
    facts = {Fact(*key): digest for key, digest in made.items()}
    digests = {fact: digest for fact, digest in facts.items() if digest and fact.kind in DIGESTED}
    run = Facts(frozenset(facts), {"opens": 3.0, "cpu_seconds": 0.125}, digests)
    alone = as_profile(run, Profile("train"))
    read = document.load(document.dump(alone), "p")
    assert read == alone
    assert as_facts(read).facts == run.facts and as_facts(read).digests == digests
    assert not compare(read, run)


def test_names_that_people_give_files_cannot_become_patterns() -> None:
    assert printable("/srv/*") == "/srv/\\x2a"
    assert printable("/srv/a\nb\x1b[2J") == "/srv/a\\u000ab\\u001b[2J"
    assert printable("/srv/\udcff") == "/srv/\\xff"
    assert len(printable("x" * 100_000)) < 5000


def test_many_files_that_lie_together_become_one_line_and_count_as_seen() -> None:
    facts = Facts(frozenset(Fact(Kind.READ, f"$IN/{chr(97 + i)}.png") for i in range(CROWD + 1)), {})
    profile = learn(Profile("train"), facts)
    assert dict(profile.facts) == {Fact(Kind.READ, "$IN/*.png"): Known(1)}
    other = Facts(frozenset({Fact(Kind.READ, "$IN/zebra.png")}), {})
    assert not compare(profile, other)
    assert learn(profile, other).facts == {Fact(Kind.READ, "$IN/*.png"): Known(2)}
    outside = Facts(frozenset(Fact(Kind.READ, f"/srv/{chr(97 + i)}.png") for i in range(CROWD + 1)), {})
    assert len(learn(Profile("train"), outside).facts) == CROWD + 1


def test_what_was_only_ever_refused_is_news_when_it_succeeds() -> None:
    fact = Fact(Kind.DESTINATION, "tcp example.com:443")
    refused = Facts(frozenset({fact}), {}, tried=frozenset({fact}))
    profile = document.load(document.dump(learn(learn(Profile("t"), refused), refused)), "p")
    assert profile.facts[fact] == Known(2, (), True)
    assert not compare(profile, refused)
    (found,) = compare(profile, Facts(frozenset({fact}), {}))
    assert found.severity == "high" and "refused in 2 earlier runs" in found.message


def test_other_bytes_under_a_known_name_are_news() -> None:
    fact = Fact(Kind.PROGRAM, "$ENV/bin/python3")
    profile = learn(Profile("t"), Facts(frozenset({fact}), {}, {fact: SHA}))
    assert not compare(profile, Facts(frozenset({fact}), {}, {fact: SHA}))
    (found,) = compare(profile, Facts(frozenset({fact}), {}, {fact: "cd" * 32}))
    assert found.severity == "medium" and "cdcdcdcdcdcdcdcd" in found.message


def test_numbers_by_median_and_mad() -> None:
    profile = Profile("t")
    for value in (100, 104, 96, 9000, 101, 99):
        profile = learn(profile, Facts(frozenset(), {"gpu_seconds": float(value), "opens": 1000.0}))
    assert not compare(profile, Facts(frozenset(), {"gpu_seconds": 150.0, "opens": 1400.0}))
    (found,) = compare(profile, Facts(frozenset(), {"gpu_seconds": 400.0, "opens": 1000.0}))
    assert found.key == "number/gpu_seconds" and found.frameworks == {"atlas": ("AML.T0034",)}
    assert found.details["median"] == 100.5


def test_missing_facts_are_mild_and_need_three_runs() -> None:
    fact = Fact(Kind.READ, "$IN/labels-of-train.csv")
    profile = learn(learn(Profile("t"), Facts(frozenset({fact}), {})), Facts(frozenset({fact}), {}))
    assert not compare(profile, Facts(frozenset(), {}))
    (found,) = compare(learn(profile, Facts(frozenset({fact}), {})), Facts(frozenset(), {}))
    assert found.severity == "low" and "in all 3 earlier runs" in found.message


def test_a_single_run_is_what_waits_for_acceptance() -> None:
    with pytest.raises(UsageError, match="not one run"):
        as_facts(Profile("t", runs=2))
