"""Copies within S3: another bucket, another key, nothing overwritten, and proven from the target."""

from __future__ import annotations

import pytest

from backup_assets.stores.contract import ConflictingObject, MissingObject, TransferDamaged
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_copy import copy_object, looked_at, require_same
from backup_assets.stores.s3_errors import AccessDenied, NotAsRequired
from backup_assets.stores.s3_location import MIB
from backup_assets_tests.offsite.cross_copying import requests_to
from backup_assets_tests.sets.examples import put, sha256
from backup_assets_tests.stores.conformance import KEY, content_of, keys, noise
from backup_assets_tests.stores.object_server import KMS_KEY, ObjectServer

CONTENT = noise(11 * MIB)


@pytest.fixture
def tokyo(objects: ObjectServer) -> S3Store:
    return S3Store(objects.location(objects.bucket(), kms_key_id=KMS_KEY, part_bytes=5 * MIB), "tokyo")


@pytest.fixture
def osaka(objects: ObjectServer) -> S3Store:
    return S3Store(objects.location(objects.bucket(), kms_key_id="osaka", prefix="copy", part_bytes=5 * MIB), "osaka")


@pytest.mark.parametrize("content", [b"content", CONTENT])
def test_a_copy_has_the_same_content_under_the_targets_own_key(
    objects: ObjectServer, tokyo: S3Store, osaka: S3Store, content: bytes
) -> None:
    put(tokyo, KEY, content)

    for _ in range(2):
        copied = copy_object(tokyo, osaka, KEY, sha256=sha256(content), size=len(content))
        assert (copied.key, copied.size, copied.sha256) == (KEY, len(content), sha256(content))

    assert content_of(osaka, KEY) == content
    head = objects.client().head_object(Bucket=osaka.location.bucket, Key=f"copy/{KEY}")
    assert head["SSEKMSKeyId"] == "osaka"
    assert head["Metadata"]["sha256"] == sha256(content)


def plain(objects: ObjectServer) -> S3Store:
    """Return a store without encryption: SeaweedFS does not copy parts of encrypted objects."""
    location = objects.location(objects.bucket(), sse_s3=False, allow_unencrypted=True, part_bytes=5 * MIB)
    return S3Store(location, "plain")


def test_a_large_object_is_copied_in_parts(objects: ObjectServer) -> None:
    source, target = plain(objects), plain(objects)
    put(source, KEY, CONTENT)

    for _ in range(2):
        copied = copy_object(source, target, KEY, sha256=sha256(CONTENT), size=len(CONTENT), largest_copy_bytes=MIB)
        assert copied.sha256 == sha256(CONTENT)

    assert content_of(target, KEY) == CONTENT


def test_a_large_object_that_is_damaged_is_not_copied(objects: ObjectServer) -> None:
    source, target = plain(objects), plain(objects)
    damaged = CONTENT[:-1] + b"?"
    put(source, KEY, damaged)

    with pytest.raises(TransferDamaged):
        copy_object(source, target, KEY, sha256=sha256(CONTENT), size=len(CONTENT), largest_copy_bytes=MIB)

    assert keys(target) == []


def test_a_copy_replaces_nothing(tokyo: S3Store, osaka: S3Store) -> None:
    put(tokyo, KEY, b"content")
    put(osaka, KEY, b"another")

    with pytest.raises(ConflictingObject, match="with other content"):
        copy_object(tokyo, osaka, KEY, sha256=sha256(b"content"), size=7)

    assert content_of(osaka, KEY) == b"another"


def test_a_source_that_is_damaged_is_not_copied(tokyo: S3Store, osaka: S3Store) -> None:
    put(tokyo, KEY, b"contenT")

    with pytest.raises(TransferDamaged):
        copy_object(tokyo, osaka, KEY, sha256=sha256(b"content"), size=7)

    assert keys(osaka) == []


def test_a_missing_source_is_told(tokyo: S3Store, osaka: S3Store) -> None:
    with pytest.raises(MissingObject):
        copy_object(tokyo, osaka, KEY, sha256=sha256(b""), size=0)


def test_a_role_that_may_not_look_at_the_copy_copies_nothing(objects: ObjectServer, tokyo: S3Store) -> None:
    put(tokyo, KEY, b"content")
    blind = S3Store(objects.location(objects.bucket(), "writer"), "osaka")

    with pytest.raises(AccessDenied):
        copy_object(tokyo, blind, KEY, sha256=sha256(b"content"), size=7)

    assert keys(blind) == []


def test_what_is_there_with_another_key_is_not_accepted(objects: ObjectServer, tokyo: S3Store, osaka: S3Store) -> None:
    put(tokyo, KEY, b"content")
    put(osaka, KEY, b"content")
    demanding = S3Store(objects.location(osaka.location.bucket, kms_key_id="another", prefix="copy"), "osaka")

    with pytest.raises(NotAsRequired, match="another"):
        copy_object(tokyo, demanding, KEY, sha256=sha256(b"content"), size=7)

    assert content_of(osaka, KEY) == b"content"


def same(source: S3Store, target: S3Store, content: bytes) -> list[tuple[str, str]]:
    """Compare what both hold with ``content``, and return what was read of the target for that."""
    head = looked_at(target, KEY)
    assert head is not None
    with requests_to(target) as seen:
        require_same(target, KEY, head, sha256=sha256(content), size=len(content), origin=looked_at(source, KEY))
    return seen


def test_an_object_in_parts_is_known_by_the_checksums_of_the_sources_parts(tokyo: S3Store, osaka: S3Store) -> None:
    put(tokyo, KEY, CONTENT)
    put(osaka, KEY, CONTENT)

    assert same(tokyo, osaka, CONTENT) == []


def test_an_object_that_was_cut_otherwise_is_read_to_its_end(objects: ObjectServer, tokyo: S3Store) -> None:
    osaka = S3Store(objects.location(objects.bucket(), part_bytes=6 * MIB), "osaka")
    put(tokyo, KEY, CONTENT)
    put(osaka, KEY, CONTENT)

    assert {operation for operation, _ in same(tokyo, osaka, CONTENT)} == {"GetObject"}


def test_two_objects_that_are_equal_and_not_what_the_manifest_says_are_not_accepted(
    tokyo: S3Store, osaka: S3Store
) -> None:
    damaged = CONTENT[:-1] + b"?"
    put(tokyo, KEY, damaged)
    put(osaka, KEY, damaged)

    with pytest.raises(ConflictingObject, match="with other content"):
        same(tokyo, osaka, CONTENT)
