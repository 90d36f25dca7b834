"""How does Prometheus fetch the figures over HTTP, without measuring more often than is good?"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic

from backup_assets.errors import BackupError, EnvironmentFault, Refused

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PATH = "/metrics"


class Latest:
    """The newest figures, measured again when they are asked for and older than ``seconds``; one at a time."""

    def __init__(self, measured: Callable[[], bytes], seconds: float) -> None:
        self._measured = measured
        self._seconds = seconds
        self._lock = threading.Lock()
        self._at = float("-inf")
        self._content = b""

    def get(self) -> bytes:
        """Return the figures; raises as measuring does, and never returns old ones in place of an error."""
        with self._lock:
            if monotonic() - self._at >= self._seconds:
                self._content = self._measured()
                self._at = monotonic()
            return self._content


def address_of(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT`` (``[::1]:9723`` for IPv6); raises Refused for anything else."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise Refused(f"{text!r} is no address", remedy="write HOST:PORT, such as 127.0.0.1:9723")
    return host.strip("[]"), int(port)


def metrics_server(address: tuple[str, int], latest: Latest, log: Callable[[str], None]) -> ThreadingHTTPServer:
    """Return a server that is bound and answers ``GET /metrics`` once it is run; raises EnvironmentFault.

    An error of ours is the answer 500 with its text: a scrape that fails is what Prometheus tells as `up == 0`.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 30

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != PATH:
                self._answer(404, f"the figures are at {PATH}\n".encode())
                return
            try:
                self._answer(200, latest.get())
            except BackupError as error:
                log(f"error: {error}")
                self._answer(500, f"{error.what}\n".encode())

        def _answer(self, code: int, content: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Write no line for each scrape."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        address_family = 10 if ":" in address[0] else 2  # AF_INET6, AF_INET

    try:
        return Server(address, Handler)
    except OSError as error:
        raise EnvironmentFault(
            f"the metrics cannot be served on {address[0]}:{address[1]}",
            why=error.strerror or str(error),
            remedy="choose an address of this machine and a port that is free (--listen)",
        ) from error
