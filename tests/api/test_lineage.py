"""Lineage over a real store: what is proved, what is only said, and every way to make a stranger's word count."""

from __future__ import annotations

import json
import os
import resource as limits
from pathlib import Path

import pytest

import assay
from assay.api.signers import SignWith
from assay.config import Config, Trust
from assay.errors import UndecidedError, UsageError
from assay.evidence.lineage.interface import INPUT, MEMBER, OUTPUT, Piece
from assay.evidence.lineage.links import Links
from assay.evidence.lineage.reading import read
from assay.evidence.lineage.walk import Start, walk
from assay.evidence.statement import Statement, Subject
from assay.evidence.stores import open_directory
from assay.files import read_file
from lineage_making import LINK, NOW, SLSA, Place, key, names, provenance, resource, sha

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_up_names_every_source_and_down_every_use(place: Place) -> None:
    place.pipeline()
    up = place.of("model.gguf", down=False)
    assert names(up, up.sources) == {"model", "clean", "train.py", "raw"} and not up.uses
    assert sorted(step.kind for step in up.steps.values()) == ["preparation", "quantising", "training"]
    down = place.of("raw", up=False)
    assert names(down, down.uses) == {"clean", "model", "model.gguf", "metrics.json"} and not down.sources
    assert down.counted()["model"] == 2
    assert all(edge.proved for edge in down.edges.values())


def test_depth_counts_steps(place: Place) -> None:
    place.pipeline()
    near = place.of("model.gguf", depth=1)
    assert names(near, near.sources) == {"model"} and not near.incomplete


def test_a_target_without_evidence_is_undecided_and_says_what_to_do(place: Place) -> None:
    place.pipeline()
    with pytest.raises(UndecidedError) as error:
        place.of("nobody-knows-it")
    assert error.value.exit_code == 3 and "assay run" in str(error.value.hint)
    with pytest.raises(UsageError):
        place.of("sha256:ABC")


def test_a_strangers_step_is_shown_and_leads_nowhere(place: Place) -> None:
    place.pipeline()
    place.step("steal", ["model"], ["stolen"], by=place.stranger)
    place.step("resell", ["stolen"], ["sold"])  # proved, behind an edge that is not
    place.step("poison", ["poisoned data"], ["clean"], by=place.stranger)
    graph = place.of("model")
    assert "stolen" in {node.name for node in graph.artifacts.values()}
    assert not names(graph, graph.uses | graph.sources) & {"stolen", "sold", "poisoned data"}
    assert "sold" not in {node.name for node in graph.artifacts.values()}
    unproved = [edge for edge in graph.edges.values() if not edge.proved]
    assert len(unproved) == 4 and all("no signature by" in edge.reason for edge in unproved)
    assert not graph.notes  # a stranger can neither contradict nor close a circle


def test_a_stranger_who_repeats_a_step_adds_no_input_to_it(place: Place) -> None:
    place.step("train", ["data"], ["model"])
    place.step("train", ["data", "malware"], ["model"], by=place.stranger)
    graph = place.of("model")
    assert names(graph, graph.sources) == {"data"}
    proved = [step for step in graph.steps.values() if step.proved]
    assert len(graph.steps) == 2 and [item.name for item in proved[0].act.inputs] == ["data"]
    assert all(edge.start != key("malware") or not edge.proved for edge in graph.edges.values())


def test_many_strangers_hide_no_proved_step(place: Place) -> None:
    place.step("train", ["data"], ["model"])
    for number in range(80):
        place.step(f"noise {number}", ["data"], ["model"], by=place.stranger)
    graph = place.of("model")
    assert names(graph, graph.sources) == {"data"}
    assert len(graph.steps) == 51 and "not shown" in graph.notes[0]


def test_a_tampered_bundle_is_no_edge_and_makes_the_answer_incomplete(place: Place) -> None:
    place.pipeline()
    entry = place.step("fine-tune", ["model"], ["tuned"])
    assert "tuned" in names(place.of("model"), place.of("model").uses)
    with open_directory(place.store, create=False) as store:
        blob = store.get(str(entry)).blob
    (path,) = [found for found in Path(place.store).rglob("*") if found.is_file() and blob in found.name]
    os.chmod(path, 0o600)
    path.write_bytes(path.read_bytes().replace(b"payload", b"Payload", 1))
    graph = place.of("model")
    assert "tuned" not in names(graph, graph.uses) and graph.incomplete


def test_a_changed_payload_under_a_good_signature_is_not_proved(place: Place) -> None:
    place.step("train", ["data"], ["model"])
    statement = Statement((Subject("model", {"sha256": sha("model")}),), SLSA, provenance("x", [resource("other")]))
    bundle = json.loads(place.signer.sign(statement.dump()).raw)
    forged = Statement((Subject("model", {"sha256": sha("model")}),), SLSA, provenance("x", [resource("forged")]))
    other = json.loads(place.stranger.sign(forged.dump()).raw)
    other["dsseEnvelope"]["signatures"] = bundle["dsseEnvelope"]["signatures"]
    other["verificationMaterial"] = bundle["verificationMaterial"]
    place.add(json.dumps(other).encode())
    graph = place.of("model")
    assert names(graph, graph.sources) == {"data"}


def test_discarded_evidence_is_no_edge(place: Place) -> None:
    place.pipeline()
    entry = place.step("fine-tune", ["model"], ["tuned"])
    with open_directory(place.store, create=False) as store:
        store.discard(store.get(str(entry)), reason="wrong", now=NOW)
    assert "tuned" not in {node.name for node in place.of("model").artifacts.values()}


def test_two_producers_of_one_digest_are_shown_as_a_contradiction(place: Place) -> None:
    place.step("train", ["data"], ["model"])
    place.step("train", ["other data"], ["model"])
    graph = place.of("model")
    assert len(graph.steps) == 2 and names(graph, graph.sources) == {"data", "other data"}
    assert any("2 steps" in note and "contradict" in note for note in graph.notes)


def test_link_and_provenance_of_one_run_are_one_step(place: Place) -> None:
    place.step("train", ["data"], ["model"])
    place.say(["model"], LINK, {"name": "train", "materials": [resource("data")]})
    graph = place.of("data")
    (step,) = graph.steps.values()
    assert len(step.pieces) == 2 and step.act.builder == "https://example.org/builder" and not graph.notes


def test_a_circle_ends_and_is_told(place: Place) -> None:
    place.step("one", ["a"], ["b"])
    place.step("two", ["b"], ["c"])
    place.step("three", ["c"], ["a"])
    graph = place.of("a")
    assert names(graph, graph.sources) == {"b", "c"} and any("circle" in note for note in graph.notes)


def test_names_and_weak_digests_prove_nothing(place: Place) -> None:
    inputs = [
        {"uri": "https://example.org/data"},
        {"uri": "git+https://example.org/r", "digest": {"gitCommit": "a" * 40}},
    ]
    place.say(["model"], SLSA, provenance("train", inputs))
    graph = place.of("model")
    assert not graph.sources
    assert {edge.reason for edge in graph.edges.values() if not edge.proved} == {
        "only a name, no digest",
        "only a weak digest (gitCommit)",
    }


def test_the_empty_file_connects_nothing(place: Place) -> None:
    empty = {"name": "__init__.py", "digest": {"sha256": sha("")}}
    place.say([Subject("a/__init__.py", {"sha256": sha("")}), "a"], SLSA, provenance("one", [resource("x")]))
    place.say(["b"], SLSA, provenance("two", [empty]))
    graph = place.of("b")
    assert "x" not in names(graph, graph.sources)


def test_a_signer_of_one_target_cannot_speak_of_another(place: Place) -> None:
    model = place.root / "model"
    model.mkdir()
    (model / "w.bin").write_bytes(b"weights")
    (place.root / "stranger.pub").write_bytes(place.stranger.key.public.pem)
    digest = _contents(model)
    # The stranger may sign for data sets, and says that the model is one of them.
    subject = Subject("model", {"sha256": digest}, {"target": "dir:data-1"})
    place.say([subject], SLSA, provenance("train", [resource("evil")]), by=place.stranger)
    place.say([Subject("model", {"sha256": digest})], SLSA, provenance("train", [resource("good")]))
    config = Config(
        trust=[
            Trust(targets=["dir:*model"], keys=[str(place.root / "own.pub")]),
            Trust(targets=["dir:data*"], keys=[str(place.root / "stranger.pub")]),
        ]
    )
    graph = place.of(f"dir:{model}", trust=None, config=config)
    assert names(graph, graph.sources) == {"good"}


def test_a_material_that_is_one_file_of_a_signed_folder_is_that_folder(place: Place) -> None:
    data = place.root / "corpus"
    data.mkdir()
    for name in ("a.csv", "b.csv"):
        (data / name).write_text(f"content of {name}\n")
    private = place.root / "own.pem"
    private.write_bytes(place.signer.key.pem(None))
    assay.sign(str(data), signer_choice=SignWith(key=str(private)), directory=place.store)
    place.say(["model"], SLSA, provenance("train", [{"name": "b.csv", "digest": {"sha256": _digest(data / "b.csv")}}]))
    down = place.of(f"dir:{data}", up=False)
    assert names(down, down.uses) == {"model"}
    up = place.of("model", down=False)
    assert names(up, up.sources) == {"b.csv", "corpus"}
    # The folder itself is not here any more: its signed list of files is enough.
    gone = place.of(f"sha256:{_contents(data)}", up=False)
    assert names(gone, gone.uses) == {"model"}


def test_a_strangers_list_of_files_puts_no_file_into_a_folder(place: Place) -> None:
    data = place.root / "corpus"
    data.mkdir()
    (data / "a.csv").write_text("a\n")
    (data / "b.csv").write_text("b\n")
    private = place.root / "stranger.pem"
    private.write_bytes(place.stranger.key.pem(None))
    assay.sign(str(data), signer_choice=SignWith(key=str(private)), directory=place.store)
    place.say(["model"], SLSA, provenance("train", [{"name": "b.csv", "digest": {"sha256": _digest(data / "b.csv")}}]))
    graph = place.of("model", down=False)
    assert names(graph, graph.sources) == {"b.csv"}
    assert [edge.proved for edge in graph.edges.values() if edge.kind == "part"] == [False]


def test_a_strangers_lists_hide_no_proved_folder_and_draw_no_others_steps(place: Place) -> None:
    """Many lists that a file is in, and one list that names everybody's files, must not push out what is proved."""
    own, other = place.root / "own.pem", place.root / "stranger.pem"
    own.write_bytes(place.signer.key.pem(None))
    other.write_bytes(place.stranger.key.pem(None))
    corpus = place.root / "corpus"
    corpus.mkdir()
    (corpus / "data.csv").write_text("data\n")
    (corpus / "more.csv").write_text("more\n")
    assay.sign(str(corpus), signer_choice=SignWith(key=str(own)), directory=place.store)
    data = {"name": "data.csv", "digest": {"sha256": _digest(corpus / "data.csv")}}
    place.say(["model"], SLSA, provenance("train", [data]))
    for number in range(60):
        (corpus / "more.csv").write_text(f"{number}\n")
        assay.sign(str(corpus), signer_choice=SignWith(key=str(other)), directory=place.store)
    graph = place.of("model", down=False)
    assert names(graph, graph.sources) == {"data.csv", "corpus"}
    assert sum(not edge.proved for edge in graph.edges.values()) == 50
    # The last of the stranger's folders: the step is known to have read a file of it only by the stranger's word.
    strange = place.of(f"sha256:{_contents(corpus)}", up=False)
    assert not strange.uses and [edge.proved for edge in strange.edges.values() if edge.kind == "used"] == [False]


def test_folders_that_share_a_file_are_no_relatives(place: Place) -> None:
    private = place.root / "own.pem"
    private.write_bytes(place.signer.key.pem(None))
    for name in ("one", "two"):
        folder = place.root / name
        folder.mkdir()
        (folder / "LICENSE").write_text("the same\n")
        (folder / "data.csv").write_text(name)
        assay.sign(str(folder), signer_choice=SignWith(key=str(private)), directory=place.store)
        place.say(
            [f"model {name}"],
            SLSA,
            provenance(f"train {name}", [{"name": name, "digest": {"sha256": _contents(folder)}}]),
        )
    graph = place.of(f"dir:{place.root / 'one'}")
    assert names(graph, graph.uses) == {"model one"}


def test_releases_and_deployments_are_uses(place: Place) -> None:
    place.step("train", ["data"], ["model"])
    place.say(["model"], "https://in-toto.io/attestation/release/v0.1", {"purl": "pkg:pypi/model@1"})
    summary = {
        "verifier": {"id": "https://example.org/gate"},
        "resourceUri": "oci:registry.example/service",
        "policy": {"uri": "https://example.org/policy"},
        "verificationResult": "PASSED",
        "verifiedLevels": [],
    }
    place.say(["model"], "https://slsa.dev/verification_summary/v1", summary)
    refused = summary | {"verificationResult": "FAILED", "resourceUri": "oci:registry.example/other"}
    place.say(["model"], "https://slsa.dev/verification_summary/v1", refused)
    graph = place.of("data", up=False)
    assert names(graph, graph.uses) == {"model", "pkg:pypi/model@1", "oci:registry.example/service"}
    assert graph.counted() == {"model": 1, "release": 1, "service": 1}


def test_evidence_hangs_on_its_artifact_and_says_whether_it_is_proved(place: Place) -> None:
    place.step("train", ["data"], ["model"])
    result = {"result": "PASSED", "configuration": [resource("suite")]}
    place.say(["model"], "https://in-toto.io/attestation/test-result/v0.1", result)
    place.say(["model"], "https://in-toto.io/attestation/test-result/v0.1", result, by=place.stranger)
    graph = place.of("model")
    found = {(piece.said.word, piece.proved) for piece in graph.artifacts[graph.target].evidence}
    assert found == {("test result: PASSED", True), ("test result: PASSED", False)}


def test_other_tools_documents_are_edges_once_their_signer_is_named(place: Place) -> None:
    place.add(read_file(str(DATA / "evidence" / "witness-collection.json")))
    statement = json.loads((DATA / "lineage" / "slsa-github-generator.json").read_text())
    place.add(place.signer.sign(json.dumps(statement).encode()).raw)
    graph = place.of(f"sha256:{statement['subject'][0]['digest']['sha256']}")
    assert names(graph, graph.sources) == {"https://example.org/data/clean.parquet"}
    witness = sha("the model\n")
    assert not place.of(f"sha256:{witness}").known
    from assay.api.anchors import TrustIn

    named = TrustIn(ca=str(DATA / "evidence" / "root.pem"), identity="signer@example.com")
    graph = place.of(f"sha256:{witness}", trust=named)
    assert graph.known and [step.act.name for step in graph.steps.values()] == ["train"]


class InMemory:
    """Statements that were proved elsewhere: what `Gathered` is over a store, for graphs of many of them."""

    def __init__(self) -> None:
        self._links, self._pieces = Links(), dict[int, Piece]()

    def step(self, name: str, inputs: list[str], outputs: list[str]) -> None:
        subjects = tuple(Subject(item, {"sha256": sha(item)}) for item in outputs)
        said = read(Statement(subjects, SLSA, provenance(name, [resource(item) for item in inputs])))
        seq = len(self._pieces) + 1
        self._links.add(seq, said)
        self._pieces[seq] = Piece(seq, sha(str(seq)), said, ("key 1",))

    def entries(self, key: str, role: int) -> list[int]:
        return self._links.entries(key, role)

    def sharing(self, seq: int, role: int) -> list[int]:
        return self._links.sharing(seq, role)

    def piece(self, seq: int) -> Piece | None:
        return self._pieces.get(seq)


def test_a_chain_of_thousands_neither_overflows_the_stack_nor_is_cut() -> None:
    pieces = InMemory()
    for number in range(3000):
        pieces.step(f"step {number}", [f"a{number}"], [f"a{number + 1}"])
    graph = walk(pieces, Start((key("a3000"),), "last"))
    assert len(graph.sources) == 3000 and len(graph.steps) == 3000 and not graph.incomplete
    from assay.evidence.lineage.writing import picture, tree

    assert len(list(tree.lines(graph, most=10**9))) > 3000
    assert "nodes farther away are not drawn" in picture.svg(graph)


def test_a_graph_beyond_the_limit_says_that_it_is_incomplete() -> None:
    pieces = InMemory()
    for number in range(300):
        pieces.step(f"train {number}", ["data"], [f"model {number}"])
    before = limits.getrusage(limits.RUSAGE_SELF).ru_maxrss
    graph = walk(pieces, Start((key("data"),), "data"), most=100)
    assert len(graph.steps) == 100 and graph.incomplete
    assert len(walk(pieces, Start((key("data"),), "data")).uses) == 300
    assert limits.getrusage(limits.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


def test_links_answer_by_role() -> None:
    pieces = InMemory()
    pieces.step("s", ["a", "b"], ["c"])
    assert pieces.entries(key("a"), INPUT) == [1] and pieces.entries(key("c"), OUTPUT) == [1]
    assert pieces.entries(key("a"), OUTPUT) == [] and pieces.entries(key("a"), MEMBER) == []


def _digest(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def _contents(folder: Path) -> str:
    from helpers import manifest_of

    return manifest_of(folder).contents().hex()
