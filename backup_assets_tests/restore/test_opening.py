"""An encrypted set, from a store that holds nothing else, back into a database."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from backup_assets.ciphers.configured import configured_cipher
from backup_assets.ciphers.contract import MissingPrivateKey
from backup_assets.errors import CheckFailed, Refused
from backup_assets.local import local_store, place_of, work_directory
from backup_assets.named_stores import catalog_in, store_named
from backup_assets.offsite.copies import copy_slot
from backup_assets.offsite.encrypted import encrypt_sets, remove_plain_files
from backup_assets.restore.named_encrypted import decrypted
from backup_assets.restore.named_files import NamedFiles, open_named_files
from backup_assets.restore.opening import opened
from backup_assets.restore.restore import Restore, Restored, RestoreRequest
from backup_assets.restore.verification import Proof, verify_set
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.records import Level
from backup_assets.settings import Settings
from backup_assets.settings_capture import DumpSettings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets_tests.ciphers.keys import AgeKeys, Keyrings
from backup_assets_tests.offsite.copying import flip_a_bit, folder_store
from backup_assets_tests.restore.restoring import Erp, quiet
from backup_assets_tests.sets.examples import proof_of
from backup_assets_tests.sources import connect, no_log


@pytest.fixture(params=["gpg", "age"])
def both_sides(request: pytest.FixtureRequest) -> tuple[EncryptionSettings, EncryptionSettings]:
    """How the host encrypts, and how somebody who holds a key decrypts."""
    if request.param == "age":
        keys: AgeKeys = request.getfixturevalue("age_keys")
        host = EncryptionSettings(cipher="age", recipients=(keys.lena, keys.rob))
        return host, EncryptionSettings(cipher="age", age_identity_file=keys.rob_file)
    rings: Keyrings = request.getfixturevalue("keyrings")
    host = EncryptionSettings(recipients=(rings.lena, rings.rob), gpg_homedir=rings.host)
    return host, EncryptionSettings(gpg_homedir=rings.lena_home)


@pytest.fixture
def an_encrypted_erp(
    an_erp: Erp, both_sides: tuple[EncryptionSettings, EncryptionSettings], tmp_path: Path
) -> tuple[Erp, Settings]:
    """A full and a differential set, encrypted and copied to a folder, the plain files gone; and a restorer's settings.

    The restorer has nothing of the host but the folder and a key.
    """
    host, restorer = both_sides
    (tmp_path / "usb").mkdir()
    stores = (folder_store(tmp_path / "usb"),)
    erp = replace(an_erp, settings=an_erp.settings.model_copy(update={"stores": stores, "encryption": host}))
    erp.captured()
    (erp.attachments / "4.pdf").write_text("invoice 4")
    manifest = erp.captured().manifest
    assert manifest.needs
    database, settings = erp.settings.databases[0], erp.settings
    local = local_store(settings)
    for one in catalog_in(local, place_of(database, settings)).sets():
        assert verify_set(database, settings, local, one, log=quiet).record.passed
    encrypt_sets(database, settings, catalog_in(local, place_of(database, settings)).sets(), log=no_log)
    assert remove_plain_files(database, settings, log=no_log).freed_bytes > 0
    copied = copy_slot(database, settings, store_named(settings, "usb"), manifest.slot, log=no_log)
    assert [one.state for one in copied] == ["copied", "copied"]
    elsewhere = settings.model_copy(update={"backup_dir": tmp_path / "elsewhere", "encryption": restorer})
    return erp, elsewhere


def newest(settings: Settings, store: str = "usb") -> BackupSet:
    return catalog_in(store_named(settings, store), place_of(settings.databases[0], settings)).resolve()


def verified(settings: Settings, level: Level, store: str = "usb") -> Proof:
    chosen = newest(settings, store)
    return verify_set(settings.databases[0], settings, store_named(settings, store), chosen, level=level, log=quiet)


def restored(settings: Settings, store: str = "usb", **request: object) -> Restored:
    asked = RestoreRequest(confirmed=True, **request)  # type: ignore[arg-type]
    chosen = newest(settings, store)
    return Restore(settings.databases[0], settings, store_named(settings, store), chosen, asked, log=quiet).run()


def test_an_encrypted_set_is_proven_and_restored_by_whoever_holds_a_key(an_encrypted_erp: tuple[Erp, Settings]) -> None:
    erp, settings = an_encrypted_erp

    proof = verified(settings, "restored")
    done = restored(settings, into=f"{erp.name}_back", attachments_to=settings.backup_dir / "files")

    assert proof.record.passed and proof.record.content
    assert proof.rows == done.rows == 220
    with connect(erp.cluster, f"{erp.name}_back") as connection:
        assert connection.execute("SELECT count(*), sum(total) FROM invoices").fetchall()[0][0] == 100
    found = {path.name: path.read_text() for path in (settings.backup_dir / "files").iterdir()}
    assert found == {f"{number}.pdf": f"invoice {number}" for number in range(1, 5)}
    assert not list((settings.backup_dir / ".work").iterdir())


def test_the_host_restores_its_own_encrypted_set_only_with_a_key(
    an_encrypted_erp: tuple[Erp, Settings], both_sides: tuple[EncryptionSettings, EncryptionSettings]
) -> None:
    erp, elsewhere = an_encrypted_erp

    with pytest.raises(MissingPrivateKey):
        verified(erp.settings, "readable", "local")
    with_key = erp.settings.model_copy(update={"encryption": elsewhere.encryption})

    assert verified(with_key, "restored", "local").record.passed


def test_without_a_key_the_missing_one_is_named_and_nothing_is_recorded(
    an_encrypted_erp: tuple[Erp, Settings], both_sides: tuple[EncryptionSettings, EncryptionSettings]
) -> None:
    erp, elsewhere = an_encrypted_erp
    host, _ = both_sides
    without = elsewhere.model_copy(update={"encryption": host})
    before = erp.state()

    with pytest.raises(MissingPrivateKey) as failure:
        restored(without)

    if host.cipher == "gpg":
        assert all(recipient in str(failure.value) for recipient in host.recipients)
    else:
        assert "AGE_IDENTITY_FILE" in str(failure.value)
    with pytest.raises(MissingPrivateKey):
        verified(without, "restored")
    assert proof_of(newest(without)) is not None  # that of the host, copied with the set
    assert [record.store for record in newest(without).verifications] == ["local"]
    assert erp.state() == before


def test_what_is_stored_is_proven_without_any_key(
    an_encrypted_erp: tuple[Erp, Settings], both_sides: tuple[EncryptionSettings, EncryptionSettings]
) -> None:
    _, elsewhere = an_encrypted_erp
    without = elsewhere.model_copy(update={"encryption": both_sides[0]})

    assert verified(without, "stored").record.passed
    assert verified(without, "stored").record.level == "stored"


def test_damage_in_an_encrypted_file_is_told_before_anything_is_touched(an_encrypted_erp: tuple[Erp, Settings]) -> None:
    erp, settings = an_encrypted_erp
    chosen = newest(settings)
    dump = chosen.manifest.artifact("dump")
    assert dump is not None
    place = place_of(settings.databases[0], settings)
    assert settings.stores[0].directory is not None
    flip_a_bit(settings.stores[0].directory / place.key(dump.name))
    before = erp.state()

    with pytest.raises(CheckFailed, match="is damaged in"):
        restored(settings)

    assert erp.state() == before
    failed = verified(settings, "restored").record
    assert not failed.passed
    assert "has another SHA-256" in str(failed.problems[0])
    there = newest(settings).verifications[-1]
    assert str(there.problems[0]) == "told only by the record in the store where it was made"


def test_an_encrypted_copy_that_was_put_right_is_proven_again_where_no_contents_are_hashed(
    an_erp: Erp, age_keys: AgeKeys, tmp_path: Path
) -> None:
    (tmp_path / "usb").mkdir()
    unhashed = an_erp.settings.databases[0].model_copy(update={"dump": DumpSettings(content_hashes="never")})
    settings = an_erp.settings.model_copy(
        update={
            "databases": (unhashed,),
            "stores": (folder_store(tmp_path / "usb"),),
            "encryption": EncryptionSettings(
                cipher="age", recipients=(age_keys.rob,), age_identity_file=age_keys.rob_file
            ),
        }
    )
    manifest = replace(an_erp, settings=settings).captured().manifest
    place = place_of(unhashed, settings)
    encrypt_sets(unhashed, settings, catalog_in(local_store(settings), place).sets(), log=no_log)
    copy_slot(unhashed, settings, store_named(settings, "usb"), manifest.slot, log=no_log)
    dump = newest(settings).manifest.artifact("dump")
    assert dump is not None
    flip_a_bit(tmp_path / "usb" / place.key(dump.name))
    failed = verified(settings, "restored").record
    flip_a_bit(tmp_path / "usb" / place.key(dump.name))

    again = verified(settings, "restored").record

    assert [(one.passed, one.content) for one in (failed, again)] == [(False, False), (True, False)]
    assert newest(settings).proof_at(again.started_at) == again


def test_an_envelope_with_the_manifest_of_another_set_is_refused(an_encrypted_erp: tuple[Erp, Settings]) -> None:
    _, settings = an_encrypted_erp
    store, place = store_named(settings, "usb"), place_of(settings.databases[0], settings)
    newer, older = catalog_in(store, place).sets()
    inner = older.manifest.artifact("manifest")
    assert inner is not None
    others = tuple(inner if artifact.role == "manifest" else artifact for artifact in newer.manifest.artifacts)
    mixed = replace(newer, manifest=newer.manifest.model_copy(update={"artifacts": others}))

    with pytest.raises(CheckFailed, match="is that of another set"):
        opened(store, place, mixed, settings.encryption)


def test_an_opened_set_has_its_own_figures(an_encrypted_erp: tuple[Erp, Settings]) -> None:
    erp, settings = an_encrypted_erp
    store, place = store_named(settings, "usb"), place_of(settings.databases[0], settings)
    chosen = newest(settings)
    assert chosen.manifest.fingerprints.tables == ()

    found = opened(store, place, chosen, settings.encryption)

    assert found.manifest == newest(erp.settings, "local").manifest
    assert found.envelope == chosen.manifest


def test_a_dump_that_was_decrypted_by_hand_beside_its_envelope_is_told_what_is_missing(
    an_encrypted_erp: tuple[Erp, Settings], tmp_path: Path
) -> None:
    _, settings = an_encrypted_erp
    database = settings.databases[0]
    chosen = newest(settings)
    assert settings.stores[0].directory is not None
    root = settings.stores[0].directory / place_of(database, settings).root
    names = {artifact.role: root / artifact.name for artifact in chosen.manifest.artifacts}
    cipher = configured_cipher(settings.encryption)
    by_hand = names["dump"].with_suffix("")
    cipher.decrypt(names["dump"], by_hand)

    with pytest.raises(Refused, match="describes the encrypted files") as refused:
        open_named_files(NamedFiles(by_hand), database, settings)

    assert f"name the encrypted file, {names['dump'].name}," in refused.value.remedy
    cipher.decrypt(names["manifest"], by_hand.with_name(f"{chosen.id}.manifest.json"))  # as the message says
    assert open_named_files(NamedFiles(by_hand), database, settings).compared


def test_encrypted_files_that_are_named_are_decrypted_with_what_belongs_to_them(
    an_encrypted_erp: tuple[Erp, Settings],
) -> None:
    erp, settings = an_encrypted_erp
    chosen = newest(settings)
    assert settings.stores[0].directory is not None
    root = settings.stores[0].directory / place_of(settings.databases[0], settings).root
    paths = {artifact.role: root / artifact.name for artifact in chosen.manifest.artifacts}

    with work_directory(settings, "named") as directory:
        files = decrypted(NamedFiles(paths["dump"], paths["globals"], paths["archive"]), settings, directory)
        found = open_named_files(files, settings.databases[0], settings)
        request = RestoreRequest(into=f"{erp.name}_named", attachments_to=settings.backup_dir / "named", confirmed=True)
        store = local_store(settings)
        work = Restore(
            settings.databases[0], settings, store, found.fetched.backup_set, request, log=quiet, files=found
        )
        done = work.run()

    assert found.compared
    assert done.rows == 220
    assert len(list((settings.backup_dir / "named").iterdir())) == 4
    assert not list((settings.backup_dir / ".work").iterdir())
