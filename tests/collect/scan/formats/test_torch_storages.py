"""Tensors of torch archives as weights: honest ones of every type are quiet, odd and hidden ones are told of."""

from __future__ import annotations

import io
import zipfile

import pytest
import torch

from assay.collect.scan.models.interface import Tier
from collect.scan.formats.carriers import ATTACK, Scanned, scanned

GENERATOR = torch.Generator().manual_seed(3)


def saved(thing: object) -> bytes:
    file = io.BytesIO()
    torch.save(thing, file)
    return file.getvalue()


def weights(data: bytes) -> tuple[Scanned, set[str]]:
    result = scanned(data, "model.pt")
    return result, {rule for rule in result.rules if rule.startswith("weights/")}


def with_members(data: bytes, **more: bytes) -> bytes:
    """The archive written anew with members added or replaced (``data_9`` for ``archive/data/9``)."""
    named = {f"archive/{name.replace('_', '/')}": content for name, content in more.items()}
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, named.pop(name, old.read(name)))
        for name, content in named.items():
            new.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.complex64),
        *(torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool),
    ],
    ids=str,
)
def test_honest_tensors_of_every_type_are_quiet(dtype: torch.dtype) -> None:
    tensor = (torch.randn(200, 50, generator=GENERATOR) * 30).to(dtype)
    result, _ = weights(saved({"a": tensor, "tied": tensor, "view": tensor[3:9], "empty": tensor[:0]}))
    assert result.findings == ()


def test_honest_checkpoints_are_quiet() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(40, 20), torch.nn.BatchNorm1d(20))
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.randn(8, 40, generator=GENERATOR)).sum().backward()
    optimiser.step()
    assert weights(saved({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "epoch": 3}))[1] == set()
    scale = torch.tensor(0.1)
    packed = torch.randint(-128, 127, (64, 64), generator=GENERATOR).to(torch.int8)
    assert weights(saved({"layer.weight": packed, "layer.scale": scale}))[1] == set()
    quantised = torch.quantize_per_tensor(torch.randn(30, 30, generator=GENERATOR), 0.1, 0, torch.qint8)
    assert weights(saved({"q": quantised}))[1] == set()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("value", "rule"), [(float("nan"), "weights/nan"), (float("-inf"), "weights/inf")])
def test_numbers_that_are_none(dtype: torch.dtype, value: float, rule: str) -> None:
    tensor = torch.randn(60, 60, generator=GENERATOR).to(dtype)
    tensor[59, 59] = value
    result, found = weights(saved({"good": torch.ones(3), "bad": tensor}))
    assert found == {rule}
    assert result.tier is Tier.SAFE


def test_absurd_norms() -> None:
    assert weights(saved({"a": torch.full((100,), 1e9)}))[1] == {"weights/absurd"}


def test_bytes_that_no_tensor_uses() -> None:
    plain = saved({"a": torch.arange(100.0)})
    with zipfile.ZipFile(io.BytesIO(plain)) as archive:
        numbers = archive.read("archive/data/0")
    result, found = weights(with_members(plain, data_7=bytes(range(256)) * 9))
    assert found == {"weights/unused-bytes"}
    assert "2,304 bytes of archive/data/7" in next(f.message for f in result.findings)
    longer, found = weights(with_members(plain, data_0=numbers + b"\x7fELF\x02\x01\x01" + bytes(64)))
    assert found == {"weights/unused-bytes"}
    assert longer.tier is Tier.MALICIOUS
    assert "test/bad" in scanned(with_members(plain, data_0=numbers + ATTACK), "model.pt").rules
