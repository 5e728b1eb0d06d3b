"""Statements that a hostile step would like to be false: decoys for what it read, floods of what it tried."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assay.collect.step import statements as made_of
from assay.collect.step.files import Places, examine
from assay.collect.step.statements import contacts, statements
from assay.collect.trace.interface import Contact, Decision, FileUse, Trace
from assay.policy.checks.interface import Document
from assay.policy.checks.isolated import CHECK
from collect.step.test_step_files import RUN, places, trace, use, written

__all__ = ["places"]  # the fixture


def dependencies(seen: Trace, places: Places) -> dict[str, dict[str, object]]:
    made = statements(seen, examine(seen, places), RUN)
    return {item["name"]: item for item in made[2].predicate["buildDefinition"]["resolvedDependencies"]}


def test_bytes_that_were_put_there_after_the_reading_lend_their_digest_to_nothing(
    places: Places, tmp_path: Path
) -> None:
    """An attested file, copied over what was read, and an attested input, put back after the step."""
    data = written(tmp_path / "data" / "a.csv", "poison")
    draft = written(tmp_path / "out" / "draft", "stolen")
    seen = trace(use(data, read=1), use(draft, read=1, written=1))
    data.write_text("as attested")
    draft.write_text("as attested")
    found = dependencies(seen, places)
    for name in ("data", "data/a.csv", "out/draft"):
        assert "digest" not in found[name] and found[name]["annotations"]["changed"], name  # type: ignore[index]
        assert len(found[name]["annotations"]["sha256Afterwards"]) == 64  # type: ignore[index]


def test_an_input_that_rests_keeps_its_digest(places: Places, tmp_path: Path) -> None:
    data = written(tmp_path / "data" / "a.csv", "as attested")
    draft = written(tmp_path / "out" / "draft", "1")
    seen = trace(use(data, read=1), use(draft, read=1, written=1))
    draft.write_text("22")
    found = dependencies(seen, places)
    assert found["data"]["digest"] and found["data/a.csv"]["digest"] and "digest" not in found["out/draft"]


def test_what_a_link_leads_to_in_the_end_hides_nothing(places: Places, tmp_path: Path) -> None:
    data = written(tmp_path / "data" / "a.csv", "1,2")
    stolen = written(tmp_path / "stolen.csv", "secret")
    link = tmp_path / "out" / "link"
    link.symlink_to(stolen)
    through = use(link, read=1, denied=1, at=2)  # as one that seems to have been refused
    link.unlink()
    link.symlink_to(data)
    found = dependencies(trace(use(data, read=1, at=1), through), places)
    assert found["data/a.csv"]["digest"]
    assert "digest" not in found["out/link"]


def test_a_link_to_a_file_is_not_that_file(places: Places, tmp_path: Path) -> None:
    for name in ("link", "written-before"):
        (tmp_path / "out" / name).symlink_to("/etc/passwd")
    seen = trace(
        FileUse(os.fsencode(tmp_path / "out" / "link"), appeared=1),
        FileUse(os.fsencode(tmp_path / "out" / "written-before"), written=1, appeared=1),
    )
    assert examine(seen, places).products == []


def test_a_folder_that_the_step_left_as_it_was_is_no_product(places: Places, tmp_path: Path) -> None:
    """Else a downloaded model would become one that was trained in isolation, by a step that does nothing."""
    written(tmp_path / "out" / "downloaded", "weights")
    seen = trace()
    found = examine(seen, places)
    assert [item.name for item in statements(seen, found, RUN)[2].subjects] == ["run:0a1b"]
    assert found.warnings == ["out: 1 of 1 files were there before and are not of this run"]
    seen = trace(use(written(tmp_path / "out" / "made", "1"), written=1, first=None))
    found = examine(seen, places)
    assert [item.name for item in statements(seen, found, RUN)[2].subjects] == ["out", "out/made"]
    assert found.warnings == ["out: 1 of 2 files were there before and are not of this run"]


def test_shared_memory_holds_files_like_any_other(places: Places) -> None:
    path = Path(f"/dev/shm/assay-test-{os.getpid()}.csv")
    path.write_text("1,2")
    try:
        assert str(path) in dependencies(trace(use(path, read=1)), places)
    finally:
        path.unlink()


@pytest.mark.parametrize("came_through", [Decision.SEEN, Decision.MEDIATED])
def test_a_flood_of_refused_contacts_hides_none_that_came_through(
    came_through: Decision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made_of, "MOST_CONTACTS", 10)

    def contact(number: int, decision: Decision) -> Contact:
        return Contact(number, 0, "connect", "inet", "tcp", f"192.0.2.{number}", 443, None, decision, "")

    flood = [contact(number, Decision.DENIED) for number in range(50)]
    found = contacts([*flood, contact(99, came_through)])
    assert found[0]["address"] == "192.0.2.99" and len(found) == 11
    assert found[-1] == {"call": "others", "family": "others", "decision": "denied", "times": 41}
    assert wrong(contacts([*flood, contact(99, came_through)])) != []
    # More than can be listed came through: a rule that allows some of them may not be content.
    hosts = [f"192.0.2.{number}" for number in range(11)]
    listed = contacts([contact(number, came_through) for number in range(11)])
    assert wrong(listed, hosts) != [] and wrong(listed[:-1], hosts) == []


def wrong(network: list[dict[str, object]], hosts: list[str] | None = None) -> list[object]:
    predicate = {"environment": {"isolation": {"network": network, "gaps": [], "monitor": "x"}}}
    document = Document("https://in-toto.io/attestation/link/v0.3", predicate, {}, (), datetime.now(UTC))
    return list(CHECK.violations(document, CHECK.prepare({"hosts": hosts or []}, "require")))
