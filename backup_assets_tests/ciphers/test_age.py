from __future__ import annotations

import hashlib
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_assets.ciphers.age import AgeCipher
from backup_assets.ciphers.contract import (
    DamagedMessage,
    LockedPrivateKey,
    MissingPrivateKey,
    OtherContent,
    WrongRecipients,
)
from backup_assets.errors import EnvironmentFault, Refused, SettingsError
from backup_assets.files import sha256_of
from backup_assets_tests.ciphers.keys import MEGABYTE, AgeKeys, flipped, program, random_file, truncated


@pytest.fixture
def host(age_keys: AgeKeys) -> AgeCipher:
    return AgeCipher((age_keys.lena, age_keys.rob))


@pytest.fixture
def vault(age_keys: AgeKeys) -> AgeCipher:
    return AgeCipher(identities=(age_keys.lena_file,))


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return random_file(tmp_path / "erp4.dump", 5 * MEGABYTE)


@pytest.fixture
def sealed(host: AgeCipher, plain: Path, tmp_path: Path) -> Path:
    target = tmp_path / "erp4.dump.age.partial"
    host.encrypt(plain, target)
    return target


@pytest.fixture
def nothing_is_left(tmp_path: Path, plain: Path) -> Iterator[None]:
    before = set(tmp_path.iterdir())
    yield
    assert [path for path in set(tmp_path.iterdir()) - before if "target" in path.name] == []


@pytest.mark.parametrize("size", [0, 1, 65536, 5 * MEGABYTE + 17])
def test_what_was_encrypted_is_decrypted(host: AgeCipher, vault: AgeCipher, tmp_path: Path, size: int):
    plain = random_file(tmp_path / "plain", size)
    sealed, opened = tmp_path / "sealed.partial", tmp_path / "opened"

    encrypted = host.encrypt(plain, sealed)
    decrypted = vault.decrypt(sealed, opened)

    assert opened.read_bytes() == plain.read_bytes()
    assert (encrypted.sha256_plain, encrypted.size_plain) == (sha256_of(plain), size)
    assert (encrypted.sha256_cipher, encrypted.size_cipher) == (sha256_of(sealed), sealed.stat().st_size)
    assert encrypted.recipients == host.recipients
    assert (decrypted.sha256_plain, decrypted.sha256_cipher) == (encrypted.sha256_plain, encrypted.sha256_cipher)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (sealed, opened)} == {0o600}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["opened", "plain", "sealed.partial"]


def test_each_of_two_recipients_decrypts_alone(age_keys: AgeKeys, sealed: Path, plain: Path, tmp_path: Path):
    for file in (age_keys.lena_file, age_keys.rob_file):
        assert AgeCipher(identities=(file,)).decrypt(sealed, tmp_path / file.name).sha256_plain == sha256_of(plain)


def test_the_stock_tool_decrypts_what_was_encrypted(age_keys: AgeKeys, sealed: Path, plain: Path):
    argv = ["age", "--decrypt", "--identity", str(age_keys.rob_file), str(sealed)]

    assert subprocess.run(argv, check=True, capture_output=True).stdout == plain.read_bytes()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(age_keys: AgeKeys, tmp_path: Path):
    with (tmp_path / "large").open("wb") as handle:
        handle.truncate(300 * MEGABYTE)
    random_file(tmp_path / "small", 5 * MEGABYTE)
    script = f"""
from pathlib import Path
from backup_assets.ciphers.age import AgeCipher
def trip(name):
    d = Path({str(tmp_path)!r})
    AgeCipher(({age_keys.lena!r},)).encrypt(d / name, d / (name + ".partial"))
    AgeCipher(identities=(Path({str(age_keys.lena_file)!r}),)).decrypt(d / (name + ".partial"), d / (name + ".out"))
    return next(int(l.split()[1]) for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM"))
print(trip("small"), trip("large"))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)

    small, large = map(int, done.stdout.split())
    assert large - small < 8192  # KiB
    assert sha256_of(tmp_path / "large.out") == sha256_of(tmp_path / "large")


# -- recipients ---------------------------------------------------------------------------------------------------


def test_a_host_with_a_good_recipient_is_ready(host: AgeCipher):
    host.check()


@pytest.mark.parametrize("change", ["typo", "ssh", "plugin", "empty"])
def test_what_is_no_recipient_is_refused_before_anything_is_read(
    age_keys: AgeKeys, tmp_path: Path, nothing_is_left: None, change: str
):
    typo = age_keys.lena[:-1] + ("q" if age_keys.lena[-1] != "q" else "p")
    wrong = {"typo": typo, "ssh": "ssh-ed25519 AAAAC3Nza", "plugin": "age1yubikey1q2w3e", "empty": ""}[change]

    with pytest.raises(SettingsError, match="AGE_RECIPIENT names no age key"):
        AgeCipher((age_keys.rob, wrong)).encrypt(tmp_path / "does not exist", tmp_path / "target.partial")


def test_a_private_key_given_as_recipient_is_refused_and_never_shown(age_keys: AgeKeys):
    secret = age_keys.lena_file.read_text().splitlines()[-1]
    assert secret.startswith("AGE-SECRET-KEY-1")

    for text in (secret, secret.lower(), f" {secret}"):
        with pytest.raises(SettingsError, match="holds a private key") as caught:
            AgeCipher((text,)).check()
        assert secret[20:40].lower() not in str(caught.value).lower()


def test_no_recipient_and_no_private_key_are_refused(sealed: Path, tmp_path: Path):
    with pytest.raises(SettingsError, match="AGE_RECIPIENT names no key"):
        AgeCipher().check()
    with pytest.raises(MissingPrivateKey, match="AGE_IDENTITY_FILE names no private key"):
        AgeCipher().decrypt(sealed, tmp_path / "target")
    with pytest.raises(SettingsError, match=r"AGE_IDENTITY_FILE is .*nowhere, which is no file"):
        AgeCipher(identities=(tmp_path / "nowhere",)).decrypt(sealed, tmp_path / "target")


def test_an_age_that_is_missing_is_a_fault_that_names_its_package(age_keys: AgeKeys, tmp_path: Path, plain: Path):
    cipher = AgeCipher((age_keys.lena,), (age_keys.lena_file,), program=str(tmp_path / "age"))

    for attempt in (
        cipher.check,
        lambda: cipher.encrypt(plain, tmp_path / "target.partial"),
        lambda: cipher.decrypt(plain, tmp_path / "target"),
    ):
        with pytest.raises(EnvironmentFault, match="was not found") as caught:
            attempt()
        assert "apt-get install age" in caught.value.remedy


# -- verification without a key -----------------------------------------------------------------------------------


def test_a_whole_message_is_verified_without_the_private_key(host: AgeCipher, sealed: Path, plain: Path):
    host.verify_message(sealed, size_plain=plain.stat().st_size)


def test_another_number_of_recipients_is_noticed(age_keys: AgeKeys, sealed: Path):
    with pytest.raises(WrongRecipients) as caught:
        AgeCipher((age_keys.lena,)).verify_message(sealed)

    assert caught.value.why == "it names 2 (X25519, X25519), not 1 of X25519"


def test_every_change_of_length_is_noticed_where_the_size_is_known(
    host: AgeCipher, sealed: Path, plain: Path, tmp_path: Path
):
    (tmp_path / "appended").write_bytes(sealed.read_bytes() + b"x")
    truncated(sealed, tmp_path / "short", sealed.stat().st_size - 1)
    (tmp_path / "doubled").write_bytes(sealed.read_bytes() * 2)

    for name in ("appended", "short", "doubled"):
        with pytest.raises(DamagedMessage, match=name):
            host.verify_message(tmp_path / name, size_plain=plain.stat().st_size)


# -- decryption that must fail ------------------------------------------------------------------------------------


def test_a_private_key_of_somebody_else_is_named_with_what_to_do(
    age_keys: AgeKeys, plain: Path, tmp_path: Path, nothing_is_left: None
):
    AgeCipher((age_keys.lena,)).encrypt(plain, tmp_path / "lena.partial")

    with pytest.raises(MissingPrivateKey) as caught:
        AgeCipher(identities=(age_keys.rob_file,)).decrypt(tmp_path / "lena.partial", tmp_path / "target")

    assert str(age_keys.rob_file) in caught.value.what
    assert "AGE_IDENTITY_FILE" in caught.value.remedy


@pytest.mark.parametrize("cut", [0, 1, 100, 300, 400, 65552, 2 * MEGABYTE, -1, -16, -17])
def test_a_truncated_file_is_never_decrypted(
    vault: AgeCipher, sealed: Path, tmp_path: Path, nothing_is_left: None, cut: int
):
    short = truncated(sealed, tmp_path / "short", cut if cut >= 0 else sealed.stat().st_size + cut)

    with pytest.raises(DamagedMessage, match="short"):
        vault.decrypt(short, tmp_path / "target")


@pytest.mark.parametrize("offset", [0, 30, 60, 100, 330, 400, 3 * MEGABYTE, -1])
def test_a_flipped_bit_anywhere_is_never_decrypted(
    vault: AgeCipher, sealed: Path, tmp_path: Path, nothing_is_left: None, offset: int
):
    damaged = flipped(sealed, tmp_path / "damaged", offset)

    # A stanza that was altered is, to age, that of another recipient.
    with pytest.raises((DamagedMessage, MissingPrivateKey), match="damaged"):
        vault.decrypt(damaged, tmp_path / "target")


@pytest.mark.parametrize("character", [b"*", b" ", b"-", b"\n"])
def test_a_header_that_is_no_longer_one_is_damage_and_no_fault_of_the_key(
    vault: AgeCipher, sealed: Path, tmp_path: Path, nothing_is_left: None, character: bytes
):
    content = sealed.read_bytes()
    share = content.index(b"-> X25519 ") + len(b"-> X25519 ")

    for offset in (share, share + 28, share + 42):
        (tmp_path / "damaged").write_bytes(content[:offset] + character + content[offset + 1 :])

        with pytest.raises(DamagedMessage, match="damaged"):
            vault.decrypt(tmp_path / "damaged", tmp_path / "target")


def test_appended_and_doubled_files_are_never_decrypted(vault: AgeCipher, sealed: Path, tmp_path: Path):
    for name, content in (("appended", sealed.read_bytes() + b"\n"), ("doubled", sealed.read_bytes() * 2)):
        (tmp_path / name).write_bytes(content)

        with pytest.raises(DamagedMessage, match=name):
            vault.decrypt(tmp_path / name, tmp_path / "target")

    assert not (tmp_path / "target").exists()


def test_other_content_than_announced_gets_no_name(
    host: AgeCipher, vault: AgeCipher, sealed: Path, plain: Path, tmp_path: Path, nothing_is_left: None
):
    other = hashlib.sha256(b"other").hexdigest()

    with pytest.raises(OtherContent, match="the content of"):
        vault.decrypt(sealed, tmp_path / "target", sha256_plain=other)
    with pytest.raises(OtherContent, match=other):
        vault.decrypt(sealed, tmp_path / "target", sha256_cipher=other)
    with pytest.raises(OtherContent, match=str(plain)):
        host.encrypt(plain, tmp_path / "target.partial", sha256_plain=other)


def test_a_private_key_with_a_passphrase_needs_a_terminal(
    vault: AgeCipher, sealed: Path, tmp_path: Path, nothing_is_left: None
):
    # The header of a file that `age -p` made: its body is never reached.
    locked = tmp_path / "locked"
    stanza = "-> scrypt bBjlhJVYZeE4aqUdmtRHfw 15\nZV/AhotwSGqaPCU43cepl4WYUouAa17a3xpu4G2yi5k\n"
    locked.write_bytes(f"age-encryption.org/v1\n{stanza}--- {'A' * 43}\n".encode() + bytes(64))

    with pytest.raises(LockedPrivateKey, match="protected by a passphrase"):
        AgeCipher(identities=(locked,)).decrypt(sealed, tmp_path / "target")


def test_a_spoilt_private_key_is_a_fault_that_does_not_show_it(
    age_keys: AgeKeys, sealed: Path, tmp_path: Path, nothing_is_left: None
):
    secret = age_keys.lena_file.read_text().splitlines()[-1]
    for number, spoilt in enumerate((secret[1:], secret[:-1], secret.replace("AGE-", "AGE_"), f"key {secret}")):
        file = tmp_path / f"spoilt{number}"
        file.write_text(f"{spoilt}\n")

        with pytest.raises(EnvironmentFault, match="age could not decrypt") as caught:
            AgeCipher(identities=(file,)).decrypt(sealed, tmp_path / "target")

        assert str(file) in caught.value.remedy
        assert secret[20:40] not in str(caught.value)
        assert caught.value.__cause__ is None


def test_an_existing_target_is_left_alone(host: AgeCipher, vault: AgeCipher, sealed: Path, plain: Path, tmp_path: Path):
    content = sealed.read_bytes()

    with pytest.raises(Refused, match="exists already"):
        host.encrypt(plain, sealed)
    with pytest.raises(Refused, match="exists already"):
        vault.decrypt(sealed, plain)

    assert sealed.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["erp4.dump", "erp4.dump.age.partial"]


# -- faults of the machine ----------------------------------------------------------------------------------------


@pytest.fixture
def only_three_megabytes() -> Iterator[None]:
    """No file of this process can grow further: what a full disk does, on every machine."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * MEGABYTE, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_up_leaves_no_output(
    host: AgeCipher, vault: AgeCipher, plain: Path, sealed: Path, tmp_path: Path, only_three_megabytes: None
):
    with pytest.raises(EnvironmentFault, match=r"could not write target\.partial"):
        host.encrypt(plain, tmp_path / "target.partial")
    with pytest.raises(EnvironmentFault, match=r"could not write target.*\.partial"):
        vault.decrypt(sealed, tmp_path / "target")

    assert [path for path in tmp_path.iterdir() if "target" in path.name] == []


def test_an_age_that_is_killed_leaves_no_output(age_keys: AgeKeys, plain: Path, tmp_path: Path, nothing_is_left: None):
    dying = program(tmp_path / "dying", 'head -c 1000000 | age "$@"; kill -9 $$')

    with pytest.raises(EnvironmentFault, match="age was ended by signal 9"):
        AgeCipher((age_keys.lena,), program=dying).encrypt(plain, tmp_path / "target.partial")


@pytest.mark.parametrize("reads_on", ["", "cat > /dev/null;"])
def test_an_age_that_encrypts_half_the_file_and_is_content_is_found_out(
    age_keys: AgeKeys, plain: Path, tmp_path: Path, nothing_is_left: None, reads_on: str
):
    liar = program(tmp_path / "liar", f'{{ head -c 1000000; {reads_on} }} | age "$@"; exit 0')

    with pytest.raises((EnvironmentFault, DamagedMessage), match=r"ended before it had read all|is damaged"):
        AgeCipher((age_keys.lena,), program=liar).encrypt(plain, tmp_path / "target.partial")
