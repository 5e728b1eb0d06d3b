"""Executes a notebook inside of a step; started as a program of its own, by the step's interpreter.

The kernel is reached over sockets in the private temporary folder, so that a step without a network can run it. A cell
that fails ends the step, with the outputs so far written.
"""

from __future__ import annotations

import os
import sys
import tempfile


def main(notebook: str, executed: str) -> int:
    """Execute ``notebook``; 1 when a cell fails."""
    private = tempfile.mkdtemp(prefix="kernel-")
    # Jupyter's own folders would lie in the home folder, where a step may not write.
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        os.environ.setdefault(name, os.path.join(private, name.lower()))
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from traitlets.config import Config

    document = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
    # A manager of the client's own is shut down by it; else the kernel would only find out that its parent is gone.
    settings = Config({"KernelManager": {"transport": "ipc", "ip": os.path.join(private, "socket")}})
    client = NotebookClient(
        document,
        kernel_name="python3",
        timeout=None,
        resources={"metadata": {"path": os.path.dirname(notebook)}},
        config=settings,
    )
    code = 0
    try:
        client.execute()
    except CellExecutionError as error:
        print(f"{os.path.basename(notebook)}: {error.ename}: {error.evalue}", file=sys.stderr)
        code = 1
    finally:
        nbformat.write(document, executed)  # type: ignore[no-untyped-call]
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
