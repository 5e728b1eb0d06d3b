"""Honest checkpoints of torch: state dictionaries, modules, optimisers, tensors of all kinds, both file formats."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from typing import Any

from corpus.sample import Draft, honest


def drafts() -> Iterator[Draft]:
    """All of them."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    warnings.simplefilter("ignore")  # torch says of half of its tensor kinds that they are new or old

    def saved(value: object, **options: Any) -> bytes:
        buffer = io.BytesIO()
        torch.save(value, buffer, **options)
        return buffer.getvalue()

    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.BatchNorm1d(3), nn.Dropout(0.1), nn.Linear(3, 2))
    adam = torch.optim.Adam(net.parameters())
    net(torch.ones(2, 4)).sum().backward()
    adam.step()
    schedule = torch.optim.lr_scheduler.StepLR(adam, 2)
    modules: dict[str, nn.Module] = {
        "sequential": net,
        "conv": nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Flatten()),
        "lstm": nn.LSTM(4, 3),
        "gru": nn.GRU(4, 3),
        "embedding": nn.Embedding(5, 3),
        "attention": nn.MultiheadAttention(4, 2),
        "encoder": nn.TransformerEncoderLayer(4, 2, 8),
        "norm": nn.LayerNorm(4),
        "modules": nn.ModuleDict({"a": nn.ModuleList([nn.Linear(2, 2), nn.GELU()])}),
        "loss": nn.CrossEntropyLoss(),
        "bilinear": nn.Bilinear(2, 2, 2),
        "conv-transpose": nn.ConvTranspose1d(2, 2, 3),
        "parameters": nn.ParameterList([nn.Parameter(torch.ones(2))]),
        "upsample": nn.Upsample(scale_factor=2),
        "identity": nn.Identity(),
    }
    for i, (kind, module) in enumerate(modules.items()):
        legacy = {"_use_new_zipfile_serialization": False} if i % 3 == 2 else {}
        if module.state_dict():
            yield honest(
                f"torch-state-{kind}",
                "pytorch_model.bin",
                saved(module.state_dict(), **legacy),
                "torch.weights",
                "container",
            )
        yield honest(f"torch-module-{kind}", "model.pt", saved(module, **legacy), "torch", "container")
    tensors: dict[str, Any] = {
        str(dtype).removeprefix("torch."): torch.ones(3, dtype=dtype)
        for dtype in (
            torch.float64,
            torch.float16,
            torch.bfloat16,
            torch.int64,
            torch.int8,
            torch.bool,
            torch.complex64,
            torch.float8_e4m3fn,
        )
    }
    tensors["sparse"] = torch.eye(3).to_sparse()
    tensors["csr"] = torch.eye(3).to_sparse_csr()
    tensors["quantised"] = torch.quantize_per_tensor(torch.ones(3), 0.1, 1, torch.qint8)
    tensors["shared"] = [tensors["float64"], tensors["float64"][1:]]
    tensors["strided"] = torch.arange(12).reshape(3, 4).t()
    tensors["parameter"] = nn.Parameter(torch.ones(2))
    tensors["size"] = torch.Size([1, 2])
    tensors["device"] = [torch.device("cpu"), torch.float32, torch.strided]
    tensors["empty"] = torch.empty(0)
    for i, (kind, value) in enumerate(tensors.items()):
        legacy = {"_use_new_zipfile_serialization": False} if i % 4 == 3 and kind != "float8_e4m3fn" else {}
        yield honest(f"torch-tensor-{kind}", "tensor.pt", saved(value, **legacy), "torch", "container")
    checkpoint = {
        "epoch": 3,
        "model": net.state_dict(),
        "optimizer": adam.state_dict(),
        "schedule": schedule.state_dict(),
        "loss": 0.5,
        "args": {"lr": 1e-3},
    }
    yield honest("torch-checkpoint", "checkpoint.ckpt", saved(checkpoint), "torch.weights", "container")
    yield honest(
        "torch-checkpoint-legacy",
        "checkpoint.pth",
        saved(checkpoint, _use_new_zipfile_serialization=False),
        "torch",
        "container",
    )
    yield honest("torch-optimiser", "optimizer.pt", saved(adam.state_dict()), "torch.weights", "container")
    yield honest(
        "torch-rng",
        "rng_state.pth",
        saved({"cpu": torch.get_rng_state(), "python": __import__("random").getstate()}),
        "torch",
        "container",
    )

    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(net.eval(), torch.ones(1, 4)), buffer)
    yield Draft(
        "torchscript",
        {"model.pt": buffer.getvalue()},
        label="code",
        family="container",
        loader="torchscript",
        harm="none",
    )
