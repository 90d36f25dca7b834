from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.errors import CheckFailed
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.envelope import disclosed, encrypted_files, envelope_of, require_inner
from backup_assets.sets.manifest import Artifact, Hold, Manifest
from backup_assets.sets.records import EncryptedFile, EncryptionRecord, HoldRecord, RestoreRecord, parse_record
from backup_assets.sets.servers import ServerIdentity, server_of
from backup_assets_tests.sets.examples import NOW, a_manifest, a_verification, sha256


def a_record(manifest: Manifest, *without: str) -> EncryptionRecord:
    names = [(a.role, a.name, a.size_bytes, a.sha256) for a in manifest.artifacts if a.encryption is None]
    names.append(("manifest", f"meta/{manifest.id}.manifest.json", 10, sha256(b"manifest")))
    return EncryptionRecord(
        set_id=manifest.id,
        tool_version="0.1.0",
        cipher="gpg",
        recipients=("A" * 40,),
        encrypted_at=NOW,
        seconds=0.1,
        files=tuple(
            EncryptedFile(
                role=role,
                name=name,
                size_bytes=size,
                sha256=digest,
                encrypted_name=f"{name}.gpg",
                encrypted_size_bytes=size + 100,
                encrypted_sha256=sha256(f"encrypted {name}".encode()),
            )
            for role, name, size, digest in names
            if role not in without
        ),
    )


def test_the_envelope_of_a_set_of_the_first_version_is_the_one_that_other_stores_hold_byte_for_byte() -> None:
    stored = Path(__file__).parent / "stored_before"
    manifest = Manifest.from_json((stored / "manifest.json").read_bytes(), "manifest")
    record = parse_record((stored / "encryption.json").read_bytes(), "encryption")
    assert isinstance(record, EncryptionRecord)

    assert envelope_of(manifest, record).to_json() == (stored / "envelope.json").read_bytes()


def test_an_envelope_names_the_encrypted_files_and_the_manifest_among_them() -> None:
    manifest = a_manifest()
    envelope = envelope_of(manifest, a_record(manifest))

    assert [(a.role, a.name, a.size_bytes, a.encryption) for a in envelope.artifacts] == [
        *((a.role, f"{a.name}.gpg", a.size_bytes + 100, "gpg") for a in manifest.artifacts),
        ("manifest", f"meta/{manifest.id}.manifest.json.gpg", 110, "gpg"),
    ]


def test_an_envelope_tells_what_keeping_it_takes_and_nothing_of_the_content() -> None:
    manifest = a_manifest(hold=Hold(reason="release 5"), server=ServerIdentity("7000", 3)).model_copy(
        update={"warnings": ("public.salaries is empty",), "only_tables": ("public.salaries",)}
    )
    envelope = envelope_of(manifest, a_record(manifest))

    same = ("id", "slot", "kind", "tier", "env", "hold", "generated_at", "snapshot", "requires", "schema_version")
    assert all(getattr(envelope, name) == getattr(manifest, name) for name in same)
    assert envelope.needs == manifest.needs
    assert server_of(envelope) == server_of(manifest) == ServerIdentity("7000", 3)
    text = envelope.to_json().decode()
    secrets = [table.name for table in manifest.fingerprints.tables] + [a.sha256 for a in manifest.artifacts]
    assert not [secret for secret in (*secrets, "salaries", '"bin"') if secret in text]


def test_the_same_set_gives_the_same_envelope_and_it_reads_back() -> None:
    manifest = a_manifest()
    first, second = (envelope_of(manifest, a_record(manifest)).to_json() for _ in range(2))
    assert first == second
    assert Manifest.from_json(first, "here").to_json() == first


def test_a_file_that_is_encrypted_already_goes_as_it_is() -> None:
    secret = Artifact(
        kind="secrets", role="secrets", name="secrets/x.tar.gpg", format="tar", size_bytes=7, sha256=sha256(b"x"),
        encryption="gpg",
    )  # fmt: skip
    manifest = a_manifest()
    manifest = manifest.model_copy(update={"artifacts": (*manifest.artifacts, secret)})
    assert secret in envelope_of(manifest, a_record(manifest)).artifacts


@pytest.mark.parametrize("role", ["dump", "archive", "manifest"])
def test_a_set_that_is_encrypted_in_part_has_no_envelope(role: str) -> None:
    manifest = a_manifest()
    with pytest.raises(CheckFailed, match=f"no file of role {role}"):
        envelope_of(manifest, a_record(manifest, role))


def test_only_the_manifest_that_an_envelope_was_made_of_fits_it() -> None:
    manifest = a_manifest()
    envelope = envelope_of(manifest, a_record(manifest))
    require_inner(envelope, manifest)
    with pytest.raises(CheckFailed, match="is that of another set"):
        require_inner(envelope, a_manifest(run="ffffffff"))
    with pytest.raises(CheckFailed, match="is that of another set"):
        require_inner(envelope, manifest.model_copy(update={"artifacts": manifest.artifacts[:1]}))


def test_the_encrypted_files_are_the_same_by_the_record_and_by_the_envelope() -> None:
    manifest = a_manifest()
    record = a_record(manifest)
    by_record = encrypted_files(BackupSet(manifest, (record,)))
    by_envelope = encrypted_files(BackupSet(manifest, envelope=envelope_of(manifest, record)))
    assert by_envelope == {role: file for role, file in by_record.items() if role != "manifest"}
    assert encrypted_files(BackupSet(manifest)) == {}


def test_a_record_beside_an_envelope_tells_the_outcome_and_not_what_was_found() -> None:
    failed = a_verification(a_manifest().id, passed=False)
    shown = disclosed(failed)
    assert "invoices" not in shown.to_json().decode()
    assert (getattr(shown, "passed", None), shown.at) == (False, failed.at)
    restored = RestoreRecord(
        set_id=failed.set_id, tool_version="0.1.0", passed=True, started_at=NOW, target="db.internal:5432",
        database="erp4", kept_old_database="erp4_old",
    )  # fmt: skip
    assert not [word for word in ("db.internal", "erp4_old") if word in disclosed(restored).to_json().decode()]


def test_what_says_nothing_private_is_told_as_it_is() -> None:
    hold = HoldRecord(set_id=a_manifest().id, tool_version="0.1.0", placed_at=NOW, reason="release 5")
    assert disclosed(hold) is hold
