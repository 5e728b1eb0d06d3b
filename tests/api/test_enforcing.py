"""From a profile to rules: what was seen is allowed, rounded as documented, and never more than a step can mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.api.enforcing import MANY, enforced, needs
from assay.collect.behaviour.interface import Fact, Kind
from assay.collect.behaviour.model import Known, Profile
from assay.errors import UsageError
from assay.guard.sandbox.interface import Destination, Isolation, Wanted

WANTED = Wanted(read=("/srv/data", "/srv/more"), write=("/srv/out",), installation=("/srv/env",), directory="/srv/code",
                network=(Destination("a.example", 443),), execute=("/srv/env/bin/python",),
                code=("/srv/code", "/opt/linked"), temporary="/tmp/private")  # fmt: skip


def profile(*facts: tuple[Kind, str], runs: int = 3, known: Known | None = None) -> Profile:
    return Profile("train", runs=runs, facts={Fact(*fact): known or Known(runs) for fact in facts})


@pytest.mark.parametrize(
    ("kind", "text", "allowed"),
    [
        (Kind.READ, "$IN/part-<n>.csv", {"/srv/data"}),
        (Kind.READ, "$IN/train/part-<n>.csv", {"/srv/data/train"}),
        (Kind.READ, "$IN/<date>/part.csv", {"/srv/data/<date>/part.csv"}),
        (Kind.READ, "$IN2/*.png", {"/srv/more"}),
        (Kind.READ, "$IN/labels.csv", {"/srv/data/labels.csv"}),
        (Kind.READ, "$IN3/labels.csv", set()),  # this run has no third input
        (Kind.READ, "/mnt/share/x.csv", {"/mnt/share/x.csv"}),
        (Kind.CODE, "$CODE/train.py", {"/srv/code/train.py"}),
        (Kind.CONFIGURATION, "/etc/fonts", {"/etc/fonts"}),
        (Kind.CONFIGURATION, "/etc/shadow", set()),
        (Kind.READ, "/", set()),
        (Kind.READ, "~", set()),
        (Kind.READ, "/etc", set()),
        (Kind.READ, "~/.ssh/id_rsa", set()),
        (Kind.READ, "~/.ssh", set()),
        (Kind.SENSITIVE, "~/.ssh/id_rsa", set()),
    ],
)
def test_reads(kind: Kind, text: str, allowed: set[str]) -> None:
    made = needs(profile((kind, text)), WANTED)
    if text == "$IN/<date>/part.csv":
        allowed = {"/srv/data"}  # the folder's own name varies: the one above it
    assert made.read == allowed
    assert not made.write and bool(made.left_out) != bool(allowed)


def test_a_folder_is_meant_when_many_of_its_files_were_read_and_only_in_declared_places() -> None:
    few = [(Kind.READ, f"$IN/{name}.csv") for name in "abcd"]
    assert len(few) == MANY - 1 and len(needs(profile(*few), WANTED).read) == MANY - 1
    assert needs(profile(*few, (Kind.READ, "$IN/e.csv")), WANTED).read == {"/srv/data"}
    outside = [(Kind.READ, f"/mnt/share/{name}.csv") for name in "abcdefgh"]
    assert len(needs(profile(*outside), WANTED).read) == 8


def test_writes_programs_and_destinations() -> None:
    made = needs(
        profile(
            (Kind.OUTPUT, "$OUT/run-<n>/*.bin"),
            (Kind.WRITE, "$CODE/logs/x-<n>.log"),
            (Kind.WRITE, "~/x.txt"),
            (Kind.WRITE, "/dev/shm/*"),
            (Kind.PERSISTENCE, "~/.bashrc"),
            (Kind.PROGRAM, "$ENV/bin/python3"),
            (Kind.PROGRAM, "/opt/tools/gcc"),
            (Kind.DESTINATION, "tcp a.example:443"),
            (Kind.DESTINATION, "tcp localhost:*"),
            (Kind.DESTINATION, "udp a.example:53"),
            (Kind.DESTINATION, "dns a.example"),
        ),
        WANTED,
    )
    assert made.write == {"/srv/out", "/srv/code/logs"}
    assert made.execute == {"/srv/env/bin/python3", "/opt/tools/gcc"}
    assert made.network == {Destination("a.example", 443), Destination("localhost", None)}
    assert sorted(text.split()[0] for text in made.left_out) == ["destinations", "persistence", "writes"]


def test_what_was_refused_or_only_declared_is_no_need() -> None:
    fact = (Kind.DESTINATION, "tcp evil.example:443")
    made = needs(profile(fact, known=Known(3, (), True)), WANTED)
    assert not made.network and "only ever refused" in made.left_out[0]
    assert not needs(profile(fact, known=Known(0)), WANTED).network


def test_enforced_is_strict_and_never_more_than_was_declared() -> None:
    learned = profile(
        (Kind.READ, "$IN/*.csv"), (Kind.DESTINATION, "tcp a.example:443"), (Kind.DESTINATION, "tcp b.example:443")
    )
    made = enforced(learned, WANTED)
    assert made.isolation is Isolation.STRICT and made.exact_reads and made.read == ("/srv/data",) and made.write == ()
    assert made.network == (Destination("a.example", 443),)
    assert made.execute == ("/srv/env/bin/python",) and made.code == ("/opt/linked",)
    closed = enforced(learned, Wanted(read=WANTED.read, network=(), directory="/srv/code"))
    assert closed.network == ()
    opened = enforced(learned, Wanted(read=WANTED.read, network=None, directory="/srv/code"))
    assert opened.network is not None and len(opened.network) == 2


def test_a_profile_that_learned_nothing_enforces_nothing() -> None:
    with pytest.raises(UsageError, match="no run yet"):
        enforced(Profile("train"), WANTED)


def test_a_folder_above_home_is_too_much(home: Path) -> None:
    made = needs(profile((Kind.READ, str(home.parent)), (Kind.CACHE, "~/.cache/torch")), WANTED)
    assert made.read == made.write == {str(home / ".cache" / "torch")}


def test_a_link_that_leads_to_too_much_allows_nothing(tmp_path: Path, home: Path) -> None:
    (tmp_path / "logs").symlink_to(home)
    (tmp_path / "data").symlink_to("/")
    wanted = Wanted(read=(str(tmp_path / "data"),), directory=str(tmp_path))
    made = needs(profile((Kind.WRITE, "$CODE/logs/x.log"), (Kind.READ, "$IN/*.csv")), wanted)
    assert not made.write and not made.read and len(made.left_out) == 2
