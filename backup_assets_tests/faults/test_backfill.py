"""Past slots filled by Dagster's own backfills: exactly what is missing is sent, once, and one bad set is told."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from backup_assets.named_stores import store_named
from backup_assets.offsite.copies import copy_slot
from backup_assets.offsite.encrypted import encrypt_sets
from backup_assets.sets.manifest import Manifest
from backup_assets.settings import Settings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets_tests.ciphers.keys import AgeKeys
from backup_assets_tests.faults.test_off_site import encrypting
from backup_assets_tests.offsite.copying import file_in, flip_a_bit, hold, local_set, sets_in, settings_with
from backup_assets_tests.offsite.cross_copying import a_bucket_store, bucket, cross_copied, requests_to, use_profiles
from backup_assets_tests.offsite.test_another_host import host_store
from backup_assets_tests.offsite.test_assets import backfill, backfilling_instance
from backup_assets_tests.sets.examples import a_manifest
from backup_assets_tests.sources import no_log
from backup_assets_tests.stores.conftest import another_host, objects
from backup_assets_tests.stores.object_server import ObjectServer
from backup_assets_tests.stores.ssh_server import SshServer

__all__ = ["another_host", "objects"]

DAYS = 10
ASSETS = ("encrypted", "s3_upload", "cross_region_copy", "remote_copy")
LOCATION = """
from datetime import UTC, datetime
from pathlib import Path
from backup_assets.definitions import build_definitions
from backup_assets.settings import Settings
settings = Settings.model_validate_json(Path({path!r}).read_text())
defs = build_definitions(settings, datetime.now(UTC))
"""


@pytest.fixture
def settings(
    objects: ObjectServer, another_host: SshServer, age_keys: AgeKeys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Sets that are encrypted and go to two buckets and to another host."""
    use_profiles(objects, tmp_path, monkeypatch)
    made = settings_with(
        tmp_path / "local",
        a_bucket_store(objects, "tokyo"),
        a_bucket_store(objects, "osaka", copied_from="tokyo"),
        host_store(another_host, tmp_path / "there", "remote"),
    )
    schedule = ScheduleSettings(timezone="UTC", since=datetime.now(UTC).date() - timedelta(days=DAYS + 5))
    database = made.databases[0].model_copy(update={"schedule": schedule})
    return encrypting(made.model_copy(update={"databases": (database,)}), age_keys)


def past_days() -> dict[str, Manifest]:
    noon = datetime.combine(datetime.now(UTC).date(), time(12), UTC)
    sets = [a_manifest(noon - timedelta(days=back), tables=0) for back in range(DAYS, 0, -1)]
    return {one.slot: one for one in sets}


def files_there(directory: Path) -> dict[str, tuple[int, int]]:
    found = {path: path.stat() for path in directory.rglob("*") if path.is_file()}
    return {str(path.relative_to(directory)): (facts.st_ino, facts.st_mtime_ns) for path, facts in found.items()}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_past_slots_are_filled_exactly_where_something_is_missing_and_a_second_time_not_at_all(
    settings: Settings, tmp_path: Path
) -> None:
    database, sets = settings.databases[0], past_days()
    slots = list(sets)
    hold(settings, *sets.values())
    damaged, in_tokyo, everywhere = slots[7], slots[2:4], slots[3]
    for slot in in_tokyo:
        encrypt_sets(database, settings, [local_set(settings, sets[slot])], log=no_log)
        copy_slot(database, settings, store_named(settings, "tokyo", writing=True), slot, log=no_log)
    cross_copied(settings, everywhere)
    copy_slot(database, settings, store_named(settings, "remote", writing=True), everywhere, log=no_log)
    flip_a_bit(file_in(settings, sets[damaged], "dump"))
    good = [slot for slot in slots if slot != damaged]
    before = files_there(tmp_path / "there")
    (tmp_path / "settings.json").write_text(settings.model_dump_json())
    location = tmp_path / "location.py"
    location.write_text(LOCATION.format(path=str(tmp_path / "settings.json")))
    keys = [dg.AssetKey(["erp4", name]) for name in ASSETS]

    with backfilling_instance() as instance:
        with requests_to(bucket(settings, "tokyo")) as to_tokyo, requests_to(bucket(settings, "osaka")) as to_osaka:
            assert backfill(instance, location, slots, keys) == BulkActionStatus.COMPLETED_FAILED

        red = [one for one in instance.get_runs() if not one.is_success]
        assert [one.tags["dagster/partition"] for one in red] == [damaged]
        for key in keys:
            assert instance.get_materialized_partitions(key) == set(good), key
        assert stored(to_tokyo) == {f"{one}": 1 for one in objects_of(settings, sets, set(good) - {*in_tokyo})}
        assert stored(to_osaka) == {f"{one}": 1 for one in objects_of(settings, sets, set(good) - {everywhere})}
        for name in ("tokyo", "osaka", "remote"):
            states = {one.manifest.slot: one.state for one in sets_in(settings, name).values()}
            assert states == dict.fromkeys(good, "complete"), name
        after = files_there(tmp_path / "there")
        assert after.items() >= before.items()  # what was there is the same file still

        with requests_to(bucket(settings, "tokyo")) as to_tokyo, requests_to(bucket(settings, "osaka")) as to_osaka:
            assert backfill(instance, location, slots[6:8], keys) == BulkActionStatus.COMPLETED_FAILED
            assert backfill(instance, location, slots[2:4], keys) == BulkActionStatus.COMPLETED_SUCCESS

        assert stored(to_tokyo) == stored(to_osaka) == {}
        assert files_there(tmp_path / "there") == after
        again = [one for one in instance.get_runs() if not one.is_success]
        assert [one.tags["dagster/partition"] for one in again] == [damaged, damaged]


def stored(requests: list[tuple[str, str]]) -> dict[str, int]:
    """Return how often each object was stored, by key."""
    return dict(Counter(key for operation, key in requests if operation in ("PutObject", "CopyObject", "UploadPart")))


def objects_of(settings: Settings, sets: dict[str, Manifest], slots: set[str]) -> set[str]:
    """Return the keys of the encrypted files and the envelope of every set of the slots."""
    keys: set[str] = set()
    for slot in slots:
        record = local_set(settings, sets[slot]).encryption
        assert record is not None
        root = "erp4/prod"
        keys |= {f"{root}/{file.encrypted_name}" for file in record.files}
        keys.add(f"{root}/meta/{sets[slot].id}.manifest.json")
    return keys
