"""Who listens to alerts in tests: a web server that takes JSON, and a mail server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from backup_assets_tests.ports import free_port


@dataclass
class Webhook:
    """A web server on loopback; ``status`` is what it answers, and ``hang`` (set) that it does not answer at all."""

    server: ThreadingHTTPServer
    posted: list[dict[str, str]] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)
    status: int = 200
    released: threading.Event = field(default_factory=threading.Event)
    hangs: bool = False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_address[1]}"

    def titles(self) -> list[str]:
        return [one["title"] for one in self.posted]

    def text(self) -> str:
        return "\n".join(f"{one['title']}\n{one['message']}" for one in self.posted)


@contextmanager
def a_webhook() -> Iterator[Webhook]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            # First: once it is answered, the sender goes on, and the test with it.
            if hook.status == 200 and not hook.hangs:
                hook.posted.append(json.loads(body))
            self._answer()

        def do_GET(self) -> None:
            hook.requested.append(self.path)
            self._answer()

        def _answer(self) -> None:
            if hook.hangs:
                hook.released.wait(300)
            self.send_response(hook.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook = Webhook(server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        hook.released.set()
        server.shutdown()
        server.server_close()


@dataclass
class Mailbox:
    """A mail server on loopback and what it has taken."""

    port: int
    mails: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        mail = message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 taken"


@contextmanager
def a_mailbox() -> Iterator[Mailbox]:
    box = Mailbox(free_port())
    controller = Controller(box, hostname="127.0.0.1", port=box.port, ready_timeout=60)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
