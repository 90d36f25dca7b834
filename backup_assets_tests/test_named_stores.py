from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_assets.demo.object_server import stop_demo_object_server
from backup_assets.errors import SettingsError
from backup_assets.named_stores import address_of, catalog_to_show, description_of, remembering, store_named
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_loading import demo_settings
from backup_assets.settings_stores import ObjectLockSettings, StoreSettings
from backup_assets.stores.contract import AccessDenied
from backup_assets.stores.folder import FolderStore
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_location import MIB, PART_BYTES, ObjectLock, S3Location
from backup_assets.stores.ssh import SshStore
from backup_assets.stores.ssh_location import SshLocation
from backup_assets_tests.sets.examples import ERP4, a_manifest, put_set
from backup_assets_tests.stores.object_server import object_server, require_weed

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
    part_size_mb=64,
    retention_tags=True,
    object_lock=ObjectLockSettings(mode="COMPLIANCE", daily_days=15, weekly_days=57, monthly_days=366),
    profile="writer",
    read_profile="reader",
)


@pytest.fixture
def a_short_directory() -> Iterator[Path]:
    # Not tmp_path: as root that lies below a closed directory, where a server of another user cannot go.
    directory = Path(tempfile.mkdtemp(prefix="ba-named-"))
    directory.chmod(0o755)
    yield directory
    stop_demo_object_server(directory / "demo")
    shutil.rmtree(directory)


HOST = StoreSettings(
    name="remote",
    kind="ssh",
    host="backup.example",
    port=2222,
    user="bk",
    remote_dir="/srv/backups",
    ssh_key=Path("/k/key"),
    known_hosts=Path("/k/known_hosts"),
    bandwidth_limit_mb=2.5,
)


def settings_with(directory: Path, *stores: StoreSettings) -> Settings:
    return Settings(backup_dir=directory, databases=(DatabaseSettings(name="erp4", database="erp4"),), stores=stores)


def test_local_is_the_store_below_the_backup_dir(tmp_path: Path) -> None:
    store = store_named(settings_with(tmp_path), "local")
    assert isinstance(store, FolderStore)
    assert (store.root, store.name) == (tmp_path, "local")


def test_what_was_shown_is_shown_again_without_reading_the_bucket(tmp_path: Path) -> None:
    with object_server() as server:
        bucket, settings = server.bucket(), settings_with(tmp_path)
        one = put_set(S3Store(server.location(bucket), "far"), a_manifest())
        may_read = S3Store(server.location(bucket, "reader"), "far")
        may_not = S3Store(server.location(bucket, "writer"), "far")
        with pytest.raises(AccessDenied, match="this role may not read the sets in"):
            catalog_to_show(settings, may_not, ERP4).sets()

        assert catalog_to_show(settings, may_read, ERP4).sets() == catalog_to_show(settings, may_not, ERP4).sets()

        may_delete = S3Store(server.location(bucket), "far")
        may_delete.delete(ERP4.key(one.artifacts[0].name))
        (left,) = catalog_to_show(settings, may_not, ERP4).sets()
        assert left.faults == (f"{one.artifacts[0].name} is missing",)
        may_delete.delete(ERP4.manifest_key(one.id))
        assert catalog_to_show(settings, may_not, ERP4).sets() == []


def test_nothing_is_kept_of_a_folder_or_without_a_backup_dir(tmp_path: Path) -> None:
    folder = FolderStore(tmp_path, "usb")
    bucket = S3Store(S3Location("erp4-backups", "eu-central-1", sse_s3=True), "far")
    assert remembering(settings_with(tmp_path), folder) is folder
    assert remembering(settings_with(tmp_path / "absent"), bucket) is bucket
    assert remembering(settings_with(tmp_path), bucket) is not bucket


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
    assert (found.part_bytes, found.retention_tags) == (64 * MIB, True)
    assert found.object_lock == ObjectLock("COMPLIANCE", 15, weekly_days=57, monthly_days=366)
    assert found.bandwidth_limit_bytes_per_second == 2_500_000
    assert not found.allow_unencrypted


def test_what_is_left_out_is_not_demanded(tmp_path: Path) -> None:
    bare = StoreSettings(name="far", kind="s3", bucket="erp4-backups", sse_s3="AES256")
    store = store_named(settings_with(tmp_path, bare), "far")
    assert isinstance(store, S3Store)
    found = store.location
    assert (found.object_lock, found.retention_tags, found.part_bytes) == (None, False, PART_BYTES)


def test_a_wanted_part_size_grows_where_the_number_of_parts_demands_it(tmp_path: Path) -> None:
    store = store_named(settings_with(tmp_path, BUCKET), "far")
    assert isinstance(store, S3Store)
    assert store.location.planned_part_bytes(64_000 * MIB) == 64 * MIB
    assert store.location.planned_part_bytes(64_000 * MIB + 1) == 65 * MIB


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


def test_every_field_of_another_host_reaches_its_location(tmp_path: Path) -> None:
    assert store_named(settings_with(tmp_path, HOST), "remote") == SshStore(
        SshLocation(
            host="backup.example",
            remote_dir="/srv/backups",
            port=2222,
            user="bk",
            ssh_key=Path("/k/key"),
            known_hosts=Path("/k/known_hosts"),
            bandwidth_limit_bytes_per_second=2_500_000,
        ),
        "remote",
    )


def test_an_address_is_a_path_or_a_url(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, BUCKET, HOST)
    assert (
        address_of(store_named(settings, "remote"), "erp4/prod/db/x") == "bk@backup.example:/srv/backups/erp4/prod/db/x"
    )
    assert address_of(store_named(settings, "local"), "erp4/prod/db/x") == str(tmp_path / "erp4/prod/db/x")
    assert address_of(store_named(settings, "far"), "erp4/prod/db/x") == "s3://erp4-backups/offsite/erp4/prod/db/x"


def test_a_description_is_the_store_s_own(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, BUCKET)
    assert description_of(settings, "far") == store_named(settings, "far").describe()
    assert description_of(settings, "local") == store_named(settings, "local").describe()


def test_to_describe_the_demo_s_buckets_starts_and_makes_nothing(tmp_path: Path) -> None:
    settings = demo_settings(tmp_path / "backups", tmp_path / "demo")
    assert description_of(settings, "osaka") == "s3://erp4-osaka (ap-northeast-3)"
    assert list(tmp_path.iterdir()) == []


def test_the_demo_s_bucket_is_reached_without_the_user_s_aws_configuration(
    a_short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_weed()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "else")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("AWS_PROFILE", raising=False)

    store_named(demo_settings(a_short_directory / "backups", a_short_directory / "demo"), "tokyo").check()
