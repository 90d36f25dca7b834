"""A listing that a server breaks off is a fault, and never a shorter list."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from backup_assets.errors import EnvironmentFault
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_location import Credentials, S3Location
from backup_assets_tests.stores.conformance import KEY

PAGE = """<?xml version="1.0"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>backups</Name><Prefix></Prefix>
<KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>{truncated}</IsTruncated>
<Contents><Key>{key}</Key><LastModified>2026-11-21T00:00:00.000Z</LastModified><ETag>"x"</ETag><Size>3</Size></Contents>
</ListBucketResult>"""


class PagingServer(ThreadingHTTPServer):
    """Lists one object, and says that there are more where it is ``truncated``; never how to ask for them."""

    truncated = True


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, PagingServer)
        page = PAGE.format(key=KEY, truncated=str(self.server.truncated).lower()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object, **__: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[PagingServer]:
    server = PagingServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join(timeout=20)
    server.server_close()


@pytest.fixture
def store(server: PagingServer) -> S3Store:
    url = f"http://127.0.0.1:{server.server_port}"
    keys = Credentials("a", "b")
    return S3Store(
        S3Location("backups", "us-east-1", endpoint_url=url, addressing_style="path", sse_s3=True, credentials=keys),
        "bucket",
    )


def test_a_list_that_ends_before_its_end_is_a_fault(store: S3Store) -> None:
    with pytest.raises(EnvironmentFault, match="the list has no end") as fault:
        store.list("erp4/prod")

    assert "after 1 objects" in fault.value.why


def test_a_list_that_says_it_is_whole_is_one(store: S3Store, server: PagingServer) -> None:
    server.truncated = False

    assert [stored.key for stored in store.list("erp4/prod")] == [KEY]
