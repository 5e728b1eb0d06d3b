"""The PyTorch reader against files that PyTorch wrote (see tests/data/models/pytorch) and hostile archives."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest

from assay.collect.headers.interface import ModelFile, Tensor
from assay.collect.headers.pytorch import PyTorchReader
from assay.collect.headers.symbols import Call, Global, Persistent
from assay.collect.headers.tensors import TorchTensor, parameters, tensor_of

SAMPLES = Path(__file__).parents[2] / "data" / "models" / "pytorch"

STATE = [
    Tensor("embed.weight", "f32", (8, 4)),
    Tensor("fc.weight", "f32", (3, 4)),
    Tensor("fc.bias", "f32", (3,)),
    Tensor("head.weight", "f32", (8, 4)),
    Tensor("norm.weight", "f32", (3,)),
    Tensor("norm.bias", "f32", (3,)),
    Tensor("norm.running_mean", "f32", (3,)),
    Tensor("norm.running_var", "f32", (3,)),
    Tensor("norm.num_batches_tracked", "i64", ()),
]


def read(data: bytes) -> ModelFile:
    return PyTorchReader().read("m.pt", io.BytesIO(data), len(data))


@pytest.mark.parametrize(
    ("name", "format", "architecture"),
    [
        ("state_dict", "pytorch-zip", None),
        ("state_dict_legacy", "pytorch-legacy", None),
        ("checkpoint", "pytorch-zip", None),
        ("module", "pytorch-zip", "Net"),
        ("torchscript", "torchscript", "Net"),
    ],
)
def test_every_way_of_saving_gives_the_same_tensors(name: str, format: str, architecture: str | None) -> None:
    """The output layer is tied to the embedding: listed, but its 32 elements count once."""
    data = (SAMPLES / f"{name}.pt").read_bytes()
    assert PyTorchReader().recognises("pytorch_model", data[:4096])
    model = read(data)
    assert (model.format, model.architecture, model.warnings) == (format, architecture, ())
    assert list(model.tensors) == STATE
    assert model.parameters == 60
    assert model.metadata["byteorder"] == "little" or name == "torchscript"


def test_a_checkpoint_says_what_stands_beside_the_model() -> None:
    metadata = read((SAMPLES / "checkpoint.pt").read_bytes()).metadata
    assert metadata["checkpoint.epoch"] == "3"
    assert metadata["checkpoint.part"] == "state_dict"
    assert metadata["prefix"] == "module."


def test_every_kind_of_tensor() -> None:
    model = read((SAMPLES / "kinds.pt").read_bytes())
    assert model.warnings == ()
    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in model.tensors] == [
        ("half", "f16", (2, 3)),
        ("bf16", "bf16", (5,)),
        ("view_a", "f32", (2, 3)),
        ("view_b", "f32", (6,)),
        ("transposed", "f32", (3, 2)),
        ("int8", "i8", (4,)),
        ("bool", "bool", (3,)),
        ("u16", "u16", (3,)),
        ("fp8", "f8_e4m3fn", (4,)),
        ("q", "qint8", (2, 2)),
        ("sparse", "f32", (3, 3)),
        ("scalar", "f32", ()),
        ("expanded", "f32", (1000,)),
        ("complex", "c64", (2,)),
        ("param", "f32", (7,)),
        ("meta", "f32", (3, 3)),
    ]
    # Views share 12 elements, the expanded tensor stores one, the sparse one three.
    assert model.parameters == 6 + 5 + 12 + 4 + 3 + 3 + 4 + 4 + 3 + 1 + 1 + 2 + 7 + 9
    assert model.quantisation == "qint8"


class Ref:
    """What torch's pickler writes by reference."""

    def __init__(self, *key: object) -> None:
        self.key = key


class FloatStorage:
    """Stands for the class of that name while the test's pickle is written; never part of what is read."""


def _rebuild_tensor_v2(*_: object) -> None:
    """Stands for the function of that name in the same way."""


class Rebuilt:
    """A tensor, as the call that would rebuild it."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_tensor_v2, self.arguments


class TorchPickler(pickle._Pickler):  # type: ignore[misc]
    """Writes names of this module as PyTorch's."""

    def persistent_id(self, obj: object) -> object:
        return obj.key if isinstance(obj, Ref) else None

    def save_global(self, obj: object, name: str | None = None) -> None:
        if obj is _rebuild_tensor_v2:
            self.write(b"ctorch._utils\n_rebuild_tensor_v2\n")
        elif obj is FloatStorage:
            self.write(b"ctorch\nFloatStorage\n")
        else:
            super().save_global(obj, name)


TorchPickler.dispatch = {
    **pickle._Pickler.dispatch,  # type: ignore[attr-defined]
    type(_rebuild_tensor_v2): TorchPickler.save_global,
    type: TorchPickler.save_global,
}


def tensor(
    shape: object, *, key: object = "0", elements: object = 6, offset: object = 0, stride: object = (1,)
) -> Rebuilt:
    storage = Ref("storage", FloatStorage, key, "cpu", elements)
    return Rebuilt(storage, offset, shape, stride, False, OrderedDict())


def archive(value: object, members: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED) -> bytes:
    pickled = io.BytesIO()
    TorchPickler(pickled, 2).dump(value)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as target:
        target.writestr("archive/data.pkl", pickled.getvalue())
        for name, data in (members if members is not None else {"archive/data/0": bytes(24)}).items():
            target.writestr(name, data)
    return out.getvalue()


def test_archives_may_be_compressed() -> None:
    model = read(archive({"w": tensor((6,))}, compression=zipfile.ZIP_DEFLATED))
    assert (list(model.tensors), model.warnings) == ([Tensor("w", "f32", (6,))], ())


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (tensor((7,)), "beyond its storage"),
        (tensor((6,), offset=1), "beyond its storage"),
        (tensor((2,), stride=(6,)), "beyond its storage"),
        (tensor((6,), offset=-1), "malformed"),
        (tensor((6,), stride=(1, 1)), "malformed"),
        (tensor((-6,)), "non-negative integers"),
        (tensor((1,) * 65, stride=(1,) * 65), "65 dimensions"),
        (tensor("wide"), "shape is missing"),
        (tensor((6,), elements=-1), "storage is malformed"),
        (tensor((6,), elements="6"), "storage is malformed"),
        (tensor((6,), key=0), "storage is malformed"),
        (tensor((6,), key="9"), "has no member 'archive/data/9'"),
        (tensor((6,), elements=7), "another size than the tensors"),
        (Rebuilt(), "no storage in this file"),
        (Rebuilt(Ref("storage"), 0, (1,), (1,)), "no storage in this file"),
    ],
)  # fmt: skip
def test_lying_tensors_are_warnings(value: object, complaint: str) -> None:
    model = read(archive({"w": value}))
    assert any(complaint in warning for warning in model.warnings), model.warnings


def test_tied_and_overlapping_tensors_count_once() -> None:
    model = read(
        archive(
            {
                "a": tensor((4,)),
                "tied": tensor((4,)),
                "overlapping": tensor((4,), offset=2),
                "strided": tensor((2,), stride=(2,)),
                "empty": tensor((0,)),
            }
        )
    )
    assert model.warnings == ()
    assert model.parameters == 6
    assert parameters([TorchTensor("f32", (3, 3))]) == 9


def zipped(members: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        for name, data in members:
            target.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"PK\x03\x04", "broken zip archive"),
        (zipped([("a/version", b"3")]), "0 members named data.pkl"),
        (zipped([("a/data.pkl", b"N."), ("b/data.pkl", b"N.")]), "2 members named data.pkl"),
        (zipped([("a/data.pkl", b"N")]), "ends within"),
        (zipped([("a/data.pkl", b"\xff")]), "unknown pickle opcode 0xff"),
        (zipped([("a/data.pkl", b"N."), ("a/version", b"3" * 100)]), "a/version has 100 bytes"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "ends within"),
    ],
)  # fmt: skip
def test_broken_files_are_warnings(data: bytes, complaint: str) -> None:
    assert any(complaint in warning for warning in read(data).warnings)


def test_a_member_that_lies_about_its_size_or_checksum_is_a_warning() -> None:
    data = bytearray(zipped([("a/data.pkl", b"]" * 1000 + b".")]))
    data[60] ^= 1
    assert read(bytes(data)).warnings
    huge = zipped([("a/data.pkl", b"N.")])
    at = huge.index(b"PK\x01\x02")
    lying = huge[: at + 20] + struct.pack("<II", 1 << 31, 1 << 31) + huge[at + 28 :]
    assert read(lying).warnings


def test_a_huge_directory_is_refused_without_reading_it() -> None:
    data = zipped([("a/data.pkl", b"N.")])
    at = data.index(b"PK\x05\x06")
    lying = data[: at + 12] + struct.pack("<I", 1 << 30) + data[at + 16 :]
    assert read(lying).warnings


def test_the_first_tar_format_is_named() -> None:
    head = b"sys_info".ljust(257, b"\0") + b"ustar" + bytes(300)
    assert PyTorchReader().recognises("old.pt", head)
    assert "too old" in read(head).warnings[0]


def test_wrapping_without_end_is_a_problem_of_that_tensor() -> None:
    value: object = Persistent("x")
    for _ in range(20):
        value = Call(Global("torch._utils", "_rebuild_parameter"), (value,))
    found = tensor_of(value)
    assert found is not None
    assert found.problem == "it is wrapped too deeply"
