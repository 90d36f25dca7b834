from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup_assets.errors import Refused, SettingsError
from backup_assets.local import WORK_DIRECTORY, local_store, place_of
from backup_assets.named_stores import store_named
from backup_assets.offsite.encrypted import encrypt_sets
from backup_assets.postgres.server_binaries import find_server_binaries
from backup_assets.postgres.throw_away import throw_away_cluster
from backup_assets.restore.drill_report import Drilled
from backup_assets.sets.deletion import delete_sets
from backup_assets.sets.leftovers import leftovers
from backup_assets.sets.records import DrillRecord
from backup_assets.settings import Settings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets.settings_restore import DrillSettings, HttpCheck
from backup_assets.settings_stores import StoreSettings
from backup_assets_tests.ciphers.keys import Keyrings
from backup_assets_tests.offsite.copying import folder_store
from backup_assets_tests.restore.drilling import (
    application,
    copied_to,
    drilled,
    file_of,
    kinds,
    report,
    sets_in,
    with_drill,
    with_stores,
)
from backup_assets_tests.restore.restoring import Erp, databases_of, flip_bit, reseal, server_state
from backup_assets_tests.sets.examples import a_verification, proof_of, put_record
from backup_assets_tests.sources import capture, catalog_of, no_log
from backup_assets_tests.stores.object_server import REGION, ObjectServer, object_server


@pytest.fixture
def usb(tmp_path: Path) -> Path:
    (tmp_path / "usb").mkdir()
    return tmp_path / "usb"


@pytest.fixture
def settings(an_erp: Erp, usb: Path) -> Settings:
    """A real database with attachments, and a folder on other media."""
    return with_stores(an_erp, folder_store(usb))


@pytest.fixture(scope="module")
def a_server() -> Iterator[ObjectServer]:
    with object_server() as server:
        yield server


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory in which throw-away clusters of this test alone are made."""
    directory = Path(tempfile.mkdtemp(prefix="ba-drill-", dir="/var/tmp"))
    directory.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(directory))
    yield directory
    shutil.rmtree(directory)


def bucket_on(server: ObjectServer, **fields: Any) -> StoreSettings:
    return StoreSettings(
        name="tokyo",
        kind="s3",
        bucket=server.bucket(),
        region=REGION,
        endpoint_url=server.url,
        addressing_style="path",
        sse_s3="AES256",
        **fields,
    )


def nothing_left(settings: Settings) -> bool:
    return list((settings.backup_dir / WORK_DIRECTORY).iterdir()) == []


def only_problem(done: Drilled) -> Any:
    (problem,) = done.problems
    assert problem.remedy
    assert not done.passed
    assert "FAILED" in report(done)
    return problem


def test_a_drill_restores_the_farthest_copy_tries_the_application_and_leaves_nothing_behind(
    settings: Settings, an_erp: Erp, servers: Path, tmp_path: Path
):
    captured = capture(settings).manifest
    copied_to(settings, "usb")
    drill = application(tmp_path, ("/health", "100 invoices in backup_assets_scratch"), ("/attachments", "3 files"))
    drill = drill.model_copy(update={"command": ("psql", "-Atc", "SELECT 1/count(*) FROM customers")})
    before = server_state(an_erp.cluster)

    done = drilled(with_drill(settings, drill))

    assert done.problems == ()
    assert (done.store, done.set_id, done.within_rto) == ("usb", captured.id, True)
    assert set(done.stages) == {
        *("find", "fetch", "read", "server", "roles", "restore", "compare", "attachments", "application", "command")
    }
    assert done.total_seconds >= sum(done.stages.values()) * 0.99
    assert any("/health answered 200" in sentence for sentence in done.confirmed)
    assert any("3 attachments" in sentence for sentence in done.confirmed)
    assert server_state(an_erp.cluster) == before
    assert list(servers.iterdir()) == []
    assert nothing_left(settings)


def test_a_drill_counts_after_a_verification_that_a_wrong_clock_dated_ahead(settings: Settings):
    captured = capture(settings).manifest
    copied_to(settings, "usb")
    wrong = a_verification(captured.id, at=captured.generated_at + timedelta(hours=20), passed=False, store="usb")
    put_record(store_named(settings, "usb"), wrong, place_of(settings.databases[0], settings))

    done = drilled(settings)

    (one,) = sets_in(settings, "usb")
    assert [record.passed for record in one.verifications][-2:] == [False, True]
    assert proof_of(one) is not None
    assert any("a clock was wrong" in note for note in done.notes)


def test_a_drill_says_after_which_drills_it_was_made_that_a_wrong_clock_dated_ahead(settings: Settings):
    copied_to_usb = capture(settings).manifest
    copied_to(settings, "usb")
    first = drilled(settings).record
    assert first is not None
    assert first.after is None
    ahead = first.model_copy(update={"started_at": first.started_at + timedelta(hours=20)})
    put_record(store_named(settings, "usb"), ahead, place_of(settings.databases[0], settings))

    done = drilled(settings)

    assert done.record is not None
    assert (done.record.set_id, done.record.after) == (copied_to_usb.id, (ahead.started_at,))
    assert any("a clock was wrong" in note for note in done.notes)


def test_the_outcome_lies_beside_the_set_in_both_stores_and_counts_as_the_highest_proof(settings: Settings):
    captured = capture(settings).manifest
    copied_to(settings, "usb")

    done = drilled(settings)

    for name in ("local", "usb"):
        (one,) = sets_in(settings, name)
        assert kinds(one)[-2:] == ["drill", "verification"]
        proof = proof_of(one)
        assert proof is not None
        assert (proof.level, proof.store, proof.content) == ("drilled", "usb", True)
        (record,) = [record for record in one.records if isinstance(record, DrillRecord)]
        assert record == done.record
    assert record.passed
    assert (record.set_id, record.taken_at) == (captured.id, captured.snapshot.taken_at)
    assert (record.attachment_files, record.attachment_bytes) == (3, 27)
    assert record.server_major == captured.server.major
    assert record.fetched_bytes == captured.size_bytes
    assert record.age_hours == pytest.approx(0, abs=0.1)
    assert record.stages["restore"] > 0


def test_a_differential_set_is_drilled_with_the_full_archive_of_another(settings: Settings, an_erp: Erp):
    full = capture(settings).manifest
    (an_erp.attachments / "4.pdf").write_text("invoice 4")
    differential = capture(settings).manifest
    assert differential.attachments is not None
    assert differential.attachments.full_set == full.id
    copied_to(settings, "usb")

    done = drilled(settings)

    assert done.problems == ()
    assert done.set_id == differential.id
    assert any("4 attachments" in sentence for sentence in done.confirmed)
    archive = full.artifact("archive")
    assert archive is not None
    assert done.fetched_bytes == differential.size_bytes + archive.size_bytes


def test_an_encrypted_copy_is_drilled_with_the_key_and_fails_without_it(
    settings: Settings, keyrings: Keyrings, usb: Path
):
    writing = settings.model_copy(
        update={"encryption": EncryptionSettings(recipients=(keyrings.lena,), gpg_homedir=keyrings.host)}
    )
    captured = capture(writing).manifest
    encrypt_sets(writing.databases[0], writing, catalog_of(writing).sets(), log=no_log)
    (envelope,) = copied_to(writing, "usb")
    assert envelope.manifest.encryption is not None

    without = drilled(writing)
    (there,) = sets_in(writing, "usb")
    assert proof_of(there) is None
    assert "key" in str(only_problem(without))

    reading = EncryptionSettings(recipients=(keyrings.lena,), gpg_homedir=keyrings.vault)
    done = drilled(writing.model_copy(update={"encryption": reading}))

    assert done.problems == ()
    assert done.set_id == captured.id
    assert any("3 attachments" in sentence for sentence in done.confirmed)
    (there,) = sets_in(writing, "usb")
    proof = proof_of(there)
    assert proof is not None
    assert proof.level == "drilled"
    records = [record for record in there.records if isinstance(record, DrillRecord)]
    assert [(record.passed, record.database_bytes, record.attachment_files) for record in records] == [
        (False, 0, 0),
        (True, 0, 0),
    ]
    assert without.record is not None
    assert records[0].problems != without.record.problems
    assert nothing_left(writing)


def test_a_drill_from_a_bucket_needs_nothing_of_the_local_store(
    an_erp: Erp, a_server: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    keys = a_server.credentials("admin")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret_access_key)
    bucket = bucket_on(a_server)
    (tmp_path / "usb").mkdir()
    here = with_stores(an_erp, folder_store(tmp_path / "usb"), bucket)
    capture(here)
    (an_erp.attachments / "4.pdf").write_text("invoice 4")
    newest = capture(here).manifest
    copied_to(here, "tokyo")
    elsewhere = here.model_copy(update={"backup_dir": tmp_path / "new machine"})
    drill = application(tmp_path, ("/health", "100 invoices"), ("/attachments", "4 files"))

    done = drilled(with_drill(elsewhere, drill))

    assert done.problems == ()
    assert (done.store, done.set_id) == ("tokyo", newest.id)
    assert "farthest: a bucket (nearer: usb, local)" in done.reason
    found = {one.id: one for one in sets_in(here, "tokyo")}[newest.id]
    proof = proof_of(found)
    assert proof is not None
    assert proof.level == "drilled"


def test_a_role_that_may_only_read_is_a_note_and_the_local_store_has_the_record(
    an_erp: Erp, a_server: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    lines = []
    for identity in ("admin", "reader"):
        keys = a_server.credentials(identity)
        lines += [f"[{identity}]", f"aws_access_key_id={keys.access_key_id}"]
        lines += [f"aws_secret_access_key={keys.secret_access_key}"]
    (tmp_path / "credentials").write_text("\n".join(lines))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    bucket = bucket_on(a_server, profile="admin")
    settings = with_stores(an_erp, bucket)
    capture(settings)
    copied_to(settings, "tokyo")

    done = drilled(with_stores(an_erp, bucket.model_copy(update={"profile": "reader"})))

    assert done.passed
    assert any("recorded in the local store only" in note for note in done.notes)
    assert "recorded in the local store only" in report(done)
    (here,), (there,) = sets_in(settings, "local"), sets_in(settings, "tokyo")
    assert "drill" in kinds(here)
    assert "drill" not in kinds(there)


def test_a_health_check_that_fails_is_a_failed_drill_of_a_set_that_is_good(settings: Settings, tmp_path: Path):
    capture(settings)
    copied_to(settings, "usb")
    # The first one waits until the application has started; only what it answers then is asked for a short time.
    drill = application(tmp_path, ("/health", "100 invoices"), ("/broken", None))
    healthy, broken = drill.http_checks
    drill = drill.model_copy(update={"http_checks": (healthy, broken.model_copy(update={"timeout_seconds": 3}))})

    done = drilled(with_drill(settings, drill))

    problem = only_problem(done)
    assert "/broken did not answer as expected within 3 s" in problem.what
    assert "500 instead of 200" in problem.found
    assert done.within_rto is None
    (one,) = sets_in(settings, "local")
    proof = proof_of(one)
    assert proof is not None
    assert proof.level == "restored"
    assert nothing_left(settings)


def test_a_command_that_fails_is_told_with_the_end_of_its_output_and_without_the_password(settings: Settings):
    capture(settings)
    copied_to(settings, "usb")
    script = "echo batch 7 cannot resume; echo my password is $PGPASSWORD; exit 3"

    done = drilled(with_drill(settings, DrillSettings(command=("/bin/sh", "-c", script))))

    problem = only_problem(done)
    assert "ended with status 3" in problem.what
    assert "batch 7 cannot resume" in problem.found
    assert "my password is ***" in problem.found
    assert "batch 7 cannot resume" in report(done)


def test_wrong_content_in_the_restored_data_fails_the_drill_and_the_set(settings: Settings, usb: Path):
    captured = capture(settings).manifest

    def other_content(tree: dict[str, Any]) -> None:
        for table in tree["fingerprints"]["tables"]:
            if table["name"] == "invoices":
                table["content_hash"] = "12345"

    reseal(settings, captured, other_content)
    copied_to(settings, "usb")

    done = drilled(settings)

    problem = only_problem(done)
    assert problem.what == "content of public.invoices"
    assert problem.expected == "12345"
    (one,) = sets_in(settings, "usb")
    assert proof_of(one) is None
    assert [(record.level, record.passed) for record in one.verifications] == [("drilled", False)]


def test_a_drill_that_takes_longer_than_promised_fails_and_names_the_slowest_step(settings: Settings):
    capture(settings)
    copied_to(settings, "usb")

    done = drilled(with_drill(settings, DrillSettings(), rto_hours=0.00001))

    problem = only_problem(done)
    assert problem.what == "the restore took longer than promised"
    assert done.within_rto is False
    slowest = max(done.stages, key=lambda name: done.stages[name])
    assert f"`{slowest}` took longest" in problem.remedy
    (one,) = sets_in(settings, "usb")
    proof = proof_of(one)
    assert proof is not None
    assert proof.level == "restored"
    assert "**NOT MET**" in report(done)


def test_an_empty_store_is_a_failed_drill_with_a_report(settings: Settings):
    capture(settings)

    done = drilled(settings)

    assert "there is no backup set in the folder" in only_problem(done).what
    assert (done.set_id, done.record) == (None, None)
    assert "none could be chosen" in report(done)


def test_a_store_that_is_not_there_is_a_failed_drill_with_a_report(settings: Settings, usb: Path):
    usb.rmdir()

    done = drilled(settings)

    assert "does not exist" in only_problem(done).what
    assert f"the folder {usb}" in report(done)


@pytest.mark.parametrize("role", ["dump", "globals", "archive"])
def test_a_damaged_file_fails_the_drill_and_voids_the_proof_of_that_copy(settings: Settings, usb: Path, role: str):
    captured = capture(settings).manifest
    copied_to(settings, "usb")
    assert drilled(settings).passed
    flip_bit(file_of(usb, captured, role), 20)

    done = drilled(settings)

    problem = only_problem(done)
    assert f"the set {captured.id} is damaged in the folder {usb}" in problem.what
    assert "SHA-256" in problem.found
    assert proof_of(sets_in(settings, "usb")[0]) is None
    assert proof_of(sets_in(settings, "local")[0]) is None


def test_newer_sets_that_had_to_be_passed_over_are_noted(settings: Settings, usb: Path):
    older, newer = capture(settings).manifest, capture(settings).manifest
    copied_to(settings, "usb")
    file_of(usb, newer, "dump").unlink()

    done = drilled(settings)

    assert done.passed
    assert done.set_id == older.id
    assert f"the newer set {newer.id} is incomplete" in report(done)


def test_a_set_that_a_wrong_clock_dated_ahead_is_good_and_its_drill_fails_because_nobody_knows_its_age(
    settings: Settings,
):
    captured = capture(settings).manifest
    ahead = datetime.now(UTC) + timedelta(days=300)
    reseal(settings, captured, lambda tree: tree["snapshot"].update(taken_at=ahead.isoformat()))
    capture(settings)
    copied_to(settings, "usb")

    done = drilled(settings, selector=captured.id)

    assert "still to come" in only_problem(done).what
    assert done.age_hours is None
    assert done.record is not None
    assert done.record.age_hours is None
    assert "| cannot be said | **unknown** |" in report(done)
    assert proof_of(next(one for one in sets_in(settings, "usb") if one.id == captured.id)) is not None
    assert drilled(settings).set_id != captured.id


def test_a_past_month_takes_a_set_of_then_and_its_age_counts_at_the_end_of_it(settings: Settings):
    past = capture(settings).manifest
    capture(settings)
    copied_to(settings, "usb")
    end = past.snapshot.taken_at + timedelta(microseconds=1)

    done = drilled(settings, before=end, month="2026-10")

    assert done.set_id == past.id
    assert done.age_hours == 0
    assert "For the month 2026-10" in report(done)


def test_the_source_is_refused_before_anything_is_fetched(settings: Settings, an_erp: Erp, tmp_path: Path):
    capture(settings)
    copied_to(settings, "usb")
    alias = tmp_path / "alias"
    alias.symlink_to(an_erp.cluster.socket_directory)

    for host in (str(an_erp.cluster.socket_directory), str(alias)):
        source = DrillSettings(server=an_erp.source.server_settings(host=host))
        with pytest.raises(Refused, match="drill's server is the source itself") as refused:
            drilled(with_drill(settings, source))
        assert "drill.server" in refused.value.remedy
    assert not list(settings.backup_dir.rglob("*.md"))


def test_a_lasting_server_is_left_as_it_was_also_after_a_failure(settings: Settings):
    capture(settings)
    copied_to(settings, "usb")
    (binaries,) = (found for found in find_server_binaries() if found.major == 17)
    seen = "test \"$(psql -Atc 'SELECT count(*) FROM invoices')\" = 100 && exit 7"
    with throw_away_cluster(None, binaries) as other:
        before = databases_of(other)
        drill = DrillSettings(server=other.server_settings(), command=("/bin/sh", "-c", seen))

        done = drilled(with_drill(settings, drill))

        assert "ended with status 7" in only_problem(done).what
        assert f"the server at {other.socket_directory}" in done.server
        assert databases_of(other) == before


def test_checks_without_an_application_are_refused_because_something_else_would_answer(settings: Settings):
    drill = DrillSettings(http_checks=(HttpCheck(url="http://127.0.0.1:8080/health"),))
    with pytest.raises(Refused, match="no application to ask"):
        drilled(with_drill(settings, drill))


def test_an_unknown_store_or_set_is_refused_and_no_drill(settings: Settings):
    capture(settings)
    with pytest.raises(SettingsError, match="there is no store moon"):
        drilled(settings, store="moon")
    with pytest.raises(Refused, match="there is no set"):
        drilled(settings, store="local", selector="2001-01-01")
    assert not list(settings.backup_dir.rglob("*.md"))


def test_attachments_in_directories_that_may_not_be_written_are_removed_too(settings: Settings, an_erp: Erp):
    locked = an_erp.attachments / "locked"
    locked.mkdir()
    (locked / "5.pdf").write_text("invoice 5")
    locked.chmod(0o500)
    capture(settings)
    copied_to(settings, "usb")

    assert drilled(settings).passed
    assert nothing_left(settings)
    locked.chmod(0o700)


def test_listing_sweeping_and_deleting_leave_the_report_alone(settings: Settings):
    capture(settings)
    copied_to(settings, "usb")
    done = drilled(settings)
    catalog = catalog_of(settings)
    assert catalog.problems == ()

    local, place = local_store(settings), place_of(settings.databases[0], settings)

    later = datetime.now(UTC) + timedelta(days=30)
    delete_sets(local, place, catalog.sets(), now=later)

    assert leftovers(local.list(place.root), (), later, timedelta(days=1)) == ()
    assert [path.suffix for path in settings.backup_dir.rglob("erp4/*/*/*")] == [".md"]
    assert "PASSED" in report(done)
    assert done.report_path is not None
    assert done.report_path.stat().st_mode & 0o777 == 0o600
