from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from backup_assets.aws.infrastructure.place import infrastructure_databases
from backup_assets.local import place_of
from backup_assets.named_stores import store_named
from backup_assets.sets.manifest import Manifest
from backup_assets.settings import Settings
from backup_assets.settings_aws import AwsSettings, InfrastructureSettings
from backup_assets.settings_stores import StoreSettings
from backup_assets.watch.beside import important_tables
from backup_assets.watch.known import Known
from backup_assets.watch.looking import Held, Look, RemovedBy
from backup_assets.watch.measuring import measure
from backup_assets_tests.sets.examples import a_manifest, put_set
from backup_assets_tests.watch.stores_at_work import (
    DAY,
    HOUR,
    NOW,
    a_database,
    a_folder,
    copy_recorded,
    measured,
    objective,
    proven,
    settings_of,
    taken,
)

LAST_NIGHT = NOW - 10 * HOUR
BOTH = ("local", "usb")


def with_tables(tmp_path: Path, *stores: StoreSettings) -> Settings:
    """Return a database with important tables and a full set of last night."""
    settings = settings_of(tmp_path, *stores, important_tables=("invoices",))
    taken(settings, LAST_NIGHT - timedelta(minutes=1))
    return settings


def weekly(settings: Settings, at: datetime, *, stores: tuple[str, ...] = ("local",)) -> Manifest:
    return taken(settings, at, stores=stores, kind="important_tables")


def with_infrastructure(tmp_path: Path, *stores: StoreSettings) -> Settings:
    settings = settings_of(tmp_path, *stores)
    taken(settings, LAST_NIGHT)
    return settings.model_copy(update={"aws": AwsSettings(infrastructure=InfrastructureSettings())})


def written_down(settings: Settings, at: datetime, *, stores: tuple[str, ...] = ("local",)) -> Manifest:
    """Put a document of the infrastructure into its own place of some stores."""
    (place,) = infrastructure_databases(settings)
    manifest = a_manifest(at, run="0f0f0f0f").model_copy(update={"kind": "infrastructure"})
    for name in stores:
        put_set(store_named(settings, name), manifest, place_of(place, settings))
    return manifest


def a_held(days_old: float) -> Held:
    return Held(
        id=f"set-{days_old:g}", slot="", taken_at=NOW - days_old * DAY, size_bytes=1, restored_bytes=1,
        capture_seconds=1.0, label=None, hold=None, faults=(), verified=None, verifications=(), drills=(), restores=(),
        copied={},
    )  # fmt: skip


def test_without_important_tables_and_infrastructure_nothing_is_promised_of_them(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    weekly(settings, LAST_NIGHT)

    assert measured(settings).objective("important_tables") is None
    assert measured(settings).objective("infrastructure") is None


def test_a_weekly_set_is_young_enough_for_a_week_and_the_time_of_the_next_one(tmp_path: Path) -> None:
    settings = with_tables(tmp_path)
    weekly(settings, LAST_NIGHT)

    found = objective(settings, "important_tables")
    assert (found.state, found.measured, found.wanted, found.unit) == ("met", 10.0, 168.0, "hours")
    assert found.text == "the newest set of the important tables was taken 10 h ago (local); 7 days promised"
    # The week in which the clocks are turned back has an hour more, and the next set waits for the full one.
    assert objective(settings, "important_tables", LAST_NIGHT + 7 * DAY + 2 * HOUR).state == "met"
    late = objective(settings, "important_tables", LAST_NIGHT + 7 * DAY + 2 * HOUR + timedelta(minutes=1))
    assert late.state == "broken"
    assert "backup-assets backup --important-tables" in late.text


def test_a_weekly_set_that_failed_its_verification_or_lost_a_file_is_none(tmp_path: Path) -> None:
    settings = with_tables(tmp_path)
    weekly(settings, NOW - 20 * DAY)
    bad = weekly(settings, LAST_NIGHT)
    proven(settings, bad, at=NOW - 9 * HOUR, passed=False)
    assert objective(settings, "important_tables").measured == 480.0

    cut = weekly(settings, NOW - HOUR)
    (tmp_path / "local" / "erp4" / "prod" / cut.artifacts[0].name).unlink()
    assert objective(settings, "important_tables").state == "broken"


def test_that_there_was_never_one_is_broken_once_backups_are_older_than_a_week(tmp_path: Path) -> None:
    settings = with_tables(tmp_path)

    young = objective(settings, "important_tables")
    assert (young.state, young.measured) == ("warn", None)
    assert "no set of the important tables was taken yet" in young.text
    taken(settings, NOW - 8 * DAY)
    assert (objective(settings, "important_tables").state, young.measured) == ("broken", None)


def test_a_store_that_has_no_copy_of_the_weekly_set_is_named(tmp_path: Path) -> None:
    settings = with_tables(tmp_path, a_folder(tmp_path, "usb"), a_folder(tmp_path, "nas"))
    newest = weekly(settings, LAST_NIGHT, stores=BOTH)

    found = objective(settings, "important_tables")
    assert (found.state, found.measured) == ("warn", 10.0)
    assert "not copied to nas:" in found.text
    # What was copied and is not there any more is told as lost, and not as late.
    copy_recorded(settings, newest, "nas")
    assert objective(settings, "important_tables").state == "met"


@pytest.mark.parametrize(
    ("removed_by", "state"), [("retention", "met"), ("class_rules", "met"), ("own_rules", "warn"), ("hand", "warn")]
)
def test_a_copy_that_is_gone_again_is_missed_where_nobody_else_tells_it(removed_by: RemovedBy, state: str) -> None:
    newest = replace(a_held(2), copied={"far": NOW - 2 * DAY})
    local = Look("local", "local", sets=(a_held(1),), others={"important_tables": (newest,)})
    far = Look("far", "s3", removed_by=removed_by)
    known = Known(a_database(important_tables=("invoices",)), (local, far), NOW)

    found = important_tables(known)
    assert found is not None
    assert (found.state, "not copied to far:" in found.text) == (state, state == "warn")
    there = replace(far, others={"important_tables": (newest,)})
    assert [one and one.state for one in [important_tables(replace(known, looks=(local, there)))]] == ["met"]


def test_a_copy_of_the_weekly_set_may_follow_it(tmp_path: Path) -> None:
    settings = with_tables(tmp_path, a_folder(tmp_path, "usb"))
    weekly(settings, LAST_NIGHT - 7 * DAY, stores=BOTH)
    weekly(settings, LAST_NIGHT)

    assert objective(settings, "important_tables", LAST_NIGHT + 2 * HOUR).state == "met"
    assert objective(settings, "important_tables", LAST_NIGHT + 4 * HOUR).state == "warn"


def test_where_the_local_store_does_not_answer_nobody_knows_the_newest_weekly_set(tmp_path: Path) -> None:
    settings = with_tables(tmp_path, a_folder(tmp_path, "usb"))
    weekly(settings, NOW - 20 * DAY, stores=BOTH)
    (tmp_path / "local").rename(tmp_path / "away")
    (tmp_path / "local").write_text("a file where a directory should be")

    found = objective(settings, "important_tables")
    assert (found.state, found.measured) == ("unknown", None)
    assert "local does not answer" in found.text


def test_the_document_of_the_infrastructure_may_be_two_days_old(tmp_path: Path) -> None:
    settings = with_infrastructure(tmp_path)
    written_down(settings, NOW - 40 * HOUR)

    found = objective(settings, "infrastructure")
    assert (found.state, found.measured, found.wanted) == ("met", 40.0, 48.0)
    assert objective(settings, "infrastructure", NOW + 11 * HOUR).state == "broken"
    # It is no set of the database, and changes nothing about that.
    assert measured(settings).stores[0].sets == 1


def test_an_infrastructure_that_was_never_written_down_is_broken_once_backups_are_older_than_two_days(
    tmp_path: Path,
) -> None:
    settings = with_infrastructure(tmp_path)
    assert objective(settings, "infrastructure").state == "warn"

    taken(settings, NOW - 3 * DAY)
    found = objective(settings, "infrastructure")
    assert (found.state, found.measured) == ("broken", None)
    assert "was not written down yet" in found.text


def test_a_store_without_the_document_of_the_infrastructure_is_named(tmp_path: Path) -> None:
    settings = with_infrastructure(tmp_path, a_folder(tmp_path, "usb"))
    written_down(settings, LAST_NIGHT)
    assert "not copied to usb:" in objective(settings, "infrastructure").text

    written_down(settings, LAST_NIGHT, stores=BOTH)
    assert objective(settings, "infrastructure").state == "met"


def test_a_document_of_the_infrastructure_that_cannot_be_read_in_a_store_is_damaged_there(tmp_path: Path) -> None:
    settings = with_infrastructure(tmp_path, a_folder(tmp_path, "usb"))
    manifest = written_down(settings, LAST_NIGHT, stores=BOTH)
    (place,) = infrastructure_databases(settings)
    key = place_of(place, settings).manifest_key(manifest.id)
    store_named(settings, "usb").path_of(key).write_bytes(b"not a manifest")  # type: ignore[attr-defined]

    assert [one.damaged for one in measured(settings).stores] == [0, 1]


def test_the_infrastructure_is_told_with_the_first_database_alone(tmp_path: Path) -> None:
    settings = with_infrastructure(tmp_path)
    other = settings.databases[0].model_copy(update={"name": "crm", "database": "crm"})
    both = settings.model_copy(update={"databases": (*settings.databases, other)})

    assert [measure(database, both, NOW).objective("infrastructure") is not None for database in both.databases] == [
        True,
        False,
    ]
