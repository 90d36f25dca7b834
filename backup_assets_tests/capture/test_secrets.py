"""The secrets of a set, captured with real gpg and age: a canary value is looked for wherever it must not be."""

from __future__ import annotations

import os
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from backup_assets.capture import secret_archive
from backup_assets.capture.quick_checks import QuickCheckFailed
from backup_assets.capture.secret_archive import Secret, unpack
from backup_assets.capture.secret_sources import MissingSecret, SecretDenied
from backup_assets.capture.secrets import seal_secrets
from backup_assets.ciphers.contract import DamagedMessage
from backup_assets.errors import BackupError, EnvironmentFault, Refused, SettingsError
from backup_assets.sets.manifest import Manifest
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_capture import SecretsSettings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets_tests.capture.aws_answers import answering, refusal, use_keys
from backup_assets_tests.ciphers.keys import AgeKeys, Keyrings, flipped, gpg, program
from backup_assets_tests.sources import Source, capture, listed, proven

CANARY = "correct horse battery staple"
NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    path = tmp_path / "app" / ".env"
    path.parent.mkdir()
    path.write_text(f"JWT_SECRET={CANARY}\n")
    return path


@pytest.fixture
def to_lena(keyrings: Keyrings) -> EncryptionSettings:
    return EncryptionSettings(recipients=(keyrings.lena,), gpg_homedir=keyrings.host)


@pytest.fixture
def aws() -> Iterator[None]:
    with mock_aws():
        boto3.client("secretsmanager", "ap-northeast-1").create_secret(Name="prod/erp4/db", SecretString=CANARY)
        boto3.client("ssm", "ap-northeast-1").put_parameter(Name="/erp4/token", Value=CANARY, Type="SecureString")
        yield


def with_secrets(
    source: Source, encryption: EncryptionSettings, *files: Path, secrets: dict[str, Any] | None = None, **fields: Any
) -> Settings:
    wanted = SecretsSettings(files=files, **(secrets or {}))
    return source.settings(secrets=wanted, **fields).model_copy(update={"encryption": encryption})


def of_files(encryption: EncryptionSettings, *files: Path, **secrets: Any) -> tuple[DatabaseSettings, Settings]:
    database = DatabaseSettings(name="erp4", database="erp4", secrets=SecretsSettings(files=files, **secrets))
    return database, Settings(databases=(database,), encryption=encryption)


def seal(encryption: EncryptionSettings, directory: Path, *files: Path, **secrets: Any) -> Any:
    database, settings = of_files(encryption, *files, **secrets)
    assert database.secrets is not None
    return seal_secrets(database, database.secrets, settings, directory, now=NOW)


def below(directory: Path) -> bytes:
    """Return the content and names of every file below a directory, one after the other."""
    return b"\n".join(str(path).encode() + path.read_bytes() for path in directory.rglob("*") if path.is_file())


def encrypted_file(settings: Settings, manifest: Manifest) -> Path:
    artifact = manifest.artifact("secrets")
    assert artifact is not None
    return settings.backup_dir / "erp4" / "local" / artifact.name


def test_the_secrets_are_one_encrypted_file_of_the_set(
    a_database: Source, to_lena: EncryptionSettings, env_file: Path, keyrings: Keyrings
) -> None:
    settings = with_secrets(a_database, to_lena, env_file)

    captured = capture(settings)

    (one,) = listed(settings)
    assert one.state == "complete"
    artifact = one.manifest.artifact("secrets")
    assert artifact is not None
    assert artifact.name == f"secrets/{one.id}.tar.gpg"
    assert (artifact.kind, artifact.format, artifact.encryption) == ("secrets", "tar", "gpg")
    facts = one.manifest.secrets
    assert facts is not None
    assert facts.recipients == (keyrings.lena,)
    assert [(entry.kind, entry.name, entry.size_bytes) for entry in facts.entries] == [("file", ".env", 40)]
    assert ("encrypted", True) in [(check.name, check.passed) for check in captured.checks]
    assert one.manifest.durations["secrets"] > 0
    plain = gpg(keyrings.lena_home, "--decrypt", str(encrypted_file(settings, one.manifest)))
    assert unpack(plain, facts, "it") == (Secret("file", ".env", env_file.read_bytes()),)


def test_age_works_as_gpg_does(
    a_database: Source, env_file: Path, age_keys: AgeKeys, tmp_path: Path
) -> None:  # fmt: skip
    settings = with_secrets(a_database, EncryptionSettings(cipher="age", recipients=(age_keys.lena,)), env_file)

    manifest = capture(settings).manifest

    artifact = manifest.artifact("secrets")
    assert artifact is not None
    assert (artifact.name, artifact.encryption) == (f"secrets/{manifest.id}.tar.age", "age")
    plain = subprocess.run(
        ["age", "-d", "-i", str(age_keys.lena_file), str(encrypted_file(settings, manifest))],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
    with tarfile.open(fileobj=BytesIO(plain)) as tar:
        assert tar.extractfile("files/.env").read() == env_file.read_bytes()  # type: ignore[union-attr]
    assert CANARY.encode() not in below(settings.backup_dir)


def test_files_secrets_and_parameters_are_in_one_archive(
    a_database: Source, to_lena: EncryptionSettings, env_file: Path, aws: None
) -> None:
    names = {"secrets_manager": ("prod/erp4/db",), "ssm_parameters": ("/erp4/token",)}
    settings = with_secrets(a_database, to_lena, env_file, secrets=names)

    facts = capture(settings).manifest.secrets

    assert facts is not None
    assert [(entry.kind, entry.name) for entry in facts.entries] == [
        ("file", ".env"), ("secrets_manager", "prod/erp4/db"), ("ssm_parameter", "/erp4/token"),
    ]  # fmt: skip
    assert facts.entries[1].version_id
    assert CANARY.encode() not in below(settings.backup_dir)


def test_no_value_is_in_any_file_message_or_log(
    a_database: Source,
    to_lena: EncryptionSettings,
    env_file: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = with_secrets(a_database, to_lena, env_file)
    lines: list[str] = []

    captured = capture(settings, log=lines.append)

    told = "".join(lines) + repr(captured) + "".join(capfd.readouterr()) + caplog.text
    assert "1 secrets encrypted to" in told
    assert CANARY not in told
    assert CANARY.encode() not in below(settings.backup_dir)


def test_while_the_cipher_reads_no_file_of_any_directory_holds_a_value(
    tmp_path: Path, env_file: Path, to_lena: EncryptionSettings
) -> None:
    """The cipher stands still on a pipe while everything that lies around is read."""
    work = tmp_path / "work"
    work.mkdir()
    go, begun = tmp_path / "go", tmp_path / "begun"
    os.mkfifo(go)
    os.mkfifo(begun)
    waiting = program(
        tmp_path / "gpg", f'case " $* " in *" --encrypt "*) echo > {begun}; read x < {go};; esac; exec gpg "$@"'
    )
    outcome: list[Any] = []
    encryption = to_lena.model_copy(update={"gpg_program": waiting})
    thread = threading.Thread(target=lambda: outcome.append(seal(encryption, work, env_file)), daemon=True)
    thread.start()
    begun.read_text()

    lying = below(work)
    named = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the thread that starts the cipher closes some
            named.append(str(descriptor.readlink()))
    go.write_text("now\n")
    thread.join(300)

    assert outcome, "it neither ended nor failed"
    assert CANARY.encode() not in lying
    assert any("memfd:secrets" in name for name in named)


def test_where_memory_has_no_files_the_value_lies_in_a_private_one_that_is_removed(
    tmp_path: Path, env_file: Path, to_lena: EncryptionSettings, monkeypatch: pytest.MonkeyPatch, keyrings: Keyrings
) -> None:
    def forbidden(name: str) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", forbidden)
    work = tmp_path / "work"
    work.mkdir()

    sealed = seal(to_lena, work, env_file)

    assert [path.name for path in work.iterdir()] == [sealed.path.name]
    assert CANARY.encode() not in below(work)
    plain = gpg(keyrings.lena_home, "--decrypt", str(sealed.path))
    assert unpack(plain, sealed.facts, "it")[0].value == env_file.read_bytes()


def test_a_set_of_the_important_tables_carries_no_secrets(
    a_database: Source, to_lena: EncryptionSettings, env_file: Path
) -> None:
    settings = with_secrets(a_database, to_lena, env_file, important_tables=("invoices",))

    manifest = capture(settings, kind="important_tables").manifest

    assert (manifest.secrets, manifest.artifact("secrets")) == (None, None)


def test_a_set_with_secrets_restores_as_any_other(
    a_database: Source, to_lena: EncryptionSettings, env_file: Path
) -> None:
    settings = with_secrets(a_database, to_lena, env_file)
    captured = capture(settings)

    assert proven(settings, captured).record.passed


def test_a_set_whose_secrets_are_damaged_is_not_proven(
    a_database: Source, to_lena: EncryptionSettings, env_file: Path
) -> None:
    settings = with_secrets(a_database, to_lena, env_file)
    captured = capture(settings)
    file = encrypted_file(settings, captured.manifest)
    flipped(file, file, -10)

    record = proven(settings, captured).record

    assert not record.passed
    assert "secrets/" in str(record.problems)


# -- refused and failed ------------------------------------------------------------------------------------------------


def test_without_encryption_nothing_is_captured(a_database: Source, env_file: Path) -> None:
    settings = with_secrets(a_database, EncryptionSettings(), env_file)

    with pytest.raises(Refused, match="the secrets of erp4 are not captured: nothing is encrypted here") as refused:
        capture(settings)
    assert "GPG_RECIPIENT" in refused.value.remedy
    assert listed(settings) == []


def removed(path: Path) -> None:
    path.unlink()


def made_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def made_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("spoil", [removed, made_a_directory, made_a_pipe])
def test_a_file_that_cannot_be_read_fails_the_capture_and_is_named(
    a_database: Source, to_lena: EncryptionSettings, env_file: Path, spoil: Callable[[Path], None]
) -> None:
    settings = with_secrets(a_database, to_lena, env_file)
    spoil(env_file)

    with pytest.raises(EnvironmentFault) as failed:
        capture(settings)
    assert str(env_file) in failed.value.what
    assert listed(settings) == []


def test_too_much_is_refused_before_all_of_it_is_read(
    tmp_path: Path, to_lena: EncryptionSettings, env_file: Path
) -> None:
    large = tmp_path / "dump.sql"
    with large.open("wb") as handle:
        handle.truncate(40 << 30)

    with pytest.raises(Refused, match="larger than the 16 MB") as refused:
        seal(to_lena, tmp_path, env_file, large)
    assert str(large) in refused.value.why
    assert CANARY not in str(refused.value)


def test_a_missing_or_denied_secret_fails_the_capture(
    a_database: Source, to_lena: EncryptionSettings, env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_keys(monkeypatch)
    for code, kind in (("ResourceNotFoundException", MissingSecret), ("AccessDeniedException", SecretDenied)):
        with answering(GetSecretValue=refusal(code)) as address:
            names = {"secrets_manager": ("prod/erp4/db",), "endpoint_url": address}
            settings = with_secrets(a_database, to_lena, env_file, secrets=names)
            with pytest.raises(kind, match="prod/erp4/db") as failed:
                capture(settings)
        assert CANARY not in str(failed.value)
        assert listed(settings) == []
        assert CANARY.encode() not in below(settings.backup_dir)


FAILING = "cat > /dev/null; echo 'gpg: no space' >&2; exit 2"
TRUNCATING = 'gpg "$@" | head -c 300'


@pytest.mark.parametrize("script", [FAILING, TRUNCATING], ids=["fails", "truncates"])
def test_a_cipher_that_fails_fails_the_capture_without_a_word_of_the_content(
    a_database: Source, to_lena: EncryptionSettings, env_file: Path, tmp_path: Path, script: str
) -> None:
    lying = program(tmp_path / "gpg", f'case " $* " in *" --encrypt "*) {script};; *) exec gpg "$@";; esac')
    settings = with_secrets(a_database, to_lena.model_copy(update={"gpg_program": lying}), env_file)

    with pytest.raises(BackupError) as failed:
        capture(settings)

    assert CANARY not in str(failed.value)
    assert listed(settings) == []
    assert CANARY.encode() not in below(settings.backup_dir)


def test_a_recipient_without_a_key_is_said_before_anything_is_read(
    tmp_path: Path, to_lena: EncryptionSettings, env_file: Path
) -> None:
    env_file.unlink()

    with pytest.raises(SettingsError):
        seal(to_lena.model_copy(update={"recipients": ("A" * 40,)}), tmp_path, env_file)


def test_an_encrypted_file_that_is_damaged_before_the_commit_ends_the_capture(
    a_database: Source, to_lena: EncryptionSettings, env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = with_secrets(a_database, to_lena, env_file)
    rename = Path.rename

    def cut(path: Path, target: Path) -> Path:
        if path.name.startswith("secrets.tar"):
            os.truncate(path, path.stat().st_size - 1)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", cut)

    with pytest.raises(QuickCheckFailed) as failed:
        capture(settings)

    assert isinstance(failed.value.__cause__, DamagedMessage)
    assert [(check.name, check.passed) for check in failed.value.outcomes][-1] == ("encrypted", False)
    assert listed(settings) == []


def test_the_limit_is_of_all_values_together(
    tmp_path: Path, to_lena: EncryptionSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_archive, "MOST_BYTES", 100)
    monkeypatch.setattr("backup_assets.capture.secrets.MOST_BYTES", 100)
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(bytes(60))
    other.write_bytes(bytes(41))

    with pytest.raises(Refused) as refused:
        seal(to_lena, tmp_path, one, other)
    assert str(other) in refused.value.why
