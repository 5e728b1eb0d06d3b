"""Which files of a target are data: the rules, folders of images, and WebDataset archives."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from assay.collect.bom.data import read_data
from assay.collect.bom.data.webdataset import WebDatasetReader
from assay.collect.bom.interface import DataFile
from collect.bom.folders import target_of


def found_in(folder: Path, files: dict[str, bytes]) -> dict[str, DataFile]:
    with target_of(folder, files) as target:
        return {data.path: data for data in read_data(target)}


def image(form: str) -> bytes:
    memory = io.BytesIO()
    Image.new("RGB", (2, 2)).save(memory, form)
    return memory.getvalue()


IMAGES = {"jpg": image("jpeg"), "png": image("png"), "webp": image("webp"), "gif": image("gif"), "tiff": image("tiff")}


def test_what_is_data(tmp_path: Path) -> None:
    files = {
        "README.md": b"# Data\n",
        "config.json": b'{"a": 1}',
        "labels.json": b'["a", "b"]',
        "modules.json": b'[{"idx": 0, "name": "0", "path": "", "type": "x"}]',
        "notes.txt": b"a,b\n1,2\n",
        "rows.json": b'[{"a": 1}]',
        "train.CSV": b"a,b\n1,2\n",
        "train.jsonl": b'{"a": 1}\n',
        "deep/x.tsv": b"a\tb\n1\t2\n",
        "weights.parquet": b"no parquet",
        "code.tar": b"",
    }
    found = found_in(tmp_path, files)
    assert list(found) == ["deep/x.tsv", "rows.json", "train.CSV", "train.jsonl", "weights.parquet"]
    assert found["train.CSV"].rows == 1
    assert "is none" in found["weights.parquet"].warnings[0]


def test_class_folders(tmp_path: Path) -> None:
    files = {f"train/cat/{i}.jpg": IMAGES["jpg"] for i in range(7)}
    files |= {f"train/dog/{i}.png": IMAGES["png"] for i in range(5)}
    files |= {f"test/cat/{i}.webp": IMAGES["webp"] for i in range(10)}
    files |= {f"test/dog/{i}.PNG": IMAGES["gif"] for i in range(2)}
    found = found_in(tmp_path, files)
    assert list(found) == ["test/", "train/"]
    train = found["train/"]
    assert (train.format, train.rows) == ("image-folder", 12)
    assert [(column.name, column.type) for column in train.columns] == [("image", "image"), ("label", "class")]
    assert train.metadata == {
        "bytes": str(7 * len(IMAGES["jpg"]) + 5 * len(IMAGES["png"])),
        "formats": "jpeg: 7, png: 5",
        "classes": "2",
        "class_counts": "cat: 7, dog: 5",
    }
    assert found["test/"].metadata["formats"] == "webp: 10, gif: 2"


def test_one_folder_with_labels_beside_the_images(tmp_path: Path) -> None:
    files = {f"{i}.tiff": IMAGES["tiff"] for i in range(12)} | {"metadata.jsonl": b'{"file_name": "0.tiff"}\n'}
    found = found_in(tmp_path, files)
    assert list(found) == ["./", "metadata.jsonl"]
    assert found["./"].rows == 12
    assert "classes" not in found["./"].metadata


def test_figures_are_no_data_set(tmp_path: Path) -> None:
    files = {f"docs/{i}.png": IMAGES["png"] for i in range(3)}
    files |= {f"src/{i}.png": IMAGES["png"] for i in range(12)} | {f"src/{i}.py": b"" for i in range(13)}
    assert found_in(tmp_path, files) == {}


def test_images_that_are_none(tmp_path: Path) -> None:
    files = {f"a/{i:02}.png": IMAGES["png"] for i in range(11)} | {"a/99.jpg": b"MZ\x90\0"}
    found = found_in(tmp_path, files)["a/"]
    assert found.metadata["formats"] == "png: 11, unknown: 1"
    assert found.warnings == ("a/: 1 files are called images and are none, first a/99.jpg",)


def archive(names: list[str], form: int) -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w", format=form) as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 700
            tar.addfile(info, io.BytesIO(bytes(700)))
    return memory.getvalue()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_webdataset(tmp_path: Path, form: int) -> None:
    long = "d" * (90 if form == tarfile.USTAR_FORMAT else 200)
    names = [f"{long}/{i:06}.{part}" for i in range(5) for part in ("jpg", "cls", "seg.png")]
    found = found_in(tmp_path, {"train-000.tar": archive(names, form)})["train-000.tar"]
    assert (found.format, found.rows, found.warnings) == ("webdataset", 5, ())
    assert [column.name for column in found.columns] == ["jpg", "cls", "seg.png"]


def test_other_archives_are_no_data(tmp_path: Path) -> None:
    files = {"code.tar": archive(["src/main.py", "src/x.json"], tarfile.PAX_FORMAT), "x.tar": b"x" * 600}
    assert found_in(tmp_path, files) == {}


def test_broken_archives() -> None:
    whole = archive(["0.jpg", "1.jpg"], tarfile.USTAR_FORMAT)

    def read(data: bytes) -> DataFile:
        return WebDatasetReader().read("x.tar", io.BytesIO(data), len(data))

    assert "cut off within a file" in read(whole[:1000]).warnings[0]
    assert "no tar archive from some point on" in read(whole[:1536] + b"x" * 512).warnings[0]
    assert "size is no number" in read(whole[:124] + b"x" * 12 + whole[136:]).warnings[0]
    assert "cut off within a file" in read(whole[:124] + b"\x80" + b"\xff" * 11 + whole[136:]).warnings[0]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_change_of_an_archive_is_a_traceback(data: st.DataObject) -> None:
    changed = bytearray(archive(["d" * 120 + "/0.jpg", "1.cls"], tarfile.PAX_FORMAT))
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, 2600))] = data.draw(st.integers(0, 255))
    WebDatasetReader().recognises("x.tar", bytes(changed[:4096]))
    assert WebDatasetReader().read("x.tar", io.BytesIO(bytes(changed)), len(changed)).path == "x.tar"
