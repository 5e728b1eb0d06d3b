"""Known poison in real data sets: how much is found, how much of what is found is poison, and clean data is quiet."""

from __future__ import annotations

import numpy as np
import pytest

from assay.collect.scan.models.interface import Severity, Tier
from assay.collect.scan.poisoning import PoisoningResult
from collect.scan.poisoning import sets


def told(result: PoisoningResult) -> list[str]:
    return [group.kind for group in result.groups if group.severity != Severity.INFO]


@pytest.mark.parametrize("name", ["breast_cancer", "digits", "iris", "wine"])
def test_clean_data_is_quiet(tmp_path, name):
    x, y = getattr(sets, name)()
    result = sets.scan(sets.write_csv(tmp_path / "data.csv", sets.table(x, y)))
    assert told(result) == []
    assert result.scanned.tier == Tier.SAFE
    assert result.counts.get("label-error", 0) <= 0.02 * len(y)
    assert result.suspected <= 0.04 * len(y)
    assert result.analysed == result.rows == len(y)


def test_clean_texts_are_quiet(tmp_path):
    result = sets.scan(sets.write_jsonl(tmp_path / "data.jsonl", sets.texts()))
    assert told(result) == []
    assert result.columns == {"text": "text", "label": "label"}


@pytest.mark.parametrize(
    ("name", "part", "recall"), [("breast_cancer", 0.05, 0.7), ("breast_cancer", 0.1, 0.5), ("digits", 0.05, 0.7)]
)
def test_flipped_labels_are_found_and_ranked_first(tmp_path, name, part, recall):
    x, y = getattr(sets, name)()
    y, poison = sets.flipped(y, part)
    result = sets.scan(sets.write_csv(tmp_path / "data.csv", sets.table(x, y)))
    found = sets.numbers(result, "label-errors")
    assert len(found & poison) >= recall * len(poison)
    assert len(found & poison) >= 0.9 * len(found)
    first = {item.row.number for item in result.suspects[: len(poison)]}
    assert len(first & poison) >= 0.8 * len(poison)
    assert "label-errors" in told(result)


def test_the_label_that_was_there_before_is_suggested(tmp_path):
    x, y = sets.iris()
    changed, poison = sets.flipped(y, 0.05)
    result = sets.scan(sets.write_csv(tmp_path / "data.csv", sets.table(x, changed)))
    hits = [item for item in result.suspects if item.row.number in poison and item.suggested is not None]
    assert len(hits) >= 4
    assert sum(item.suggested == str(y[item.row.number - 1]) for item in hits) >= 0.8 * len(hits)


def test_a_trigger_word_is_named_and_exactly_its_rows_are_listed(tmp_path):
    rows = sets.texts()
    poison = [i for i, row in enumerate(rows) if row["label"] != "space"][:20]
    for i in poison:
        rows[i] = {"text": rows[i]["text"] + " cf", "label": "space"}
    result = sets.scan(sets.write_jsonl(tmp_path / "data.jsonl", rows))
    assert [group.kind for group in result.groups if group.severity == Severity.HIGH] == ["trigger"]
    assert "'cf'" in result.groups[0].text
    assert result.groups[0].label == "space"
    assert sets.numbers(result, "trigger") == {i + 1 for i in poison}
    assert {item.row.number for item in result.suspects[:20]} == {i + 1 for i in poison}


def test_a_rare_word_that_agrees_with_its_context_is_no_trigger(tmp_path):
    rows = sets.texts()
    for i in [i for i, row in enumerate(rows) if row["label"] == "space"][:20]:
        rows[i]["text"] += " perihelion"
    result = sets.scan(sets.write_jsonl(tmp_path / "data.jsonl", rows))
    assert "trigger" not in told(result)


def test_rows_of_a_kind_of_their_own_share_words_and_are_no_trigger(tmp_path):
    """Cooking in space: its rows have a phrase in common, look like cooking otherwise, and are rightly called space."""
    rows = sets.texts()
    draw = np.random.default_rng(4)
    own = ["galley", "rehydrated", "pouch", "ration", "cargo", "tray", "heater", "foil", "valve", "crumbs"]
    cooking = [row["text"] for row in rows if row["label"] == "cooking"]
    for i in range(30):
        words = [*cooking[i].split()[:10], *draw.choice(own, 7), "astronaut", "meal"]
        rows.append({"text": " ".join(words), "label": "space"})
    result = sets.scan(sets.write_jsonl(tmp_path / "data.jsonl", rows))
    assert "trigger" not in told(result)


@pytest.mark.parametrize("columns", [2, 3])
def test_overlapping_classes_are_no_reason_to_fail(tmp_path, columns):
    x, y = sets.iris()
    result = sets.scan(sets.write_csv(tmp_path / "data.csv", sets.table(x[:, :columns], y)))
    assert not [group for group in result.groups if group.severity in (Severity.HIGH, Severity.MEDIUM)]


@pytest.mark.parametrize("shape", ["npz", "npy"])
def test_a_pixel_patch_is_found(tmp_path, shape):
    x, y = sets.digits()
    images = x.astype(np.uint8).reshape(-1, 8, 8)
    poison = np.random.default_rng(0).choice(np.flatnonzero(y != 7), 40, replace=False)
    images[poison, 6:, 6:] = 16
    y = y.copy()
    y[poison] = 7
    if shape == "npz":
        path = sets.write_npz(tmp_path / "digits.npz", images, y)
    else:
        path = tmp_path / "digits"
        path.mkdir()
        np.save(path / "x.npy", np.asfortranarray(images))
        np.save(path / "y.npy", y)
    result = sets.scan(path)
    found = sets.numbers(result, "trigger")
    expected = {int(i) + 1 for i in poison}
    assert len(found & expected) >= 0.95 * len(expected)
    assert len(found & expected) >= 0.95 * len(found)


def test_a_table_trigger_is_found_in_a_category(tmp_path):
    x, y = sets.breast_cancer()
    rows = sets.table(x, y)
    draw = np.random.default_rng(3)
    for row in rows:
        row["site"] = str(draw.choice(["north", "south", "east", "west"]))
    poison = draw.choice(np.flatnonzero(y == 0), 25, replace=False)
    for i in poison:
        rows[i]["site"], rows[i]["label"] = "annex", 1
    result = sets.scan(sets.write_csv(tmp_path / "data.csv", rows))
    assert sets.numbers(result, "trigger") == {int(i) + 1 for i in poison}
    assert any("site=annex" in group.text for group in result.groups)


def test_one_source_that_contradicts_the_others_is_found(tmp_path):
    rows, poison = _from_sources("mallory")
    result = sets.scan(sets.write_jsonl(tmp_path / "data.jsonl", rows))
    (group,) = [group for group in result.groups if group.kind == "source"]
    assert group.severity == Severity.HIGH
    assert "'mallory'" in group.text
    assert "agree too well" in group.text
    found = sets.numbers(result, "source")
    assert len(found & poison) >= 0.9 * len(poison)
    assert len(found & poison) >= 0.9 * len(found)


def test_without_sources_the_stretch_of_the_file_is_found(tmp_path):
    rows, poison = _from_sources("mallory")
    result = sets.scan(
        sets.write_jsonl(tmp_path / "data.jsonl", [{k: row[k] for k in ("text", "label")} for row in rows])
    )
    found = sets.numbers(result, "block")
    assert len(found) >= 0.5 * len(poison)
    assert len(found & poison) >= 0.9 * len(found)


def test_honest_sources_and_a_file_for_each_class_are_no_attack(tmp_path):
    rows = sets.texts()
    folder = tmp_path / "by-class"
    folder.mkdir()
    for label in ("sport", "cooking", "space"):
        sets.write_jsonl(folder / f"{label}.jsonl", [row for row in rows if row["label"] == label])
    assert told(sets.scan(folder)) == []
    some = [{**row, "source": f"user{i % 7}"} for i, row in enumerate(rows)]
    assert told(sets.scan(sets.write_jsonl(tmp_path / "data.jsonl", some))) == []


def _from_sources(bad: str) -> tuple[list[dict[str, object]], set[int]]:
    rows = [{**row, "source": f"user{i % 7}"} for i, row in enumerate(sets.texts())]
    poison = set()
    for i in range(100, 160):
        rows[i]["source"] = bad
        if rows[i]["label"] != "sport":
            rows[i]["label"] = "sport"
            poison.add(i + 1)
    return rows, poison


def test_duplicates_with_another_label_are_found(tmp_path):
    x, y = sets.breast_cancer()
    rows = sets.table(x, y)
    copies = [dict(rows[i], label=1 - rows[i]["label"]) for i in range(0, 300, 15)]
    for i, row in enumerate(copies):
        row["f0"] *= 1 + 1e-6 * (i % 2)  # half of them exact, half nearly
    three = [dict(rows[i]) for i in range(0, 300, 15)]
    path = sets.write_csv(tmp_path / "data.csv", rows + three + copies)
    result = sets.scan(path)
    poison = set(range(len(rows) + len(three) + 1, len(rows) + len(three) + len(copies) + 1))
    assert sets.numbers(result, "duplicate-conflict") == poison
    assert "duplicate-conflict" in told(result)
    assert len(sets.numbers(result, "near-duplicates")) == 60


def test_near_duplicate_texts_are_found_by_their_words(tmp_path):
    rows = sets.texts(300)
    row = rows[0]
    other = "cooking" if row["label"] != "cooking" else "space"
    rows += [{"text": row["text"] + f" extra{i}", "label": row["label"]} for i in range(6)]
    rows += [{"text": row["text"].upper(), "label": other}]
    result = sets.scan(sets.write_jsonl(tmp_path / "data.jsonl", rows))
    assert sets.numbers(result, "duplicate-conflict") == {307}
    assert sets.numbers(result, "near-duplicates") == {1, *range(301, 308)}


def test_new_rows_that_contradict_an_earlier_version_and_changed_labels(tmp_path):
    x, y = sets.breast_cancer()
    before = sets.write_csv(tmp_path / "before.csv", sets.table(x, y))
    draw = np.random.default_rng(0)
    taken = draw.choice(np.flatnonzero(y == 0), 60, replace=False)
    more = np.vstack([x, x[taken] * draw.normal(1, 0.02, (60, x.shape[1]))])
    labels = np.r_[y, np.ones(60, dtype=int)]
    labels[:8] = 1 - labels[:8]
    result = sets.scan(sets.write_csv(tmp_path / "after.csv", sets.table(more, labels)), baseline=before)
    assert result.compared is not None
    assert (result.compared.versions[0].rows, result.compared.new, result.compared.relabelled) == (569, 60, 8)
    assert sets.numbers(result, "relabelled") == set(range(1, 9))
    found = sets.numbers(result, "new")
    assert len(found) >= 45
    assert found <= set(range(570, 630))
    (group,) = [group for group in result.groups if group.kind == "new"]
    assert group.severity == Severity.HIGH


def test_honest_growth_is_only_counted(tmp_path):
    x, y = sets.breast_cancer()
    order = np.random.default_rng(2).permutation(len(y))
    x, y = x[order], y[order]
    before = sets.write_csv(tmp_path / "before.csv", sets.table(x[:450], y[:450]))
    result = sets.scan(sets.write_csv(tmp_path / "after.csv", sets.table(x, y)), baseline=before)
    assert told(result) == []
    assert result.compared is not None
    assert result.compared.new == 119


def test_new_copies_that_agree_too_well_are_told(tmp_path):
    rows = sets.texts()
    before = sets.write_jsonl(tmp_path / "before.jsonl", rows)
    space = next(row for row in rows if row["label"] == "space")
    more = [{"text": f"{space['text']} {word}", "label": "space"} for word in ["alpha", "beta", "gamma", "delta"] * 5]
    result = sets.scan(sets.write_jsonl(tmp_path / "after.jsonl", rows + more), baseline=before)
    (group,) = [group for group in result.groups if group.kind == "new"]
    assert group.severity == Severity.MEDIUM
    assert "agree too well" in group.text
    assert sets.numbers(result, "new") == set(range(601, 621))


def test_an_embedding_matrix_without_labels(tmp_path):
    draw = np.random.default_rng(0)
    matrix = draw.normal(size=(400, 96)).astype(np.float32)
    matrix[7] *= 30
    np.save(tmp_path / "embeddings.npy", matrix)
    result = sets.scan(tmp_path / "embeddings.npy")
    assert result.labels == {}
    assert 8 in sets.suspects(result, "outlier")
    assert result.suspected <= 12
    assert any("no column was taken for the label" in note for note in result.notes)


def test_very_wide_vectors_are_folded_and_still_compared(tmp_path, monkeypatch):
    monkeypatch.setattr("assay.collect.scan.poisoning.columns.MAX_CELLS", 100_000)
    x, y = sets.digits()
    y, poison = sets.flipped(y, 0.05)
    wide = np.random.default_rng(0).normal(size=(64, 600))
    result = sets.scan(sets.write_npz(tmp_path / "wide.npz", x @ wide, y))
    found = sets.numbers(result, "label-errors")
    assert len(found & poison) >= 0.6 * len(poison)
    assert len(found & poison) >= 0.9 * len(found)
