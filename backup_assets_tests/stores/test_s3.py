"""The S3 store: the contract on a real server, and what only a bucket has."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from backup_assets.stores.contract import Store
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_location import MIB
from backup_assets_tests.stores.conformance import StoreConformance
from backup_assets_tests.stores.object_server import KMS_KEY, ObjectServer

PUT = """
import json, pathlib, sys
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_location import Credentials, S3Location
given, key, source, digest, size = sys.argv[1:]
given = json.loads(given)
location = S3Location(**{**given, "credentials": Credentials(**given["credentials"])})
S3Store(location, "bucket").put(key, pathlib.Path(source), sha256=digest, size=int(size))
"""


def command_that_puts(store: Store, key: str, source: Path, digest: str, size: int) -> list[str]:
    assert isinstance(store, S3Store)
    return [sys.executable, "-c", PUT, json.dumps(asdict(store.location)), key, str(source), digest, str(size)]


class TestS3Conformance(StoreConformance):
    @pytest.fixture
    def store(self, objects: ObjectServer, tmp_path: Path) -> Iterator[Store]:
        yield S3Store(objects.location(objects.bucket(), part_bytes=5 * MIB), "bucket")

    def command_that_puts(self, store: Store, key: str, source: Path, digest: str, size: int) -> list[str]:
        return command_that_puts(store, key, source, digest, size)


class TestS3WithKmsConformance(TestS3Conformance):
    """SSE-KMS with a key, below a prefix of the bucket."""

    @pytest.fixture
    def store(self, objects: ObjectServer, tmp_path: Path) -> Iterator[Store]:
        bucket = objects.bucket()
        objects.client().put_object(Bucket=bucket, Key="offsite2/erp4/prod/db/neighbour", Body=b"x")
        yield S3Store(objects.location(bucket, kms_key_id=KMS_KEY, prefix="offsite", part_bytes=5 * MIB), "bucket")
