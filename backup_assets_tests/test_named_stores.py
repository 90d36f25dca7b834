from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.errors import SettingsError
from backup_assets.named_stores import address_of, store_named
from backup_assets.settings import DatabaseSettings, Settings, StoreSettings
from backup_assets.stores.folder import FolderStore
from backup_assets.stores.s3 import S3Store

BUCKET = StoreSettings(
    name="far",
    kind="s3",
    bucket="erp4-backups",
    prefix="offsite",
    region="eu-central-1",
    endpoint_url="https://s3.example:9000",
    addressing_style="path",
    checksum_mode="when_required",
    sse_kms_key_id="alias/erp4",
    sha256_tag=True,
    bandwidth_limit_mb=2.5,
    max_parts=1000,
    profile="writer",
    read_profile="reader",
)


def settings_with(directory: Path, *stores: StoreSettings) -> Settings:
    return Settings(backup_dir=directory, databases=(DatabaseSettings(name="erp4", database="erp4"),), stores=stores)


def test_local_is_the_store_below_the_backup_dir(tmp_path: Path) -> None:
    store = store_named(settings_with(tmp_path), "local")
    assert isinstance(store, FolderStore)
    assert (store.root, store.name) == (tmp_path, "local")


def test_a_folder_is_never_created_and_knows_its_name(tmp_path: Path) -> None:
    folder = StoreSettings(name="usb", kind="folder", directory=tmp_path / "usb", must_be_mount=True)
    assert store_named(settings_with(tmp_path, folder), "usb") == FolderStore(
        tmp_path / "usb", "usb", create_root=False, must_be_mount=True
    )


def test_every_field_of_a_bucket_reaches_its_location(tmp_path: Path) -> None:
    store = store_named(settings_with(tmp_path, BUCKET), "far")
    assert isinstance(store, S3Store)
    found = store.location
    assert (found.bucket, found.prefix, found.region) == ("erp4-backups", "offsite", "eu-central-1")
    assert (found.endpoint_url, found.addressing_style) == ("https://s3.example:9000", "path")
    assert (found.checksum_mode, found.kms_key_id, found.sse_s3) == ("when_required", "alias/erp4", False)
    assert (found.sha256_tag, found.max_parts) == (True, 1000)
    assert found.bandwidth_limit_bytes_per_second == 2_500_000
    assert not found.allow_unencrypted


def test_the_role_that_writes_is_kept_apart_from_the_one_that_reads(tmp_path: Path) -> None:
    both = settings_with(tmp_path, BUCKET)
    alone = settings_with(tmp_path, BUCKET.model_copy(update={"read_profile": None}))

    def profile(settings: Settings, *, writing: bool) -> str | None:
        store = store_named(settings, "far", writing=writing)
        assert isinstance(store, S3Store)
        return store.location.profile

    assert (profile(both, writing=True), profile(both, writing=False)) == ("writer", "reader")
    assert (profile(alone, writing=True), profile(alone, writing=False)) == ("writer", "writer")


def test_an_unknown_name_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no store usb") as refusal:
        store_named(settings_with(tmp_path, BUCKET), "usb")
    assert refusal.value.why == "configured: local, far"


def test_an_address_is_a_path_or_a_url(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, BUCKET)
    assert address_of(store_named(settings, "local"), "erp4/prod/db/x") == str(tmp_path / "erp4/prod/db/x")
    assert address_of(store_named(settings, "far"), "erp4/prod/db/x") == "s3://erp4-backups/offsite/erp4/prod/db/x"
