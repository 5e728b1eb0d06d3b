"""What ``-p`` takes, and where in a bundle a policy or a rule lies."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import AssayError, DocumentError, UsageError
from assay.policy.bundles import BUILTIN, builtin, catalogue, parse, resolve_rule, resolver
from assay.policy.bundles.builtin import names
from assay.policy.bundles.contents import choose
from assay.policy.sources import Loose, Packed
from assay.targets.interface import Reference
from helpers import one_sentence

COMMIT, DIGEST = "a" * 40, "sha256:" + "b" * 64
POLICY = b"# a comment\nassay-policy: 1\nid: x\n"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.yml").write_bytes(POLICY)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "a#b").mkdir()


@pytest.mark.parametrize(
    ("text", "target", "entry", "remote", "pinned"),
    [
        ("policy.yml", Reference("file", "policy.yml"), None, False, False),
        ("file:policy.yml", Reference("file", "policy.yml"), None, False, False),
        ("bundle", Reference("dir", "bundle"), None, False, False),
        ("bundle#rules/x.yml", Reference("dir", "bundle"), "rules/x.yml", False, False),
        ("dir:bundle#./x.yml", Reference("dir", "bundle"), "x.yml", False, False),
        ("a#b", Reference("dir", "a#b"), None, False, False),
        ("dir:a#b", Reference("dir", "a#b"), None, False, False),
        ("a#b#x.yml", Reference("dir", "a#b"), "x.yml", False, False),
        ("git:bundle", Reference("git", "bundle"), None, False, False),
        ("git:bundle@v1#x.yml", Reference("git", "bundle", "v1"), "x.yml", False, False),
        ("git:https://h.org/x", Reference("git", "https://h.org/x"), None, True, False),
        ("git:https://h.org/x@main#y.yml", Reference("git", "https://h.org/x", "main"), "y.yml", True, False),
        ("git:https://h.org/x@" + COMMIT, Reference("git", "https://h.org/x", COMMIT), None, True, True),
        ("git:git@h.org:x@" + COMMIT[:12], Reference("git", "git@h.org:x", COMMIT[:12]), None, True, False),
        ("https://github.com/org/x@v1#y.yml", Reference("git", "https://github.com/org/x", "v1"), "y.yml", True, False),
        ("oci:bundle#y.yml", Reference("oci", "bundle"), "y.yml", False, False),
        ("oci:h.org/x:v1", Reference("oci", "h.org/x:v1"), None, True, False),
        (f"oci:h.org/x@{DIGEST}#y.yml", Reference("oci", "h.org/x", DIGEST), "y.yml", True, True),
        ("builtin:ml-baseline", None, "ml-baseline", False, False),
    ],
)
def test_what_it_means(text: str, target: Reference | None, entry: str | None, remote: bool, pinned: bool) -> None:
    found = parse(text)
    assert (found.target, found.entry, found.remote, found.pinned) == (target, entry, remote, pinned)


def test_a_login_is_kept_and_not_shown() -> None:
    found = parse(f"git:https://me:secret@h.org/x@{COMMIT}#y.yml")
    assert found.login == "me:secret" and "secret" not in repr(found) + found.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no policy ''"),
        ("nowhere.yml", "no policy 'nowhere.yml'"),
        ("ml-baseline", "no policy 'ml-baseline'"),
        ("policy.yml#x", "is a file"),
        ("bundle#", "nothing stands after the '#'"),
        ("#x", "no policy ''"),
        ("bundle#../x", "not a file beside"),
        ("bundle#/etc/x", "not a file beside"),
        ("hf:org/x", "do not come from hf:"),
        ("env:", "do not come from env:"),
        ("s3:x", "unknown scheme"),
        ("a\nb", "no policy"),
        ("git:ext::sh -c x", "transport"),
    ],
)
def test_what_is_no_bundle(text: str, message: str) -> None:
    with pytest.raises(AssayError) as caught:
        parse(text)
    assert message in one_sentence(caught.value) and caught.value.exit_code == 2


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60) | st.from_regex(r"(git|oci|dir|builtin|file):[a-z@#:/.]{0,40}", fullmatch=True))
def test_any_text_is_a_reference_or_one_sentence(text: str) -> None:
    try:
        parse(text)
    except AssayError as error:
        one_sentence(error)


def packed(**files: str) -> Packed:
    return Packed("dir:b", {name.replace("__", "/") + ".yaml": data.encode() for name, data in files.items()})


def test_the_policy_of_a_bundle() -> None:
    rule = "assay-rule: 1\n"
    assert choose(packed(a=POLICY.decode(), rules__x__y=rule, note="x: 1"), None) == "a.yaml"
    assert choose(packed(a=POLICY.decode(), b=POLICY.decode()), "b.yaml") == "b.yaml"
    assert choose(packed(a="config-type: initiative\n"), None) == "a.yaml"
    assert choose(packed(a="config-type: rule\n", b="attest:\n  cocosign: {}\n"), None) == "b.yaml"
    assert choose(packed(deep__a='"assay-policy": 1\n'), None) == "deep/a.yaml"
    two = packed(a=POLICY.decode(), b=POLICY.decode())
    for sources, named, message in (
        (two, None, "several policies"),
        (two, "c.yaml", "has no file 'c.yaml'"),
        (packed(x="text: |\n  assay-policy: 1\n"), None, "no policy"),
        (packed(rules__x__y="assay-policy: 1\n", v2__rules__x="assay-policy: 1\n"), None, "no policy"),
        (packed(), None, "no policy"),
    ):
        with pytest.raises(UsageError, match=message) as caught:
            choose(sources, named)
        one_sentence(caught.value)
    assert caught.value.hint is not None
    with pytest.raises(UsageError) as caught:
        choose(two, None)
    assert "a.yaml, b.yaml" in (caught.value.hint or "")


def test_a_description_decides() -> None:
    two = {"a": POLICY.decode(), "b": POLICY.decode()}
    described = "assay-bundle: 1\nname: x\nversion: '1'\ndescription: text\n"
    assert choose(packed(**two, bundle=described + "default: b.yaml\n"), None) == "b.yaml"
    assert choose(packed(**two, bundle=described + "default: b.yaml\n"), "a.yaml") == "a.yaml"
    assert choose(packed(**two, bundle=described + "policies: [a.yaml]\n"), None) == "a.yaml"
    with pytest.raises(UsageError, match="several policies"):
        choose(packed(**two, bundle=described), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("assay-bundle: 2\n", "version 2"),
        ("name: x\n", "assay-bundle"),
        ("assay-bundle: 1\nnmae: x\n", "nmae"),
        ("assay-bundle: 1\ndefault: c.yaml\n", "names the policy 'c.yaml'"),
        ("assay-bundle: 1\npolicies: [../a.yaml]\n", "not a file beside"),
        ("assay-bundle: 1\npolicies: [./a.yaml]\n", "names the policy './a.yaml'"),
        ("assay-bundle: 1\nassay-bundle: 1\n", "twice"),
        ("assay-bundle: [\n", "bundle.yaml"),
        ("a: &a [x]\nassay-bundle: *a\n", "alias"),
        ("[]", "bundle.yaml"),
        ("", "bundle.yaml"),
    ],
)
def test_descriptions_that_are_wrong(text: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        choose(packed(a=POLICY.decode(), bundle=text), None)
    assert message in one_sentence(caught.value)


def test_rules_and_their_versions() -> None:
    sources = packed(
        rules__sbom__fresh="assay-rule: 1\n",
        rules__sbom__new="assay-rule: 1\nversion: '2.1'\n",
        rules__sbom__both="assay-rule: 1\nversion: v1\n",
        v2__rules__sbom__both="config-type: rule\n",
        v2__rules__sbom__old="config-type: rule\n",
        rules__deep__er__x="assay-rule: 1\n",
    )
    for uses, expected in (
        ("sbom/fresh", "rules/sbom/fresh.yaml"),
        ("sbom/fresh@v1", "rules/sbom/fresh.yaml"),
        ("sbom/fresh@v2", None),
        ("sbom/new", "rules/sbom/new.yaml"),
        ("sbom/new@v1", None),
        ("sbom/new@v2", "rules/sbom/new.yaml"),
        ("sbom/both@v1", "rules/sbom/both.yaml"),
        ("sbom/both@v2", "v2/rules/sbom/both.yaml"),
        ("sbom/old@v2", "v2/rules/sbom/old.yaml"),
        ("sbom/old@v2/rules", "v2/rules/sbom/old.yaml"),
        ("sbom/new@v2/rules", None),
        ("sbom/old", None),
        ("deep/er/x@v1", "rules/deep/er/x.yaml"),
        ("sbom/nope@v1", None),
    ):
        assert resolve_rule(sources, uses) == expected, uses
    short = Packed("dir:b", {"rules/a/b.yml": b""})
    assert resolve_rule(short, "a/b@v1") == "rules/a/b.yml"


@pytest.mark.parametrize(
    "uses", ["", "fresh", "a/../b", "../a/b", "/a/b", "a/b@", "a/b@main", "a/b@v", "a/b@v1.2", "a/b\n"]
)
def test_what_is_no_name_of_a_rule(uses: str) -> None:
    with pytest.raises(UsageError, match="not the name of a rule"):
        resolve_rule(packed(), uses)


def test_rules_of_a_loose_policy_and_of_the_catalogue(tmp_path: Path) -> None:
    loose = Loose(str(tmp_path), "file:policy.yml")
    (tmp_path / "rules" / "a").mkdir(parents=True)
    (tmp_path / "rules" / "a" / "b.yaml").write_text("assay-rule: 1\n")
    shared = Packed("builtin:rules", {"rules/a/b.yaml": b"", "rules/a/c.yaml": b""})
    resolve = resolver(loose, shared)
    assert resolve("a/b@v1") == (loose, "rules/a/b.yaml")
    assert resolve("a/c@v1") == (shared, "rules/a/c.yaml")
    with pytest.raises(UsageError, match="no rule 'a/d@v1' in file:policy.yml nor builtin:rules"):
        resolve("a/d@v1")
    (tmp_path / "rules" / "a" / "c.yaml").mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        resolve("a/c@v1")


def test_what_ships_with_assay() -> None:
    with pytest.raises(UsageError, match="no policy 'nope' ships with assay"):
        builtin("nope")
    with pytest.raises(UsageError):
        builtin("../../errors")
    rules = catalogue()
    assert rules.uri == "builtin:rules" and all("/" in name for name in rules.names())
    assert BUILTIN.endswith("assay/policy/builtin")
    for name in names():
        sources, entry = builtin(name)
        assert sources.uri == f"builtin:{name}" and sources.read(entry)
        assert [item for item in sources.names() if "/" not in item] == [entry]
