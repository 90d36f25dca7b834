from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from backup_assets.errors import EnvironmentFault, TransientFault
from backup_assets.files import sha256_of
from backup_assets.local import local_store, place_of
from backup_assets.named_stores import catalog_in
from backup_assets.postgres.clients import choose_clients, find_clients
from backup_assets.restore.verification import verify_set
from backup_assets.sets.records import Level
from backup_assets.settings_restore import VerificationSettings
from backup_assets.stores.folder import FolderStore
from backup_assets_tests.offsite.copying import flip_a_bit
from backup_assets_tests.restore.restoring import Erp, path_of, quiet, unique, verified
from backup_assets_tests.sets.examples import a_verification, proof_of, put, put_record
from backup_assets_tests.sources import catalog_of


@pytest.mark.parametrize("level", ["stored", "readable", "restored"])
def test_a_good_set_passes_and_its_record_says_at_which_level(an_erp: Erp, level: Level):
    captured = an_erp.captured()

    proof = verified(an_erp.settings, captured.manifest.id, level)

    (found,) = catalog_of(an_erp.settings).sets()
    assert found.records == (proof.record,)
    assert (proof.record.passed, proof.record.level, proof.record.store) == (True, level, "local")
    assert proof.record.problems == ()
    assert next(iter(proof.record.durations)) == "stored"
    assert ("readable" in proof.record.durations) == (level != "stored")
    assert (proof_of(found) is not None) == (level == "restored")
    assert proof.record.server_major == (17 if level == "restored" else None)
    assert (proof.rows, proof.tables) == (220, 3)


def test_content_counts_as_compared_only_when_it_was(an_erp: Erp):
    unhashed = an_erp.captured(content_hashes="never").manifest

    assert not verified(an_erp.settings, unhashed.id).record.content
    hashed = an_erp.captured(content_hashes="always").manifest
    assert verified(an_erp.settings, hashed.id).record.content
    assert not verified(an_erp.settings, hashed.id, content=False).record.content
    assert not verified(an_erp.settings, hashed.id, "readable").record.content


def test_content_counts_as_compared_only_when_that_of_large_objects_was(an_erp: Erp):
    role = unique("reader")
    an_erp.source.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'pw' BYPASSRLS",
        f"GRANT USAGE ON SCHEMA accounting TO {role}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public, accounting TO {role}",
        f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA public, accounting TO {role}",
        "SELECT lo_from_bytea(4711, 'scan')",
        f"GRANT SELECT ON LARGE OBJECT 4711 TO {role}",
    )
    reader = an_erp.source.server_settings(user=role, password=SecretStr("pw"))
    uncompared = an_erp.source.captured(an_erp.source.settings(server=reader)).manifest
    compared = an_erp.captured().manifest

    assert (uncompared.fingerprints.large_objects.count, uncompared.fingerprints.large_objects.content_hash) == (
        1,
        None,
    )
    assert f'GRANT pg_read_all_data TO "{role}"' in uncompared.warnings[-1]
    record = verified(an_erp.settings, uncompared.id).record
    assert (record.passed, record.content) == (True, False)
    assert verified(an_erp.settings, compared.id).record.content


def test_a_failure_counts_after_a_pass_that_a_wrong_clock_dated_ahead_also_when_that_time_has_come(an_erp: Erp):
    manifest = an_erp.captured().manifest
    ahead, lines = manifest.generated_at + timedelta(hours=20), list[str]()
    wrong = verified(an_erp.settings, manifest.id, now=lambda: ahead).record
    flip_a_bit(path_of(an_erp.settings, manifest, "dump"))

    failed = verified(an_erp.settings, manifest.id, "stored", log=lines.append).record

    assert (wrong.passed, failed.passed) == (True, False)
    assert wrong.started_at > failed.started_at
    (found,) = catalog_of(an_erp.settings).sets()
    assert found.verifications == (wrong, failed)
    assert [found.proof_at(now) for now in (failed.started_at, ahead + timedelta(days=1))] == [None, None]
    assert any("a clock was wrong" in line and f"{ahead:%Y-%m-%d %H:%M:%S}" in line for line in lines)


def test_the_order_of_verifications_is_also_that_of_those_that_only_the_local_store_could_take(an_erp: Erp):
    manifest = an_erp.captured().manifest
    usb = FolderStore(an_erp.settings.backup_dir / "usb", "usb")
    wrong = a_verification(manifest.id, at=manifest.generated_at + timedelta(hours=20), store="usb")
    place = place_of(an_erp.settings.databases[0], an_erp.settings)
    for source in an_erp.settings.backup_dir.joinpath(place.root).rglob("*"):
        if source.is_file():
            put(usb, str(source.relative_to(an_erp.settings.backup_dir)), source.read_bytes())
    put_record(local_store(an_erp.settings), wrong, place)
    (there,) = catalog_in(usb, place).sets()

    proof = verify_set(an_erp.settings.databases[0], an_erp.settings, usb, there, level="stored", log=quiet)

    assert proof.record.started_at < wrong.started_at < proof.record.order


def test_a_verification_leaves_nothing_but_its_record(an_erp: Erp):
    manifest = an_erp.captured().manifest
    before = {path for path in an_erp.settings.backup_dir.rglob("*") if path.is_file()}
    state = an_erp.state()

    verified(an_erp.settings, manifest.id)

    (new,) = {path for path in an_erp.settings.backup_dir.rglob("*") if path.is_file()} - before
    assert ".verification." in new.name
    assert new.stat().st_mode & 0o777 == 0o600
    assert an_erp.state() == state
    assert list((an_erp.settings.backup_dir / ".work").iterdir()) == []


def test_a_failed_verification_is_on_record_with_its_problems(an_erp: Erp):
    manifest = an_erp.captured().manifest
    path_of(an_erp.settings, manifest, "globals").unlink()

    proof = verified(an_erp.settings, manifest.id)

    (found,) = catalog_of(an_erp.settings).sets()
    assert found.records == (proof.record,)
    assert not proof.record.passed
    (problem,) = proof.record.problems
    assert f"globals/{manifest.id}.sql is missing" in problem.found


def test_an_environment_that_cannot_answer_fails_and_records_nothing(an_erp: Erp, tmp_path: Path):
    manifest = an_erp.captured().manifest
    nowhere = an_erp.source.server_settings(host=str(tmp_path))
    settings = an_erp.source.settings(
        attachments=an_erp.settings.databases[0].attachments, verification=VerificationSettings(scratch=nowhere)
    )

    with pytest.raises(EnvironmentFault, match="cannot connect"):
        verified(settings, manifest.id)

    (found,) = catalog_of(settings).sets()
    assert found.records == ()


@pytest.mark.parametrize("work", ["--file=/dev/null", "--exit-on-error"])
def test_a_program_that_was_killed_says_nothing_about_the_set_and_its_proof_stays(
    an_erp: Erp, tmp_path: Path, work: str
):
    """As the system ends programs where memory is short: once while the dump is read, once while it is restored."""
    real = choose_clients(find_clients(), 17).directory
    programs, short = tmp_path / "bin", tmp_path / "memory-is-short"
    programs.mkdir()
    for name in ("pg_dump", "pg_dumpall", "psql", "pg_restore"):
        kill = f"[ -e '{short}' ] && case \"$*\" in *{work}*) kill -9 $$;; esac" if name == "pg_restore" else ":"
        (programs / name).write_text(f"#!/bin/sh\n{kill}\nexec '{real}/{name}' \"$@\"\n")
        (programs / name).chmod(0o755)
    settings = an_erp.source.settings(client_bin_dir=programs)
    captured = an_erp.source.captured(settings)
    proof = verified(settings, captured.manifest.id).record
    short.touch()

    with pytest.raises(TransientFault, match="was killed while it re") as fault:
        verified(settings, captured.manifest.id)

    assert "signal 9" in fault.value.why
    found = catalog_of(settings).find(captured.manifest.id)
    assert found is not None
    assert found.records == (proof,)
    assert proof_of(found) == proof


def test_the_copy_in_another_store_is_proven_for_itself(an_erp: Erp, tmp_path: Path):
    manifest = an_erp.captured().manifest
    local, other = local_store(an_erp.settings), FolderStore(tmp_path / "other", name="disk")
    for stored in local.list(""):
        path = local.path_of(stored.key)
        other.put(stored.key, path, sha256=sha256_of(path), size=stored.size)
    (chosen,) = catalog_of(an_erp.settings).sets()

    proof = verify_set(an_erp.settings.databases[0], an_erp.settings, other, chosen, level="readable", log=quiet)

    assert proof.record.store == "disk"
    assert any(".verification." in stored.key for stored in other.list(""))
    assert not any(".verification." in stored.key for stored in local.list(""))
    assert manifest.id == proof.record.set_id


def test_a_set_of_important_tables_restores_and_is_compared(an_erp: Erp):
    settings = an_erp.source.settings(important_tables=("invoices",))
    weekly = an_erp.source.captured(settings, kind="important_tables").manifest

    proof = verified(settings, weekly.id)

    assert proof.record.passed, proof.record.problems
    assert (proof.rows, proof.tables) == (100, 1)
