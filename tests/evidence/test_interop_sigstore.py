"""Keyless bundles against Sigstore's own client and the in-toto bindings, in both directions."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement as InTotoStatement
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from sigstore.dsse import Statement as SigstoreStatement
from sigstore.errors import VerificationError
from sigstore.models import Bundle as SigstoreBundle
from sigstore.models import ClientTrustConfig
from sigstore.oidc import IdentityToken
from sigstore.sign import SigningContext
from sigstore.verify import Verifier, policy

from assay.errors import DocumentError, SignatureError
from assay.evidence.bundle import parse
from assay.evidence.signers.keyless import KeylessSigner
from assay.evidence.trust.sigstore import SigstoreAnchor
from helpers import NOW, model_statement, statement, write_model
from sigstore_double import Server

pytest_plugins = ["sigstore_double.fixture"]

ALICE = "alice@example.com"
SCHEMAS = Path(__file__).parent.parent / "data/oms/schemas/v1.0"


@pytest.fixture
def config(sigstore: Server) -> ClientTrustConfig:
    return ClientTrustConfig.from_json(sigstore.trust_config.read_text())


def ours(server: Server) -> KeylessSigner:
    return KeylessSigner(token=server.token(), trust_config=str(server.trust_config))


def anchor(server: Server, identity: str = ALICE) -> SigstoreAnchor:
    return SigstoreAnchor(identity, server.issuer, str(server.trusted_root))


def test_their_verifier_accepts_ours(sigstore: Server, config: ClientTrustConfig, tmp_path: Path) -> None:
    payload = model_statement(write_model(tmp_path))
    bundle = SigstoreBundle.from_json(ours(sigstore).sign(payload).raw)
    verifier = Verifier(trusted_root=config.trusted_root)
    accepted = verifier.verify_dsse(bundle, policy.Identity(identity=ALICE, issuer=sigstore.issuer))
    assert accepted == ("application/vnd.in-toto+json", payload)
    with pytest.raises(VerificationError):
        verifier.verify_dsse(bundle, policy.Identity(identity="bob@example.com", issuer=sigstore.issuer))


def test_we_prove_what_their_signer_made(sigstore: Server, config: ClientTrustConfig) -> None:
    with SigningContext.from_trust_config(config).signer(IdentityToken(sigstore.token())) as signer:
        made = signer.sign_dsse(SigstoreStatement(statement()))
    bundle = parse(made.to_json().encode(), "theirs")
    assert anchor(sigstore).prove(bundle, NOW).signer == ALICE and bundle.envelope.payload == statement()
    with pytest.raises(SignatureError):
        anchor(sigstore, "bob@example.com").prove(bundle, NOW)


def test_our_keyless_bundle_fits_the_schemas(sigstore: Server, tmp_path: Path) -> None:
    contents = [json.loads(path.read_bytes()) for path in SCHEMAS.glob("*.json")]
    registry = Registry().with_resources([(item["$id"], Resource.from_contents(item)) for item in contents])
    bundle = ours(sigstore).sign(model_statement(write_model(tmp_path)))
    for kind, document in (("bundle", bundle.raw), ("statement", bundle.envelope.payload)):
        schema = {"$ref": f"https://model_signing/{kind}/v1.0/schema"}
        Draft202012Validator(schema, registry=registry).validate(json.loads(document))


def test_in_toto_s_bindings_read_our_statement(tmp_path: Path) -> None:
    payload = model_statement(write_model(tmp_path / "model"))
    message = json_format.Parse(payload, statement_pb2.Statement())
    read = InTotoStatement.copy_from_pb(message)
    read.validate()
    assert read.pb.subject[0].name == "model"
    assert json.loads(json_format.MessageToJson(read.pb)) == json.loads(payload)


# --- their command line


def sigstore_cli(server: Server, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sigstore", "--trust-config", str(server.trust_config), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ}, timeout=300)


def test_their_command_verifies_ours(sigstore: Server, tmp_path: Path) -> None:
    file, bundle = tmp_path / "weights.bin", tmp_path / "weights.bin.sigstore.json"
    file.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    payload = statement(subject=[{"name": file.name, "digest": {"sha256": digest}}])
    bundle.write_bytes(ours(sigstore).sign(payload).raw)
    who = ("--cert-identity", ALICE, "--cert-oidc-issuer", sigstore.issuer, "--bundle", bundle)
    done = sigstore_cli(sigstore, "verify", "identity", *who, file)
    assert done.returncode == 0, done.stderr
    file.write_bytes(b"other")
    assert sigstore_cli(sigstore, "verify", "identity", *who, file).returncode != 0


def test_we_prove_their_attestation_and_say_what_a_bare_signature_is(sigstore: Server, tmp_path: Path) -> None:
    file, predicate = tmp_path / "weights.bin", tmp_path / "predicate.json"
    file.write_bytes(b"weights")
    provenance = {
        "buildDefinition": {
            "buildType": "https://example.com/train",
            "externalParameters": {},
            "internalParameters": {},
            "resolvedDependencies": [],
        },
        "runDetails": {"builder": {"id": "https://example.com/builder"}, "metadata": {"invocationId": "1"}},
    }
    predicate.write_text(json.dumps(provenance))
    kind = ("--predicate", predicate, "--predicate-type", "https://slsa.dev/provenance/v1")
    made = tmp_path / "attestation.json"
    done = sigstore_cli(sigstore, "attest", *kind, "--identity-token", sigstore.token(), "--bundle", made, file)
    assert done.returncode == 0, done.stderr
    assert anchor(sigstore).prove(parse(made.read_bytes(), made.name), NOW).signer == ALICE
    bare = tmp_path / "bare.json"
    done = sigstore_cli(sigstore, "sign", "--identity-token", sigstore.token(), "--bundle", bare, file)
    assert done.returncode == 0, done.stderr
    with pytest.raises(DocumentError, match="messageSignature"):
        parse(bare.read_bytes(), bare.name)
