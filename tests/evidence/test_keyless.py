"""Keyless signing and its verification against a private Sigstore; every attack must end in one sentence."""

from __future__ import annotations

import base64
import copy
import json
import os
import pty
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sigstore.models import Bundle as SigstoreBundle
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity

from assay.errors import DocumentError, MissingExtraError, SignatureError, UndecidedError, UsageError
from assay.evidence.bundle import Bundle, parse
from assay.evidence.keys import generate
from assay.evidence.signers.key import KeySigner
from assay.evidence.signers.keyless import KeylessSigner
from assay.evidence.trust.sigstore import SigstoreAnchor
from helpers import NOW, as_bundle, one_sentence, places, statement
from sigstore_double import Deployment, Server
from sigstore_double.ct import CertificateLog
from sigstore_double.deployment import digest_of
from sigstore_double.fulcio import Fulcio
from sigstore_double.pki import b64, now
from sigstore_double.rekor import Rekor
from sigstore_double.timestamp import TimestampAuthority

pytest_plugins = ["sigstore_double.fixture"]

ALICE = "alice@example.com"
CI_VARIABLES = ("GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "BUILDKITE", "GOOGLE_SERVICE_ACCOUNT_NAME")


@pytest.fixture(autouse=True)
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may themselves run in CI, whose credential must not be taken."""
    for name in CI_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def signer(server: Server, **options: Any) -> KeylessSigner:
    return KeylessSigner(trust_config=str(server.trust_config), **options)


def anchor(server: Server, identity: str = ALICE, issuer: str | None = None) -> SigstoreAnchor:
    return SigstoreAnchor(identity, issuer or server.issuer, str(server.trusted_root))


# --- signing


def test_signed_bytes_are_the_given_ones_and_the_proof_says_who_and_when(sigstore: Server) -> None:
    payload = statement()
    before = now()
    bundle = signer(sigstore, token=sigstore.token()).sign(payload)
    assert bundle.envelope.payload == payload
    assert parse(bundle.raw, "again") == bundle
    proof = anchor(sigstore).prove(bundle, NOW)
    assert (proof.method, proof.signer, proof.issuer) == ("sigstore", ALICE, sigstore.issuer)
    assert (proof.algorithm, proof.time_source) == ("ecdsa-p256", "timestamp authority")
    assert proof.time is not None and before <= proof.time <= now()


def test_trust_root_may_stand_in_a_client_trust_configuration(sigstore: Server) -> None:
    bundle = as_bundle(sigstore.deployment.bundle(statement()))
    assert SigstoreAnchor(ALICE, sigstore.issuer, str(sigstore.trust_config)).prove(bundle, NOW).signer == ALICE


def test_an_identity_that_is_a_workflow(sigstore: Server) -> None:
    workflow = "https://github.com/acme/models/.github/workflows/train.yml@refs/heads/main"
    token = sigstore.deployment.provider.token(sub=workflow)
    bundle = signer(sigstore, token=token).sign(statement())
    assert anchor(sigstore, workflow).prove(bundle, NOW).signer == workflow
    with pytest.raises(SignatureError):
        anchor(sigstore, ALICE).prove(bundle, NOW)


def test_token_file_and_precedence(sigstore: Server, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(sigstore.token("bob@example.com") + "\n")
    bundle = signer(sigstore, token_file=str(file)).sign(statement())
    assert anchor(sigstore, "bob@example.com").prove(bundle, NOW)
    bundle = signer(sigstore, token=sigstore.token(), token_file=str(file)).sign(statement())
    assert anchor(sigstore, ALICE).prove(bundle, NOW)


def test_ambient_credential_of_a_ci_job(sigstore: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "the job's own secret")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{sigstore.issuer}/job-token?version=1")
    bundle = signer(sigstore).sign(statement())
    workflow = "https://github.com/acme/models/.github/workflows/train.yml@refs/heads/main"
    assert anchor(sigstore, workflow).prove(bundle, NOW)


def test_ambient_credential_that_cannot_be_had(sigstore: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", raising=False)
    with pytest.raises(UndecidedError) as caught:
        signer(sigstore).sign(statement())
    one_sentence(caught.value)


def test_nobody_to_sign_as(sigstore: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(UndecidedError, match="no identity token") as caught:
            signer(sigstore).sign(statement())
    assert caught.value.exit_code == 3 and "--key" in (caught.value.hint or "")


LOGIN = """
import sys
from assay.evidence.signers.keyless import KeylessSigner
sys.stdout.buffer.write(KeylessSigner(trust_config=sys.argv[1]).sign(sys.argv[2].encode()).raw)
"""


def test_login_with_a_browser_on_a_terminal(sigstore: Server, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f"#!{sys.executable}\nimport sys, urllib.request\nurllib.request.urlopen(sys.argv[1]).read()\n")
    browser.chmod(browser.stat().st_mode | stat.S_IXUSR)
    environment = {name: value for name, value in os.environ.items() if name not in CI_VARIABLES}
    environment |= {"BROWSER": f"{browser} %s", "PYTHONPATH": os.pathsep.join(sys.path)}
    controller, terminal = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", LOGIN, str(sigstore.trust_config), statement().decode()],
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=terminal,
            env=environment,
            timeout=300,
        )
    finally:
        os.close(controller)
        os.close(terminal)
    assert done.returncode == 0
    assert anchor(sigstore).prove(parse(done.stdout, "made in the browser"), NOW)


def test_the_token_is_not_shown(sigstore: Server) -> None:
    token = sigstore.token(lifetime=-60)
    assert token not in repr(KeylessSigner(token=token))
    with pytest.raises(UndecidedError) as caught:
        signer(sigstore, token=token).sign(statement())
    assert token not in str(caught.value) and "expired" in one_sentence(caught.value)


def refused(sigstore: Server, token: str) -> str:
    with pytest.raises(UndecidedError) as caught:
        signer(sigstore, token=token).sign(statement())
    assert token not in str(caught.value)
    return one_sentence(caught.value)


def test_tokens_that_nobody_accepts(sigstore: Server) -> None:
    stranger = Deployment(sigstore.issuer).provider
    assert "HTTP 401" in refused(sigstore, stranger.token(ALICE))  # right issuer's name, wrong key
    assert "HTTP 401" in refused(sigstore, sigstore.token(iss="https://accounts.example.com"))
    assert "not verified" in refused(sigstore, sigstore.token(email_verified=False))
    refused(sigstore, sigstore.token(aud="somebody-else"))
    refused(sigstore, "not a token")
    header, claims, _ = sigstore.token().split(".")
    assert "HTTP 401" in refused(sigstore, f"{header}.{claims}.")


def test_empty_token_file_is_not_a_reason_to_ask_elsewhere(sigstore: Server, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\x00")
    files = [{"token_file": str(tmp_path / name)} for name in ("token", "binary")]
    for options in [*files, {"token": ""}]:
        with pytest.raises(UndecidedError, match="did not sign"):
            signer(sigstore, **options).sign(statement())
    with pytest.raises(UsageError, match="cannot be read"):
        signer(sigstore, token_file=str(tmp_path / "absent")).sign(statement())


@pytest.mark.parametrize("service", ["fulcio", "rekor"])
def test_a_service_that_is_out_of_order(sigstore: Server, service: str) -> None:
    with sigstore.failing(broken={service}):
        assert "HTTP 503): out of order" in refused(sigstore, sigstore.token())


def test_without_a_timestamp_nothing_is_signed(sigstore: Server) -> None:
    with sigstore.failing(broken={"tsa"}):
        refused(sigstore, sigstore.token())


@pytest.mark.parametrize("fault", [{"ct": CertificateLog()}, {"rekor": Rekor()}, {"tsa": TimestampAuthority()}])
def test_a_service_that_nobody_trusts_is_noticed_while_signing(sigstore: Server, fault: dict[str, Any]) -> None:
    with sigstore.failing(**fault):
        refused(sigstore, sigstore.token())


def test_services_out_of_reach(sigstore: Server, tmp_path: Path) -> None:
    config = json.loads(sigstore.trust_config.read_text().replace(sigstore.issuer, "http://127.0.0.1:9"))
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UndecidedError, match="cannot be reached") as caught:
        KeylessSigner(token=sigstore.token(), trust_config=str(tmp_path / "config.json")).sign(statement())
    assert caught.value.exit_code == 3


def test_the_public_deployment_out_of_reach(sigstore: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(UndecidedError, match="cannot be fetched") as caught:
        KeylessSigner(token=sigstore.token()).sign(statement())
    one_sentence(caught.value)


def test_a_trust_configuration_that_is_none(sigstore: Server, tmp_path: Path) -> None:
    for text in ("", "{}", "[]", '{"mediaType": 1}', sigstore.trusted_root.read_text(), "\xff"):
        (tmp_path / "config.json").write_text(text, encoding="latin-1")
        with pytest.raises(DocumentError, match="not a client trust configuration") as caught:
            KeylessSigner(token="x", trust_config=str(tmp_path / "config.json")).sign(statement())
        one_sentence(caught.value)
    with pytest.raises(UsageError, match="cannot be read"):
        KeylessSigner(token="x", trust_config=str(tmp_path)).sign(statement())


def test_statements_that_sigstore_does_not_sign(sigstore: Server) -> None:
    subject = [{"name": "repository", "digest": {"gitCommit": "0" * 40}}]
    for payload in (statement(subject=subject), statement(_type="https://in-toto.io/Statement/v0.1"), b"[]"):
        with pytest.raises(UsageError, match="does not sign this statement") as caught:
            signer(sigstore, token=sigstore.token()).sign(payload)
        one_sentence(caught.value)


# --- verifying: attacks


@pytest.fixture
def document(sigstore: Server) -> dict[str, Any]:
    """A good bundle that the test is free to spoil; never the log's first, so that it has a real inclusion proof."""
    sigstore.deployment.rekor.add(b"somebody else's entry")
    return sigstore.deployment.bundle(statement())


def rejected(sigstore: Server, document: dict[str, Any], anchored: SigstoreAnchor | None = None) -> str:
    with pytest.raises(SignatureError) as caught:
        (anchored or anchor(sigstore)).prove(as_bundle(document), NOW)
    assert caught.value.exit_code == 1
    return one_sentence(caught.value)


def test_the_unspoiled_document_is_accepted(sigstore: Server, document: dict[str, Any]) -> None:
    assert anchor(sigstore).prove(as_bundle(document), NOW).signer == ALICE


def test_another_identity(sigstore: Server, document: dict[str, Any]) -> None:
    assert ALICE in rejected(sigstore, document, anchor(sigstore, "alice@example.co"))
    rejected(sigstore, document, anchor(sigstore, ALICE.upper()))


def test_another_issuer(sigstore: Server, document: dict[str, Any]) -> None:
    assert sigstore.issuer in rejected(sigstore, document, anchor(sigstore, issuer="https://accounts.example.com"))
    rejected(sigstore, document, anchor(sigstore, issuer=sigstore.issuer + "/"))


@pytest.mark.parametrize(("identity", "issuer"), [("", "https://issuer"), (ALICE, ""), ("", "")])
def test_identity_and_issuer_are_both_needed(identity: str, issuer: str) -> None:
    with pytest.raises(UsageError):
        SigstoreAnchor(identity, issuer)


def test_tampered_payload(sigstore: Server, document: dict[str, Any]) -> None:
    document["dsseEnvelope"]["payload"] = b64(statement("another model"))
    rejected(sigstore, document)


def test_payload_of_another_type(sigstore: Server, document: dict[str, Any]) -> None:
    document["dsseEnvelope"]["payloadType"] = "text/plain"
    rejected(sigstore, document)


def test_signature_by_another_key(sigstore: Server, document: dict[str, Any]) -> None:
    other = sigstore.deployment.bundle(statement())
    document["dsseEnvelope"]["signatures"] = other["dsseEnvelope"]["signatures"]
    rejected(sigstore, document)


def test_a_second_signature_beside_the_logged_one(sigstore: Server, document: dict[str, Any]) -> None:
    document["dsseEnvelope"]["signatures"] *= 2
    rejected(sigstore, document)


@pytest.mark.parametrize("part", ["rootHash", "hashes", "canonicalizedBody", "logIndex", "treeSize"])
def test_tampered_inclusion_proof(sigstore: Server, document: dict[str, Any], part: str) -> None:
    entry = document["verificationMaterial"]["tlogEntries"][0]
    proof = entry["inclusionProof"]
    if part == "hashes":
        assert proof["hashes"]
        proof["hashes"][0] = b64(bytes(32))
    elif part == "canonicalizedBody":
        entry[part] = b64(base64.b64decode(entry[part]) + b" ")
    elif part == "rootHash":
        proof[part] = b64(bytes(32))
    else:
        proof[part] = str(int(proof[part]) - 1 if part == "logIndex" else int(proof[part]) * 2)
    rejected(sigstore, document)


def test_checkpoint_of_another_log(sigstore: Server, document: dict[str, Any]) -> None:
    impostor = Rekor(leaves=list(sigstore.deployment.rekor.leaves))
    spoiled = sigstore.deployment.bundle(statement(), rekor=impostor)
    rejected(sigstore, spoiled)
    # The same with the trusted log's name and id, in case only these were looked at.
    entry = spoiled["verificationMaterial"]["tlogEntries"][0]
    entry["logId"] = document["verificationMaterial"]["tlogEntries"][0]["logId"]
    note = entry["inclusionProof"]["checkpoint"]["envelope"]
    head, _, tail = note.rpartition(" ")
    raw = sigstore.deployment.rekor.log_id[:4] + base64.b64decode(tail)[4:]
    entry["inclusionProof"]["checkpoint"]["envelope"] = f"{head} {b64(raw)}\n"
    rejected(sigstore, spoiled)


def test_genuine_checkpoint_of_another_tree(sigstore: Server, document: dict[str, Any]) -> None:
    later = sigstore.deployment.bundle(statement("later"))["verificationMaterial"]["tlogEntries"][0]
    proof = document["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]
    proof["checkpoint"] = later["inclusionProof"]["checkpoint"]
    rejected(sigstore, document)


def test_log_entry_for_another_payload(sigstore: Server) -> None:
    double = sigstore.deployment
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = double.fulcio.issue(key.public_key(), ALICE, sigstore.issuer)
    wanted, logged = (double.bundle(statement(text), key=key, certificate=certificate) for text in "ab")
    entries = logged["verificationMaterial"]["tlogEntries"]
    assert digest_of(entries[0]) != digest_of(wanted["verificationMaterial"]["tlogEntries"][0])
    wanted["verificationMaterial"]["tlogEntries"] = entries
    assert "inconsistent" in rejected(sigstore, wanted)


def test_log_entry_of_another_signature_over_the_same_payload(sigstore: Server, document: dict[str, Any]) -> None:
    again = sigstore.deployment.bundle(statement())
    document["verificationMaterial"]["tlogEntries"] = again["verificationMaterial"]["tlogEntries"]
    rejected(sigstore, document)


def issued(sigstore: Server, fulcio: Fulcio | None = None, **options: Any) -> dict[str, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (fulcio or sigstore.deployment.fulcio).issue(key.public_key(), ALICE, sigstore.issuer, **options)
    return sigstore.deployment.bundle(statement(), key=key, certificate=certificate)


def test_certificate_that_no_log_promised(sigstore: Server) -> None:
    assert anchor(sigstore).prove(as_bundle(issued(sigstore)), NOW)
    assert "timestamp" in rejected(sigstore, issued(sigstore, promised=False))
    assert "SCT" in rejected(sigstore, issued(sigstore, log=CertificateLog()))


def test_certificate_of_another_authority(sigstore: Server) -> None:
    other = Fulcio(sigstore.deployment.ct, {})
    assert other.intermediate.certificate.subject == sigstore.deployment.fulcio.intermediate.certificate.subject
    rejected(sigstore, issued(sigstore, other))


@pytest.mark.parametrize("hours", [-1, 1])
def test_certificate_that_was_not_valid_when_it_was_used(sigstore: Server, hours: int) -> None:
    rejected(sigstore, issued(sigstore, start=now() + timedelta(hours=hours)))


def test_certificate_that_has_expired_since_is_fine(sigstore: Server) -> None:
    start = now() - timedelta(hours=3)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = sigstore.deployment.fulcio.issue(key.public_key(), ALICE, sigstore.issuer, start=start)
    used = start + timedelta(minutes=5)
    document = sigstore.deployment.bundle(statement(), key=key, certificate=certificate, stamped_at=used)
    assert anchor(sigstore).prove(as_bundle(document), NOW).time == used


def test_timestamp_of_another_authority(sigstore: Server) -> None:
    impostor = sigstore.deployment.bundle(statement(), tsa=TimestampAuthority())
    assert "time" in rejected(sigstore, impostor)


def test_a_foreign_timestamp_beside_a_good_one_does_not_set_the_time(
    sigstore: Server, document: dict[str, Any]
) -> None:
    signature = base64.b64decode(document["dsseEnvelope"]["signatures"][0]["sig"])
    earlier = TimestampAuthority().stamp_message(signature, now() - timedelta(days=300))
    stamps = document["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
    stamps.insert(0, {"signedTimestamp": b64(earlier)})
    proof = anchor(sigstore).prove(as_bundle(document), NOW)
    assert proof.time is not None and now() - proof.time < timedelta(minutes=10)


def test_timestamp_over_another_signature(sigstore: Server, document: dict[str, Any]) -> None:
    other = sigstore.deployment.bundle(statement("other"))["verificationMaterial"]
    document["verificationMaterial"]["timestampVerificationData"] = other["timestampVerificationData"]
    rejected(sigstore, document)


def test_more_timestamps_than_anybody_needs(sigstore: Server, document: dict[str, Any]) -> None:
    stamps = document["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
    rejected(sigstore, _with_stamps(document, stamps * 2))
    rejected(sigstore, _with_stamps(document, stamps * 33))


def _with_stamps(document: dict[str, Any], stamps: list[Any]) -> dict[str, Any]:
    spoiled = copy.deepcopy(document)
    spoiled["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"] = stamps
    return spoiled


def test_evidence_taken_away(sigstore: Server, document: dict[str, Any]) -> None:
    material = document["verificationMaterial"]
    rejected(sigstore, {**document, "verificationMaterial": {**material, "tlogEntries": []}})
    rejected(sigstore, {**document, "verificationMaterial": {**material, "timestampVerificationData": {}}})
    bare = {"certificate": material["certificate"], "tlogEntries": []}
    with pytest.raises(DocumentError, match="neither log entry nor timestamp"):
        as_bundle({**document, "verificationMaterial": bare})
    without_proof = copy.deepcopy(document)
    del without_proof["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]
    rejected(sigstore, without_proof)
    without_checkpoint = copy.deepcopy(document)
    del without_checkpoint["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["checkpoint"]
    rejected(sigstore, without_checkpoint)


def test_a_time_that_only_the_document_claims(sigstore: Server, document: dict[str, Any]) -> None:
    """An integrated time counts with the log's signature over it, not for being written there."""
    document["verificationMaterial"]["timestampVerificationData"] = {}
    entry = document["verificationMaterial"]["tlogEntries"][0]
    entry["integratedTime"] = str(int(now().timestamp()))
    rejected(sigstore, document)
    entry["inclusionPromise"] = {"signedEntryTimestamp": b64(b"promise")}
    rejected(sigstore, document)


def test_a_document_that_two_parsers_read_differently(sigstore: Server, document: dict[str, Any]) -> None:
    """Sigstore's models take snake_case names as well, so one document can carry two envelopes."""
    good = document["dsseEnvelope"]
    evil = {**good, "payload": b64(statement("evil"))}
    rejected(sigstore, {**document, "dsseEnvelope": evil, "dsse_envelope": good})
    rejected(sigstore, {**document, "dsse_envelope": good, "dsseEnvelope": evil})
    swapped = {**document, "dsseEnvelope": {**evil, "payload_type": good["payloadType"]}}
    rejected(sigstore, swapped)
    # A bundle object whose bytes are another document's: the caller's mistake must not become a proof.
    parsed = as_bundle({**document, "dsseEnvelope": evil})
    crossed = Bundle(parsed.envelope, as_bundle(document).raw, parsed.media_type, None, parsed.certificates, 1, 1)
    with pytest.raises(SignatureError, match="another payload"):
        anchor(sigstore).prove(crossed, NOW)


def test_signatures_of_another_kind(sigstore: Server) -> None:
    bundle = KeySigner(generate()).sign(statement())
    with pytest.raises(SignatureError, match="not a Sigstore signature"):
        anchor(sigstore).prove(bundle, NOW)


def test_another_deployment_is_not_believed(sigstore: Server) -> None:
    stranger = Deployment(sigstore.issuer)
    rejected(sigstore, stranger.bundle(statement()))
    production = SigstoreAnchor(ALICE, sigstore.issuer)
    rejected(sigstore, sigstore.deployment.bundle(statement()), production)


def test_a_trust_root_planted_in_the_home_folder_is_not_believed(sigstore: Server, home: Path) -> None:
    """Sigstore's client keeps production's root there and believes the file when it is offline."""
    production = "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev"
    planted = home / "cache" / "sigstore-python" / "tuf" / production / "trusted_root.json"
    planted.parent.mkdir(parents=True)
    planted.write_bytes(sigstore.trusted_root.read_bytes())
    document = sigstore.deployment.bundle(statement())
    fooled = Verifier.production(offline=True)
    policy = Identity(identity=ALICE, issuer=sigstore.issuer)
    assert fooled.verify_dsse(SigstoreBundle.from_json(json.dumps(document)), policy)
    rejected(sigstore, document, SigstoreAnchor(ALICE, sigstore.issuer))


def test_trust_roots_that_are_none(sigstore: Server, document: dict[str, Any], tmp_path: Path) -> None:
    root = json.loads(sigstore.trusted_root.read_text())
    bad: list[Any] = [{}, [], {**root, "tlogs": []}, {**root, "certificateAuthorities": []}, {**root, "mediaType": 7}]
    bad.append({**root, "certificateAuthorities": [{**root["certificateAuthorities"][0], "certChain": {}}]})
    config = json.loads(sigstore.trust_config.read_text())
    bad.append({**config, "trustedRoot": {}})
    for i, content in enumerate(bad):
        path = tmp_path / f"root{i}.json"
        path.write_text(json.dumps(content))
        with pytest.raises(DocumentError) as caught:
            SigstoreAnchor(ALICE, sigstore.issuer, str(path)).prove(as_bundle(document), NOW)
        assert path.name in one_sentence(caught.value)
    with pytest.raises(DocumentError, match="cannot be read"):
        SigstoreAnchor(ALICE, sigstore.issuer, str(tmp_path / "absent")).prove(as_bundle(document), NOW)


def test_a_trust_root_that_changes_on_disk_counts_from_then_on(
    sigstore: Server, document: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "root.json"
    path.write_bytes(sigstore.trusted_root.read_bytes())
    changing = SigstoreAnchor(ALICE, sigstore.issuer, str(path))
    assert changing.prove(as_bundle(document), NOW)
    path.write_text(json.dumps(Deployment(sigstore.issuer).trusted_root()))
    rejected(sigstore, document, changing)


# --- verifying: fuzzing


@pytest.fixture(scope="module")
def original(sigstore: Server) -> dict[str, Any]:
    sigstore.deployment.rekor.add(b"an entry before")
    return sigstore.deployment.bundle(statement())


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.text(max_size=30), st.floats(allow_nan=False)
) | st.sampled_from([[], {}, "", "AAAA", "0", "9" * 30, [[]], {"rawBytes": "AAAA"}])


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_spoiled_document_is_accepted_or_crashes(
    sigstore: Server, original: dict[str, Any], data: st.DataObject
) -> None:
    spoiled = copy.deepcopy(original)
    *parents, last = data.draw(st.sampled_from(list(places(original))))
    holder: Any = spoiled
    for key in parents:
        holder = holder[key]
    before = holder[last]
    text = isinstance(before, str) and data.draw(st.booleans())
    holder[last] = _flip(before, data) if text else data.draw(JUNK)
    try:
        bundle = as_bundle(spoiled)
    except DocumentError as error:
        one_sentence(error)
        return
    try:
        proof = anchor(sigstore).prove(bundle, NOW)
    except SignatureError as error:
        one_sentence(error)
    else:  # hints that no proof covers may differ; what is proved, and of which payload, may not
        assert bundle.envelope.payload == statement()
        assert proof == anchor(sigstore).prove(as_bundle(original), NOW)


def _flip(text: str, data: st.DataObject) -> str:
    if not text:
        return "A"
    at = data.draw(st.integers(0, len(text) - 1))
    return text[:at] + data.draw(st.sampled_from("AZaz09+/=-_ \n")) + text[at + 1 :]


# --- without the extra


def isolated(code: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300).stdout


def test_importing_does_not_load_sigstore() -> None:
    code = "import sys, assay.evidence.trust.sigstore, assay.evidence.signers.keyless as k; k.KeylessSigner()"
    assert "False" in isolated(f"{code}; print(any(m.split('.')[0] in ('sigstore', 'pydantic') for m in sys.modules))")


def test_without_sigstore_the_extra_is_named(original: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text(json.dumps(original))
    code = """
import sys
sys.modules["sigstore"] = None
from assay.errors import MissingExtraError
from assay.evidence.bundle import parse
from assay.evidence.signers.keyless import KeylessSigner
from assay.evidence.trust.sigstore import SigstoreAnchor
bundle = parse(open(sys.argv[1], "rb").read(), "bundle")
for action in (lambda: SigstoreAnchor("a", "b").prove(bundle, None), lambda: KeylessSigner().sign(b"{}")):
    try:
        action()
    except MissingExtraError as error:
        print(error)
"""
    assert isolated(code, str(tmp_path / "bundle.json")).count(".[keyless]") == 2
    assert MissingExtraError("x", "keyless").exit_code == 3


# --- the double itself checks what the real services check


def test_the_double_refuses_what_real_services_refuse(sigstore: Server) -> None:
    double = sigstore.deployment
    good = double.bundle(statement())["verificationMaterial"]["tlogEntries"][0]
    content = json.loads(base64.b64decode(good["canonicalizedBody"]))["spec"]["hashedRekordV002"]
    request = {"digest": b64(bytes(32)), "signature": content["signature"]}
    with pytest.raises(InvalidSignature):
        double.rekor.answer({"hashedRekordRequestV002": request})
    code = {"code": "unknown", "code_verifier": "x"}
    with pytest.raises(KeyError):
        double.provider.exchange("&".join(f"{key}={value}" for key, value in code.items()))
