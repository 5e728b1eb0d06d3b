# mypy: ignore-errors
"""Tells the monitor of ``assay run`` which modules, libraries and host names a Python program asks for.

It stands in the way of nothing: whatever fails in here is silent, and a ``sitecustomize`` that it hides is run as if it
were not there. It runs inside the step, in any Python 3, so it imports nothing that is not loaded already.
"""

import os
import sys


def _install():
    # The monitor answers an open of such a path itself; where nobody listens there is no such file.
    mark = "/proc/self/assay-audit-hook/"
    channel = os.environ.get("ASSAY_AUDIT_FILE")
    waiting, busy = {}, []
    names = {
        "import": lambda given: given[0],
        "pickle.find_class": lambda given: f"{given[0]}.{given[1]}",
        "ctypes.dlopen": lambda given: given[0],
        "socket.getaddrinfo": lambda given: given[0],
        "socket.gethostbyname": lambda given: given[0],
    }
    if channel:
        # Nobody else sees files and sockets here.
        names["open"] = lambda given: f"{given[2]} {os.path.abspath(os.fsdecode(given[0]))}"
        names["os.rename"] = lambda given: "\0".join(os.path.abspath(os.fsdecode(path)) for path in given[:2])
        names["os.remove"] = lambda given: os.path.abspath(os.fsdecode(given[0]))
        names["socket.connect"] = lambda given: (
            f"{given[1][0]} {given[1][1]}" if isinstance(given[1], tuple) else os.fsdecode(given[1])
        )
    ends = ("os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "subprocess.Popen", "cpython._PySys_ClearAuditHooks")
    escapes = str.maketrans({number: f"\\u{number:04x}" for number in (*range(32), 34, 92, 127)})

    wanted = {*names, *ends}
    said = {event: set() for event in names}
    size = [0]

    def flush():
        if not waiting:
            return
        busy.append(1)  # opening is an event too
        try:
            quoted = {
                event: ",".join([f'"{word.translate(escapes)}"' for word in words]) for event, words in waiting.items()
            }
            waiting.clear()
            size[0] = 0
            text = "{" + ",".join([f'"{event}":[{words}]' for event, words in quoted.items()]) + "}"
            if channel:
                to = os.open(channel, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                try:
                    os.write(to, text.encode("utf-8", "surrogateescape") + b"\n")
                finally:
                    os.close(to)
            else:
                os.close(os.open(mark + text, os.O_RDONLY))
        except Exception:  # noqa: S110  it never breaks the step
            pass
        finally:
            busy.pop()

    def hook(event, given):
        if event not in wanted or busy:  # all that most get to: a large program asks for 50,000 times ``id``
            return
        try:
            if event in ends:
                flush()
                return
            word = given[0] if event == "import" else names[event](given)
            if isinstance(word, bytes):
                word = word.decode("ascii", "replace")
            known = said[event]
            if word in known or not isinstance(word, str):
                return
            if len(known) < 20000:
                known.add(word)
            word = word[:500]
            waiting.setdefault(event, []).append(word)
            size[0] += len(word) + 8
            if size[0] > 4000:
                flush()
        except Exception:  # noqa: S110  it never breaks the step
            pass

    sys.addaudithook(hook)
    import atexit

    atexit.register(flush)


def _run_hidden():
    """Run the ``sitecustomize`` that this one hides."""
    here = os.path.dirname(os.path.abspath(__file__))
    path = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    for finder in sys.meta_path:
        spec = finder.find_spec("sitecustomize", path) if getattr(finder, "__name__", "") == "PathFinder" else None
        if spec is not None and spec.loader is not None:
            module = sys.modules["_frozen_importlib"].module_from_spec(spec)
            sys.modules["sitecustomize"] = module
            spec.loader.exec_module(module)


try:  # noqa: SIM105  what is not loaded is not imported
    _install()
except Exception:  # noqa: S110  it never breaks the step
    pass
_run_hidden()
