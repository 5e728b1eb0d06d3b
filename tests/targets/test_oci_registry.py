"""``oci:`` targets from a registry on loopback: logins, redirects, and servers that lie."""

from __future__ import annotations

import base64
import glob
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assay.errors import AssayError, TargetError, UndecidedError, UsageError
from assay.targets.interface import Options, Reference
from assay.targets.oci.target import open_oci
from assay.targets.oci.web import follows, is_loopback
from assay.targets.registry import resolve
from helpers import one_sentence
from targets.oci_making import MANIFEST, Artifact, Registry, digest, serving, tar

FILES = {"policy.yml": b"assay-policy: 1\n", "weights.bin": os.urandom(3_000_000)}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def registry() -> Iterator[type[Registry]]:
    with serving() as handler:
        yield handler


def read(name: str, **options: Any) -> dict[str, bytes]:
    with resolve(f"oci:{name}", Options(**options)) as target:
        target.manifest()
        found = {item: target.open(item) for item in target.names}
        data = {item: file.read() for item, file in found.items()}
        for file in found.values():
            file.close()
    assert not glob.glob(os.path.join(tempfile.gettempdir(), "assay-oci-*"))
    return data


def refused(name: str, error: type[AssayError] = TargetError) -> str:
    with pytest.raises(AssayError) as caught:
        read(name)
    assert type(caught.value) is error, caught.value
    assert not glob.glob(os.path.join(tempfile.gettempdir(), "assay-oci-*"))
    return one_sentence(caught.value)


def log_in(home: Path, host: str, login: str) -> str:
    """As `docker login` does; the login as it goes into a header."""
    auth = base64.b64encode(login.encode()).decode()
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker" / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}, "credsStore": "x"}))
    return f"Basic {auth}"


def test_by_tag_by_digest_and_latest(registry: type[Registry]) -> None:
    artifact = Artifact(FILES)
    artifact.layer(tar({"rules/a.yaml": b"a"}, compress=True))
    found = registry.push(artifact, "latest")
    other = registry.push(Artifact({"a": b"1"}), "v1")
    name = f"{registry.host}/org/bundle"
    everything = FILES | {"rules/a.yaml": b"a"}
    assert read(name) == read(f"{name}@{found}") == read(f"{name}:v1@{found}") == everything
    assert read(f"{name}:v1") == {"a": b"1"}
    with resolve(f"oci:{name}:v1") as target:
        assert target.reference == Reference("oci", name, other) and target.name == "bundle"
        assert target.facts.origin == f"oci://{name}" and target.facts.revision == other
    assert {authorization for _, authorization in registry.seen} == {None}


def test_an_index_is_followed(registry: type[Registry]) -> None:
    artifact = Artifact({"a": b"1"})
    manifest = artifact.manifest()
    registry.push(artifact, "v1", artifact.index(manifest))
    assert read(f"{registry.host}/org/bundle:v1") == {"a": b"1"}
    two = artifact.index(manifest, artifact.manifest(annotations={"a": "b"}))
    registry.push(artifact, "v2", two)
    assert manifest["digest"] in refused(f"{registry.host}/org/bundle:v2", UsageError)


def test_a_part_downloads_a_part(registry: type[Registry]) -> None:
    registry.push(Artifact(FILES), "v1")
    assert read(f"{registry.host}/org/bundle:v1", paths=("*.yml",)).keys() == {"policy.yml"}
    assert not any(digest(FILES["weights.bin"]) in path for path, _ in registry.seen)


def test_offline_asks_nobody(registry: type[Registry]) -> None:
    with pytest.raises(UndecidedError, match="--offline forbids"):
        open_oci(Reference("oci", f"{registry.host}/org/bundle"), Options(offline=True))
    assert registry.seen == []


def test_an_anonymous_token(registry: type[Registry]) -> None:
    registry.auth = "bearer"
    registry.push(Artifact(FILES), "v1")
    assert read(f"{registry.host}/org/bundle:v1") == FILES
    assert registry.tokens == 1, "one token serves all blobs"
    assert [path for path, authorization in registry.seen if path.startswith("/token") and authorization] == []


def test_a_token_that_runs_out_is_renewed(registry: type[Registry]) -> None:
    registry.auth = "bearer"
    registry.push(Artifact(FILES), "v1")
    once = registry._allowed

    def forgetful(self: Registry, authorization: str | None) -> bool:
        if "/blobs/" in self.path and registry.tokens == 1:
            return False
        return once(self, authorization)

    registry._allowed = forgetful  # type: ignore[method-assign]
    assert read(f"{registry.host}/org/bundle:v1") == FILES and registry.tokens == 2


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_login_from_the_file_of_logins(registry: type[Registry], home: Path, auth: str) -> None:
    registry.auth, registry.login = auth, "me:secret"
    registry.push(Artifact(FILES), "v1")
    name = f"{registry.host}/org/bundle:v1"
    message = refused(name)
    assert "wants a login" in message
    header = log_in(home, registry.host, "me:secret")
    assert read(name) == FILES
    asked = {authorization for path, authorization in registry.seen if authorization and path.startswith("/token")}
    assert asked == ({header} if auth == "bearer" else set())
    log_in(home, registry.host, "me:wrong")
    assert "wants a login" in refused(name)
    log_in(home, "other.example.org", "me:secret")
    assert "wants a login" in refused(name)


def test_other_places_of_logins(
    registry: type[Registry], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.auth, registry.login = "basic", "me:secret"
    registry.push(Artifact(FILES), "v1")
    name = f"{registry.host}/org/bundle:v1"
    log_in(home, f"{registry.host}/org", "me:secret")
    (home / ".docker").rename(tmp_path / "docker")
    for variable, value in (
        ("DOCKER_CONFIG", tmp_path / "docker"),
        ("REGISTRY_AUTH_FILE", tmp_path / "docker" / "config.json"),
    ):
        refused(name)
        monkeypatch.setenv(variable, str(value))
        assert read(name) == FILES
        monkeypatch.delenv(variable)
    (tmp_path / "containers").mkdir()
    (tmp_path / "docker" / "config.json").rename(tmp_path / "containers" / "auth.json")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert read(name) == FILES
    (tmp_path / "containers" / "auth.json").write_text('{"auths": {"me:secret": 3}}')
    assert "not in docker's format" in refused(name)
    log_in(home, registry.host, "me:secret")
    (tmp_path / "containers" / "auth.json").write_text(json.dumps({"auths": {registry.host: {"auth": "x\r\nX: y"}}}))
    assert "not base64" in refused(name)


def test_a_login_stays_with_its_host(registry: type[Registry], home: Path) -> None:
    registry.auth, registry.login = "basic", "me:secret"
    registry.push(Artifact(FILES), "v1")
    log_in(home, registry.host, "me:secret")
    with serving() as store:
        store.blobs = registry.blobs
        registry.elsewhere = store.url
        assert read(f"{registry.host}/org/bundle:v1") == FILES
        assert len(store.seen) == 2 and {authorization for _, authorization in store.seen} == {None}
    registry.elsewhere = None
    answered = {path for path, authorization in registry.seen if authorization}
    assert len(answered) == 3


def test_redirects_that_are_refused(registry: type[Registry]) -> None:
    registry.push(Artifact({"a": b"1"}), "v1")
    path = f"/v2/org/bundle/blobs/{digest(b'1')}"
    name = f"{registry.host}/org/bundle:v1"
    for place in ("http://192.0.2.1/x", "file:///etc/passwd", "ftp://192.0.2.1/x", "data:,x", "//[::1"):
        registry.answers[path] = (307, b"", {"Location": place})
        assert "a place that is refused" in refused(name)
    registry.answers[path] = (307, b"", {"Location": path})
    assert "redirects too often" in refused(name)


def test_tokens_are_asked_for_in_no_strange_place(registry: type[Registry], home: Path) -> None:
    registry.auth, registry.login = "bearer", "me:secret"
    log_in(home, registry.host, "me:secret")
    for realm in ("http://192.0.2.1/token", "file:///etc/passwd", "", "token"):
        registry.realm = realm or " "
        assert "for a token; refused" in refused(f"{registry.host}/org/bundle:v1")
    registry.realm = None
    for answer in (b"", b"[]", b"{}", b'{"token": "a b"}', b'{"token": "a\\r\\nX: y"}', b'{"token": 3}', b"\xff"):
        registry.answers["/token"] = (200, answer, {})
        assert "no token that can be understood" in refused(f"{registry.host}/org/bundle:v1")
    registry.answers["/token"] = (200, b" " * 100_000, {})
    assert "sends more than" in refused(f"{registry.host}/org/bundle:v1")
    registry.answers["/token"] = (503, b"", {})
    assert "HTTP 503" in refused(f"{registry.host}/org/bundle:v1", UndecidedError)
    registry.answers["/token"] = (200, b'{"access_token": "token-0"}', {})
    registry.push(Artifact({"a": b"1"}), "v1")
    assert read(f"{registry.host}/org/bundle:v1") == {"a": b"1"}


@pytest.mark.parametrize("kind", ["titled", "tar"])
@pytest.mark.parametrize("change", ["flipped", "longer", "shorter", "truncated", "endless"])
def test_blobs_that_are_something_else(registry: type[Registry], kind: str, change: str) -> None:
    data = tar({"a": b"x" * 5000})
    artifact = Artifact({"a": data} if kind == "titled" else {})
    if kind == "tar":
        artifact.layer(data)
    registry.push(artifact, "v1")
    lie = {
        "flipped": (200, data.replace(b"x" * 5000, b"y" * 5000), {}),
        "longer": (200, data + bytes(512), {}),
        "shorter": (200, data[:-512], {}),
        "truncated": (200, data[:-512], {"Content-Length": str(len(data))}),
        "endless": (200, data + bytes(3 << 20), {"Content-Length": str(1 << 40)}),
    }
    registry.answers[f"/v2/org/bundle/blobs/{digest(data)}"] = lie[change]
    with pytest.raises((TargetError, UndecidedError)) as caught:
        read(f"{registry.host}/org/bundle:v1")
    one_sentence(caught.value)
    assert not glob.glob(os.path.join(tempfile.gettempdir(), "assay-oci-*"))


def test_manifests_that_are_something_else(registry: type[Registry]) -> None:
    found = registry.push(Artifact({"a": b"1"}), "v1")
    other = registry.push(Artifact({"a": b"2"}), "v2")
    name, path = f"{registry.host}/org/bundle", "/v2/org/bundle/manifests/"
    registry.answers[path + found] = (200, registry.blobs[other], {"Content-Type": MANIFEST})
    assert "not what was asked for" in refused(f"{name}@{found}")
    registry.answers[path + found] = (200, registry.blobs[other], {"Docker-Content-Digest": found})
    assert "not what was asked for" in refused(f"{name}@{found}")
    registry.answers[path + "v1"] = (200, registry.blobs[other], {"Docker-Content-Digest": found})
    assert "says that its manifest is" in refused(f"{name}:v1")
    registry.answers[path + "v1"] = (
        200,
        registry.blobs[found],
        {"Content-Type": "application/vnd.oci.image.index.v1+json"},
    )
    assert "is something else" in refused(f"{name}:v1")
    registry.answers[path + "v1"] = (200, registry.blobs[found], {"Content-Type": "text/html; charset=utf-8"})
    assert "is something else" in refused(f"{name}:v1")
    registry.answers[path + "v1"] = (200, b" " * (5 << 20), {})
    assert "sends more than" in refused(f"{name}:v1")
    registry.answers[path + "v1"] = (200, b"{}", {"Content-Length": "500"})
    with pytest.raises((TargetError, UndecidedError)):
        read(f"{name}:v1")


def test_answers_that_are_errors(registry: type[Registry]) -> None:
    name, path = f"{registry.host}/org/bundle", "/v2/org/bundle/manifests/v1"
    assert "has no manifests/v1" in refused(f"{name}:v1")
    assert "has no manifests/latest" in refused(f"{registry.host}/org/other")
    for status, error in ((500, UndecidedError), (429, UndecidedError), (403, TargetError), (400, TargetError)):
        registry.answers[path] = (status, b"x", {})
        refused(f"{name}:v1", error)
    registry.answers[path] = (401, b"", {"WWW-Authenticate": "Negotiate"})
    assert "wants a login" in refused(f"{name}:v1")
    registry.answers[path] = (401, b"", {"WWW-Authenticate": 'Bearer realm="'})
    assert "for a token; refused" in refused(f"{name}:v1")


@pytest.mark.parametrize(
    "challenge", ["Bearer " + "a" * 60_000, "Bearer " + 'a="' * 20_000, "Bearer a" + " " * 60_000 + "b"]
)
def test_challenges_that_are_long(registry: type[Registry], challenge: str) -> None:
    registry.answers["/v2/org/bundle/manifests/v1"] = (401, b"", {"WWW-Authenticate": challenge})
    assert "for a token; refused" in refused(f"{registry.host}/org/bundle:v1")


def test_nobody_listens() -> None:
    assert "cannot be reached" in refused("127.0.0.1:9/org/bundle", UndecidedError)


def test_from_afar_nothing_leads_to_this_machine_or_to_plain_http() -> None:
    assert follows("https://h.org/v2", "https://cdn.org/x")
    assert not follows("https://h.org/v2", "http://h.org/x")
    for host in ("localhost", "127.0.0.1", "127.8.8.8:80", "[::1]", "[::1]:5000", "LOCALHOST:1"):
        assert is_loopback(host)
        assert not follows("https://h.org/v2", f"https://{host}/x")
        assert follows("http://127.0.0.1:5000/v2", f"http://{host}/x")
    for host in ("localhost.example.org", "127.0.0.1.example.org", "10.0.0.1", "example.org:127"):
        assert not is_loopback(host)
        assert not follows("http://127.0.0.1:5000/v2", f"http://{host}/x")
