from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.errors import EnvironmentFault
from backup_assets.files import sha256_of
from backup_assets.local import local_store
from backup_assets.restore.verification import verify_set
from backup_assets.sets.records import Level
from backup_assets.settings import VerificationSettings
from backup_assets.stores.folder import FolderStore
from backup_assets_tests.restore.restoring import Erp, path_of, quiet, verified
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
    assert (found.verified is not None) == (level == "restored")
    assert proof.record.server_major == (17 if level == "restored" else None)
    assert (proof.rows, proof.tables) == (220, 3)


def test_content_counts_as_compared_only_when_it_was(an_erp: Erp):
    unhashed = an_erp.captured(content_hashes="never").manifest

    assert not verified(an_erp.settings, unhashed.id).record.content
    hashed = an_erp.captured(content_hashes="always").manifest
    assert verified(an_erp.settings, hashed.id).record.content
    assert not verified(an_erp.settings, hashed.id, content=False).record.content
    assert not verified(an_erp.settings, hashed.id, "readable").record.content


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
