"""Real checkpoints, written by PyTorch at test time: names, types and shapes are what PyTorch itself reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assay.collect.headers import read_models
from assay.targets.registry import resolve

torch = pytest.importorskip("torch", reason="PyTorch is an optional test dependency: pip install torch==2.13.0")


def expected(state: dict[str, Any]) -> dict[str, tuple[str, tuple[int, ...]]]:
    short = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16", torch.int64: "i64"}
    return {name: (short[tensor.dtype], tuple(tensor.shape)) for name, tensor in state.items()}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_state_dict_of_a_real_module(tmp_path: Path, zipped: bool, wrapped: bool) -> None:
    model = torch.nn.Sequential(
        torch.nn.Embedding(50, 8),
        torch.nn.LSTM(8, 4, bidirectional=True),
        torch.nn.BatchNorm1d(8),
        torch.nn.Linear(8, 2),
    ).half()
    state = model.state_dict()
    optimiser = torch.optim.AdamW(model.parameters())
    content = {"epoch": 3, "model": state, "optimizer": optimiser.state_dict()} if wrapped else state
    torch.save(content, tmp_path / "checkpoint.pt", _use_new_zipfile_serialization=zipped)
    with resolve(f"dir:{tmp_path}") as target:
        [found] = read_models(target)
    assert found.format == ("pytorch-zip" if zipped else "pytorch-legacy")
    assert {tensor.name: (tensor.dtype, tensor.shape) for tensor in found.tensors} == expected(state)
    assert found.parameters == sum(tensor.numel() for tensor in state.values())


def test_tied_weights_count_once(tmp_path: Path) -> None:
    weight = torch.zeros(10, 4)
    torch.save({"embedding.weight": weight, "head.weight": weight}, tmp_path / "tied.bin")
    with resolve(f"dir:{tmp_path}") as target:
        [found] = read_models(target)
    assert len(found.tensors) == 2 and found.parameters == 40
