"""A web server on 127.0.0.1 that answers as it is told, and fails as it is told.

    with LocalServer(answer) as server:
        server.fail(Fault("truncated", path=r"\\.zip$", times=1))
        httpx.get(f"{server.url}/some/path")
        assert server.paths == ["/some/path", ...]

`answer` takes a Request and returns a Response. Nothing leaves this machine.
"""

import re
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

HTML = b"<!DOCTYPE html><html><head><title>Login</title></head><body>Please sign in</body></html>"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True)
class Response:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/octet-stream"


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose path (with its query) matches.

    Kinds: `status` (`status` with `headers` and `body`), `html` (a page instead of what was
    asked for), `truncated` (the connection ends in the middle of the body), `reset` (it ends
    before any answer), `hang` (no answer until the server stops).
    """

    kind: str
    path: str = ""
    times: int = 1
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class LocalServer:
    """Answers requests in threads while it is entered; keeps what was asked for."""

    def __init__(self, answer: Callable[[Request], Response]) -> None:
        self.requests: list[Request] = []
        self._answer = answer
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._over = threading.Event()

    def __enter__(self) -> "LocalServer":
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def paths(self) -> list[str]:
        """The paths asked for until now, without their queries."""
        with self._lock:
            return [request.path for request in self.requests]

    def fail(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def forget(self) -> None:
        """Forget the requests and faults until now."""
        with self._lock:
            self.requests.clear()
            self._faults.clear()

    def _fault_for(self, request: Request, target: str) -> Fault | None:
        with self._lock:
            self.requests.append(request)
            for fault in self._faults:
                if fault.times > 0 and re.search(fault.path, target):
                    fault.times -= 1
                    return fault
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                request = Request(
                    self.command, parts.path, dict(parse_qsl(parts.query)), dict(self.headers)
                )
                fault = server._fault_for(request, self.path)
                if fault is None:
                    self._send(server._answer(request))
                elif fault.kind == "status":
                    self._send(Response(fault.body, fault.status, fault.headers, "text/plain"))
                elif fault.kind == "html":
                    self._send(Response(HTML, content_type="text/html"))
                elif fault.kind == "truncated":
                    self._send(server._answer(request), half=True)
                elif fault.kind == "reset":
                    self._reset()
                elif fault.kind == "hang":
                    server._over.wait(60)
                    self.close_connection = True
                else:
                    raise AssertionError(f"no such fault: {fault.kind}")

            do_HEAD = do_GET

            def _send(self, response: Response, *, half: bool = False) -> None:
                self.send_response(response.status)
                self.send_header("Content-Type", response.content_type)
                self.send_header("Content-Length", str(len(response.body)))
                for name, value in response.headers.items():
                    self.send_header(name, value)
                body = response.body[: len(response.body) // 2] if half else response.body
                self.close_connection = half or self.close_connection
                try:
                    self.end_headers()
                    self.wfile.write(b"" if self.command == "HEAD" else body)
                except ConnectionError:  # who is interrupted hangs up in the middle of an answer
                    self.close_connection = True

            def _reset(self) -> None:
                linger = struct.pack("ii", 1, 0)  # closing sends RST and waits for nothing
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                self.connection.close()

            def log_message(self, *words: object) -> None:
                pass

        return Handler


def closed_port() -> int:
    """Return a port of 127.0.0.1 where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
