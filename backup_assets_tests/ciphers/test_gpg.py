from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_assets.ciphers.contract import (
    DamagedMessage,
    LockedPrivateKey,
    MissingPrivateKey,
    OtherContent,
    WrongRecipients,
)
from backup_assets.ciphers.gpg import GpgCipher
from backup_assets.errors import BackupError, EnvironmentFault, Refused, SettingsError
from backup_assets.files import partial_path, sha256_of
from backup_assets_tests.ciphers.keys import (
    MEGABYTE,
    PASSPHRASE,
    Keyrings,
    end_agent,
    flipped,
    gpg,
    program,
    random_file,
    truncated,
)


@pytest.fixture
def host(keyrings: Keyrings) -> GpgCipher:
    """The host that makes backups: public keys only."""
    return GpgCipher((keyrings.lena, keyrings.rob), keyrings.host)


@pytest.fixture
def vault(keyrings: Keyrings) -> GpgCipher:
    return GpgCipher(homedir=keyrings.vault)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return random_file(tmp_path / "erp4.dump", 5 * MEGABYTE)


@pytest.fixture
def sealed(host: GpgCipher, plain: Path, tmp_path: Path) -> Path:
    target = tmp_path / "erp4.dump.gpg.partial"
    host.encrypt(plain, target)
    return target


@pytest.fixture
def nothing_is_left(tmp_path: Path, plain: Path) -> Iterator[None]:
    """Hold a test that fails on purpose to leaving no part of an output."""
    before = set(tmp_path.iterdir())
    yield
    assert [path for path in set(tmp_path.iterdir()) - before if "target" in path.name] == []


# -- round trips --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 8192, 5 * MEGABYTE + 17])
def test_what_was_encrypted_is_decrypted(host: GpgCipher, vault: GpgCipher, tmp_path: Path, size: int):
    plain = random_file(tmp_path / "plain", size)
    sealed, opened = tmp_path / "sealed.partial", tmp_path / "opened"

    encrypted = host.encrypt(plain, sealed)
    decrypted = vault.decrypt(sealed, opened)

    assert opened.read_bytes() == plain.read_bytes()
    assert (encrypted.sha256_plain, encrypted.size_plain) == (sha256_of(plain), size)
    assert (encrypted.sha256_cipher, encrypted.size_cipher) == (sha256_of(sealed), sealed.stat().st_size)
    assert encrypted.recipients == host.recipients
    assert (decrypted.sha256_plain, decrypted.size_plain) == (encrypted.sha256_plain, size)
    assert (decrypted.sha256_cipher, decrypted.size_cipher) == (encrypted.sha256_cipher, encrypted.size_cipher)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (sealed, opened)} == {0o600}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["opened", "plain", "sealed.partial"]


def test_each_of_two_recipients_decrypts_alone(keyrings: Keyrings, sealed: Path, plain: Path, tmp_path: Path):
    for home in (keyrings.lena_home, keyrings.rob_home):
        decrypted = GpgCipher(homedir=home).decrypt(sealed, tmp_path / home.name)

        assert decrypted.sha256_plain == sha256_of(plain)


def test_the_stock_tool_decrypts_what_was_encrypted(keyrings: Keyrings, sealed: Path, plain: Path):
    assert gpg(keyrings.vault, "--decrypt", str(sealed)) == plain.read_bytes()


def test_content_is_not_compressed_signed_or_named(keyrings: Keyrings, host: GpgCipher, tmp_path: Path):
    (tmp_path / "zeros").write_bytes(bytes(MEGABYTE))

    encrypted = host.encrypt(tmp_path / "zeros", tmp_path / "zeros.gpg.partial")

    packets = gpg(keyrings.vault, "--list-packets", str(tmp_path / "zeros.gpg.partial")).decode()
    assert encrypted.size_cipher > MEGABYTE
    assert 'name=""' in packets
    assert ":compressed packet:" not in packets
    assert ":onepass_sig packet:" not in packets


def test_options_of_the_keyring_add_no_recipient(keyrings: Keyrings, tmp_path: Path, plain: Path):
    home = tmp_path / "home"
    shutil.copytree(keyrings.host, home, ignore=shutil.ignore_patterns("S.*"))
    (home / "gpg.conf").write_text(f"encrypt-to {keyrings.rob}\nrecipient {keyrings.rob}\narmor\nthrow-keyids\n")
    cipher = GpgCipher((keyrings.lena,), home)

    cipher.encrypt(plain, tmp_path / "sealed.partial")

    cipher.verify_message(tmp_path / "sealed.partial", size_plain=plain.stat().st_size)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(keyrings: Keyrings, tmp_path: Path):
    with (tmp_path / "large").open("wb") as handle:
        handle.truncate(300 * MEGABYTE)
    random_file(tmp_path / "small", 5 * MEGABYTE)
    script = f"""
import sys
from pathlib import Path
from backup_assets.ciphers.gpg import GpgCipher
def peak():
    return next(int(l.split()[1]) for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM"))
def trip(name):
    d = Path({str(tmp_path)!r})
    GpgCipher(({keyrings.lena!r},), Path({str(keyrings.host)!r})).encrypt(d / name, d / (name + ".partial"))
    GpgCipher(homedir=Path({str(keyrings.vault)!r})).decrypt(d / (name + ".partial"), d / (name + ".out"))
    return peak()
print(trip("small"), trip("large"))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)

    small, large = map(int, done.stdout.split())
    assert large - small < 8192  # KiB
    assert sha256_of(tmp_path / "large.out") == sha256_of(tmp_path / "large")


# -- recipients ---------------------------------------------------------------------------------------------------


def test_a_host_of_backups_is_ready_and_holds_no_private_key(host: GpgCipher):
    host.check()

    assert host.private_keys_here() == ()


def test_a_private_key_on_the_host_is_found(keyrings: Keyrings):
    cipher = GpgCipher((keyrings.lena, keyrings.rob), keyrings.lena_home)
    gpg(keyrings.lena_home, "--import", input_bytes=gpg(keyrings.host, "--export", keyrings.rob))

    assert [key.fingerprint for key in cipher.private_keys_here()] == [keyrings.lena]


def test_a_key_that_expires_soon_can_be_known(keyrings: Keyrings):
    cipher = GpgCipher((keyrings.lena, keyrings.expired), keyrings.host)

    assert [key.fingerprint for key in cipher.expiring_before(time.time())] == [keyrings.expired]


@pytest.mark.parametrize(
    ("key", "message", "remedy"),
    [
        ("expired", "expired on 20", "--quick-set-expire"),
        ("revoked", "the key is revoked", "make a new key"),
        ("signing_only", "without a part", "--quick-add-key"),
    ],
)
def test_an_unusable_key_is_refused_before_anything_is_read(
    keyrings: Keyrings, tmp_path: Path, nothing_is_left: None, key: str, message: str, remedy: str
):
    fingerprint = getattr(keyrings, key)
    cipher = GpgCipher((keyrings.lena, fingerprint), keyrings.host)

    with pytest.raises(SettingsError) as caught:
        cipher.encrypt(tmp_path / "does not exist", tmp_path / "target.partial")

    assert fingerprint in caught.value.what
    assert message in caught.value.why
    assert remedy in caught.value.remedy


def test_no_recipient_is_refused(keyrings: Keyrings):
    with pytest.raises(SettingsError, match="GPG_RECIPIENT names no key"):
        GpgCipher((), keyrings.host).check()


def test_a_gpg_that_is_missing_is_a_fault_that_names_its_package(keyrings: Keyrings, tmp_path: Path, plain: Path):
    cipher = GpgCipher((keyrings.lena,), keyrings.host, program=str(tmp_path / "gpg"))

    for attempt in (
        cipher.check,
        lambda: cipher.encrypt(plain, tmp_path / "target.partial"),
        lambda: cipher.decrypt(plain, tmp_path / "target"),
    ):
        with pytest.raises(EnvironmentFault, match="was not found") as caught:
            attempt()
        assert "apt-get install gnupg" in caught.value.remedy


def test_a_keyring_that_is_missing_is_refused(tmp_path: Path, keyrings: Keyrings):
    with pytest.raises(SettingsError, match=r"GPG_HOMEDIR is .*nowhere, which is no directory"):
        GpgCipher((keyrings.lena,), tmp_path / "nowhere").check()


# -- verification without a key -----------------------------------------------------------------------------------


def test_a_whole_message_is_verified_without_the_private_key(host: GpgCipher, sealed: Path, plain: Path):
    host.verify_message(sealed, size_plain=plain.stat().st_size)


def test_a_message_to_others_is_noticed(keyrings: Keyrings, host: GpgCipher, sealed: Path, plain: Path, tmp_path: Path):
    only_lena = GpgCipher((keyrings.lena,), keyrings.host)
    only_lena.encrypt(plain, tmp_path / "lena.partial")

    with pytest.raises(WrongRecipients) as more:
        only_lena.verify_message(sealed)
    with pytest.raises(WrongRecipients) as fewer:
        host.verify_message(tmp_path / "lena.partial")

    assert more.value.why.startswith("also to the key id ")
    assert fewer.value.why.startswith(f"not to {keyrings.rob} (Rob <rob@example.com>)")


@pytest.mark.parametrize("offset", [5, 11, 103, 108])
def test_a_flipped_bit_in_the_name_of_a_key_is_noticed(host: GpgCipher, sealed: Path, tmp_path: Path, offset: int):
    with pytest.raises(WrongRecipients):
        host.verify_message(flipped(sealed, tmp_path / "flipped", offset))


def test_a_second_session_key_for_the_same_key_is_noticed(host: GpgCipher, sealed: Path, tmp_path: Path):
    content = sealed.read_bytes()
    (tmp_path / "twice").write_bytes(content[:96] + content)  # Lena's packet has 96 bytes

    with pytest.raises(WrongRecipients, match="exactly the wanted keys") as caught:
        host.verify_message(tmp_path / "twice")

    assert caught.value.why == "more than once to the same key"


def test_a_message_too_short_for_its_content_is_noticed(host: GpgCipher, sealed: Path, plain: Path):
    with pytest.raises(DamagedMessage, match="is damaged"):
        host.verify_message(sealed, size_plain=plain.stat().st_size + 3000)


def test_a_message_stays_right_when_its_key_has_expired(keyrings: Keyrings, tmp_path: Path, plain: Path):
    past = ["--faked-system-time", "20200601T000000!", "--trust-model", "always", "-r", keyrings.expired]
    path = tmp_path / "old.gpg"
    path.write_bytes(gpg(keyrings.host, *past, "-e", input_bytes=b"content"))

    GpgCipher((keyrings.expired,), keyrings.host).verify_message(path)


# -- decryption that must fail ------------------------------------------------------------------------------------


def test_a_missing_private_key_is_named(host: GpgCipher, keyrings: Keyrings, sealed: Path, tmp_path: Path):
    with pytest.raises(MissingPrivateKey) as caught:
        host.decrypt(sealed, tmp_path / "target")

    assert keyrings.lena in caught.value.why
    assert "Lena Möller <lena@example.com>" in caught.value.why
    assert keyrings.rob in caught.value.why
    assert str(keyrings.host) in caught.value.what
    assert not (tmp_path / "target").exists()


def test_a_missing_key_that_nobody_knows_is_named_by_its_id(keyrings: Keyrings, tmp_path: Path, plain: Path):
    sealed = tmp_path / "rob.partial"
    GpgCipher((keyrings.rob,), keyrings.host).encrypt(plain, sealed)
    home = tmp_path / "empty"
    home.mkdir(mode=0o700)

    with pytest.raises(MissingPrivateKey, match=r"is not in the keyring .*empty") as caught:
        GpgCipher(homedir=home).decrypt(sealed, tmp_path / "target")

    assert "unknown here" in caught.value.why


@pytest.mark.parametrize("cut", [0, 1, 50, 495, 500, 8192, 2 * MEGABYTE, -1, -22, -8193])
def test_a_truncated_file_is_never_decrypted(
    vault: GpgCipher, sealed: Path, tmp_path: Path, nothing_is_left: None, cut: int
):
    size = cut if cut >= 0 else sealed.stat().st_size + cut
    short = truncated(sealed, tmp_path / "short", size)

    with pytest.raises(DamagedMessage, match="short"):
        vault.decrypt(short, tmp_path / "target")


@pytest.mark.parametrize("offset", [0, 5, 12, 40, 300, 520, 3 * MEGABYTE, -30, -1])
def test_a_flipped_bit_anywhere_is_never_decrypted(
    vault: GpgCipher, keyrings: Keyrings, sealed: Path, tmp_path: Path, nothing_is_left: None, offset: int
):
    damaged = flipped(sealed, tmp_path / "damaged", offset)
    if offset in (5, 12, 40):  # one recipient's session key is spoilt: without the other's it cannot be read
        vault = GpgCipher(homedir=keyrings.lena_home)
    if offset == 300:
        vault = GpgCipher(homedir=keyrings.rob_home)

    with pytest.raises((DamagedMessage, MissingPrivateKey)) as caught:
        vault.decrypt(damaged, tmp_path / "target")

    assert isinstance(caught.value, DamagedMessage) or offset == 5  # the altered key id is nobody's


def test_appended_and_doubled_files_are_never_decrypted(vault: GpgCipher, sealed: Path, tmp_path: Path):
    for name, content in (("appended", sealed.read_bytes() + b"\n"), ("doubled", sealed.read_bytes() * 2)):
        (tmp_path / name).write_bytes(content)

        with pytest.raises(DamagedMessage, match=name):
            vault.decrypt(tmp_path / name, tmp_path / "target")

    assert not (tmp_path / "target").exists()


def test_other_content_than_announced_gets_no_name(vault: GpgCipher, sealed: Path, tmp_path: Path):
    other = hashlib.sha256(b"other").hexdigest()

    with pytest.raises(OtherContent, match="the content of"):
        vault.decrypt(sealed, tmp_path / "target", sha256_plain=other)
    with pytest.raises(OtherContent, match=other):
        vault.decrypt(sealed, tmp_path / "target", sha256_cipher=other)

    assert [path for path in tmp_path.iterdir() if "target" in path.name] == []


def test_the_announced_content_gets_its_name(vault: GpgCipher, sealed: Path, plain: Path, tmp_path: Path):
    vault.decrypt(sealed, tmp_path / "target", sha256_plain=sha256_of(plain), sha256_cipher=sha256_of(sealed))

    assert (tmp_path / "target").read_bytes() == plain.read_bytes()


def test_a_locked_key_without_anyone_to_ask_says_so(
    keyrings: Keyrings, plain: Path, tmp_path: Path, nothing_is_left: None
):
    sealed = tmp_path / "locked.gpg.partial"
    GpgCipher((keyrings.locked,), keyrings.host).encrypt(plain, sealed)
    end_agent(keyrings.vault)  # it remembers

    with pytest.raises(LockedPrivateKey) as caught:
        GpgCipher(homedir=keyrings.vault).decrypt(sealed, tmp_path / "target")

    assert "GPG_TTY" in caught.value.remedy


def test_a_passphrase_from_a_file_opens_a_key_and_is_never_shown(keyrings: Keyrings, plain: Path, tmp_path: Path):
    sealed = tmp_path / "locked.gpg.partial"
    GpgCipher((keyrings.locked,), keyrings.host).encrypt(plain, sealed)
    end_agent(keyrings.vault)
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text(PASSPHRASE)
    wrong.write_text("another secret")

    with pytest.raises(LockedPrivateKey, match="did not let gpg use it") as caught:
        GpgCipher(homedir=keyrings.vault, passphrase_file=wrong).decrypt(sealed, tmp_path / "target")
    GpgCipher(homedir=keyrings.vault, passphrase_file=right).decrypt(sealed, tmp_path / "target")

    assert "Bad passphrase" in caught.value.why
    assert "another secret" not in str(caught.value)
    assert (tmp_path / "target").read_bytes() == plain.read_bytes()


def test_an_existing_target_is_left_alone(host: GpgCipher, vault: GpgCipher, sealed: Path, plain: Path, tmp_path: Path):
    content = sealed.read_bytes()

    with pytest.raises(Refused, match="exists already"):
        host.encrypt(plain, sealed)
    with pytest.raises(Refused, match="exists already"):
        vault.decrypt(sealed, plain)

    assert sealed.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["erp4.dump", "erp4.dump.gpg.partial"]


# -- faults of the machine ----------------------------------------------------------------------------------------


@pytest.fixture
def only_three_megabytes() -> Iterator[None]:
    """No file of this process can grow further: what a full disk does, on every machine."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * MEGABYTE, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_up_leaves_no_output(
    host: GpgCipher, vault: GpgCipher, plain: Path, sealed: Path, tmp_path: Path, only_three_megabytes: None
):
    with pytest.raises(EnvironmentFault, match=r"could not write target\.partial"):
        host.encrypt(plain, tmp_path / "target.partial")
    with pytest.raises(EnvironmentFault, match=r"could not write target.*\.partial") as caught:
        vault.decrypt(sealed, tmp_path / "target")

    assert caught.value.remedy
    assert [path for path in tmp_path.iterdir() if "target" in path.name] == []


def children(name: str) -> list[int]:
    """Return the programs of that name that this process has started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(errors="replace")  # a long name may be cut within a letter
            except (FileNotFoundError, ProcessLookupError):
                continue
            if f"({name})" in fields and int(fields.rsplit(")", 1)[1].split()[1]) == os.getpid():
                found.append(int(entry.name))
    return found


def test_a_killed_gpg_leaves_no_output(host: GpgCipher, tmp_path: Path):
    with (tmp_path / "large").open("wb") as handle:
        handle.truncate(3000 * MEGABYTE)  # sparse; gpg takes seconds for it
    target = tmp_path / "target.partial"
    caught: list[BackupError] = []

    def encrypt() -> None:
        try:
            host.encrypt(tmp_path / "large", target)
        except BackupError as error:
            caught.append(error)

    thread = threading.Thread(target=encrypt, daemon=True)
    thread.start()
    deadline = time.monotonic() + 300
    while not (target.exists() and target.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    (pid,) = children("gpg")
    os.kill(pid, signal.SIGKILL)
    thread.join(timeout=300)

    assert [error.what for error in caught] == ["gpg was ended by signal 9 before it was done"]
    assert not target.exists()


def test_a_gpg_that_dies_after_half_the_file_leaves_no_output(
    keyrings: Keyrings, plain: Path, tmp_path: Path, nothing_is_left: None
):
    half = program(
        tmp_path / "half", 'case "$*" in *--encrypt*) head -c 1000000 | gpg "$@"; exit 3;; esac; exec gpg "$@"'
    )

    with pytest.raises(EnvironmentFault, match="gpg could not encrypt"):
        GpgCipher((keyrings.lena,), keyrings.host, program=half).encrypt(plain, tmp_path / "target.partial")


@pytest.mark.parametrize("reads_on", ["", "cat > /dev/null;"])
def test_a_gpg_that_encrypts_half_the_file_and_is_content_is_found_out(
    keyrings: Keyrings, plain: Path, tmp_path: Path, nothing_is_left: None, reads_on: str
):
    script = f'case "$*" in *--encrypt*) {{ head -c 1000000; {reads_on} }} | gpg "$@"; exit 0;; esac; exec gpg "$@"'
    liar = program(tmp_path / "liar", script)

    with pytest.raises((EnvironmentFault, DamagedMessage), match=r"ended before it had read all|is damaged"):
        GpgCipher((keyrings.lena,), keyrings.host, program=liar).encrypt(plain, tmp_path / "target.partial")


def test_a_gpg_that_claims_success_without_integrity_is_not_believed(
    keyrings: Keyrings, sealed: Path, tmp_path: Path, nothing_is_left: None
):
    liar = program(tmp_path / "liar", 'gpg "$@" 2>/dev/null; exit 0')
    damaged = flipped(sealed, tmp_path / "damaged", 3 * MEGABYTE)

    with pytest.raises(DamagedMessage, match="damaged is damaged"):
        GpgCipher(homedir=keyrings.vault, program=liar).decrypt(damaged, tmp_path / "target")


def test_a_source_that_cannot_be_read_to_its_end_is_never_taken_for_whole(
    host: GpgCipher, tmp_path: Path, nothing_is_left: None
):
    with pytest.raises(Refused, match="is no regular file"):
        host.encrypt(Path("/dev/zero"), tmp_path / "target.partial")
    # Its first page is not mapped: opening succeeds, reading is an input/output error.
    with pytest.raises(EnvironmentFault, match="could not read mem"):
        host.encrypt(Path("/proc/self/mem"), tmp_path / "target.partial")


def test_content_that_changed_since_it_was_recorded_is_not_encrypted(
    host: GpgCipher, plain: Path, tmp_path: Path, nothing_is_left: None
):
    with pytest.raises(OtherContent, match="is not what was recorded"):
        host.encrypt(plain, tmp_path / "target.partial", sha256_plain=hashlib.sha256(b"before").hexdigest())


def test_a_target_that_does_not_look_incomplete_is_a_mistake(host: GpgCipher, plain: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="does not end in"):
        host.encrypt(plain, tmp_path / "erp4.dump.gpg")


def test_a_partial_name_of_ours_is_taken(host: GpgCipher, plain: Path, tmp_path: Path):
    target = partial_path(tmp_path / "erp4.dump.gpg")

    assert host.encrypt(plain, target).size_cipher == target.stat().st_size
