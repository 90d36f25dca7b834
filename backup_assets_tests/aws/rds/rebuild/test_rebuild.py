"""A slot that was missed gets its set later: what it shows, and when it must not be made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup_assets.aws.rds.rebuild.rebuild import RdsRebuilt
from backup_assets.aws.rds.server_names import RESTORED_FROM, SHOWS
from backup_assets.aws.rds.sweeping import pending_servers, sweep_servers
from backup_assets.aws.rds.tagging import ROLE, moment_text
from backup_assets.aws.rds.work import Waiting
from backup_assets.capture.capture import Capture
from backup_assets.capture.request import CaptureRequest, PastMoment
from backup_assets.errors import Refused, SettingsError
from backup_assets.local import local_store, place_of
from backup_assets.postgres.server import Server
from backup_assets.restore.recording import put_record
from backup_assets.sets.records import Problem
from backup_assets.settings_capture import AttachmentsSettings
from backup_assets.settings_restore import VerificationSettings
from backup_assets.settings_server import ServerSettings
from backup_assets.settings_stores import StoreSettings
from backup_assets_tests.aws.conftest import INSTANCE
from backup_assets_tests.aws.rds.drilling import later
from backup_assets_tests.aws.rds.rebuild.conftest import Rebuild
from backup_assets_tests.sets.examples import proof_of
from backup_assets_tests.sources import capture, catalog_of, listed, no_log, no_progress


def test_a_missed_slot_gets_a_set_that_shows_its_own_time(a_rebuild: Rebuild) -> None:
    # Of the day in Tokyo: the day in UTC is, in the evening, the very slot that was missed.
    today = capture(a_rebuild.settings, slot=a_rebuild.slots.current_key(datetime.now(UTC))).manifest.id
    begun = datetime.now(UTC)

    done = a_rebuild.rebuilt()

    assert done.problems == ()
    assert done.passed
    assert done.set is not None
    manifest = done.set.manifest
    assert manifest.slot == a_rebuild.slot
    assert manifest.snapshot.taken_at == manifest.backup_id.taken_at == a_rebuild.due
    assert manifest.rebuilt is not None
    assert (manifest.rebuilt.source, manifest.rebuilt.server) == (
        f"the automated backups of {INSTANCE}",
        a_rebuild.name,
    )
    assert begun - timedelta(seconds=1) < manifest.rebuilt.dumped_at <= datetime.now(UTC)
    assert manifest.fingerprints.total_rows == 550
    assert any("rebuilt after its slot was over" in one for one in manifest.warnings)
    assert a_rebuild.drill.servers() == {INSTANCE}
    # It is proven, and the newest set is still that of today.
    rebuilt = catalog_of(a_rebuild.settings).resolve(manifest.id)
    proof = proof_of(rebuilt)
    assert proof is not None
    assert proof.level == "restored"
    assert catalog_of(a_rebuild.settings).resolve("latest").id == today


def test_what_is_restored_is_that_moment_apart_from_the_source_and_tagged(a_rebuild: Rebuild) -> None:
    a_rebuild.begun()
    rds = a_rebuild.drill.aws.client("rds")
    (made,) = rds.describe_db_instances(DBInstanceIdentifier=a_rebuild.name)["DBInstances"]
    tags = {tag["Key"]: tag["Value"] for tag in made["TagList"]}
    assert (tags[ROLE], tags[RESTORED_FROM], tags[SHOWS]) == ("rebuild", "point-in-time", moment_text(a_rebuild.due))
    assert [one["VpcSecurityGroupId"] for one in made["VpcSecurityGroups"]] == [a_rebuild.drill.security_group]


def test_a_slot_that_is_not_over_is_refused(a_rebuild: Rebuild) -> None:
    current = a_rebuild.slots.current_key(datetime.now(UTC))
    with pytest.raises(Refused, match="is not over") as refused:
        a_rebuild.advance(current)
    assert "take a backup now" in refused.value.remedy
    assert a_rebuild.drill.servers() == {INSTANCE}


def test_a_slot_that_has_a_set_is_left_as_it_is(a_rebuild: Rebuild) -> None:
    first = a_rebuild.rebuilt()
    lines: list[str] = []
    assert a_rebuild.advance(log=lines.append) is None
    assert first.set is not None
    assert lines == [
        f"the slot {a_rebuild.slot} has the set {first.set.id} in the store local: nothing is to be rebuilt"
    ]
    assert a_rebuild.drill.servers() == {INSTANCE}


def test_a_slot_whose_set_is_in_another_store_alone_is_left_as_it_is(a_rebuild: Rebuild, tmp_path: Path) -> None:
    a_rebuild.rebuilt()
    usb = tmp_path / "usb"
    a_rebuild.drill.source.backup_dir.rename(usb)
    stores = (StoreSettings(name="usb", kind="folder", directory=usb),)
    settings = a_rebuild.settings.model_copy(update={"stores": stores})

    class Elsewhere(Rebuild):
        @property
        def settings(self) -> Any:
            return settings

    lines: list[str] = []
    assert Elsewhere(a_rebuild.drill, a_rebuild.rebuild, a_rebuild.slot).advance(log=lines.append) is None
    assert "in the store usb" in lines[0]


def test_a_set_that_failed_its_verification_does_not_fill_a_slot(a_rebuild: Rebuild) -> None:
    done = a_rebuild.rebuilt()
    assert done.set is not None
    assert done.proof is not None
    started = done.proof.record.started_at + timedelta(seconds=1)
    wrong = {"passed": False, "problems": (Problem(what="a table differs"),), "started_at": started}
    failed = done.proof.record.model_copy(update=wrong)
    place = place_of(a_rebuild.database, a_rebuild.settings)
    put_record(local_store(a_rebuild.settings), place, failed)
    assert isinstance(a_rebuild.advance(), Waiting)


def test_a_set_that_could_not_be_proven_is_proven_by_the_next_launch(a_rebuild: Rebuild, tmp_path: Path) -> None:
    nowhere = VerificationSettings(scratch=ServerSettings(host=str(tmp_path)))
    first = a_rebuild.configured(verification=nowhere).rebuilt()
    assert first.set is not None
    assert (first.proof, first.passed) == (None, False)

    again = a_rebuild.advance()

    assert isinstance(again, RdsRebuilt)
    assert again.passed
    assert again.set is not None
    assert again.set.id == first.set.id
    assert proof_of(catalog_of(a_rebuild.settings).resolve(first.set.id)) is not None
    assert a_rebuild.drill.servers() == {INSTANCE}
    assert a_rebuild.advance() is None


def test_data_that_is_newer_than_the_slot_never_gets_its_key(a_rebuild: Rebuild) -> None:
    a_rebuild.drill.restored.execute("INSERT INTO invoices VALUES (900, 1, now())")
    done = a_rebuild.rebuilt()
    (problem,) = done.problems
    assert "has rows that are newer than" in problem.what
    assert "invoices.created_at" in str(problem.found)
    assert (done.set, listed(a_rebuild.settings)) == (None, [])
    assert a_rebuild.drill.servers() == {INSTANCE}


def test_times_that_were_planned_ahead_are_no_newer_data(a_rebuild: Rebuild) -> None:
    for database in (a_rebuild.drill.source, a_rebuild.drill.restored):
        database.execute("CREATE TABLE meetings (at timestamptz)")
        database.execute("INSERT INTO meetings VALUES (now() - interval '1 hour'), (now() + interval '1 day')")
    assert a_rebuild.rebuilt().passed


def test_the_source_is_never_taken_for_what_was_restored(a_rebuild: Rebuild, tmp_path: Path) -> None:
    live = a_rebuild.drill.source.server_settings()
    with pytest.raises(Refused, match="which is the source itself"):
        a_rebuild.rebuilding(host=live.host, port=live.port).advance()
    alias = tmp_path / "s"
    alias.symlink_to(live.host)
    done = a_rebuild.begun().rebuilding(host=str(alias), port=live.port).advance()
    assert done is not None
    assert not isinstance(done, Waiting)
    assert ["the source itself" in one.what for one in done.problems] == [True]
    assert listed(a_rebuild.settings) == []
    assert a_rebuild.drill.servers() == {INSTANCE}


def test_older_data_than_the_slot_is_told_in_the_set(a_rebuild: Rebuild) -> None:
    a_rebuild.drill.restored.execute("DELETE FROM invoices WHERE id > 300")
    done = a_rebuild.rebuilt()
    assert done.set is not None
    assert any("look whether that was entered later" in one for one in done.set.manifest.warnings)


def test_attachments_of_today_do_not_get_into_a_past_slot(a_rebuild: Rebuild, tmp_path: Path) -> None:
    folder = tmp_path / "pdf"
    folder.mkdir()
    (folder / "today.pdf").write_bytes(b"%PDF")
    done = a_rebuild.configured(attachments=AttachmentsSettings(directory=folder)).rebuilt()
    assert done.passed
    assert done.set is not None
    assert done.set.manifest.attachments is None
    assert {one.role for one in done.set.manifest.artifacts} == {"dump", "globals"}
    assert any(one.startswith("without attachments") for one in done.set.manifest.warnings)


def test_a_server_that_is_shared_with_the_source_is_refused(a_rebuild: Rebuild) -> None:
    with pytest.raises(SettingsError, match=r"the rebuild's instance has no security groups") as refused:
        a_rebuild.rebuilding(security_groups=()).advance()
    assert "`rds.rebuild.security_groups`" in refused.value.remedy


def test_what_takes_too_long_is_told_and_removed(a_rebuild: Rebuild) -> None:
    a_rebuild.begun()
    done = a_rebuild.advance(now=later(13))
    assert done is not None
    assert not isinstance(done, Waiting)
    assert done.problems[0].what == "the rebuild was not over after 12 hours"
    assert (done.set, done.passed) == (None, False)
    assert a_rebuild.drill.servers() == {INSTANCE}


def test_a_run_that_died_after_the_commit_loses_nothing(a_rebuild: Rebuild) -> None:
    a_rebuild.begun()
    there = a_rebuild.drill.restored.server_settings(user="postgres")
    past = PastMoment(a_rebuild.due, "the automated backups", a_rebuild.name)
    request = CaptureRequest(slot=a_rebuild.slot, run_id="deadbeef", past=past)
    server = Server.from_settings(there)
    kept = Capture(
        a_rebuild.database, a_rebuild.settings, request, progress=no_progress, log=no_log, server=server
    ).run()

    done = a_rebuild.advance(now=later(13))

    assert done is not None
    assert not isinstance(done, Waiting)
    assert done.problems == ()
    assert done.set is not None
    assert done.set.id == kept.manifest.id
    assert a_rebuild.drill.servers() == {INSTANCE}


def test_a_drill_and_a_rebuild_go_on_apart(a_rebuild: Rebuild) -> None:
    a_rebuild.begun()
    now = datetime.now(UTC)
    database, settings = a_rebuild.database, a_rebuild.settings
    assert pending_servers("drill", database, settings, now) == ()
    (pending,) = pending_servers("rebuild", database, settings, now)
    assert pending.partition_key == a_rebuild.slot
    assert sweep_servers(database, settings, now, log=no_log) == ()
    assert sweep_servers(database, settings, later(13)(), log=no_log) == (a_rebuild.name,)
