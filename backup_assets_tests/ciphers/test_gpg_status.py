from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.ciphers.contract import DamagedMessage, LockedPrivateKey, MissingPrivateKey
from backup_assets.ciphers.gpg_status import Status, decryption_failed, encryption_failed, parse_status
from backup_assets.errors import BackupError, EnvironmentFault
from backup_assets.process import ProgramFailed

WHOLE = ("PLAINTEXT 62 1795360218", "DECRYPTION_OKAY", "GOODMDC", "END_DECRYPTION")


def status(*lines: str) -> Status:
    return parse_status("".join(f"[GNUPG:] {line}\n" for line in lines))


def failed(*lines: str, returncode: int = 2, stderr: str = "what gpg said") -> BackupError:
    failure = ProgramFailed("gpg failed", why=stderr, returncode=returncode, stderr=stderr)
    return decryption_failed(
        Path("x.gpg"), failure, status(*lines), home="the keyring H", name_of=lambda key_id: f"key {key_id}"
    )


def test_status_lines_are_told_from_everything_else():
    parsed = parse_status("noise\n[GNUPG:] NO_SECKEY AA\ngpg: [GNUPG:] GOODMDC\n[GNUPG:] \n[GNUPG:] NO_SECKEY BB x\n")

    assert parsed.arguments("NO_SECKEY") == [("AA",), ("BB", "x")]
    assert parsed.count("GOODMDC") == 0


def test_one_whole_message_is_confirmed():
    assert status("ENC_TO AA 18 0", "NO_SECKEY BB", "BEGIN_DECRYPTION", *WHOLE).confirms_one_whole_message


@pytest.mark.parametrize("missing", WHOLE[:3])
def test_without_any_one_of_its_proofs_a_message_is_not_confirmed(missing: str):
    assert not status(*(line for line in WHOLE if line != missing)).confirms_one_whole_message


@pytest.mark.parametrize("extra", ["BADMDC", "DECRYPTION_FAILED", "PLAINTEXT 62 0", "ERROR pkdecrypt_failed 11"])
def test_with_any_doubt_a_message_is_not_confirmed(extra: str):
    assert not status(*WHOLE, extra).confirms_one_whole_message


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (("NO_SECKEY AA", "BEGIN_DECRYPTION", "DECRYPTION_FAILED"), MissingPrivateKey),
        (("ERROR pkdecrypt_failed 83918950", "NO_SECKEY AA", "DECRYPTION_FAILED"), LockedPrivateKey),
        (("ERROR pkdecrypt_failed 67108949", "DECRYPTION_FAILED"), LockedPrivateKey),
        (("ERROR pkdecrypt_failed 16777226", "DECRYPTION_FAILED"), DamagedMessage),
        (("ERROR pkdecrypt_failed 16777228", "DECRYPTION_FAILED"), DamagedMessage),
        (("ERROR pkdecrypt_failed 33554450", "NO_SECKEY AA", "DECRYPTION_FAILED"), DamagedMessage),
        (("NO_SECKEY AA", "PLAINTEXT 62 0", "BADMDC", "DECRYPTION_FAILED"), DamagedMessage),
        (("NODATA 3",), DamagedMessage),
        ((), ProgramFailed),
    ],
)
def test_a_failure_is_blamed_on_what_caused_it(lines: tuple[str, ...], kind: type[BackupError]):
    error = failed(*lines)

    assert type(error) is kind
    assert "what gpg said" in error.why or kind is MissingPrivateKey


def test_every_missing_key_is_named():
    assert failed("NO_SECKEY AA", "NO_SECKEY BB", "DECRYPTION_FAILED").why == "it is encrypted to key AA and to key BB"


def test_the_reason_of_an_agent_is_shown():
    stderr = "gpg: encrypted with 255-bit ECDH key\ngpg: public key decryption failed: Operation cancelled\n"

    error = failed("ERROR pkdecrypt_failed 83886179", "DECRYPTION_FAILED", stderr=stderr)

    assert error.why == "Operation cancelled"


@pytest.mark.parametrize("lines", [(), ("NO_SECKEY AA",), ("PLAINTEXT 62 0",)])
def test_a_killed_gpg_says_nothing_about_the_file(lines: tuple[str, ...]):
    assert failed(*lines, returncode=-9).what == "gpg was ended by signal 9 before it was done"


def test_a_failed_encryption_shows_what_gpg_said():
    error = encryption_failed(ProgramFailed("gpg failed", why="no entropy", returncode=2, stderr="no entropy"))

    assert isinstance(error, EnvironmentFault)
    assert error.why == "no entropy"
