"""The scanner over the whole corpus (`corpus`): what the issue promises about misses and false alarms, as shares.

The corpus is made and proved in processes of its own, so that no framework is in the scanner's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from assay.collect.scan.models.interface import FileResult, Limits, Tier
from assay.collect.scan.models.run import scan
from assay.targets.registry import resolve
from corpus.sample import Sample

pytest.importorskip("torch", reason="the corpus is made with PyTorch too, which is not installed")

TESTS = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Judged:
    """A sample and what the scan made of it: the worst of its files."""

    sample: Sample
    tier: Tier
    files: tuple[FileResult, ...]

    @property
    def detected(self) -> bool:
        """Called what it is. Where loading runs no code, saying that nothing is known is as good (`corpus.sample`)."""
        if self.sample.harm == "code":
            return self.tier in (Tier.MALICIOUS, Tier.CODE)
        if self.sample.harm == "hidden":
            return any(file.findings for file in self.files)
        return self.tier not in (Tier.NONE, Tier.SAFE)

    def line(self) -> str:
        """A row of the table of misses."""
        rules = sorted({finding.rule for file in self.files for finding in file.findings})
        formats = ",".join(file.format or "-" for file in self.files)
        return f"{self.sample.path:75} {self.sample.label:9} {self.tier:10} {formats:24} {' '.join(rules[:4])}"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus on disk."""
    folder = tmp_path_factory.mktemp("corpus")
    run("corpus", str(folder))
    return folder


def run(module: str, *arguments: str) -> str:
    """One of the corpus's programs."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=TESTS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def manifest(folder: Path) -> list[Sample]:
    """Its rows."""
    return [Sample(**row) for row in json.loads((folder / "manifest.json").read_text())["samples"]]


@pytest.fixture(scope="module")
def judged(corpus: Path) -> list[Judged]:
    """Every sample with its result, from one scan of them all."""
    with resolve(f"dir:{corpus / 'samples'}") as target:
        result = scan(target, cache="off", limits=Limits(seconds=2.0))  # bombs are cut short: other tests time them
    assert not result.skipped
    files: dict[str, list[FileResult]] = defaultdict(list)
    for file in result.files:
        files[file.path.split("/", 1)[0]].append(file)
    made = []
    for sample in manifest(corpus):
        own = files.pop(sample.path.removeprefix("samples/"))
        made.append(Judged(sample, max((file.tier for file in own), key=lambda tier: tier.rank), tuple(own)))
    assert not files, "files of no sample"
    return made


def choose(judged: list[Judged], wanted: Callable[[Sample], bool]) -> list[Judged]:
    """Those of a kind; never none."""
    chosen = [item for item in judged if wanted(item.sample)]
    assert chosen
    return chosen


def table(title: str, items: list[Judged]) -> str:
    """For a failing assertion, and for whoever runs with ``-s``."""
    return "\n".join([f"{title}: {len(items)}", *(item.line() for item in items)])


def test_is_as_large_and_as_varied_as_promised(corpus: Path) -> None:
    samples = manifest(corpus)
    counts = Counter(sample.label for sample in samples)
    assert counts["malicious"] >= 300
    assert counts["honest"] >= 200
    assert counts["code"] >= 8
    assert len({sample.technique for sample in samples if sample.label == "malicious"}) >= 300
    contents = {
        tuple(sorted(path.read_bytes() for path in (corpus / sample.path).rglob("*") if path.is_file()))
        for sample in samples
    }
    assert len(contents) > 0.95 * len(samples), "too many samples are the same bytes under another name"


def test_no_attack_is_silently_missed(judged: list[Judged]) -> None:
    attacks = choose(judged, lambda sample: sample.label == "malicious")
    missed = [item for item in attacks if item.tier in (Tier.NONE, Tier.SAFE) and not item.detected]
    assert not missed, table("silently missed", missed)


@pytest.mark.parametrize(("families", "share"), [(("pickle",), 0.99), (("container",), 0.99), (("other",), 0.95)])
def test_attacks_are_detected(judged: list[Judged], families: tuple[str, ...], share: float) -> None:
    attacks = choose(judged, lambda sample: sample.label == "malicious" and sample.family in families)
    missed = [item for item in attacks if not item.detected]
    print(table(f"not detected of {len(attacks)}", missed))
    assert len(missed) <= (1 - share) * len(attacks), table(f"not detected of {len(attacks)}", missed)


def test_no_honest_file_is_called_malicious(judged: list[Judged]) -> None:
    wrong = [item for item in choose(judged, lambda sample: sample.label != "malicious") if item.tier is Tier.MALICIOUS]
    assert not wrong, table("called malicious", wrong)


def test_few_honest_files_are_unknown(judged: list[Judged]) -> None:
    good = choose(judged, lambda sample: sample.label == "honest")
    wrong = [item for item in good if item.tier not in (Tier.SAFE, Tier.NONE)]
    print(table(f"honest, not safe, of {len(good)}", wrong))
    assert len(wrong) <= 0.05 * len(good), table(f"honest, not safe, of {len(good)}", wrong)
    unreadable = [item for item in wrong if item.tier is Tier.UNREADABLE]
    assert not unreadable, table("honest, called unreadable", unreadable)


def test_code_by_value_is_shown(judged: list[Judged]) -> None:
    wrong = [item for item in choose(judged, lambda sample: sample.label == "code") if item.tier is not Tier.CODE]
    assert not wrong, table("code, called something else", wrong)


def test_every_verdict_has_its_reason(judged: list[Judged]) -> None:
    def files() -> Iterator[FileResult]:
        for item in judged:
            yield from item.files

    for file in files():
        assert file.sha256, file.path
        worst = max((finding.tier for finding in file.findings), key=lambda tier: tier.rank, default=Tier.NONE)
        if file.tier not in (Tier.NONE, Tier.SAFE):
            assert worst is file.tier, file.path
        for finding in file.findings:
            assert finding.message.isprintable(), file.path


@pytest.mark.slow
def test_every_attack_is_one_in_its_real_loader(corpus: Path) -> None:
    """Also: every honest file loads there, and does nothing that is watched."""
    run("corpus.proving", str(corpus))
    samples = manifest(corpus)
    assert not [sample.path for sample in samples if sample.loader and not sample.verified]
    proved = Counter(sample.label for sample in samples if sample.verified)
    assert proved["malicious"] >= 450
    assert proved["honest"] >= 250
