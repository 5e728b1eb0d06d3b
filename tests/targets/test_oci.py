"""``oci:`` targets from image layouts: what an artifact's files are, and every way in which it must be refused."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import TargetError, UsageError
from assay.targets.interface import Manifest, Options, Reference
from assay.targets.names import parse
from assay.targets.oci.documents import Index
from assay.targets.oci.documents import parse as parse_document
from assay.targets.oci.target import IN_MEMORY, OciTarget, open_oci
from assay.targets.oci.unpack import Budget
from assay.targets.registry import resolve
from helpers import manifest_of, one_sentence, places, write_model
from targets.oci_making import FILE, INDEX, MANIFEST, REF_NAME, TAR, TITLE, Artifact, digest, tar, tar_of

FILES = {"policy.yml": b"assay-policy: 1\n", "rules/sbom/fresh.yaml": b"assay-rule: 1\n", "empty": b""}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()


def open_(name: object, revision: str | None = None, **options: Any) -> OciTarget:
    bounds = {key: options.pop(key) for key in ("max_bytes", "max_files") if key in options}
    return open_oci(Reference("oci", str(name), revision), Options(**options), **bounds)


def read(name: object, revision: str | None = None, **options: Any) -> dict[str, bytes]:
    """All files, after checking that the manifest says the same of them and that nothing stays behind."""
    with open_(name, revision, **options) as target:
        manifest = target.manifest()
        found = {}
        for resource in manifest:
            with target.open(resource.name) as file:
                found[resource.name] = file.read()
            assert hashlib.sha256(found[resource.name]).digest() == resource.sha256
            assert resource.size == len(found[resource.name])
        assert list(manifest.names) == sorted(found)
    assert not glob.glob(os.path.join(tempfile.gettempdir(), "assay-oci-*"))
    return found


def refused(name: object, error: type[Exception] = TargetError, **options: Any) -> str:
    with pytest.raises(error) as caught:
        read(name, **options)
    assert not glob.glob(os.path.join(tempfile.gettempdir(), "assay-oci-*"))
    return one_sentence(caught.value)


def same(one: Manifest, other: Manifest) -> bool:
    return one.contents() == other.contents()


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_titles_are_files_and_the_digest_is_that_of_the_folder(tmp_path: Path, form: str) -> None:
    layout = Artifact(FILES).layout(tmp_path / "bundle")
    if form == "tar":
        layout = tar_of(layout, tmp_path / "bundle.tar")
    assert read(layout) == FILES
    with resolve(f"oci:{layout}") as target:
        assert same(target.manifest(), manifest_of(write_model(tmp_path / "plain", FILES)))
        manifest = Artifact(FILES).manifest()["digest"]
        assert target.reference == Reference("oci", str(layout), manifest)
        assert target.facts.revision == manifest and target.facts.digests == {"sha256": manifest[7:]}
        assert target.name == "bundle" and target.facts.origin is None and not target.single
        assert parse(str(target.reference)) == target.reference


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("format", [0, 1, 2])  # ustar, GNU, pax
def test_tars_are_unpacked(tmp_path: Path, compress: bool, format: int) -> None:
    files = {"a/deep/" + "x" * 90 + "/weights.bin": os.urandom(70_000), "b.txt": b"b", "empty": b"", "512": b"." * 512}
    if format:
        files["n" * 200 + "/" + "m" * 150] = b"long"
        files["modèle/été"] = b"accents"
    artifact = Artifact({"Kitfile": b"kit"})
    artifact.layer(tar({"a/": b"", "./": b""} | files, compress=compress, format=format), TAR + "+gzip" * compress)
    assert read(artifact.layout(tmp_path / "kit")) == files | {"Kitfile": b"kit"}


def test_a_folder_as_oras_pushes_it(tmp_path: Path) -> None:
    packed = {TITLE: "rules", "io.deis.oras.content.unpack": "true"}
    artifact = Artifact({"policy.yml": b"p"})
    artifact.layer(tar({"rules/": b"", "rules/a.yaml": b"a"}, compress=True), FILE + "+gzip", packed)
    assert read(artifact.layout(tmp_path / "a")) == {"policy.yml": b"p", "rules/a.yaml": b"a"}
    artifact.layer(tar({"policy2.yml": b"a"}, compress=True), FILE + "+gzip", packed)
    assert "outside of the folder" in refused(artifact.layout(tmp_path / "b"))


def test_a_model_as_modelpack_lays_it_out(tmp_path: Path) -> None:
    artifact = Artifact()
    artifact.config = artifact.blob(b'{"descriptor": {}}', "application/vnd.cncf.model.config.v1+json")
    raw = {"org.cncf.model.filepath": "model.gguf"}
    artifact.layer(b"GGUF", "application/vnd.cncf.model.weight.v1.raw", raw)
    artifact.layer(tar({"README.md": b"r"}), "application/vnd.cncf.model.doc.v1.tar")
    assert read(artifact.layout(tmp_path / "a")) == {"model.gguf": b"GGUF", "README.md": b"r"}
    with open_(tmp_path / "a") as target:
        assert target.facts.notes == {"config": "application/vnd.cncf.model.config.v1+json"}


def test_tags_and_digests_of_a_layout(tmp_path: Path) -> None:
    one, two = Artifact({"a": b"1"}), Artifact({"a": b"2"})
    first, second = one.manifest(), two.manifest()
    one.blobs |= two.blobs
    tagged = first | {"annotations": {REF_NAME: "v1"}}, second | {"annotations": {REF_NAME: "v2"}}
    layout = one.layout(tmp_path / "a", *tagged)
    assert read(f"{layout}:v1") == {"a": b"1"} and read(f"{layout}:v2") == {"a": b"2"}
    assert read(layout, second["digest"]) == {"a": b"2"}
    assert read(f"{layout}:v1", second["digest"]) == {"a": b"2"}, "the digest decides"
    several = refused(layout, UsageError)
    assert "v1 " + first["digest"] in several and "v2 " + second["digest"] in several
    assert "no tag 'v3'" in refused(f"{layout}:v3")
    assert "no file blobs/sha256/" in refused(layout, revision="sha256:" + "0" * 64)
    with open_(f"{layout}:v1") as target:
        assert str(target.reference) == f"oci:{layout}@{first['digest']}" and target.facts.notes["tag"] == "v1"


def test_an_index_with_one_manifest_is_followed_and_with_more_is_not(tmp_path: Path) -> None:
    artifact = Artifact({"a": b"1"})
    inner = artifact.index(artifact.manifest())
    assert read(artifact.layout(tmp_path / "a", artifact.index(inner))) == {"a": b"1"}
    arm = artifact.manifest(annotations={"x": "y"}) | {"platform": {"os": "linux", "architecture": "arm64"}}
    several = artifact.index(artifact.manifest(), arm)
    assert "linux/arm64 " + arm["digest"] in refused(artifact.layout(tmp_path / "b", several), UsageError)
    deep = artifact.manifest()
    for _ in range(10):
        deep = artifact.index(deep)
    assert "indexes inside each other" in refused(artifact.layout(tmp_path / "c", deep))
    assert "lists no manifest" in refused(artifact.layout(tmp_path / "d", artifact.index()))


def test_a_part_and_what_is_ignored(tmp_path: Path) -> None:
    artifact = Artifact({"a/x.bin": b"x", "README.md": b"r", ".git/config": b"g"})
    artifact.layer(tar({"a/y.bin": b"y", "__pycache__/z.pyc": b"z"}))
    layout = artifact.layout(tmp_path / "a")
    assert read(layout).keys() == {"a/x.bin", "README.md", "a/y.bin"}
    assert read(layout, paths=("a",)).keys() == {"a/x.bin", "a/y.bin"}
    assert len(read(layout, default_ignores=False)) == 5
    with open_(layout, ignore=("README.md",)) as target:
        assert target.facts.ignored == (".git/", "README.md", "__pycache__/")
    assert "'nope' matches no file" in refused(layout, paths=("nope",))
    assert "no files" in refused(Artifact().layout(tmp_path / "b"))


def test_a_part_downloads_only_the_part(tmp_path: Path) -> None:
    layout = Artifact({"a": b"1", "b": b"2"}).layout(tmp_path / "a")
    (layout / "blobs" / "sha256" / digest(b"2")[7:]).unlink()
    assert read(layout, paths=("a",)) == {"a": b"1"}
    assert "no file blobs/sha256/" in refused(layout)


@pytest.mark.parametrize("form", ["folder", "tar"])
@pytest.mark.parametrize("kind", [FILE, TAR])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:5] + bytes([data[5] ^ 1]) + data[6:], "contents"),  # the time in gzip's header
        (lambda data: data[:-1], ""),
        (lambda d: d + b"\0", ""),
    ],
    ids=["flipped", "shorter", "longer"],
)
def test_a_blob_that_was_changed(tmp_path: Path, form: str, kind: str, change: Any, message: str) -> None:
    data = tar({"weights.bin": b"w" * 3000}, compress=True)
    artifact = Artifact()
    artifact.layer(data, kind, {TITLE: "file"} if kind == FILE else None)
    manifest = artifact.manifest()
    artifact.blobs[digest(data)] = change(data)
    layout = artifact.layout(tmp_path / "a", manifest)
    assert message in refused(layout if form == "folder" else tar_of(layout, tmp_path / "a.tar"))


def test_a_large_blob_of_a_layout_is_held_against_its_digest_when_it_is_opened(tmp_path: Path) -> None:
    data = bytes(IN_MEMORY + 10)
    layout = Artifact({"large": data, "small": b"s"}).layout(tmp_path / "a")
    assert read(layout)["large"] == data
    with open_(layout) as target:
        blob = layout / "blobs" / "sha256" / digest(data)[7:]
        with blob.open("r+b") as file:
            file.write(b"?")
        with pytest.raises(TargetError, match="other contents"):
            target.open("large")
        with pytest.raises(TargetError, match="other contents"):
            target.manifest(sha256=False)


def test_a_changed_manifest_is_not_the_one_that_was_asked_for(tmp_path: Path) -> None:
    artifact = Artifact({"a": b"1"})
    manifest = artifact.manifest()
    artifact.blobs[manifest["digest"]] += b" "
    layout = artifact.layout(tmp_path / "a", manifest)
    assert "not what was asked for" in refused(layout)
    assert "not what was asked for" in refused(layout, revision=manifest["digest"])
    artifact = Artifact({"a": b"1"})
    other = artifact.manifest() | {"size": 3}
    assert "another size" in refused(artifact.layout(tmp_path / "b", other))


ATTACKS = {
    "up": {"../evil": b"x"},
    "inner": {"a/../../evil": b"x"},
    "absolute": {"/etc/evil": b"x"},
    "dot": {"a/./b": b"x"},
    "empty part": {"a//b": b"x"},
    "backslash": {"a\\b": b"x"},
    "line": {"a\nb": b"x"},
    "whiteout": {"a/.wh.b": b"x"},
    "case": {"README": b"x", "readme": b"y"},
    "file and folder": {"a": b"x", "a/b": b"y"},
    "folder and file": {"a/": b"", "a": b"y"},
    "too long": {"a" * 5000: b"x"},
    "too deep": {"a/" * 101 + "b": b"x"},
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("packed", [True, False])
def test_names_that_lead_out_or_mean_two_things(tmp_path: Path, attack: str, packed: bool) -> None:
    artifact = Artifact() if packed else Artifact(ATTACKS[attack])
    if packed:
        artifact.layer(tar(ATTACKS[attack]))
    refused(artifact.layout(tmp_path / "a"))
    assert not list(tmp_path.rglob("evil"))


def test_names_that_stand_twice(tmp_path: Path) -> None:
    artifact = Artifact({"a": b"1"})
    artifact.layer(b"2", FILE, {TITLE: "./a"})
    assert "'a' twice" in refused(artifact.layout(tmp_path / "a"))
    artifact = Artifact({"a": b"1"})
    artifact.layer(tar({"a": b"1"}))
    assert "'a' twice" in refused(artifact.layout(tmp_path / "b"))
    artifact = Artifact({"a": b"1", "b": b"1"})
    assert read(artifact.layout(tmp_path / "c")) == {"a": b"1", "b": b"1"}, "one blob may be two files"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digest": "sha256:" + "A" * 64}, "only SHA-256 is read"),
        ({"digest": "sha512:" + "a" * 128}, "only SHA-256 is read"),
        ({"digest": "sha256:" + "a" * 128}, "only SHA-256 is read"),
        ({"digest": "sha256:" + "a" * 40}, "only SHA-256 is read"),
        ({"digest": "md5:" + "a" * 64}, "only SHA-256 is read"),
        ({"digest": "sha256:../../../etc/passwd"}, "only SHA-256 is read"),
        ({"digest": ""}, "only SHA-256 is read"),
        ({"size": -1}, "-1 bytes"),
        ({"size": 1 << 64}, "names a blob"),
        ({"size": "3"}, "not a manifest"),
        ({"size": True}, "not a manifest"),
        ({"digest": None}, "not a manifest"),
        ({"mediaType": "application/x-anything", "annotations": {}}, "no file name and is no tar"),
        ({"annotations": {TITLE: 3}}, "not a manifest"),
    ],
)
def test_descriptors_that_are_malformed(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    artifact = Artifact({"a": b"abc"})
    artifact.layers[0] |= changes
    assert message in refused(artifact.layout(tmp_path / "a"))


def test_ten_gigabytes_are_declared(tmp_path: Path) -> None:
    artifact = Artifact({"a": b"abc"})
    artifact.layers[0]["size"] = 10 << 30
    layout = artifact.layout(tmp_path / "a")
    assert "in place of 10,737,418,240" in refused(layout)
    assert "in place of the 10,737,418,240" in refused(tar_of(layout, tmp_path / "a.tar"))
    assert "more than the 1,000 that are read" in refused(layout, max_bytes=1000)


def test_bounds(tmp_path: Path) -> None:
    layout = Artifact({"a": b"a" * 600, "b": b"b" * 600}).layout(tmp_path / "a")
    assert len(read(layout, max_bytes=1200, max_files=2)) == 2
    assert "more than the 1,000 that are read" in refused(layout, max_bytes=1000)
    assert "more files" in refused(layout, max_files=1)
    bomb = Artifact()
    bomb.layer(tar({"zeros": bytes(100_000)}, compress=True))
    layout = bomb.layout(tmp_path / "b")
    assert len(read(layout)["zeros"]) == 100_000
    assert "more bytes than are read" in refused(layout, max_bytes=50_000)
    many = Artifact()
    many.layer(tar({f"{i}/": b"" for i in range(50)} | {"a": b"a"}))
    assert "more files" in refused(many.layout(tmp_path / "c"), max_files=20)


def test_a_bomb_of_zeros_is_cut_off(tmp_path: Path) -> None:
    bomb = Artifact()
    bomb.layer(tar({"zeros": bytes(70 << 20)}, compress=True))
    assert "unpacks to more than is read" in refused(bomb.layout(tmp_path / "a"))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"manifests": [], "layers": []}, "a manifest and an index at once"),
        ({"mediaType": INDEX}, "is something else"),
        ({"schemaVersion": 1}, "schema version 1"),
        ({"schemaVersion": 2.5}, "not a manifest"),
        ({"layers": None}, "not a manifest"),
        ({"config": {}}, "not a manifest"),
        ({"config": None}, "not a manifest"),
    ],
)
def test_manifests_that_are_malformed(tmp_path: Path, document: dict[str, Any], message: str) -> None:
    artifact = Artifact({"a": b"1"})
    assert message in refused(artifact.layout(tmp_path / "a", artifact.manifest(**document)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"schemaVersion": 2, "schemaVersion": 2}', "a key stands twice"),
        (b'{"schemaVersion": NaN}', "NaN is not"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"\xff", "not JSON"),
        (b" " * (5 << 20), "larger than"),
        (b'{"schemaVersion": ' + b"9" * 10_000 + b"}", "not JSON"),
        (b'{"schemaVersion": 1, "fsLayers": []}', "old version"),
        (b'{"schemaVersion": 2, "blobs": []}', "withdrawn draft"),
    ],
)
def test_documents_that_are_none(tmp_path: Path, data: bytes, message: str) -> None:
    artifact = Artifact()
    layout = artifact.layout(tmp_path / "a", artifact.blob(data, MANIFEST))
    assert message in refused(layout)


def test_a_manifest_of_very_many_layers(tmp_path: Path) -> None:
    artifact = Artifact()
    layer = artifact.blob(b"", FILE) | {"annotations": {TITLE: "a"}}
    layout = artifact.layout(tmp_path / "a", artifact.manifest(layers=[layer] * 10_001))
    assert "10,002 blobs" in refused(layout)


def test_a_container_image_is_refused(tmp_path: Path) -> None:
    artifact = Artifact({"a": b"1"})
    artifact.config = artifact.blob(b"{}", "application/vnd.oci.image.config.v1+json")
    assert "is a container image" in refused(artifact.layout(tmp_path / "a"))


def test_what_is_no_layout(tmp_path: Path) -> None:
    layout = Artifact({"a": b"1"}).layout(tmp_path / "a")
    packed = tar_of(layout, tmp_path / "a.tar")
    (tmp_path / "a.tgz").write_bytes(tar({"oci-layout": b"{}"}, compress=True))
    assert "is compressed" in refused(tmp_path / "a.tgz")
    (tmp_path / "cut.tar").write_bytes(packed.read_bytes()[:1500])
    assert "ends too early" in refused(tmp_path / "cut.tar")
    (tmp_path / "text").write_text("x" * 600)
    assert "not a tar" in refused(tmp_path / "text")
    (tmp_path / "twice.tar").write_bytes(tar({"oci-layout": b"", "./oci-layout": b""}))
    assert "twice" in refused(tmp_path / "twice.tar")
    (tmp_path / "empty").mkdir()
    assert "no file oci-layout" in refused(tmp_path / "empty")
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "2"}')
    assert "version '2'" in refused(layout)
    (layout / "oci-layout").write_text("[1]")
    assert "which version" in refused(layout)
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / "index.json").write_text(json.dumps(json.loads(Artifact().blobs.popitem()[1]) | {"schemaVersion": 2}))
    assert "not a manifest" in refused(layout)


def test_links_in_a_layout_are_not_followed(tmp_path: Path) -> None:
    layout = Artifact({"a": b"1"}).layout(tmp_path / "a")
    blob = layout / "blobs" / "sha256" / digest(b"1")[7:]
    blob.rename(tmp_path / "outside")
    blob.symlink_to(tmp_path / "outside")
    assert "no file blobs/sha256/" in refused(layout)
    blob.unlink()
    os.mkfifo(blob)
    assert "not a regular file" in refused(layout)


def test_names_that_fill_the_memory() -> None:
    budget = Budget(10, None, names=100)
    budget.take("a" * 60, 0, "x")
    with pytest.raises(TargetError, match="more files than are read"):
        budget.take("b" * 60, 0, "x")


def test_only_what_was_asked_for_is_in_the_manifest(tmp_path: Path) -> None:
    with open_(Artifact(FILES).layout(tmp_path / "a")) as target:
        assert target.manifest(sha256=False).sha256 == b"" and target.manifest(blake3=False).blake3 == b""


_VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just([]) | st.just({}) | st.just([{}])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_manifest_is_an_error_or_a_document(data: st.DataObject) -> None:
    artifact = Artifact({"a": b"1"})
    made = artifact.index(artifact.manifest()) if data.draw(st.booleans()) else artifact.manifest()
    document = json.loads(artifact.blobs[made["digest"]])
    *above, last = data.draw(st.sampled_from(list(places(document))))
    inner = document
    for key in above:
        inner = inner[key]
    if data.draw(st.booleans()):
        inner[last] = data.draw(_VALUES)
    else:
        del inner[last]
    text = bytearray(json.dumps(document).encode())
    if data.draw(st.booleans()):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = parse_document(bytes(text), "it", data.draw(st.sampled_from(["", MANIFEST, INDEX])))
    except TargetError as error:
        one_sentence(error)
        return
    listed = found.manifests if isinstance(found, Index) else [found.config, *found.layers]
    assert all(len(item.sha256) == 32 and item.size >= 0 for item in listed)


def test_zstd_is_named(tmp_path: Path) -> None:
    artifact = Artifact()
    artifact.layer(b"\x28\xb5\x2f\xfd\0\0\0\0", TAR + "+zstd")
    assert "compressed with zstd" in refused(artifact.layout(tmp_path / "a"))


@pytest.mark.parametrize(
    ("text", "name", "revision"),
    [
        ("oci:registry.example.org/a/b", "registry.example.org/a/b", None),
        ("oci:localhost/a:v1", "localhost/a:v1", None),
        ("oci:localhost:5000/a/b_c:v1", "localhost:5000/a/b_c:v1", None),
        ("oci:[::1]:5000/a", "[::1]:5000/a", None),
        (f"oci:h.org/a@sha256:{'a' * 64}", "h.org/a", "sha256:" + "a" * 64),
        (f"oci:h.org/a:v1@sha256:{'a' * 64}", "h.org/a:v1", "sha256:" + "a" * 64),
        ("oci:here", "here", None),
        ("oci:here:v1", "here:v1", None),
        (f"oci:here@sha256:{'a' * 64}", "here", "sha256:" + "a" * 64),
        ("oci:here@there", "here@there", None),
    ],
)
def test_names(tmp_path: Path, text: str, name: str, revision: str | None) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here@there").mkdir()
    assert parse(text) == Reference("oci", name, revision)
    assert parse(str(parse(text))) == parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("oci:", "nothing stands after 'oci:'"),
        ("oci:nowhere", "no image layout 'nowhere'"),
        ("oci:./h.org/a", "no image layout"),
        ("oci:models/a", "no image layout"),
        ("oci:h.org/", "not the name of a repository"),
        ("oci:h.org/A", "not the name of a repository"),
        ("oci:h.org/a/../b", "not the name of a repository"),
        ("oci:h.org/a?x=y", "not the name of a repository"),
        ("oci:h.org/a#b", "not the name of a repository"),
        ("oci:h.org/" + "a" * 256, "not the name of a repository"),
        ("oci:h.org/a:", "is not a tag"),
        ("oci:h.org/a:-x", "is not a tag"),
        ("oci:h.org:x/a", "no valid host"),
        ("oci:-h.org/a", "no valid host"),
        ("oci:h.org/a@latest", "not sha256:"),
        ("oci:h.org/a@sha256:abc", "not sha256:"),
        ("oci:h.org/a@sha512:" + "a" * 128, "not sha256:"),
        ("oci:@sha256:" + "a" * 64, "not sha256:"),
        ("oci:me:secret@h.org/a", "not sha256:"),
        ("oci:me:secret@h.org/a@sha256:" + "a" * 64, "no valid host"),
        ("oci:https://h.org/a", "no valid host"),
    ],
)
def test_names_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert message in one_sentence(caught.value) and "secret" not in str(caught.value)
