"""Reading an object over a connection that breaks: read on from there, and never from another object."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from backup_assets.errors import TransientFault
from backup_assets.stores import s3_reading
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_location import Credentials, S3Location
from backup_assets.stores.s3_reading import ReplacedWhileRead
from backup_assets_tests.stores.conformance import KEY, content_of, noise

CONTENT = noise(300_000)


class BreakingServer(ThreadingHTTPServer):
    """Gives at most ``breaks_after`` bytes of an object and then cuts the connection."""

    breaks_after = 100_000
    replaced = False
    asked: tuple[str | None, ...] = ()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, BreakingServer)
        wanted, tag = self.headers.get("Range"), self.headers.get("If-Match")
        server.asked += (wanted,)
        if server.replaced and tag == '"first"':
            self.send_response(412)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        begin = int(wanted[6:-1]) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("ETag", '"first"')
        self.send_header("Content-Length", str(len(CONTENT) - begin))
        self.end_headers()
        self.wfile.write(CONTENT[begin : begin + server.breaks_after])
        self.close_connection = True

    def log_message(self, *_: object, **__: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[BreakingServer]:
    server = BreakingServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join(timeout=20)
    server.server_close()


@pytest.fixture
def store(server: BreakingServer, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    monkeypatch.setattr(s3_reading, "FIRST_PAUSE_SECONDS", 0.001)
    url = f"http://127.0.0.1:{server.server_port}"
    keys = Credentials("a", "b")
    location = S3Location(
        "backups", "us-east-1", endpoint_url=url, addressing_style="path", sse_s3=True, credentials=keys
    )
    return S3Store(location, "bucket")


def test_a_broken_connection_is_read_on_from_where_it_broke(store: S3Store, server: BreakingServer) -> None:
    assert content_of(store, KEY) == CONTENT
    assert server.asked == (None, "bytes=100000-", "bytes=200000-")


def test_an_object_that_was_replaced_meanwhile_is_not_mixed_in(store: S3Store, server: BreakingServer) -> None:
    with store.open(KEY) as handle:
        handle.read(10)
        server.replaced = True
        with pytest.raises(ReplacedWhileRead, match="was replaced or removed"):
            handle.read()


def test_a_connection_that_gives_nothing_more_is_given_up(store: S3Store, server: BreakingServer) -> None:
    with store.open(KEY) as handle:
        server.breaks_after = 0
        with pytest.raises(TransientFault, match="the connection broke"):
            handle.read()
    assert len(server.asked) == 1 + s3_reading.BREAKS_IN_A_ROW
