"""Verified load beside `torch.load` and `safetensors.torch.load_file`, of one model in the page cache.

Every run loads the file and then reads one byte of every page of every tensor: safetensors maps a file and reads it
when a tensor is used, and a load that is not followed by use would compare nothing. Runs alternate within one process
after one warm-up each. Reported are medians of wall and CPU time, and the median of the pairs' ratios (ours / peer).

    python bench/load.py [--size 2.0] [--pairs 5] [--scratch DIR]

``trusted`` takes the digest from the authenticated cache, ``verified`` computes it over the bytes that are loaded; the
digest alone, on all cores, is what bounds it. Writes ``bench/results/load.json``.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

import assay
import assay.load
from assay.api.anchors import TrustIn
from assay.api.signers import SignWith
from assay.config import Config
from assay.evidence import keys
from assay.load import Loading
from assay.targets.interface import Options
from assay.targets.registry import resolve

CLAIM = 1.15
"""A trusted load takes at most this many times the peer's."""

TENSORS = 32


def used(state: dict[str, torch.Tensor]) -> int:
    """Read one byte of every page."""
    return sum(int(tensor.view(torch.uint8).flatten()[::4096].sum()) for tensor in state.values())


def spent() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def timed(load: Callable[[], dict[str, torch.Tensor]]) -> tuple[float, float]:
    """Wall and CPU seconds, those of the scan's worker included, of a load and the use of what it gives."""
    gc.collect()
    wall, cpu = time.perf_counter(), spent()
    used(load())
    return time.perf_counter() - wall, spent() - cpu


def pairs(count: int, ours: Callable[[], Any], peer: Callable[[], Any]) -> dict[str, float]:
    """Medians of ``count`` alternating pairs."""
    timed(ours)
    timed(peer)
    found = []
    for i in range(count):
        first, second = (ours, peer) if i % 2 else (peer, ours)
        a, b = timed(first), timed(second)
        found.append((a, b) if i % 2 else (b, a))
    ratios = [mine[0] / other[0] for mine, other in found]
    cpu = [mine[1] / other[1] for mine, other in found]
    return {
        "ours_wall": statistics.median(mine[0] for mine, _ in found),
        "ours_cpu": statistics.median(mine[1] for mine, _ in found),
        "peer_wall": statistics.median(other[0] for _, other in found),
        "peer_cpu": statistics.median(other[1] for _, other in found),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "cpu_ratio": statistics.median(cpu),
    }


def digest_alone(path: Path, count: int) -> float:
    """Median wall seconds of the BLAKE3 digest by the engine, on all cores."""
    walls = []
    for _ in range(count):
        with resolve(f"file:{path}", Options()) as target:
            start = time.perf_counter()
            target.manifest(sha256=False, blake3=True)
            walls.append(time.perf_counter() - start)
    return statistics.median(walls)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=float, default=2.0, help="GiB")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--scratch", default=None)
    parsed = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=parsed.scratch) as folder:
        root = Path(folder)
        os.environ["XDG_CACHE_HOME"] = str(root / "cache")
        made = keys.generate()
        (root / "key.pem").write_bytes(made.pem(None))
        (root / "key.pub").write_bytes(made.public.pem)
        how = Loading(TrustIn((str(root / "key.pub"),)), directory=str(root / "evidence"), config=Config())
        count = int(parsed.size * (1 << 30) / TENSORS / 4)
        state = {f"layer{i}.weight": torch.randn(count) for i in range(TENSORS)}
        torch.save(state, root / "model.pt")
        safetensors.torch.save_file(state, root / "model.safetensors")
        del state
        choice = SignWith(key=str(root / "key.pem"))
        for name in ("model.pt", "model.safetensors"):
            assay.sign(str(root / name), signer_choice=choice, directory=str(root / "evidence"))
        time.sleep(2.5)  # within two seconds of a change the cache proves nothing
        for name, ours, peer in (
            ("model.pt", assay.load.torch, torch.load),
            ("model.safetensors", assay.load.safetensors, safetensors.torch.load_file),
        ):
            path = root / name
            alone = digest_alone(path, 3)
            for kind in ("trusted", "verified"):
                mine = replace(how, trust_cache=kind == "trusted")

                def load(ours: Any = ours, path: Path = path, mine: Loading = mine) -> Any:
                    return ours(path, how=mine)

                def theirs(peer: Any = peer, path: Path = path) -> Any:
                    return peer(path)

                row = pairs(parsed.pairs, load, theirs)
                row |= {"what": name, "job": kind, "digest": alone, "claim": CLAIM if kind == "trusted" else 0}
                rows.append(row)
                print(
                    f"{name:18} {kind:9} ours {row['ours_wall']:.2f} s ({row['ours_cpu']:.2f} CPU), peer "
                    f"{row['peer_wall']:.2f} s ({row['peer_cpu']:.2f} CPU), ratio {row['ratio']:.2f} "
                    f"[{row['ratio_min']:.2f}-{row['ratio_max']:.2f}], of CPU {row['cpu_ratio']:.2f}, "
                    f"digest alone {alone:.2f} s"
                )
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    document = {"size": parsed.size, "pairs": parsed.pairs, "cores": os.cpu_count(), "claim": CLAIM, "rows": rows}
    (results / "load.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
