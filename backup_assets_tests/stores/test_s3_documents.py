"""Reading small objects at small cost: the same content, and the usual way and words wherever that does not work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from backup_assets.sets.catalog import Catalog
from backup_assets.sets.place import StoredObject
from backup_assets.stores import s3_looking
from backup_assets.stores.contract import AccessDenied, MissingObject
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_documents import SmallObjects
from backup_assets.stores.s3_location import Credentials, S3Location
from backup_assets_tests.sets.examples import ERP4, a_manifest, put, put_set
from backup_assets_tests.stores.object_server import ObjectServer

KEY = "prod/meta/作業 +1 (a&b)~x%20.json"
CONTENT = b'{"a": 1}\n'
ASKED_BY_BOTO3 = "x-amz-checksum-mode"


@pytest.fixture
def bucket(objects: ObjectServer) -> str:
    return objects.bucket()


def listed(key: str = KEY, size: int = len(CONTENT)) -> StoredObject:
    return StoredObject(key, size, datetime(2026, 11, 22, tzinfo=UTC))


def test_an_object_of_any_name_is_read_below_the_prefix(objects: ObjectServer, bucket: str) -> None:
    location = objects.location(bucket, prefix="backups of/erp")
    put(S3Store(location, "bucket"), KEY, CONTENT)

    assert SmallObjects(location).read(KEY, len(CONTENT)) == CONTENT


def test_a_catalog_reads_its_documents_so(objects: ObjectServer, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = S3Store(objects.location(bucket), "bucket")
    manifests = [put_set(store, a_manifest(run=f"0000000{number}")) for number in range(3)]
    monkeypatch.delattr(s3_looking, "ObjectReader")

    assert {one.id for one in Catalog(store, ERP4, readers=2).sets()} == {one.id for one in manifests}


def test_what_is_not_as_long_as_listed_is_left_to_the_usual_way(objects: ObjectServer, bucket: str) -> None:
    store = S3Store(objects.location(bucket), "bucket")
    put(store, KEY, CONTENT)
    documents = SmallObjects(store.location)

    assert documents.read(KEY, len(CONTENT) + 1) is None
    assert documents.read(KEY, len(CONTENT)) is None  # for good: who asks twice for everything asks too much
    assert store.read_small(listed(size=5)) == CONTENT


def test_a_missing_object_is_told_in_the_usual_words(objects: ObjectServer, bucket: str) -> None:
    with pytest.raises(MissingObject, match="there is no prod/meta/"):
        S3Store(objects.location(bucket), "bucket").read_small(listed())


def test_a_role_that_may_not_read_is_told_which_permission_it_lacks(objects: ObjectServer, bucket: str) -> None:
    put(S3Store(objects.location(bucket), "bucket"), KEY, CONTENT)
    with pytest.raises(AccessDenied) as denied:
        S3Store(objects.location(bucket, "writer"), "bucket").read_small(listed())
    assert "s3:GetObject" in denied.value.remedy


class OverloadedOnce(ThreadingHTTPServer):
    """Answers 503 once to whoever does not ask as boto3 does, then the object."""

    asked: tuple[str, ...] = ()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, OverloadedOnce)
        boto3 = ASKED_BY_BOTO3 in self.headers
        server.asked += ("boto3" if boto3 else "quickly",)
        assert "Signature=" in self.headers["Authorization"]
        content = CONTENT if boto3 else b"later"
        self.send_response(200 if boto3 else 503)
        self.send_header("ETag", '"first"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object, **__: object) -> None:
        return


@pytest.fixture
def overloaded() -> Iterator[OverloadedOnce]:
    server = OverloadedOnce(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join(timeout=20)
    server.server_close()


def test_an_overloaded_server_is_asked_by_boto3_from_then_on(overloaded: OverloadedOnce) -> None:
    url = f"http://127.0.0.1:{overloaded.server_port}"
    keys = Credentials("a", "b")
    location = S3Location(
        "backups", "us-east-1", endpoint_url=url, addressing_style="path", sse_s3=True, credentials=keys
    )
    store = S3Store(location, "bucket")

    assert [store.read_small(listed()) for _ in range(2)] == [CONTENT, CONTENT]
    assert overloaded.asked == ("quickly", "boto3", "boto3")
