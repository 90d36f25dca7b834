from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from backup_assets.errors import CheckFailed
from backup_assets.restore.drill_http import require_answer, require_nobody_answers
from backup_assets.settings_restore import HttpCheck
from backup_assets_tests.ports import free_port


class Answers(BaseHTTPRequestHandler):
    asked = 0
    closing = threading.Event()

    def do_GET(self) -> None:
        type(self).asked += 1
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        if self.path == "/busy" and type(self).asked > 1:
            type(self).closing.wait(60)
            return
        late = self.path == "/late" and type(self).asked < 3
        self.send_response(503 if late else {"/teapot": 418, "/busy": 503}.get(self.path, 200))
        self.end_headers()
        self.wfile.write(b"x" * 70_000 + b"100 invoices")

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - named so by its base
        pass


@pytest.fixture
def url() -> Iterator[str]:
    Answers.asked = 0
    Answers.closing.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Answers.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


def alive() -> None:
    """Say that the application runs."""


def check(url: str, seconds: float = 60, **fields: Any) -> HttpCheck:
    return HttpCheck.model_validate({"url": url, "timeout_seconds": seconds, **fields})


@pytest.mark.parametrize(
    ("path", "fields"),
    [("/health", {}), ("/teapot", {"status": 418}), ("/health", {"contains": "100 invoices"}), ("/to//health", {})],
)
def test_an_answer_as_expected_passes(url: str, path: str, fields: dict[str, Any]):
    assert require_answer(check(url + path, **fields), alive).startswith(f"{url}{path} answered")


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask once and no more: who would wait longer than there is time, gives up after the first answer."""
    monkeypatch.setattr("backup_assets.restore.drill_http.PAUSE_SECONDS", 600)


@pytest.mark.usefixtures("once")
@pytest.mark.parametrize(
    ("path", "fields", "why"),
    [
        ("/teapot", {}, "418 instead of 200"),
        ("/health", {"status": 204}, "200 instead of 204"),
        ("/health", {"contains": "101 invoices"}, "does not contain `101 invoices`"),
        ("/to/http://localhost:1/health", {}, "redirects to localhost, which is another host"),
    ],
)
def test_another_answer_fails_with_what_was_answered(url: str, path: str, fields: dict[str, Any], why: str):
    with pytest.raises(CheckFailed, match="did not answer as expected") as failed:
        require_answer(check(url + path, **fields), alive)
    assert why in failed.value.why
    assert Answers.asked == 1


def test_what_was_answered_is_told_also_when_the_time_ends_in_the_middle_of_another_attempt(url: str):
    with pytest.raises(CheckFailed, match="did not answer as expected within 3 s") as failed:
        require_answer(check(url + "/busy", 3), alive)
    assert Answers.asked == 2
    assert failed.value.why == "it answered 503 instead of 200"


def test_an_application_that_is_still_starting_is_asked_again(url: str):
    assert require_answer(check(url + "/late"), alive)
    assert Answers.asked == 3


def test_nobody_there_fails_after_the_time_that_is_configured():
    begun = time.monotonic()
    with pytest.raises(CheckFailed) as failed:
        require_answer(check(f"http://127.0.0.1:{free_port()}/health", 1), alive)
    assert "refused" in failed.value.why
    assert time.monotonic() - begun < 30  # and not after the minute that is the default


def test_an_application_that_dies_is_not_waited_for(url: str):
    def dead() -> None:
        raise CheckFailed("the application ended")

    with pytest.raises(CheckFailed, match="the application ended"):
        require_answer(check(f"http://127.0.0.1:{free_port()}/", 600), dead)


def test_what_answers_before_the_application_is_started_would_be_another_system(url: str):
    with pytest.raises(CheckFailed, match="something answers on port"):
        require_nobody_answers(check(url))
    with pytest.raises(CheckFailed, match="something answers on port"):
        require_nobody_answers(check(url.replace("127.0.0.1", "localhost")))
    require_nobody_answers(check(f"http://127.0.0.1:{free_port()}/"))
    require_nobody_answers(check("http://no-such-host.invalid/"))


def test_this_machine_is_also_known_by_other_addresses_than_the_loopback():
    server = ThreadingHTTPServer(("0.0.0.0", 0), Answers)  # noqa: S104 - as an application listens that is reached from outside
    try:
        host = own_address()
        with pytest.raises(CheckFailed, match=f"something answers on port {server.server_port} of {host} already"):
            require_nobody_answers(check(f"http://{host}:{server.server_port}/health"))
    finally:
        server.server_close()


def own_address() -> str:
    """Return an address of this machine that is none of the loopback; nothing is sent for that."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but the loopback")
        return str(probe.getsockname()[0])


@pytest.mark.parametrize("url", ["file:///etc/passwd", "localhost/health", "ftp://localhost/x"])
def test_only_an_http_address_is_asked(url: str):
    with pytest.raises(CheckFailed, match="no address of an application"):
        require_answer(check(url), alive)
