"""The admin API's server: a thread of its own, one request a connection, few connections, small requests, one token.

The order of `_answer` is the security argument: host and origin (a web page cannot reach us through a browser), then
the token, and only then what is asked. It never says what the token is, and nothing of it ends up in an answer.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
import threading
import time
from hmac import compare_digest
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from assay.errors import UsageError
from assay.guard.gateway.admin import places
from assay.guard.gateway.admin.interface import Operations
from assay.guard.gateway.admin.operations import ROUTES, Answer, Problem, answer

MAX_BODY = 64 << 10
CONNECTIONS = 16
"""Open at the same time; more are closed at once."""
PATIENCE = 10.0
"""Seconds for one read or write."""
LONGEST = 60.0
"""Seconds for a whole connection."""

_HOST = re.compile(r"(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_ALONE = ("host", "authorization", "content-length", "content-type", "origin", "transfer-encoding")


class AdminServer:
    """Serves `Operations` until it is stopped."""

    def __init__(self, operations: Operations, listen: str, token_file: str) -> None:
        """``listen`` as `places.parse` takes it. The token file is made where it is not there. Raises `UsageError`."""
        self._operations = operations
        self._place = places.parse(listen)
        self._token = places.token(token_file, make=True)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._inode: tuple[int, int] | None = None
        self.address = listen
        """Where it listens; with the real port once it was started."""

    def start(self) -> None:
        """Listen and serve in a thread. Raises `UsageError` where the place is taken."""
        listening = self._listen()
        if isinstance(self._place, str):
            found = os.stat(self._place)
            self._inode = found.st_dev, found.st_ino
        else:
            host = f"[{self._place[0]}]" if ":" in self._place[0] else self._place[0]
            self.address = f"{host}:{listening.getsockname()[1]}"
        self._server = _Server(listening, self._operations, self._token)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.5,), name="assay-admin", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, close what is open, take the socket away."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._server.end(0)
        self._thread.join(5)
        self._server = None
        if isinstance(self._place, str):
            with contextlib.suppress(OSError):
                found = os.lstat(self._place)
                if (found.st_dev, found.st_ino) == self._inode:  # nobody has put another in its place
                    os.unlink(self._place)

    def _listen(self) -> socket.socket:
        place = self._place
        if isinstance(place, str):
            return _listen_unix(place)
        family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((("127.0.0.1" if place[0] == "localhost" else place[0]), place[1]))
            listening.listen(CONNECTIONS)
        except OSError as error:
            listening.close()
            raise UsageError(f"the admin API cannot listen on {self.address}: {error.strerror}") from None
        return listening


def _listen_unix(path: str) -> socket.socket:
    """A socket that is private from its first moment: it gets its name only once it has its mode."""
    if os.path.lexists(path):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise UsageError(f"{path} is there already and is no socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            try:
                probe.connect(path)
            except (ConnectionRefusedError, FileNotFoundError):
                pass  # left behind by one that was killed, or taken away by one that has just ended
            except OSError as error:  # so many wait to be taken that there is no room for us
                raise UsageError(f"another gateway may listen on {path}: {error.strerror}") from None
            else:
                raise UsageError(f"another gateway listens on {path}")
    early = f"{path}.{os.getpid() % 100000}"
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(early)
        listening.bind(early)
        os.chmod(early, 0o600)
        os.rename(early, path)
        listening.listen(CONNECTIONS)  # before, nobody could connect, whatever the umask was
    except OSError as error:
        listening.close()
        with contextlib.suppress(OSError):
            os.unlink(early)
        raise UsageError(f"the admin API cannot listen on {path}: {error.strerror}") from None
    return listening


class _Server(HTTPServer):
    """Bounded in connections and in their time."""

    def __init__(self, listening: socket.socket, operations: Operations, token: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_name, self.server_port = "localhost", 0
        self.operations = operations
        self.token = token.encode()
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection; a unix socket's other end has no address."""
        connection, _ = self.socket.accept()
        return connection, ("local", 0)

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread, if there are not too many."""
        with self._lock:
            full = len(self._open) >= CONNECTIONS
            if not full:
                self._open[request] = time.monotonic()
        if full:
            self.shutdown_request(request)
            return
        threading.Thread(target=self._serve, args=(request, client_address), name="assay-admin", daemon=True).start()

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError:
            pass  # the other end went away
        finally:
            with self._lock:
                self._open.pop(request, None)
            self.shutdown_request(request)

    def service_actions(self) -> None:
        """Called by the serving loop again and again: who takes too long is cut off."""
        self.end(LONGEST)

    def end(self, after: float) -> None:
        """Cut off connections that are older than so many seconds."""
        now = time.monotonic()
        with self._lock:
            late = [connection for connection, since in self._open.items() if now - since >= after]
        for connection in late:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE
    server_version = "assay"
    sys_version = ""

    def do_GET(self) -> None:
        """Any method: which one is allowed depends on the path."""
        try:
            made = self._answer()
        except Problem as problem:
            made = problem.answer
        self._send(made)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = do_TRACE = do_CONNECT = do_QUERY = do_GET

    def _answer(self) -> Answer:
        for name in _ALONE:
            if len(self.headers.get_all(name, [])) > 1:
                raise Problem(400, f"the header {name} came more than once")
        if not _HOST.fullmatch(self.headers.get("host", "")):
            raise Problem(421, "this is the admin API of localhost alone")
        if "origin" in self.headers or self.headers.get("sec-fetch-site", "none") != "none":
            raise Problem(403, "web pages are not served")
        kind, _, given = self.headers.get("authorization", "").partition(" ")
        matches = compare_digest(given.strip().encode("utf-8", "replace"), self.server.token)
        if kind.lower() != "bearer" or not matches:
            raise Problem(401, "the token is missing or wrong", headers={"WWW-Authenticate": 'Bearer realm="admin"'})
        path, question, _ = self.path.partition("?")
        methods = ROUTES.get(path)
        if methods is None:
            raise Problem(404, "there is no such path", hint="GET /openapi.json lists them")
        if self.command not in methods:
            raise Problem(405, "the path has no such method", headers={"Allow": ", ".join(sorted(methods))})
        if question:
            raise Problem(400, "no path takes a query")
        return answer(self.server.operations, self.command, path, self._body())

    def _body(self) -> bytes | None:
        """None: there was none to read (GET)."""
        length = self.headers.get("content-length")
        if "transfer-encoding" in self.headers:
            raise Problem(411, "the body's length has to be said")
        if self.command == "GET":
            if length not in (None, "0"):
                raise Problem(400, "a GET has no body")
            return None
        if length is None:
            raise Problem(411, "the body's length has to be said")
        if not re.fullmatch(r"[0-9]{1,19}", length):
            raise Problem(400, "the body's length is no number")
        if int(length) > MAX_BODY:
            raise Problem(413, f"the body is larger than {MAX_BODY:,} bytes")
        kind = self.headers.get("content-type", "")
        if not re.fullmatch(r"application/json( *; *charset=\"?utf-8\"?)?", kind.strip(), re.IGNORECASE):
            raise Problem(415, "the body has to be application/json")
        data = self.rfile.read(int(length))
        if len(data) != int(length):
            raise Problem(400, "the body broke off")
        return data

    def _send(self, made: Answer) -> None:
        self.close_connection = True
        self.request_version = "HTTP/1.1"  # to a line of HTTP/0.9 the library would send no head
        self.send_response(made.status)
        for name, value in made.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", made.kind)
        self.send_header("Content-Length", str(len(made.data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(made.data)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library itself refuses (a line or head that cannot be read), in our form and without an echo."""
        self.command = self.command or ""
        unknown = code == 501
        headers = {"Allow": "GET, POST"} if unknown else {}
        sentence = "the path has no such method" if unknown else "the request cannot be read"
        self._send(Problem(405 if unknown else code, sentence, headers=headers).answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: who did what is remembered by `Operations`, with its reason."""
