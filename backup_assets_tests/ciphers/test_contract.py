from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from backup_assets.ciphers.age import AgeCipher
from backup_assets.ciphers.contract import (
    Cipher,
    OtherContent,
    ended_by_signal,
    require_content,
    require_free_name,
    require_partial,
)
from backup_assets.ciphers.gpg import GpgCipher
from backup_assets.errors import Refused
from backup_assets.files import commit_partial, partial_path, sha256_of
from backup_assets.process import ProgramFailed
from backup_assets_tests.ciphers.keys import MEGABYTE, AgeKeys, Keyrings, random_file


@pytest.fixture(params=["gpg", "age"])
def pair(request: pytest.FixtureRequest) -> tuple[Cipher, Cipher]:
    """Return one that can encrypt only, and one that can decrypt only."""
    if request.param == "gpg":
        keyrings: Keyrings = request.getfixturevalue("keyrings")
        return GpgCipher((keyrings.lena,), keyrings.host), GpgCipher(homedir=keyrings.vault)
    keys: AgeKeys = request.getfixturevalue("age_keys")
    return AgeCipher((keys.lena,)), AgeCipher(identities=(keys.lena_file,))


def test_every_cipher_goes_the_same_way(pair: tuple[Cipher, Cipher], tmp_path: Path):
    encrypting, decrypting = pair
    plain = random_file(tmp_path / "erp4.dump", MEGABYTE)
    sealed = tmp_path / f"erp4.dump{encrypting.suffix}"
    partial = partial_path(sealed)

    encrypting.check()
    encrypted = encrypting.encrypt(plain, partial, sha256_plain=sha256_of(plain))
    commit_partial(partial, sealed)
    encrypting.verify_message(sealed, size_plain=encrypted.size_plain)
    decrypted = decrypting.decrypt(
        sealed, tmp_path / "opened", sha256_plain=encrypted.sha256_plain, sha256_cipher=encrypted.sha256_cipher
    )

    assert (tmp_path / "opened").read_bytes() == plain.read_bytes()
    assert (encrypted.sha256_plain, encrypted.sha256_cipher) == (decrypted.sha256_plain, decrypted.sha256_cipher)
    assert len(encrypted.recipients) == 1


def test_a_link_that_leads_nowhere_takes_a_name_too(tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    with pytest.raises(Refused, match="exists already"):
        require_free_name(tmp_path / "link")
    require_free_name(tmp_path / "free")


def test_only_a_name_that_looks_incomplete_is_written_to(tmp_path: Path):
    require_partial(tmp_path / "x.gpg.partial")
    with pytest.raises(ValueError, match="does not end in"):
        require_partial(tmp_path / "x.gpg")


def test_content_is_compared_only_when_something_was_recorded():
    found, other = (hashlib.sha256(content).hexdigest() for content in (b"found", b"other"))

    require_content(found, None, "the dump")
    require_content(found, found, "the dump")
    with pytest.raises(OtherContent) as caught:
        require_content(found, other, "the dump")

    assert caught.value.what == "the dump is not what was recorded"
    assert caught.value.why == f"its SHA-256 is {found} instead of {other}"


def test_a_killed_program_says_by_which_signal():
    error = ended_by_signal("age", ProgramFailed("age failed", why="", returncode=-9, stderr=""))

    assert error.what == "age was ended by signal 9 before it was done"
