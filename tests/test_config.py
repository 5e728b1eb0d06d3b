"""`assay.yaml`: typed, strict, and never taken from inside of what it would vouch for."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay import config
from assay.errors import AssayError, DocumentError, UsageError

FULL = b"""
version: 1
evidence: att
signing: {key: keys/ci.pem}
trust:
  - targets: ["git:*bert*", "hf:org/*"]
    keys: [keys/ci.pub]
    identities: [{identity: ci@example.com, issuer: "https://idp.example.com"}]
  - keys: [keys/everyone.pub]
labels: {team: vision}
"""


def test_reads_every_part() -> None:
    made = config.parse(FULL, "/project/assay.yaml")
    assert made.path(made.evidence or "") == "/project/att"
    assert made.signing.key == "keys/ci.pem"
    first = made.trust_for("git:wtp-bert-tiny")
    assert first is not None and first.identities[0].issuer == "https://idp.example.com"
    other = made.trust_for("dir:models")
    assert other is not None and other.keys == ["keys/everyone.pub"]


def test_no_rule_for_a_target_is_no_trust() -> None:
    made = config.parse(b"trust: [{targets: ['hf:*'], keys: [a.pub]}]", "assay.yaml")
    assert made.trust_for("dir:x") is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"evidnce: x", "evidnce"),
        (b"trust: [{key: x}]", "key"),
        (b"trust: [{identities: [{identity: a}]}]", "issuer"),
        (b"version: 2", "version 2"),
        (b"version: one", "$.version"),
        (b"version: true", "$.version"),
        (b"directory: /", "directory"),
        (b"labels: {a: 1}", "labels"),
        (b"a: 1\na: 2", "twice"),
        (b"x: &a [1]\ny: *a", "aliases"),
        (b"[", "assay.yaml"),
        (b"!!python/object/apply:os.system [id]", "assay.yaml"),
        (b"\xff\xfe\xff", "assay.yaml"),
        (b"[]", "object"),
        (b"[" * 3000, "assay.yaml"),
    ],
)
def test_refuses_with_the_field(text: bytes, problem: str) -> None:
    with pytest.raises(DocumentError) as caught:
        config.parse(text, "assay.yaml")
    assert problem in caught.value.message


@given(st.binary(max_size=200))
def test_never_a_traceback(data: bytes) -> None:
    with contextlib.suppress(AssayError):
        config.parse(data, "assay.yaml")


def test_too_large(tmp_path: Path) -> None:
    path = tmp_path / "assay.yaml"
    path.write_bytes(b"#" * (config.MAX_BYTES + 1))
    with pytest.raises(UsageError, match="larger"):
        config.load(str(path))


def test_defaults_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.load(None) == config.Config()


def test_missing_named_file() -> None:
    with pytest.raises(UsageError, match="No such file"):
        config.load("nowhere.yaml")
