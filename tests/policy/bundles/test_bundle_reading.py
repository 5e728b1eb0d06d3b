"""Bundles from folders, files, git and registries: read whole, bounded, and only as signed where that is demanded."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from assay.errors import AssayError, DocumentError, TargetError, UndecidedError, UsageError
from assay.evidence import documents, keys, oms
from assay.evidence.bundle import parse as parse_bundle
from assay.evidence.keys import PrivateKey
from assay.evidence.signers.key import KeySigner
from assay.evidence.trust.key import KeyAnchor
from assay.evidence.verification import Candidate
from assay.policy.bundles import Bundle, BundleReference, Demand, parse, read
from assay.policy.bundles.reading import MAX_BYTES, MAX_FILES
from assay.targets.interface import Target
from helpers import NOW, manifest_of, model_statement, one_sentence, statement, write_model
from targets.oci_making import TITLE, Artifact, serving, tar_of

FILES = {
    "policy.yml": b"assay-policy: 1\nid: main\n",
    "rules/sbom/fresh.yaml": b"assay-rule: 1\n",
    "rules/sbom/fresh.rego": b"package verify\n",
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (home / "gitconfig").write_text("[user]\nname = A\nemail = a@example.org\n[init]\ndefaultBranch = main\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "bundle", FILES)


@pytest.fixture(scope="module")
def ci() -> PrivateKey:
    return keys.generate()


@pytest.fixture(scope="module")
def other() -> PrivateKey:
    return keys.generate()


def signed(path: Path, key: PrivateKey) -> bytes:
    """A signature of all files, as `assay sign` makes it."""
    return KeySigner(key).sign(model_statement(path)).raw


def demand(key: PrivateKey, *found: bytes, taken_back: Sequence[bytes] = ()) -> Demand:
    candidates = [Candidate(f"file {n}", parse_bundle(data, "x")) for n, data in enumerate(found)]
    candidates += [Candidate("taken", parse_bundle(data, "x"), 1, True) for data in taken_back]
    return Demand([KeyAnchor(key.public)], lambda thing: candidates, NOW)


def contents(bundle: Bundle) -> dict[str, bytes]:
    return {name: bundle.sources.read(name) for name in bundle.sources.names()}


def undecided(text: str, needed: Demand) -> str:
    with pytest.raises(AssayError) as caught:
        read(parse(text), demand=needed)
    assert caught.value.exit_code == 3, caught.value
    return one_sentence(caught.value)


def git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=directory, capture_output=True, check=True)
    return done.stdout.decode().strip()


def commit(directory: Path) -> str:
    if not (directory / ".git").exists():
        git(directory, "init", "-q")
    git(directory, "add", "-A")
    git(directory, "commit", "-q", "-m", "x")
    return git(directory, "rev-parse", "HEAD")


def test_a_folder(folder: Path) -> None:
    bundle = read(parse("bundle"))
    assert contents(bundle) == FILES and bundle.entry == "policy.yml"
    assert bundle.sources.uri == "dir:bundle" and bundle.uri == "dir:bundle#policy.yml"
    assert bundle.sources.sha256() == manifest_of(folder).contents().hex()
    assert bundle.sources.signer is None and bundle.proof is None


def test_a_single_file_and_those_beside_it(folder: Path) -> None:
    bundle = read(parse("bundle/policy.yml"))
    assert bundle.entry == "policy.yml" and bundle.uri == "file:policy.yml"
    assert bundle.sources.read("rules/sbom/fresh.rego") == b"package verify\n"
    with pytest.raises(DocumentError, match="not a file beside"):
        bundle.sources.read("../secret")


@pytest.mark.parametrize("place", ["found", "inside"])
def test_a_signed_folder(folder: Path, ci: PrivateKey, other: PrivateKey, place: str) -> None:
    signature = signed(folder, ci)
    before = read(parse("bundle")).sources.sha256()
    if place == "inside":
        (folder / "model.sig").write_bytes(signature)
    found = () if place == "inside" else (signed(folder, other), signature)
    bundle = read(parse("bundle"), demand=demand(ci, *found))
    assert contents(bundle) == FILES, "the signature is no part of what it signs"
    assert bundle.sources.sha256() == before
    assert bundle.proof is not None and bundle.proof.signer == ci.public.key_id
    assert bundle.sources.signer == f"key {ci.public.key_id[:16]}"


def test_unsigned_signed_by_others_and_by_nobody_named(folder: Path, ci: PrivateKey, other: PrivateKey) -> None:
    assert "there is no signature" in undecided("bundle", demand(ci))
    assert "not what somebody expected signed" in undecided("bundle", demand(ci, signed(folder, other)))
    nobody = Demand([], lambda thing: [], NOW)
    assert "nobody is named" in undecided("bundle", nobody)


def test_a_signature_that_was_taken_back(folder: Path, ci: PrivateKey) -> None:
    signature = signed(folder, ci)
    assert "taken back" in undecided("bundle", demand(ci, signature, taken_back=[signature]))
    (folder / "model.sig").write_bytes(signature)
    assert "taken back" in undecided("bundle", demand(ci, taken_back=[signature]))


def test_a_signature_in_the_bundle_that_is_none(folder: Path, ci: PrivateKey) -> None:
    (folder / "model.sig").write_bytes(b"not a signature")
    assert contents(read(parse("bundle"))) == FILES
    assert "there is no signature" in undecided("bundle", demand(ci))
    assert read(parse("bundle"), demand=demand(ci, signed(_copy(folder), ci))).proof is not None


def _copy(folder: Path) -> Path:
    made = folder.parent / "copy" / folder.name
    shutil.copytree(folder, made)
    (made / "model.sig").unlink()
    return made


TAMPERING: dict[str, Callable[[Path], object]] = {
    "one byte": lambda folder: (folder / "policy.yml").write_bytes(FILES["policy.yml"].replace(b"main", b"mine")),
    "a file more": lambda folder: (folder / "rules" / "evil.rego").write_bytes(b"package verify"),
    "a file less": lambda folder: (folder / "rules/sbom/fresh.rego").unlink(),
    "names swapped": lambda folder: _swap(folder / "policy.yml", folder / "rules/sbom/fresh.yaml"),
    "renamed": lambda folder: (folder / "policy.yml").rename(folder / "policy2.yml"),
}


def _swap(one: Path, two: Path) -> None:
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


@pytest.mark.parametrize("change", TAMPERING)
def test_tampering_after_signing(folder: Path, ci: PrivateKey, change: str) -> None:
    needed = demand(ci, signed(folder, ci))
    assert read(parse("bundle"), demand=needed).proof is not None
    TAMPERING[change](folder)
    message = undecided("bundle", needed)
    assert any(word in message for word in ("modified", "missing", "not signed"))


def test_files_that_change_after_they_were_read(folder: Path, ci: PrivateKey) -> None:
    """Whoever swaps the files while the signature is looked up changes neither the proof nor what is used."""
    signature = parse_bundle(signed(folder, ci), "x")

    def find(thing: Target) -> list[Candidate]:
        for name in FILES:
            (folder / name).write_bytes(b"assay-policy: 1\nid: evil\n")
        return [Candidate("store", signature)]

    bundle = read(parse("bundle"), demand=Demand([KeyAnchor(ci.public)], find, NOW))
    for name in FILES:
        (folder / name).unlink()
    assert contents(bundle) == FILES


def test_evil_files_that_are_swapped_back_for_the_signature(folder: Path, ci: PrivateKey) -> None:
    signature = parse_bundle(signed(folder, ci), "x")
    (folder / "policy.yml").write_bytes(b"assay-policy: 1\nid: evil\n")

    def find(thing: Target) -> list[Candidate]:
        (folder / "policy.yml").write_bytes(FILES["policy.yml"])
        return [Candidate("store", signature)]

    with pytest.raises(UndecidedError, match="modified: policy.yml"):
        read(parse("bundle"), demand=Demand([KeyAnchor(ci.public)], find, NOW))


def test_what_a_finder_is_asked(folder: Path, ci: PrivateKey) -> None:
    asked: list[Target] = []
    signature = signed(folder, ci)
    (folder / "model.sig").write_bytes(signature)
    read(parse("bundle"), demand=Demand([KeyAnchor(ci.public)], lambda thing: asked.append(thing) or [], NOW))  # type: ignore[func-returns-value]
    (folder / "model.sig").unlink()
    expected = manifest_of(folder)
    thing = asked[0]
    made = thing.manifest()
    assert thing.name == "bundle" and thing.reference.scheme == "dir" and list(thing.names) == sorted(FILES)
    assert (made.contents(), made.shape(), made.blake3) == (expected.contents(), expected.shape(), expected.blake3)


def test_evidence_that_cannot_be_read_leaves_it_open(folder: Path, ci: PrivateKey) -> None:
    def find(thing: Target) -> list[Candidate]:
        raise DocumentError("the store is damaged")

    with pytest.raises(UndecidedError, match="the store is damaged"):
        read(parse("bundle"), demand=Demand([KeyAnchor(ci.public)], find, NOW))


def test_only_a_list_of_all_files_is_a_signature(folder: Path, ci: PrivateKey) -> None:
    """A report about the bundle, a signature of a part, and one that leaves names out approve of nothing."""
    digest = manifest_of(folder).contents().hex()
    about = {"subject": [{"name": "bundle", "digest": {"sha256": digest}}]}
    report = KeySigner(ci).sign(statement("bundle", **about)).raw
    assert "does not list the files" in undecided("bundle", demand(ci, report))
    globs = {"part": ["policy.yml"]}
    part = oms.payload("bundle", manifest_of(folder), ignored=(), followed_links=False, annotations=globs)
    assert "speaks of a part only: policy.yml" in undecided("bundle", demand(ci, KeySigner(ci).sign(part).raw))
    assert "not signed: rules/sbom" in undecided("bundle", demand(ci, _only(folder, "policy.yml", ci)))


def test_what_the_signer_left_out_is_no_part_of_the_bundle(folder: Path, ci: PrivateKey) -> None:
    """`assay sign` leaves out what belongs to git, as other tools do; nobody signed it, so that nothing reads it."""
    manifest = manifest_of(folder)
    payload = oms.payload("bundle", manifest, ignored=oms.GIT_PATHS, followed_links=False, annotations={})
    signature = KeySigner(ci).sign(payload).raw
    write_model(folder, {".github/evil.rego": b"package verify", ".gitignore": b"x\n"})
    bundle = read(parse("bundle"), demand=demand(ci, signature))
    assert contents(bundle) == FILES and bundle.sources.sha256() == manifest.contents().hex()
    with pytest.raises(TargetError, match="has no file"):
        bundle.sources.read(".github/evil.rego")
    with pytest.raises(UsageError, match="has no file"):
        read(parse("bundle#.gitignore"), demand=demand(ci, signature))


def _only(folder: Path, name: str, key: PrivateKey) -> bytes:
    """A signature of one of the files."""
    part = folder.parent / "part" / folder.name
    part.mkdir(parents=True)
    shutil.copy(folder / name, part / name)
    return signed(part, key)


def test_a_signed_file_stands_alone(folder: Path, ci: PrivateKey) -> None:
    needed = demand(ci, signed(folder / "policy.yml", ci))
    bundle = read(parse("bundle/policy.yml"), demand=needed)
    assert contents(bundle) == {"policy.yml": FILES["policy.yml"]} and bundle.uri == "file:policy.yml"
    assert bundle.sources.sha256() == read_through("bundle/policy.yml"), "signed or not, the digest is the same"
    with pytest.raises(TargetError, match="has no file"):
        bundle.sources.read("rules/sbom/fresh.rego")
    (folder / "policy.yml").write_bytes(b"assay-policy: 1\n")
    assert "modified" in undecided("bundle/policy.yml", needed)


def read_through(text: str) -> str:
    bundle = read(parse(text))
    bundle.sources.read(bundle.entry)
    return bundle.sources.sha256()


@pytest.mark.parametrize("place", ["found", "inside"])
def test_a_signed_repository_at_a_commit(folder: Path, ci: PrivateKey, place: str) -> None:
    signature = signed(folder, ci)
    if place == "inside":
        (folder / "model.sig").write_bytes(signature)
    first = commit(folder)
    (folder / "policy.yml").write_bytes(b"assay-policy: 1\nid: evil\n")
    second = commit(folder)
    needed = demand(ci, *(() if place == "inside" else (signature,)))
    bundle = read(parse(f"git:bundle@{first}"), demand=needed)
    assert contents(bundle) == FILES
    assert bundle.uri == f"git:bundle@{first}#policy.yml"
    assert "modified: policy.yml" in undecided(f"git:bundle@{second}", needed)
    assert "modified: policy.yml" in undecided("git:bundle", needed)
    url = f"git:file://{folder}@{first}"
    assert read(parse(url), demand=needed).uri == f"git:file://{folder}@{first}#policy.yml"


def test_a_remote_repository_is_pinned_or_signed(folder: Path, ci: PrivateKey) -> None:
    signature = signed(folder, ci)
    first = commit(folder)
    git(folder, "tag", "v1")
    for revision in ("", "@main", "@v1", f"@{first[:12]}"):
        with pytest.raises(UsageError, match="whatever its owner makes of it"):
            read(parse(f"git:file://{folder}{revision}"))
    assert contents(read(parse(f"git:file://{folder}@{first}"))) == FILES
    bundle = read(parse(f"git:file://{folder}@v1#policy.yml"), demand=demand(ci, signature))
    assert bundle.uri == f"git:file://{folder}@{first}#policy.yml", "a tag is recorded as the commit that it was"
    assert read(parse("git:bundle@v1")).uri == f"git:bundle@{first}#policy.yml", "one's own clone may be named anyhow"


def test_git_lfs_is_refused(folder: Path, ci: PrivateKey) -> None:
    content = b"assay-policy: 1\n"
    oid = hashlib.sha256(content).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"
    (folder / "policy.yml").write_text(pointer)
    commit(folder)
    store = folder / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4]
    store.mkdir(parents=True)
    (store / oid).write_bytes(content)
    with pytest.raises(TargetError, match="Git LFS"):
        read(parse("git:bundle"))
    assert "Git LFS" in undecided("git:bundle", demand(ci))


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_a_signed_image_layout(folder: Path, tmp_path: Path, ci: PrivateKey, form: str) -> None:
    """A folder that was signed and then pushed file by file is what was signed."""
    signature = signed(folder, ci)
    artifact = Artifact(FILES)
    layout = artifact.layout(tmp_path / "layout")
    if form == "tar":
        layout = tar_of(layout, tmp_path / "layout.tar")
    bundle = read(parse(f"oci:{layout}#policy.yml"), demand=demand(ci, signature))
    assert contents(bundle) == FILES and bundle.uri == f"oci:layout@{artifact.manifest()['digest']}#policy.yml"
    evil = Artifact(FILES | {"policy.yml": b"assay-policy: 1\n"}).layout(tmp_path / "evil")
    assert "modified: policy.yml" in undecided(f"oci:{evil}", demand(ci, signature))


def test_a_registry_is_pinned_or_signed(folder: Path, ci: PrivateKey) -> None:
    signature = signed(folder, ci)
    with serving() as registry:
        artifact = Artifact(FILES)
        artifact.layer(signature, "application/vnd.dev.sigstore.bundle.v0.3+json", {TITLE: "model.sig"})
        digest = registry.push(artifact, "v1")
        name = f"oci:{registry.host}/org/bundle"
        with pytest.raises(UsageError, match="whatever its owner makes of it"):
            read(parse(f"{name}:v1"))
        assert registry.seen == []
        pinned = read(parse(f"{name}@{digest}"))
        assert contents(pinned) == FILES and pinned.uri == f"{name}@{digest}#policy.yml"
        assert read(parse(f"{name}:v1"), demand=demand(ci)).uri == pinned.uri
        registry.push(Artifact(FILES | {"policy.yml": b"assay-policy: 1\n"}), "v1")
        assert "modified" in undecided(f"{name}:v1", demand(ci, signature))
        assert "there is no signature" in undecided(f"{name}:v1", demand(ci))
        assert "has no manifests/v9" in undecided(f"{name}:v9", demand(ci))
    assert "cannot be reached" in undecided(f"{name}:v1", demand(ci))


def test_a_registry_offline(folder: Path) -> None:
    reference = parse(f"oci:localhost:1/org/bundle@sha256:{'a' * 64}")
    with pytest.raises(UndecidedError, match="--offline"):
        read(reference, offline=True)


def test_links_are_refused(folder: Path, tmp_path: Path, ci: PrivateKey) -> None:
    (tmp_path / "secret").write_bytes(b"assay-policy: 1\n")
    needed = demand(ci, signed(folder, ci))
    (folder / "other.yml").symlink_to(tmp_path / "secret")
    with pytest.raises(TargetError, match="link out of the target"):
        read(parse("bundle"))
    assert "link out of the target" in undecided("bundle", needed)
    (folder / "other.yml").unlink()
    (folder / "other.yml").symlink_to("policy.yml")
    with pytest.raises(TargetError, match="is a symbolic link"):
        read(parse("bundle"))
    (folder / "other.yml").unlink()
    os.mkfifo(folder / "other.yml")
    with pytest.raises(TargetError, match="FIFO"):
        read(parse("bundle"))


def test_bundles_that_are_too_large(folder: Path, tmp_path: Path, ci: PrivateKey) -> None:
    with (folder / "large.bin").open("wb") as file:
        file.truncate(MAX_BYTES)
    with pytest.raises(TargetError, match="at most 2,000"):
        read(parse("bundle"))
    assert "at most 2,000" in undecided("bundle", demand(ci))
    with (folder / "large.bin").open("wb") as file:
        file.truncate(5 << 20)
    with pytest.raises(TargetError, match="'large.bin' of the policy bundle"):
        read(parse("bundle"))
    (folder / "large.bin").unlink()
    for n in range(MAX_FILES):
        (folder / f"{n}").touch()
    with pytest.raises(TargetError, match="has 2,003 files"):
        read(parse("bundle"))
    packed = Artifact()
    packed.layer(b"assay-policy: 1\n", "text/yaml", {TITLE: "policy.yml"})["size"] = 10 << 30
    layout = packed.layout(tmp_path / "layout")
    with pytest.raises(TargetError, match="more than the 16,777,216"):
        read(parse(f"oci:{layout}"))


def test_an_unreadable_bundle_where_a_signed_one_is_demanded(tmp_path: Path, ci: PrivateKey) -> None:
    (tmp_path / "empty").mkdir()
    assert "has no files" in undecided("empty", demand(ci))
    assert "not a git repository" in undecided("git:empty", demand(ci))
    reference = parse("empty")
    (tmp_path / "empty").rmdir()
    with pytest.raises(UndecidedError, match="cannot be opened"):
        read(reference, demand=demand(ci))


def test_several_documents_in_one_signature_file(folder: Path, ci: PrivateKey) -> None:
    """A signature file may hold several documents; each is tried."""
    one, two = signed(folder, keys.generate()), signed(folder, ci)
    (folder / "model.sig").write_bytes(one + b"\n" + two + b"\n")
    assert len(documents.read_documents(one + b"\n" + two + b"\n", "x")) == 2
    assert read(parse("bundle"), demand=demand(ci)).proof is not None


def test_what_ships_with_assay_needs_no_signature(ci: PrivateKey) -> None:
    reference = BundleReference("builtin:nope", None, "nope")
    with pytest.raises(UsageError, match="no policy 'nope' ships"):
        read(reference, demand=demand(ci))
