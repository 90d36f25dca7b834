from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup_assets.ciphers.gpg_keys import find_keys, normalised, parse_keys, recipient_keys, require_usable
from backup_assets.errors import SettingsError
from backup_assets.process import ProgramFailed
from backup_assets_tests.ciphers.keys import AgeKeys, Keyrings, fingerprint_of, gpg, new_home, new_key

PRIMARY, PART, OLDER = "A" * 24 + "1" * 16, "B" * 24 + "2" * 16, "C" * 24 + "3" * 16
NOW = time.time()


def listing(*, primary: str = "-", capabilities: str = "cEC", part: str = "-", part_expires: str = "") -> str:
    return f"""tru::1:1795360170:0:3:1:5
pub:{primary}:255:22:{PRIMARY[-16:]}:1577836800:1893456000::u:::{capabilities}:::::ed25519:::0:
fpr:::::::::{PRIMARY}:
grp:::::::::{"7" * 40}:
uid:-::::1795360169::D10E5605::Ops\\x3a night \\x5c day <ops@example.com>::::::::::0:
sub:-:255:18:{OLDER[-16:]}:1577836801::::::e:::::cv25519::
fpr:::::::::{OLDER}:
grp:::::::::{"8" * 40}:
sub:{part}:255:18:{PART[-16:]}:1577836802:{part_expires}:::::e:::::cv25519::
fpr:::::::::{PART}:
grp:::::::::{"9" * 40}:
sub:-:255:22:{"D" * 16}:1577836803::::::s:::::ed25519::
fpr:::::::::{"D" * 40}:
grp:::::::::{"6" * 40}:
"""


def the_gpg(home: Path) -> list[str]:
    return ["gpg", "--no-options", "--batch", "--homedir", str(home)]


def test_a_listing_is_read_with_its_parts():
    (key,) = parse_keys(listing())

    assert (key.fingerprint, key.problem) == (PRIMARY, "")
    assert key.user_ids == ("Ops: night \\ day <ops@example.com>",)
    assert key.expires == datetime(2030, 1, 1, tzinfo=UTC)
    assert [(part.fingerprint, part.keygrip, part.algorithm) for part in key.encryption_keys] == [
        (OLDER, "8" * 40, 18),
        (PART, "9" * 40, 18),
    ]


def test_the_newest_usable_part_is_encrypted_to():
    for validity, chosen in (("-", PART), ("e", OLDER), ("r", OLDER), ("u", PART), ("i", OLDER)):
        (key,) = parse_keys(listing(part=validity, part_expires="1577836900" if validity == "e" else ""))

        assert require_usable([key], NOW)[0].fingerprint == chosen


def test_a_primary_key_that_can_encrypt_is_a_part_too():
    (key,) = parse_keys(listing(capabilities="ecEC"))

    assert [part.fingerprint for part in key.encryption_keys] == [PRIMARY, OLDER, PART]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"primary": "e"}, "the key is expired on 2030-01-01"),
        ({"primary": "r"}, "the key is revoked"),
        ({"capabilities": "cECD"}, "the key is disabled"),
    ],
)
def test_a_key_with_a_usable_part_is_refused_as_a_whole(changes: dict[str, str], why: str):
    with pytest.raises(SettingsError) as caught:
        require_usable(parse_keys(listing(**changes)), NOW)

    assert caught.value.why == why
    assert caught.value.remedy


def test_a_key_whose_every_part_has_ended_says_why_for_each():
    text = listing(part="r").replace("sub:-:255:18", "sub:e:255:18").replace("1577836801::", "1577836801:1577836900:")

    with pytest.raises(SettingsError) as caught:
        require_usable(parse_keys(text), NOW)

    assert caught.value.why == f"subkey {'3' * 16} is expired on 2020-01-01; subkey {'2' * 16} is revoked"


def test_a_clock_that_is_behind_is_named():
    with pytest.raises(SettingsError, match="nothing can be encrypted") as caught:
        require_usable(parse_keys(listing()), 1577836800)

    assert "made in the future" in caught.value.why
    assert "clock" in caught.value.remedy


def test_gpg_itself_chooses_the_same_part(keyrings: Keyrings):
    home = new_home(keyrings.vault.parent / "rotated")
    fingerprint = new_key(home, "Rotated")
    gpg(home, "--faked-system-time", "20990101T000000!", "--quick-add-key", fingerprint, "cv25519", "encr", "never")
    (key,) = find_keys(the_gpg(home), fingerprint)

    # The second subkey was made in a future: gpg does not take it, and neither do we.
    (chosen,) = require_usable([key], time.time())
    sealed = gpg(home, "--trust-model", "always", "-r", fingerprint, "-e", input_bytes=b"content")

    assert len(key.encryption_keys) == 2
    assert sealed[3:11].hex().upper() == chosen.key_id


@pytest.mark.parametrize("shape", ["{}", "0x{}", " {} ", "spaced", "lower"])
def test_a_fingerprint_may_be_written_as_people_do(keyrings: Keyrings, shape: str):
    spaced = " ".join(keyrings.lena[at : at + 4] for at in range(0, 40, 4))
    text = {"spaced": spaced, "lower": keyrings.lena.lower()}.get(shape, shape.format(keyrings.lena))

    assert normalised(text) == keyrings.lena
    assert recipient_keys(the_gpg(keyrings.host), [text], "home")[0].fingerprint == keyrings.lena


def test_the_same_key_twice_is_one_recipient(keyrings: Keyrings):
    keys = recipient_keys(the_gpg(keyrings.host), [keyrings.rob, keyrings.lena, keyrings.rob], "home")

    assert [key.fingerprint for key in keys] == [keyrings.rob, keyrings.lena]


@pytest.mark.parametrize("name", ["lena@example.com", "short", "long", "Lena"])
def test_anything_less_than_a_fingerprint_is_refused_with_the_one_that_may_be_meant(keyrings: Keyrings, name: str):
    recipient = {"short": keyrings.lena[-8:], "long": f"0x{keyrings.lena[-16:]}"}.get(name, name)

    with pytest.raises(SettingsError, match="which is no full fingerprint") as caught:
        recipient_keys(the_gpg(keyrings.host), [recipient], "home")

    assert keyrings.lena in caught.value.remedy
    assert keyrings.rob not in caught.value.remedy
    assert "Lena Möller <lena@example.com>" in caught.value.remedy


def test_what_may_be_a_secret_in_the_place_of_a_fingerprint_is_not_repeated(keyrings: Keyrings, age_keys: AgeKeys):
    key = age_keys.lena_file.read_text().splitlines()[-1]
    block = "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOYBGV"

    for secret in (key, key.lower(), block, "correct horse battery staple"):
        with pytest.raises(SettingsError) as caught:
            recipient_keys(the_gpg(keyrings.host), [secret], "home")
        assert secret not in str(caught.value)
        assert secret[-12:] not in str(caught.value)


def test_every_key_of_an_ambiguous_name_is_suggested(keyrings: Keyrings):
    with pytest.raises(SettingsError) as caught:
        recipient_keys(the_gpg(keyrings.host), ["@example.com"], "home")

    assert all(key in caught.value.remedy for key in (keyrings.lena, keyrings.rob, keyrings.locked))


@pytest.mark.parametrize("name", ["nobody@example.org", "--export-secret-keys", "0", "-"])
def test_a_name_that_matches_nothing_is_refused(keyrings: Keyrings, name: str):
    with pytest.raises(SettingsError, match="no full fingerprint") as caught:
        recipient_keys(the_gpg(keyrings.host), [name], "the keyring X")

    assert "nothing in the keyring X matches" in caught.value.remedy


def test_a_fingerprint_that_is_not_in_the_keyring_is_refused(keyrings: Keyrings):
    with pytest.raises(SettingsError, match=f"{'A' * 40}, which is not in the keyring X") as caught:
        recipient_keys(the_gpg(keyrings.host), ["A" * 40], "the keyring X")

    assert "gpg --import" in caught.value.remedy


def test_the_fingerprint_of_a_subkey_is_refused_with_that_of_its_key(keyrings: Keyrings):
    part = find_keys(the_gpg(keyrings.host), keyrings.lena)[0].encryption_keys[0]

    with pytest.raises(SettingsError, match="only a part") as caught:
        recipient_keys(the_gpg(keyrings.host), [part.fingerprint], "home")

    assert keyrings.lena in caught.value.remedy


def test_an_empty_recipient_is_refused(keyrings: Keyrings):
    with pytest.raises(SettingsError, match="no full fingerprint"):
        recipient_keys(the_gpg(keyrings.host), ["  "], "home")


def test_a_keyring_that_cannot_be_read_is_no_empty_keyring(keyrings: Keyrings, tmp_path: Path):
    (tmp_path / "pubring.kbx").write_bytes(b"\x00\x00\x00\x20" + b"\xff" * 60)
    tmp_path.chmod(0o700)

    with pytest.raises((ProgramFailed, SettingsError)):
        recipient_keys(the_gpg(tmp_path), [keyrings.lena], "home")


def test_keys_of_the_tests_are_what_they_are_called(keyrings: Keyrings):
    assert fingerprint_of(keyrings.host, "rob@example.com") == keyrings.rob
    assert find_keys(the_gpg(keyrings.host), keyrings.rob)[0].encryption_keys[0].algorithm == 1
