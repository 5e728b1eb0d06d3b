"""Model signatures against the reference implementation, `model_signing`, in both directions."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blake3
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from model_signing import hashing, signing, verifying

from assay.errors import SignatureError
from assay.evidence import oms, statement
from assay.evidence.bundle import parse
from assay.evidence.claims import UNKNOWN_SIZE, Claims
from assay.evidence.keys import PrivateKey, generate, public_key
from assay.evidence.signers.interface import Signer
from assay.evidence.signers.key import CertificateSigner, KeySigner
from assay.evidence.signers.keyless import KeylessSigner
from assay.evidence.trust.certificate import CertificateAnchor
from assay.evidence.trust.interface import Anchor, Proof
from assay.evidence.trust.key import KeyAnchor
from assay.evidence.trust.sigstore import SigstoreAnchor
from helpers import FILES, NOW, manifest_of, model_statement, write_model
from sigstore_double import Server
from small_ca import Certified, root

pytest_plugins = ["sigstore_double.fixture"]

ALICE = "alice@example.com"


@dataclass
class Method:
    """One way to sign, on both sides."""

    ours: Signer
    anchor: Anchor
    stranger: Anchor
    """Expects somebody else."""
    theirs: Callable[[], signing.Config]
    """A new configuration every time: one that is used again leaks what the last signature ignored."""
    verifier: Callable[[], verifying.Config]


def files_of(leaf: Certified, folder: Path) -> tuple[Path, Path]:
    (folder / "key.pem").write_bytes(leaf.key_pem)
    (folder / "leaf.pem").write_bytes(leaf.pem)
    return folder / "key.pem", folder / "leaf.pem"


def by_key(folder: Path, server: Server, curve: ec.EllipticCurve) -> Method:
    private = ec.generate_private_key(curve)
    key = PrivateKey(public_key(private.public_key(), "key"), private)
    secret, public = folder / "key.pem", folder / "key.pub"
    secret.write_bytes(key.pem(None))
    public.write_bytes(key.public.pem)
    return Method(
        KeySigner(key),
        KeyAnchor(key.public),
        KeyAnchor(generate().public),
        lambda: signing.Config().use_elliptic_key_signer(private_key=secret),
        lambda: verifying.Config().use_elliptic_key_verifier(public_key=public),
    )


def by_certificate(folder: Path, server: Server) -> Method:
    authority = root()
    leaf = authority.authority("intermediate").leaf()
    secret, certificate = files_of(leaf, folder)
    (folder / "intermediate.pem").write_bytes(leaf.chain[1].pem)
    (folder / "ca.pem").write_bytes(authority.pem)
    key = PrivateKey(public_key(leaf.key.public_key(), "key"), leaf.key)
    return Method(
        CertificateSigner(key, tuple(item.der for item in leaf.chain)),
        CertificateAnchor((authority.certificate,), ALICE),
        CertificateAnchor((authority.certificate,), "bob@example.com"),
        lambda: signing.Config().use_certificate_signer(
            private_key=secret, signing_certificate=certificate, certificate_chain=[folder / "intermediate.pem"]
        ),
        lambda: verifying.Config().use_certificate_verifier(certificate_chain=[folder / "ca.pem"]),
    )


def by_sigstore(folder: Path, server: Server) -> Method:
    config = str(server.trust_config)
    return Method(
        KeylessSigner(token=server.token(), trust_config=config),
        SigstoreAnchor(ALICE, server.issuer, config),
        SigstoreAnchor("bob@example.com", server.issuer, config),
        lambda: signing.Config().use_sigstore_signer(identity_token=server.token(), trust_config=server.trust_config),
        lambda: verifying.Config().use_sigstore_verifier(
            identity=ALICE, oidc_issuer=server.issuer, trust_config=server.trust_config
        ),
    )


METHODS: dict[str, Callable[[Path, Server], Method]] = {
    "p256": lambda folder, server: by_key(folder, server, ec.SECP256R1()),
    "p384": lambda folder, server: by_key(folder, server, ec.SECP384R1()),
    "p521": lambda folder, server: by_key(folder, server, ec.SECP521R1()),
    "certificate": by_certificate,
    "sigstore": by_sigstore,
}


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest, tmp_path: Path, sigstore: Server) -> Method:
    folder = tmp_path / "keys"
    folder.mkdir()
    return METHODS[request.param](folder, sigstore)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


def sign_ours(method: Method, model: Path) -> Path:
    path = model.parent / "model.sig"
    path.write_bytes(method.ours.sign(model_statement(model)).raw)
    return path


def prove(method: Method, signature: Path) -> tuple[Proof, Claims]:
    """What our side makes of a signature file."""
    bundle = parse(signature.read_bytes(), signature.name)
    proof = method.anchor.prove(bundle, NOW)
    return proof, oms.claims(statement.from_envelope(bundle.envelope, signature.name), signature.name)


# --- ours, verified by theirs


def test_they_verify_a_folder(method: Method, model: Path) -> None:
    signature = sign_ours(method, model)
    method.verifier().verify(model, signature)
    assert prove(method, signature)[1].manifest == manifest_of(model)


def test_they_verify_a_single_file(method: Method, model: Path) -> None:
    file = model / "a-b" / "weights.bin"
    signature = sign_ours(method, file)
    method.verifier().verify(file, signature)
    file.write_bytes(b"other")
    with pytest.raises(ValueError, match="Hash mismatch"):
        method.verifier().verify(file, signature)


def rename(model: Path) -> None:
    (model / "config.json").rename(model / "config.jsom")


TAMPERING: dict[str, Callable[[Path], Any]] = {
    "flipped byte": lambda model: (model / "a-b/weights.bin").write_bytes(b"\x01" + FILES["a-b/weights.bin"][1:]),
    "longer by nothing seen": lambda model: (model / "a/weights.bin").write_bytes(b"\0"),
    "removed": lambda model: (model / "config.json").unlink(),
    "added": lambda model: (model / "evil.py").write_bytes(b""),
    "renamed": rename,
}


@pytest.mark.parametrize("tamper", TAMPERING)
def test_both_reject_a_changed_model(tmp_path: Path, sigstore: Server, model: Path, tamper: str) -> None:
    method = METHODS["p256"](tmp_path, sigstore)
    signature = sign_ours(method, model)
    TAMPERING[tamper](model)
    with pytest.raises(ValueError, match="Signature mismatch"):
        method.verifier().verify(model, signature)
    _, claims = prove(method, signature)
    assert claims.manifest is not None
    assert claims.manifest != manifest_of(model) and claims.manifest.contents() != manifest_of(model).contents()


def test_both_reject_a_changed_statement(method: Method, model: Path) -> None:
    signature = sign_ours(method, model)
    document = json.loads(signature.read_bytes())
    other = method.ours.sign(model_statement(write_model(model.parent / "other", {"x": b"y"})))
    document["dsseEnvelope"]["payload"] = json.loads(other.raw)["dsseEnvelope"]["payload"]
    signature.write_text(json.dumps(document))
    with pytest.raises(Exception):  # noqa: B017  the peer has no error of its own
        method.verifier().verify(model.parent / "other", signature)
    with pytest.raises(SignatureError):
        prove(method, signature)


def test_a_model_of_one_file_in_a_folder(tmp_path: Path, sigstore: Server) -> None:
    model = write_model(tmp_path / "model", {"only.bin": b"x"})
    method = METHODS["p256"](tmp_path, sigstore)
    method.verifier().verify(model, sign_ours(method, model))


def test_what_we_ignored_they_ignore(tmp_path: Path, sigstore: Server, model: Path) -> None:
    method = METHODS["p256"](tmp_path, sigstore)
    manifest = manifest_of(model)
    (model / ".git").mkdir()
    (model / ".git" / "HEAD").write_text("ref")
    (model / "notes.txt").write_text("mine")
    made = oms.payload("model", manifest, ignored=[".git", "notes.txt"], followed_links=False, annotations={})
    signature = tmp_path / "model.sig"
    signature.write_bytes(method.ours.sign(made).raw)
    method.verifier().verify(model, signature)
    assert prove(method, signature)[1].ignored == (".git", "notes.txt")


# --- theirs, proved by ours


def test_we_prove_a_folder(method: Method, model: Path) -> None:
    signature = model.parent / "model.sig"
    method.theirs().sign(model, signature)
    proof, claims = prove(method, signature)
    assert proof.method in ("key", "certificate", "sigstore")
    here = manifest_of(model)
    assert claims.manifest is not None and not claims.anonymous
    assert (list(claims.names), claims.manifest.sha256) == (list(here.names), here.sha256)
    assert set(claims.manifest.sizes) == {UNKNOWN_SIZE} and claims.manifest.blake3 == b""
    assert {".git", ".gitignore"} <= set(claims.ignored)
    with pytest.raises(SignatureError):
        method.stranger.prove(parse(signature.read_bytes(), "model.sig"), NOW)


def test_the_names_really_come_in_another_order(tmp_path: Path, sigstore: Server, model: Path) -> None:
    """Else the test above would not show that we cope with it."""
    METHODS["p256"](tmp_path, sigstore).theirs().sign(model, tmp_path / "model.sig")
    envelope = parse((tmp_path / "model.sig").read_bytes(), "model.sig").envelope
    written = [item["name"] for item in json.loads(envelope.payload)["predicate"]["resources"]]
    assert written != sorted(written)


def test_we_prove_a_single_file(method: Method, model: Path) -> None:
    file = model / "config.json"
    method.theirs().sign(file, model.parent / "model.sig")
    _, claims = prove(method, model.parent / "model.sig")
    assert claims.anonymous and claims.manifest is not None
    assert claims.manifest.sha256 == hashlib.sha256(FILES["config.json"]).digest()


DIGESTS: dict[str, Callable[[bytes], bytes]] = {
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "blake2": lambda data: hashlib.blake2b(data).digest(),
    "blake3": lambda data: blake3.blake3(data).digest(),
}


def signed_with(config: hashing.Config, tmp_path: Path, server: Server, model: Path) -> Claims:
    method = METHODS["p256"](tmp_path, server)
    method.theirs().set_hashing_config(config).sign(model, tmp_path / "model.sig")
    return prove(method, tmp_path / "model.sig")[1]


@pytest.mark.parametrize("algorithm", ["blake2", "blake3"])
def test_we_read_other_digests(tmp_path: Path, sigstore: Server, model: Path, algorithm: Any) -> None:
    config = hashing.Config().use_file_serialization(hashing_algorithm=algorithm)
    claims = signed_with(config, tmp_path, sigstore, model)
    assert claims.manifest is None
    assert {item.name: item.digest for item in claims.ranges} == {
        name: DIGESTS[algorithm](data) for name, data in FILES.items()
    }
    assert {(item.start, item.stop) for item in claims.ranges} == {(0, None)}


@pytest.mark.parametrize("algorithm", ["sha256", "blake2"])
def test_we_read_shards(tmp_path: Path, sigstore: Server, model: Path, algorithm: Any) -> None:
    config = hashing.Config().use_shard_serialization(hashing_algorithm=algorithm, shard_size=256)
    claims = signed_with(config, tmp_path, sigstore, model)
    assert claims.manifest is None
    expected = {
        (name, start, min(start + 256, len(data))): DIGESTS[algorithm](data[start : start + 256])
        for name, data in FILES.items()
        for start in range(0, len(data), 256)
    }
    assert {(item.name, item.start, item.stop): item.digest for item in claims.ranges} == expected
    assert len(claims.ranges) == len(expected) > len(FILES)


# --- their command line


def model_signing(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "model_signing", *map(str, arguments)]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def test_their_command_verifies_our_key_signature(tmp_path: Path, sigstore: Server, model: Path) -> None:
    method = METHODS["p256"](tmp_path, sigstore)
    signature = sign_ours(method, model)
    arguments = ("verify", "key", model, "--signature", signature, "--public_key", tmp_path / "key.pub")
    done = model_signing(*arguments)
    assert done.returncode == 0 and "succeeded" in done.stdout, done.stderr
    (model / "config.json").write_bytes(b"{}")
    done = model_signing(*arguments)
    assert done.returncode != 0 and "config.json" in done.stdout + done.stderr


def test_their_command_with_the_double_both_ways(tmp_path: Path, sigstore: Server, model: Path) -> None:
    signature = tmp_path / "model.sig"
    common = ("sigstore", model, "--signature", signature, "--trust_config", sigstore.trust_config)
    done = model_signing("sign", *common, "--identity_token", sigstore.token())
    assert done.returncode == 0, done.stdout + done.stderr
    method = METHODS["sigstore"](tmp_path, sigstore)
    assert prove(method, signature)[0].signer == ALICE
    signature.write_bytes(method.ours.sign(model_statement(model)).raw)
    who = ("--identity", ALICE, "--identity_provider", sigstore.issuer)
    done = model_signing("verify", *common, *who)
    assert done.returncode == 0 and "succeeded" in done.stdout, done.stdout + done.stderr
