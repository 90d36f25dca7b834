from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backup_assets.capture.secret_archive import Archive, Secret, pack
from backup_assets.ciphers.configured import configured_cipher
from backup_assets.ciphers.contract import LockedPrivateKey, MissingPrivateKey
from backup_assets.errors import BackupError, CheckFailed, Refused
from backup_assets.restore.fetch import fetch_set
from backup_assets.restore.secrets import extract_secrets
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.deletion import delete_set
from backup_assets.sets.manifest import Artifact, Manifest, SecretsFacts
from backup_assets.settings import Settings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets.stores.folder import FolderStore
from backup_assets_tests.ciphers.keys import AgeKeys, Keyrings, flipped
from backup_assets_tests.sets.examples import ERP4, a_manifest, put, put_artifacts

CANARY = b"correct horse battery staple"
SECRETS = (
    Secret("file", ".env", b"JWT_SECRET=" + CANARY),
    Secret("secrets_manager", "prod/erp4/db", CANARY, "v-1"),
    Secret("ssm_parameter", "../../etc/passwd", b"root", "7"),
)
NOW = datetime(2026, 11, 22, tzinfo=UTC)


@dataclass(frozen=True)
class Kept:
    """A set with secrets in a store, and settings that can decrypt it."""

    store: FolderStore
    manifest: Manifest
    settings: Settings
    target: Path

    def extract(self, target: Path | None = None, **encryption: Any) -> list[Path]:
        settings = self.settings
        if encryption:
            changed = settings.encryption.model_copy(update=encryption)
            settings = settings.model_copy(update={"encryption": changed})
        one = BackupSet(self.manifest)
        return [s.path for s in extract_secrets(settings, self.store, ERP4, one, target or self.target)]

    @property
    def file(self) -> Path:
        artifact = self.manifest.artifact("secrets")
        assert artifact is not None
        return self.store.path_of(ERP4.key(artifact.name))

    def nothing_was_written(self) -> bool:
        return not self.target.exists() and CANARY not in b"".join(
            path.read_bytes() for path in self.target.parent.rglob("*") if path.is_file()
        )


def kept(directory: Path, encryption: EncryptionSettings, archive: Archive, facts: SecretsFacts | None = None) -> Kept:
    """Put a set into a store whose secrets are ``archive``, encrypted."""
    cipher = configured_cipher(encryption)
    plain, sealed = directory / "plain", directory / "sealed.partial"
    plain.write_bytes(archive.content)
    made = cipher.encrypt(plain, sealed)
    plain.unlink()
    store = FolderStore(directory / "backups", name="local")
    bare = a_manifest()
    put_artifacts(store, bare)
    artifact = Artifact(
        kind="secrets",
        role="secrets",
        name=f"secrets/{bare.id}.tar{cipher.suffix}",
        format="tar",
        size_bytes=made.size_cipher,
        sha256=made.sha256_cipher,
        encryption=encryption.cipher,
    )
    own = SecretsFacts(entries=archive.entries, recipients=made.recipients)
    manifest = bare.model_copy(update={"artifacts": (*bare.artifacts, artifact), "secrets": facts or own})
    put(store, ERP4.key(artifact.name), sealed.read_bytes())
    put(store, ERP4.manifest_key(manifest.id), manifest.to_json())
    sealed.unlink()
    settings = Settings.model_validate(
        {"databases": [{"name": "erp4", "database": "erp4"}], "encryption": encryption.model_dump()}
    )
    return Kept(store, manifest, settings, directory / "out")


def the_archive() -> Archive:
    return pack(SECRETS, database="erp4", env="prod", now=NOW)


@pytest.fixture
def of_gpg(tmp_path: Path, keyrings: Keyrings) -> Kept:
    return kept(
        tmp_path, EncryptionSettings(recipients=(keyrings.lena,), gpg_homedir=keyrings.lena_home), the_archive()
    )


@pytest.fixture
def of_age(tmp_path: Path, age_keys: AgeKeys) -> Kept:
    encryption = EncryptionSettings(cipher="age", recipients=(age_keys.lena,), age_identity_file=age_keys.lena_file)
    return kept(tmp_path, encryption, the_archive())


@pytest.mark.parametrize("cipher", ["of_gpg", "of_age"])
def test_every_value_comes_back_as_a_private_file(cipher: str, request: pytest.FixtureRequest) -> None:
    a_set: Kept = request.getfixturevalue(cipher)

    written = a_set.extract()

    assert {str(path.relative_to(a_set.target)): path.read_bytes() for path in written} == {
        "files/.env": b"JWT_SECRET=" + CANARY,
        "secrets_manager/prod%2Ferp4%2Fdb": CANARY,
        "ssm_parameters/..%2F..%2Fetc%2Fpasswd": b"root",
    }
    found = {path: path.stat().st_mode & 0o777 for path in (a_set.target, *a_set.target.rglob("*"))}
    assert set(written) == {path for path in found if path.is_file()}
    assert all(mode == (0o700 if path.is_dir() else 0o600) for path, mode in found.items())


def test_a_directory_with_anything_in_it_is_left_alone(of_gpg: Kept) -> None:
    of_gpg.target.mkdir(mode=0o700)
    (of_gpg.target / "files").write_text("mine")

    with pytest.raises(Refused, match="is no empty directory"):
        of_gpg.extract()
    assert [path.name for path in of_gpg.target.iterdir()] == ["files"]
    assert (of_gpg.target / "files").read_text() == "mine"


def test_a_second_extraction_overwrites_nothing(of_gpg: Kept) -> None:
    first = of_gpg.extract()
    first[0].write_text("changed")

    with pytest.raises(Refused, match="is no empty directory"):
        of_gpg.extract()
    assert first[0].read_text() == "changed"


def test_a_directory_that_others_may_enter_is_refused(of_gpg: Kept) -> None:
    of_gpg.target.mkdir(mode=0o755)

    with pytest.raises(Refused, match="others may enter"):
        of_gpg.extract()

    of_gpg.target.chmod(0o700)
    assert len(of_gpg.extract()) == 3


def test_a_link_is_no_directory(of_gpg: Kept, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    of_gpg.target.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(Refused, match="is no empty directory"):
        of_gpg.extract()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_set_without_secrets_is_refused(of_gpg: Kept) -> None:
    bare = Kept(of_gpg.store, a_manifest(), of_gpg.settings, of_gpg.target)

    with pytest.raises(Refused, match="carries no secrets"):
        bare.extract()
    assert of_gpg.nothing_was_written()


def test_a_flipped_bit_is_found_before_anything_is_written(of_gpg: Kept) -> None:
    flipped(of_gpg.file, of_gpg.file, -10)

    with pytest.raises(CheckFailed, match="another SHA-256"):
        of_gpg.extract()
    assert of_gpg.nothing_was_written()


def test_a_restore_takes_no_notice_of_secrets_not_even_of_damaged_ones(of_gpg: Kept, tmp_path: Path) -> None:
    of_gpg.file.write_bytes(b"rotten")
    catalog = Catalog(of_gpg.store, ERP4)

    fetched = fetch_set(
        of_gpg.store, ERP4, catalog, BackupSet(of_gpg.manifest), tmp_path, of_gpg.settings.encryption
    )  # fmt: skip

    assert set(fetched.paths) == {"dump", "archive"}


def test_a_set_with_secrets_is_deleted_with_them(of_gpg: Kept) -> None:
    (one,) = Catalog(of_gpg.store, ERP4).sets()
    assert one.faults == ()

    deleted = delete_set(of_gpg.store, ERP4, one, now=NOW)

    assert deleted is not None
    assert not of_gpg.file.exists()
    assert list(of_gpg.store.list(ERP4.root)) == []


def test_a_set_without_its_secrets_file_is_incomplete(of_gpg: Kept) -> None:
    of_gpg.file.unlink()

    (one,) = Catalog(of_gpg.store, ERP4).sets()

    assert one.faults == (f"secrets/{one.id}.tar.gpg is missing",)


def test_an_archive_that_is_not_the_one_of_the_manifest_is_damage(tmp_path: Path, keyrings: Keyrings) -> None:
    encryption = EncryptionSettings(recipients=(keyrings.lena,), gpg_homedir=keyrings.lena_home)
    others = SecretsFacts(entries=the_archive().entries, recipients=(keyrings.lena,))
    a_set = kept(tmp_path, encryption, the_archive(), facts=others)

    with pytest.raises(CheckFailed, match="are damaged") as failed:
        a_set.extract()
    assert "not those of the set's manifest" in failed.value.why
    assert a_set.nothing_was_written()


def test_without_the_private_key_nothing_is_written(of_gpg: Kept, keyrings: Keyrings) -> None:
    with pytest.raises(MissingPrivateKey) as missing:
        of_gpg.extract(gpg_homedir=keyrings.rob_home)
    assert CANARY.decode() not in str(missing.value)
    assert of_gpg.nothing_was_written()


def test_a_locked_key_is_said_as_such(tmp_path: Path, keyrings: Keyrings) -> None:
    wrong = tmp_path / "passphrase"
    wrong.write_text("not this one")
    encryption = EncryptionSettings(
        recipients=(keyrings.locked,), gpg_homedir=keyrings.vault, gpg_passphrase_file=wrong
    )
    a_set = kept(tmp_path, encryption, the_archive())

    with pytest.raises(LockedPrivateKey):
        a_set.extract()
    assert a_set.nothing_was_written()


def test_something_that_was_never_an_archive_of_secrets_is_damage(tmp_path: Path, keyrings: Keyrings) -> None:
    encryption = EncryptionSettings(recipients=(keyrings.lena,), gpg_homedir=keyrings.lena_home)
    real = the_archive()
    a_set = kept(tmp_path, encryption, Archive(CANARY * 1000, real.entries))

    with pytest.raises(BackupError, match="are damaged") as failed:
        a_set.extract()
    assert CANARY.decode() not in str(failed.value)
    assert a_set.nothing_was_written()
