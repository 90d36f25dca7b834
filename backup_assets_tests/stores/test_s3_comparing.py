"""What is there already: recognised as the same, refused as another, and never guessed."""

from __future__ import annotations

import pytest

from backup_assets.stores.contract import ConflictingObject
from backup_assets.stores.s3_errors import NotAsRequired
from backup_assets.stores.s3_location import MIB
from backup_assets_tests.sets.examples import put, sha256
from backup_assets_tests.stores.conformance import KEY, content_of, noise
from backup_assets_tests.stores.object_server import KMS_KEY, ObjectServer
from backup_assets_tests.stores.test_s3 import a_store


@pytest.fixture
def bucket(objects: ObjectServer) -> str:
    return objects.bucket()


@pytest.mark.parametrize("size", [7, 11 * MIB])
def test_a_role_that_may_only_write_recognises_its_object_and_refuses_another(
    objects: ObjectServer, bucket: str, size: int
) -> None:
    writer = a_store(objects, bucket, "writer")
    first = put(writer, KEY, noise(size))

    assert put(writer, KEY, noise(size)) == first
    with pytest.raises(ConflictingObject, match="with other content"):
        put(writer, KEY, noise(size, seed=2))
    assert content_of(a_store(objects, bucket), KEY) == noise(size)


def test_with_kms_a_role_that_may_only_write_never_takes_a_name_for_the_content(
    objects: ObjectServer, bucket: str
) -> None:
    writer = a_store(objects, bucket, "writer", kms_key_id=KMS_KEY)
    put(writer, KEY, b"content")

    with pytest.raises(ConflictingObject, match="cannot be compared") as caught:
        put(writer, KEY, b"content")

    assert "s3:GetObjectTagging" in caught.value.remedy


def test_with_a_tag_the_same_content_is_recognised_without_reading(objects: ObjectServer, bucket: str) -> None:
    store = a_store(objects, bucket, kms_key_id=KMS_KEY, sha256_tag=True, tags=(("retention", "daily 14"),))
    put(store, KEY, b"content")

    tags = objects.client().get_object_tagging(Bucket=bucket, Key=KEY)["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"retention": "daily 14", "sha256": sha256(b"content")}
    assert store.tags_of(KEY)["sha256"] == sha256(b"content")


def test_the_same_content_stored_unencrypted_is_not_accepted(objects: ObjectServer, bucket: str) -> None:
    put(a_store(objects, bucket, sse_s3=False, allow_unencrypted=True), KEY, b"content")

    with pytest.raises(NotAsRequired, match="not encrypted as required"):
        put(a_store(objects, bucket), KEY, b"content")


def test_a_changed_part_size_does_not_hide_that_the_content_is_the_same(objects: ObjectServer, bucket: str) -> None:
    content = noise(11 * MIB)
    first = put(a_store(objects, bucket), KEY, content)

    again = put(a_store(objects, bucket, part_bytes=6 * MIB), KEY, content)

    assert again == first
    with pytest.raises(ConflictingObject):
        put(a_store(objects, bucket, part_bytes=6 * MIB), KEY, noise(11 * MIB, seed=2))
