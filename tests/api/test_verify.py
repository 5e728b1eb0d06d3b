"""The whole path on real files: sign or describe, keep, verify, and every way in which it must not be accepted."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

import assay
from assay.api.anchors import TrustIn
from assay.api.signers import SignWith
from assay.api.verifying import Verification
from assay.errors import AssayError, DocumentError, UndecidedError, UsageError
from assay.evidence import keys, oms
from assay.evidence.statement import Statement, Subject
from assay.targets.interface import SEGMENT, Options


class Place:
    """A model, a key pair and an evidence directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.model = root / "model"
        (self.model / "tokenizer").mkdir(parents=True)
        (self.model / "weights.bin").write_bytes(os.urandom(2 * SEGMENT + 12345))
        (self.model / "config.json").write_text('{"model_type": "bert"}')
        (self.model / "tokenizer" / "vocab.txt").write_text("a\nb\n")
        (self.model / "empty").touch()
        self.store = str(root / "att")
        self.private, self.public = self.key("ci")
        self.signature = str(root / "model.sig")

    def key(self, name: str) -> tuple[str, str]:
        made = keys.generate()
        private, public = self.root / f"{name}.pem", self.root / f"{name}.pub"
        private.write_bytes(made.pem(None))
        public.write_bytes(made.public.pem)
        return str(private), str(public)

    def sign(self, **more: object) -> None:
        choice = SignWith(key=str(more.pop("key", self.private)))
        assay.sign(
            str(self.model),
            signature=self.signature,
            signer_choice=choice,
            directory=self.store,
            **more,  # type: ignore[arg-type]
        )

    def verify(self, target: str | None = None, *, detached: bool = True, **more: object) -> Verification:
        return assay.verify(
            target or str(self.model),
            trust=more.pop("trust", TrustIn((self.public,))),  # type: ignore[arg-type]
            signature=self.signature if detached else None,
            directory=self.store,
            **more,  # type: ignore[arg-type]
        )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path)


@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize("sha256", [True, False])
def test_accepts_what_was_signed(place: Place, detached: bool, sha256: bool) -> None:
    place.sign()
    answer = place.verify(detached=detached, require_sha256=sha256)
    assert answer.accepted and answer.exit_code == 0
    assert answer.findings.algorithm == ("sha256" if sha256 else "blake3")
    assert answer.findings.files == 4 and not answer.findings.warnings
    proof = answer.findings.attestations[0].proof
    assert proof is not None and proof.method == "key" and proof.time is None


@pytest.mark.parametrize("sha256", [True, False])
@pytest.mark.parametrize("at", [0, SEGMENT, 2 * SEGMENT + 12344])
def test_one_flipped_bit_is_named(place: Place, at: int, sha256: bool) -> None:
    place.sign()
    with open(place.model / "weights.bin", "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    answer = place.verify(require_sha256=sha256)
    assert answer.exit_code == 1 and answer.findings.difference.modified == ("weights.bin",)
    assert not answer.findings.difference.missing and not answer.findings.difference.extra


def test_names_missing_extra_renamed(place: Place) -> None:
    place.sign()
    (place.model / "empty").unlink()
    (place.model / "tokenizer" / "evil.py").write_text("import os")
    (place.model / "config.json").rename(place.model / "config2.json")
    found = place.verify().findings
    assert found.difference.missing == ("config.json", "empty")
    assert found.difference.extra == ("config2.json", "tokenizer/evil.py")


def test_swapped_names_are_noticed(place: Place) -> None:
    """The standard's root digest does not bind names; our comparison does."""
    place.sign()
    a, b, c = (place.model / name for name in ("config.json", "empty", "swap"))
    a.rename(c)
    b.rename(a)
    c.rename(b)
    assert place.verify().findings.difference.modified == ("config.json", "empty")


def test_another_key_is_not_accepted(place: Place) -> None:
    place.sign()
    _, other = place.key("other")
    answer = place.verify(trust=TrustIn((other,)))
    assert answer.exit_code == 1 and answer.findings.attestations[0].proof is None


def test_nobody_named_is_undecided(place: Place) -> None:
    place.sign()
    with pytest.raises(UndecidedError, match="nobody is named") as caught:
        place.verify(trust=TrustIn())
    assert caught.value.exit_code == 3 and "--key" in (caught.value.hint or "")


@pytest.mark.parametrize("trust", [TrustIn(identity="a@b.c"), TrustIn(issuer="https://x"), TrustIn(ca="ca.pem")])
def test_half_a_signer_is_nobody(place: Place, trust: TrustIn) -> None:
    place.sign()
    with pytest.raises(UndecidedError):
        place.verify(trust=trust)


def test_no_evidence_is_undecided(place: Place) -> None:
    place.sign()
    other = place.root / "other"
    other.mkdir()
    (other / "file").write_text("x")
    answer = place.verify(str(other), detached=False)
    assert answer.exit_code == 3 and answer.findings.verdict == "undecided"


def test_missing_store_is_undecided(place: Place) -> None:
    with pytest.raises(UndecidedError, match="no evidence directory"):
        place.verify(detached=False)


def test_renamed_folder_is_found_by_its_shape(place: Place) -> None:
    place.sign()
    renamed = place.root / "renamed"
    place.model.rename(renamed)
    assert place.verify(str(renamed), detached=False).accepted


def test_bill_of_materials_serves_as_the_list(place: Place) -> None:
    assay.bom(str(place.model), format="attest", signer_choice=SignWith(key=place.private), directory=place.store)
    answer = place.verify(detached=False)
    assert answer.accepted and answer.findings.algorithm == "blake3"
    assert answer.findings.attestations[0].predicate_type.startswith("https://cyclonedx.org/bom")
    (place.model / "config.json").write_text("{}")
    answer = place.verify(detached=False)
    assert answer.exit_code == 1 and answer.findings.difference.modified == ("config.json",)


def test_report_about_the_contents(place: Place) -> None:
    report = place.root / "eval.json"
    report.write_text('{"dataset": "held out", "metrics": {"accuracy": 0.9}}')
    made = assay.attest(
        str(place.model),
        str(report),
        type="evaluation",
        signer_choice=SignWith(key=place.private),
        directory=place.store,
    )
    answer = place.verify(detached=False)
    assert answer.accepted and answer.findings.attestations[0].predicate_type == made.predicate_type
    (place.model / "config.json").write_text("{}")
    assert not place.verify(detached=False).accepted


def test_a_part(place: Place) -> None:
    place.sign()
    (place.model / "config.json").write_text("changed")
    part = place.verify(options=Options(paths=("tokenizer", "*.bin")))
    assert part.accepted and part.findings.part == ("tokenizer", "*.bin") and part.findings.files == 2
    whole = place.verify()
    assert not whole.accepted and whole.findings.part == ()


def test_a_part_with_a_missing_file(place: Place) -> None:
    place.sign()
    (place.model / "tokenizer" / "vocab.txt").unlink()
    (place.model / "tokenizer" / "other.txt").write_text("x")
    found = place.verify(options=Options(paths=("tokenizer",))).findings
    assert found.difference.missing == ("tokenizer/vocab.txt",) and found.verdict == "rejected"


def test_a_part_of_which_nothing_was_signed(place: Place) -> None:
    place.sign()
    (place.model / "new.bin").write_text("x")
    found = place.verify(options=Options(paths=("new.bin",))).findings
    assert found.verdict == "rejected" and found.difference.extra == ("new.bin",)


def test_a_signed_part_says_so(place: Place) -> None:
    place.sign(options=Options(paths=("tokenizer",)))
    answer = place.verify()
    assert answer.accepted and answer.findings.part == ("tokenizer",) and answer.findings.files == 1
    assert "only a part" in answer.findings.warnings[0]
    assert place.verify(strict=True).exit_code == 1


def test_the_whole_goes_before_a_newer_part(place: Place) -> None:
    place.sign(now=datetime(2026, 1, 1, tzinfo=UTC))
    place.sign(now=datetime(2026, 2, 1, tzinfo=UTC), options=Options(paths=("tokenizer",)))
    os.unlink(place.signature)
    answer = place.verify(detached=False)
    assert answer.accepted and answer.findings.part == () and answer.findings.files == 4


def test_byte_range(place: Place) -> None:
    place.sign()
    weights = place.model / "weights.bin"
    data = bytearray(weights.read_bytes())
    data[5 * 1024 * 1024] ^= 1  # in the second segment
    weights.write_bytes(data)
    only = Options(paths=("weights.bin",))
    good = place.verify(options=only, byte_range=(0, SEGMENT))
    assert good.accepted and good.findings.part == (f"weights.bin[0:{SEGMENT}]",)
    assert place.verify(options=only, byte_range=(2 * SEGMENT, 2 * SEGMENT + 5)).accepted
    assert place.verify(options=only, byte_range=(SEGMENT, SEGMENT + 1)).exit_code == 1
    with pytest.raises(UsageError, match="not within"):
        place.verify(options=only, byte_range=(0, 10 * SEGMENT))
    with pytest.raises(UsageError, match="one file"):
        place.verify(byte_range=(0, 1))


def test_unsigned_names_are_shown_and_strict_refuses_them(place: Place) -> None:
    place.sign()
    (place.model / "__pycache__").mkdir()
    (place.model / "__pycache__" / "evil.pyc").write_bytes(b"x")
    (place.model / ".gitattributes").write_text("*.bin filter=evil")
    answer = place.verify()
    assert answer.accepted and set(answer.findings.unsigned) == {".gitattributes", "__pycache__/"}
    assert answer.findings.warnings
    assert place.verify(strict=True).exit_code == 1


def test_what_we_ignore_but_the_signer_signed(place: Place) -> None:
    (place.model / "__pycache__").mkdir()
    (place.model / "__pycache__" / "module.pyc").write_bytes(b"x")
    place.sign(options=Options(default_ignores=False))
    assert place.verify().accepted
    (place.model / "__pycache__" / "module.pyc").write_bytes(b"y")
    assert place.verify().findings.difference.modified == ("__pycache__/module.pyc",)


def test_older_version_is_accepted_with_a_warning(place: Place) -> None:
    place.sign(now=datetime(2026, 1, 1, tzinfo=UTC))
    old = (place.model / "config.json").read_text()
    (place.model / "config.json").write_text(old.replace("bert", "gpt2"))  # the same size: the same shape
    place.sign(now=datetime(2026, 2, 1, tzinfo=UTC))
    assert not place.verify(detached=False).findings.warnings
    (place.model / "config.json").write_text(old)
    answer = place.verify(detached=False)
    assert answer.accepted and "newer" in answer.findings.warnings[0]
    assert place.verify(detached=False, strict=True).exit_code == 1


def test_discarded_evidence_does_not_count(place: Place) -> None:
    place.sign()
    os.unlink(place.signature)
    with assay.open_store(place.store) as store:
        store.discard(store.find()[0], reason="withdrawn", now=datetime.now(UTC))
    assert place.verify(detached=False).exit_code == 3


def test_tampered_store_does_not_help(place: Place) -> None:
    place.sign()
    os.unlink(place.signature)
    blob = next(path for path in Path(place.store).rglob("*.json") if path.stat().st_size > 1500)
    blob.chmod(0o600)
    blob.write_bytes(blob.read_bytes().replace(b"e", b"f", 1))
    assert not place.verify(detached=False).accepted


def test_own_default_key_is_trusted_by_default(place: Place, home: Path) -> None:
    folder = home / "config" / "assay" / "keys"
    folder.mkdir(parents=True)
    for suffix in (".pem", ".pub"):
        (folder / f"default{suffix}").write_bytes((place.root / f"ci{suffix}").read_bytes())
    assay.sign(str(place.model), directory=place.store)
    assert assay.verify(str(place.model), directory=place.store).accepted


def test_trust_rules_of_the_configuration(place: Place) -> None:
    place.sign()
    rules = place.root / "assay.yaml"
    rules.write_text(f"trust: [{{targets: ['dir:*/model'], keys: [{place.public}]}}]")
    assert place.verify(trust=TrustIn(), config_path=str(rules)).accepted
    rules.write_text("trust: [{targets: ['dir:*/model']}]")
    with pytest.raises(UndecidedError, match="names nobody"):
        place.verify(trust=TrustIn(), config_path=str(rules))


@pytest.mark.parametrize("target", [".", "git:.", "weights.bin"])
def test_a_target_cannot_bring_its_own_trust(place: Place, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    (place.model / "assay.yaml").write_text(f"trust: [{{keys: [{place.public}]}}]")
    subprocess.run(["git", "-C", str(place.model), "init", "-q"], check=True)
    subprocess.run(["git", "-C", str(place.model), "add", "."], check=True)
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", "-C", str(place.model), *who, "commit", "-qm", "x"], check=True)
    monkeypatch.chdir(place.model)
    assay.sign(target, signature=place.signature, signer_choice=SignWith(key=place.private), store=False)
    with pytest.raises(UsageError, match="inside the target"):
        place.verify(target, trust=TrustIn())
    assert place.verify(target, trust=TrustIn(), config_path="assay.yaml").accepted  # named: the caller's choice
    assert place.verify(target).accepted


def test_strict_and_cache_exclude_each_other(place: Place) -> None:
    with pytest.raises(UsageError, match="every byte"):
        place.verify(strict=True, options=Options(trust_cache=True))


def _signed_statement(place: Place, statement: Statement) -> None:
    from assay.evidence.signers.key import KeySigner

    key = keys.load_private(Path(place.private).read_bytes(), "key", lambda _: b"")
    Path(place.signature).write_bytes(KeySigner(key).sign(statement.dump()).raw)


@pytest.mark.parametrize("digest", [{"md5": "0" * 32}, {"sha1": "0" * 40}, {"gitCommit": "0" * 40}])
def test_weak_digests_prove_nothing(place: Place, digest: dict[str, str]) -> None:
    _signed_statement(place, Statement((Subject("model", digest),), "https://example.com/x", {}))
    answer = place.verify()
    assert answer.exit_code == 1 and "weak" in answer.findings.reason


def test_a_bill_that_lies_about_its_own_subject_lists_nothing(place: Place) -> None:
    """A list of files counts only when its digest is the subject's: else the signer signed something else."""
    made = assay.bom(str(place.model), format="statement")
    from assay.evidence import statement as module

    honest = module.parse(made.document, "bom")
    _signed_statement(
        place, Statement((Subject("model", {"sha256": "0" * 64}),), honest.predicate_type, honest.predicate)
    )
    assert place.verify().exit_code == 1


def test_escaping_names_in_a_signed_list(place: Place) -> None:
    """A trusted signer's broken tool must not make us read or accept files outside of the target."""
    secret = place.root / "secret"
    secret.write_text("s")
    import hashlib

    digest = hashlib.sha256(b"s").digest()
    predicate = {
        "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
        "resources": [{"name": "../secret", "algorithm": "sha256", "digest": digest.hex()}],
    }
    root = hashlib.sha256(digest).hexdigest()
    _signed_statement(place, Statement((Subject("model", {"sha256": root}),), oms.PREDICATE_TYPE, predicate))
    answer = place.verify()
    assert answer.exit_code == 1 and "not a path inside" in answer.findings.reason


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"{", b'{"mediaType": "x"}', b"\xff", b"[" * 100_000])
def test_broken_signature_files(place: Place, data: bytes) -> None:
    Path(place.signature).write_bytes(data)
    with pytest.raises(AssayError) as caught:
        place.verify()
    assert caught.value.exit_code in (1, 2)


def test_signature_over_other_bytes(place: Place) -> None:
    place.sign()
    text = Path(place.signature).read_text()
    other = Place(place.root / "second")
    other.sign()
    import json

    mixed, second = json.loads(text), json.loads(Path(other.signature).read_text())
    mixed["dsseEnvelope"]["payload"] = second["dsseEnvelope"]["payload"]
    Path(place.signature).write_text(json.dumps(mixed))
    assert place.verify(str(other.model)).exit_code == 1


def test_signed_single_file(place: Place) -> None:
    target = str(place.model / "weights.bin")
    assay.sign(target, signature=place.signature, signer_choice=SignWith(key=place.private), store=False)
    assert place.verify(target).accepted
    copy = place.root / "other-name.bin"
    copy.write_bytes((place.model / "weights.bin").read_bytes())
    assert place.verify(str(copy)).accepted
    copy.write_bytes(copy.read_bytes()[:-1])
    assert place.verify(str(copy)).exit_code == 1


def test_signature_inside_the_folder(place: Place) -> None:
    place.signature = str(place.model / "model.sig")
    place.sign()
    assert place.verify().accepted
    place.store = None  # type: ignore[assignment]
    assert place.verify(detached=False).accepted  # found where other tools put it


def test_signing_again_into_the_folder(place: Place) -> None:
    place.signature = str(place.model / "model.sig")
    place.sign()
    (place.model / "config.json").write_text("{}")
    place.sign()
    answer = place.verify()
    assert answer.accepted and not answer.findings.warnings and answer.findings.files == 4


def test_a_signature_of_others_in_the_folder_is_content(place: Place) -> None:
    (place.model / "model.sig").write_text("signed by the publisher")
    place.sign()
    assert place.verify().accepted
    (place.model / "model.sig").write_text("another")
    assert place.verify().findings.difference.modified == ("model.sig",)


def test_damaged_evidence_is_said(place: Place) -> None:
    place.sign(now=datetime(2026, 1, 1, tzinfo=UTC))
    place.sign(now=datetime(2026, 2, 1, tzinfo=UTC))
    os.unlink(place.signature)
    newest = assay.open_store(place.store).find()[0].blob
    [blob] = Path(place.store).rglob(f"*{newest}*.json")
    blob.chmod(0o600)
    blob.write_bytes(b"{}")
    answer = place.verify(detached=False)
    assert answer.accepted and "cannot be read" in answer.findings.warnings[0]
    assert place.verify(detached=False, strict=True).exit_code == 1


def test_the_document_of_an_answer_separates_said_and_proved(place: Place) -> None:
    place.sign(labels={"stage": "ci"})
    document = place.verify().document()
    first = document["attestations"][0]
    assert first["proved"]["method"] == "key" and first["said"]["labels"] == {"stage": "ci"}
    assert document["verdict"] == "accepted" and document["missing"] == []


def test_malformed_config_is_named(place: Place) -> None:
    (place.root / "assay.yaml").write_text("evidnce: x")
    with pytest.raises(DocumentError, match=r"assay\.yaml"):
        place.verify()
