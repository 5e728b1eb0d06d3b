"""``python -m corpus OUT [--prove] [PART …]``: write the corpus, and run each sample in its real loader."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from pathlib import Path

from corpus import ATTACKS, HONEST, generate


def main() -> None:
    """Write it and say what it holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("parts", nargs="*", choices=[*ATTACKS, *HONEST, []], default=[])
    parser.add_argument("--prove", action="store_true", help="run every sample in its real loader")
    parsed = parser.parse_args()
    parsed.out.mkdir(parents=True, exist_ok=True)
    samples = generate(parsed.out, tuple(parsed.parts) or (*ATTACKS, *HONEST))
    for (label, family), count in sorted(Counter((item.label, item.family) for item in samples).items()):
        print(f"{label:10} {family:10} {count:5}")
    if parsed.prove:
        sys.exit(subprocess.call([sys.executable, "-m", "corpus.proving", str(parsed.out)]))


if __name__ == "__main__":
    main()
