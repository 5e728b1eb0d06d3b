"""`assay policy init`: every combination of answers makes a policy that is in order and passes its own tests."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import pytest

from assay.api import authoring
from assay.errors import AssayError, UsageError
from assay.evidence import keys
from assay.policy.authoring import starting
from assay.policy.authoring.starting import QUESTIONS, Answers, Signers
from helpers import one_sentence

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
WORKFLOW = "https://github.com/o/r/.github/workflows/release.yml@refs/heads/main"


@pytest.fixture(scope="module")
def people() -> list[tuple[str, bytes]]:
    return [(f"/somewhere/{name}.pub", keys.generate("ed25519").public.pem) for name in ("ann", "ben", "cy")]


@pytest.mark.parametrize("answers", list(product(*(question.choices for question in QUESTIONS))), ids="-".join)
def test_every_starting_policy_is_in_order(
    tmp_path: Path, people: list[tuple[str, bytes]], answers: tuple[str, str, str]
) -> None:
    given = Answers(*answers)
    who = Signers((), WORKFLOW) if given.signer in ("github", "gitlab") else Signers(people)
    files = starting.files(given, who)
    authoring.write(str(tmp_path), files)
    reports = authoring.check([str(tmp_path)], now=NOW)
    assert len(reports) == 2
    problems = [problem for report in reports for problem in report.problems]
    if given.strict == "warn":
        assert [(problem.fatal, "never rejects" in problem.message) for problem in problems] == [(False, True)]
    else:
        assert problems == []
    results = authoring.test(str(tmp_path / "policy.yml"), now=NOW)
    assert (
        results and [(result.name, result.differences, result.error) for result in results if not result.passed] == []
    )
    assert b"/somewhere" not in files["policy.yml"]


def test_how_strict_it_is(people: list[tuple[str, bytes]]) -> None:
    from assay.policy.reading import load
    from assay.policy.sources import Packed
    from assay.policy.verdict import Level
    from policy_making import case, nowhere

    levels = {}
    for strict in QUESTIONS[2].choices:
        files = starting.files(Answers("both", "several", strict), Signers(people))
        policy = load(Packed("file:p", files), "policy.yml", nowhere)
        levels[strict] = [rule.level for rule in policy.rules]
        thresholds = {
            one.signed_by.threshold for rule in policy.rules if rule.require for one in rule.require.selectors
        }
        assert thresholds == {2} and len(policy.signers["signer"].members) == 3
    assert set(levels["warn"]) == {Level.WARNING} and set(levels["all"]) == {Level.ERROR}
    assert set(levels["basics"]) == {Level.WARNING, Level.ERROR}
    assert case().items == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,key", "not three answers"),
        ("modl,key,all", "'modl'"),
        ("model,key,all,x", "not three"),
        ("", "not three"),
    ],
)
def test_answers_that_are_none(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        starting.parse(text)
    assert message in one_sentence(caught.value)


def test_who_signs_must_be_clear(people: list[tuple[str, bytes]]) -> None:
    private = keys.generate("ed25519").pem(None)
    for signer, who in (
        ("key", Signers()),
        ("several", Signers(people[:1])),
        ("several", Signers([people[0], people[0]])),
        ("github", Signers()),
        ("gitlab", Signers(people, WORKFLOW)),
        ("key", Signers(people, WORKFLOW)),
        ("key", Signers([("k.pem", private)])),
        ("key", Signers([("k.pub", b"nonsense")])),
    ):
        with pytest.raises(AssayError) as caught:
            starting.files(Answers("model", signer, "all"), who)
        one_sentence(caught.value)


def test_two_people_whose_files_have_one_name(people: list[tuple[str, bytes]]) -> None:
    given = [("a/key.pub", people[0][1]), ("b/key.pub", people[1][1])]
    files = starting.files(Answers("model", "several", "all"), Signers(given))
    assert {name: data for name, data in files.items() if name.endswith(".pub")} == {
        "key.pub": people[0][1],
        "key-2.pub": people[1][1],
    }


def test_nothing_is_overwritten_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists already"):
        authoring.write(str(tmp_path), {"a": b"1", "b": b"2"})
    assert not (tmp_path / "a").exists() and (tmp_path / "b").read_bytes() == b"mine"
    assert authoring.write(str(tmp_path), {"a": b"1", "b": b"mine"}) == [str(tmp_path / "a")]
    authoring.write(str(tmp_path), {"b": b"2"}, force=True)
    assert (tmp_path / "b").read_bytes() == b"2"
