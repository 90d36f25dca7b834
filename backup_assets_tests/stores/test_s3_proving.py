"""What was just put: proven, by whoever may read it and by whoever may not."""

from __future__ import annotations

from typing import Any

import pytest

from backup_assets.stores.s3_location import MIB
from backup_assets_tests.sets.examples import put, sha256
from backup_assets_tests.stores.conformance import KEY, content_of, noise
from backup_assets_tests.stores.object_server import KMS_KEY, ObjectServer
from backup_assets_tests.stores.test_s3 import a_store


@pytest.fixture
def bucket(objects: ObjectServer) -> str:
    return objects.bucket()


@pytest.mark.parametrize("size", [0, 7, 11 * MIB])
@pytest.mark.parametrize("encryption", [{"sse_s3": True}, {"kms_key_id": KMS_KEY}])
def test_a_role_that_may_only_write_stores_and_proves(
    objects: ObjectServer, bucket: str, size: int, encryption: dict[str, Any]
) -> None:
    content = noise(size)

    stored = put(a_store(objects, bucket, "writer", **encryption), KEY, content)

    assert (stored.size, stored.sha256) == (size, sha256(content))
    assert content_of(a_store(objects, bucket, "reader", **encryption), KEY) == content
