"""Sets that our own functions encrypted and copied, fetched and restored by the commands of the page alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from backup_assets.capture.request import Captured
from backup_assets.local import local_store, place_of
from backup_assets.named_stores import catalog_in, store_named
from backup_assets.offsite.copies import copy_slot
from backup_assets.offsite.encrypted import encrypt_sets, remove_plain_files
from backup_assets.settings import Settings
from backup_assets.settings_capture import AttachmentsSettings, SecretsSettings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets.settings_stores import StoreSettings
from backup_assets_tests.ciphers.keys import AgeKeys, Keyrings, gpg
from backup_assets_tests.docs.by_hand import (
    CHOICE,
    DECRYPTING,
    FETCHING,
    RESTORE,
    Target,
    TargetOf,
    files_below,
    place,
    wait_until_no_file_is_racy,
)
from backup_assets_tests.end_to_end.stock_tools import content_of
from backup_assets_tests.offsite.copying import flip_a_bit, folder_store
from backup_assets_tests.offsite.test_another_host import host_store
from backup_assets_tests.sources import Source, no_log, proven
from backup_assets_tests.stores.object_server import REGION, ObjectServer, object_server
from backup_assets_tests.stores.ssh_server import SshServer, ssh_server


@pytest.fixture(scope="module")
def a_bucket_server() -> Iterator[ObjectServer]:
    with object_server() as server:
        yield server


@pytest.fixture(scope="module")
def another_host() -> Iterator[SshServer]:
    with ssh_server() as server:
        yield server


@dataclass(frozen=True)
class Elsewhere:
    """A further store as the settings name it, and what a person writes into the page's variables for it."""

    store: StoreSettings
    place: Path
    variables: dict[str, str]


ElsewhereBy = Callable[[str], Elsewhere]


@pytest.fixture
def elsewhere_by(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ElsewhereBy:
    """Return a store from which the page fetches in that way, empty as yet."""

    def by(way: str) -> Elsewhere:
        here = tmp_path / "work" / "here"
        if way == "folder":
            (tmp_path / "usb").mkdir()
            return Elsewhere(folder_store(tmp_path / "usb"), tmp_path / "usb" / "erp4" / "local", {})
        if way == "rsync":
            server: SshServer = request.getfixturevalue("another_host")
            location = server.location(tmp_path / "there")
            shell = f"ssh -p {location.port} -i {location.ssh_key} -o UserKnownHostsFile={location.known_hosts}"
            remote = f"{location.target}:{location.root}/erp4/local"
            return Elsewhere(host_store(server, tmp_path / "there"), here, {"REMOTE": remote, "RSYNC_RSH": shell})
        objects: ObjectServer = request.getfixturevalue("a_bucket_server")
        bucket, writer, reader = objects.bucket(), objects.credentials("admin"), objects.credentials("reader")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", writer.access_key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", writer.secret_access_key)
        store = StoreSettings(
            name="s3", kind="s3", bucket=bucket, prefix="offsite", region=REGION, endpoint_url=objects.url,
            addressing_style="path", sse_s3="AES256",
        )  # fmt: skip
        variables = {
            "ENDPOINT": objects.url,
            "REGION": REGION,
            "BUCKET": bucket,
            "KEYS": "offsite/erp4/local",
            "AWS_ACCESS_KEY_ID": reader.access_key_id,
            "AWS_SECRET_ACCESS_KEY": reader.secret_access_key,
        }
        return Elsewhere(store, here, variables)

    return by


@dataclass(frozen=True)
class Encryption:
    """To whom the host encrypts, the file of a private key that opens it, and one that does not."""

    settings: EncryptionSettings
    key: Path
    other_key: Path


EncryptionWith = Callable[[str], Encryption]


@pytest.fixture
def encryption_with(request: pytest.FixtureRequest, tmp_path: Path) -> EncryptionWith:
    """Return keys of that cipher, the private ones as they come from a vault."""

    def of(cipher: str) -> Encryption:
        if cipher == "age":
            keys: AgeKeys = request.getfixturevalue("age_keys")
            settings = EncryptionSettings(cipher="age", recipients=(keys.lena,))
            return Encryption(settings, keys.lena_file, keys.rob_file)
        rings: Keyrings = request.getfixturevalue("keyrings")
        paths = []
        for name, home in (("lena", rings.lena_home), ("rob", rings.rob_home)):
            paths.append(tmp_path / f"{name}.asc")
            paths[-1].write_bytes(gpg(home, "--armor", "--export-secret-keys"))
        settings = EncryptionSettings(recipients=(rings.lena, rings.locked), gpg_homedir=rings.host)
        return Encryption(settings, *paths)

    return of


@dataclass(frozen=True)
class Kept:
    """A live database with attachments, and its differential set in a store, encrypted or not."""

    source: Source
    settings: Settings
    attachments: Path
    newest: Captured


KeptIn = Callable[..., Kept]


@pytest.fixture
def kept_in(a_database: Source, an_attachments_directory: Path, tmp_path: Path) -> KeptIn:
    def kept(store: StoreSettings | None, encryption: EncryptionSettings | None = None) -> Kept:
        wait_until_no_file_is_racy(an_attachments_directory)
        (tmp_path / ".env").write_text("JWT_SECRET=it\n")
        secrets = SecretsSettings(files=(tmp_path / ".env",)) if encryption else None
        attachments = AttachmentsSettings(directory=an_attachments_directory)
        settings = a_database.settings(attachments=attachments, secrets=secrets).model_copy(
            update={"stores": (store,) if store else (), "encryption": encryption or EncryptionSettings()}
        )
        a_database.captured(settings)
        (an_attachments_directory / "2026" / "gone.pdf").unlink()
        (an_attachments_directory / "2026" / "changed.pdf").write_bytes(b"new and longer")
        newest = a_database.captured(settings)
        assert newest.manifest.needs
        database = settings.databases[0]
        if encryption:
            local = catalog_in(local_store(settings), place_of(database, settings))
            done = encrypt_sets(database, settings, local.sets(), log=no_log)
            assert [one.error for one in done] == [None, None]
        if store:
            target = store_named(settings, store.name, writing=True)
            copied = copy_slot(database, settings, target, newest.manifest.slot, log=no_log)
            assert [one.state for one in copied] == ["copied", "copied"]
        return Kept(a_database, settings, an_attachments_directory, newest)

    return kept


def require_restored(target: Target, kept: Kept, printed: str) -> None:
    assert f"set {kept.newest.manifest.id} of the database {kept.source.name}; " in printed
    assert "public.invoices|1000|t" in printed
    assert content_of(target.database(kept.source.name)) == content_of(kept.source)
    assert files_below(target.work / "attachments") == files_below(kept.attachments)


def ready(target: Target, programs: Sequence[str], variables: dict[str, str]) -> Target:
    target.has(*programs)
    return replace(target, variables={**target.variables, **variables})


@pytest.mark.parametrize("way", FETCHING)
def test_a_plain_set_is_fetched_and_restored_by_the_commands_of_the_page(
    way: str, elsewhere_by: ElsewhereBy, kept_in: KeptIn, target_of: TargetOf
) -> None:
    elsewhere = elsewhere_by(way)
    kept = kept_in(elsewhere.store)
    meta, files, programs = FETCHING[way]
    target = ready(target_of(kept.newest, kept.source.cluster), programs, elsewhere.variables)

    printed = target.must(elsewhere.place, "prepare", *meta, *CHOICE, *files, "checksums", "versions", *RESTORE)

    require_restored(target, kept, printed)


@pytest.mark.parametrize(("way", "cipher"), [("aws", "gpg"), ("curl", "age"), ("rsync", "gpg"), ("folder", "age")])
def test_an_encrypted_set_is_fetched_decrypted_and_restored_by_the_commands_of_the_page(
    way: str, cipher: str, elsewhere_by: ElsewhereBy, encryption_with: EncryptionWith, kept_in: KeptIn,
    target_of: TargetOf,
) -> None:  # fmt: skip
    elsewhere, encryption = elsewhere_by(way), encryption_with(cipher)
    kept = kept_in(elsewhere.store, encryption.settings)
    (meta, files, programs), (decrypting, ciphers) = FETCHING[way], DECRYPTING[cipher]
    variables = {**elsewhere.variables, "KEY": str(encryption.key)}
    target = ready(target_of(kept.newest, kept.source.cluster), (*programs, *ciphers), variables)
    last = ("secrets", "key-end") if cipher == "gpg" else ()

    printed = target.must(
        elsewhere.place, "prepare", *meta, *CHOICE, *files, "checksums", "versions", *decrypting, *CHOICE[3:],
        "checksums", *RESTORE, *last,
    )  # fmt: skip

    require_restored(target, kept, printed)
    assert all(recipient in printed for recipient in encryption.settings.recipients)
    if cipher == "gpg":
        assert (target.work / "secrets" / "files" / ".env").read_text() == "JWT_SECRET=it\n"
        assert not (target.work / "plain").exists()


@pytest.mark.parametrize("cipher", DECRYPTING)
def test_a_local_set_whose_plain_files_are_gone_is_restored_by_the_commands_of_the_page(
    cipher: str, encryption_with: EncryptionWith, kept_in: KeptIn, target_of: TargetOf
) -> None:
    encryption = encryption_with(cipher)
    kept = kept_in(None, encryption.settings)
    for one in catalog_in(local_store(kept.settings), place_of(kept.settings.databases[0], kept.settings)).sets():
        assert proven(kept.settings, replace(kept.newest, manifest=one.manifest)).record.passed
    assert remove_plain_files(kept.settings.databases[0], kept.settings, log=no_log).freed_bytes > 0
    decrypting, ciphers = DECRYPTING[cipher]
    target = ready(target_of(kept.newest, kept.source.cluster), ciphers, {"KEY": str(encryption.key)})

    printed = target.must(
        place(kept.settings), "prepare", *CHOICE[:4], "sums-local", "names", "checksums", *decrypting, *CHOICE[3:],
        "checksums", *RESTORE,
    )  # fmt: skip

    require_restored(target, kept, printed)


@pytest.mark.parametrize(
    ("cipher", "message"),
    [("gpg", "decryption failed: No secret key"), ("age", "no identity matched any of the recipients")],
)
def test_without_a_recipients_key_nothing_is_decrypted_and_the_message_is_one_that_the_page_explains(
    cipher: str, message: str, elsewhere_by: ElsewhereBy, encryption_with: EncryptionWith, kept_in: KeptIn,
    target_of: TargetOf,
) -> None:  # fmt: skip
    elsewhere, encryption = elsewhere_by("folder"), encryption_with(cipher)
    kept = kept_in(elsewhere.store, encryption.settings)
    decrypting, ciphers = DECRYPTING[cipher]
    target = ready(target_of(kept.newest, kept.source.cluster), ciphers, {"KEY": str(encryption.other_key)})

    done = target.run(elsewhere.place, "prepare", *CHOICE, "checksums", *decrypting)

    assert done.returncode != 0
    assert message in done.stderr
    assert {name for name in files_below(target.work / "plain") if not name.startswith("secrets/")} == set()


def test_an_encrypted_file_that_was_cut_off_fails_at_its_checksum_and_if_that_is_skipped_gets_no_name(
    elsewhere_by: ElsewhereBy, encryption_with: EncryptionWith, kept_in: KeptIn, target_of: TargetOf
) -> None:
    elsewhere, encryption = elsewhere_by("folder"), encryption_with("gpg")
    kept = kept_in(elsewhere.store, encryption.settings)
    cut = elsewhere.place / "globals" / f"{kept.newest.manifest.id}.sql.gpg"
    cut.write_bytes(cut.read_bytes()[:-100])
    decrypting, ciphers = DECRYPTING["gpg"]
    target = ready(target_of(kept.newest, kept.source.cluster), ciphers, {"KEY": str(encryption.key)})

    done = target.run(elsewhere.place, "prepare", *CHOICE, "checksums")

    assert done.returncode != 0
    assert f"globals/{kept.newest.manifest.id}.sql.gpg: FAILED" in done.stdout

    done = target.run(elsewhere.place, "prepare", *CHOICE, *decrypting)

    assert done.returncode != 0
    assert not (target.work / "plain" / "globals" / f"{kept.newest.manifest.id}.sql").exists()


def test_what_was_altered_before_it_was_encrypted_fails_at_the_seal_of_the_sets_own_manifest(
    elsewhere_by: ElsewhereBy, encryption_with: EncryptionWith, kept_in: KeptIn, target_of: TargetOf
) -> None:
    elsewhere, encryption = elsewhere_by("folder"), encryption_with("age")
    kept = kept_in(elsewhere.store, encryption.settings)
    decrypting, ciphers = DECRYPTING["age"]
    target = ready(target_of(kept.newest, kept.source.cluster), ciphers, {"KEY": str(encryption.key)})
    target.must(elsewhere.place, "prepare", *CHOICE, "checksums", *decrypting)
    plain = target.work / "plain"
    known = f"ID={kept.newest.manifest.id}; FULL_ID={''.join(kept.newest.manifest.needs)}"

    flip_a_bit(plain / "globals" / f"{kept.newest.manifest.id}.sql")
    done = target.run(plain, *CHOICE[3:], "checksums", before=known)
    assert done.returncode != 0
    assert f"globals/{kept.newest.manifest.id}.sql: FAILED" in done.stdout

    manifest = plain / "meta" / f"{kept.newest.manifest.id}.manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"rows": 1000', b'"rows": 1001'))
    done = target.run(plain, *CHOICE[3:], "checksums", before=known)
    assert done.returncode != 0
    assert "-: FAILED" in done.stdout


@pytest.mark.parametrize("way", ["aws", "curl"])
def test_a_wrong_place_in_the_bucket_is_an_error_and_not_an_empty_list(
    way: str, elsewhere_by: ElsewhereBy, kept_in: KeptIn, target_of: TargetOf
) -> None:
    elsewhere = elsewhere_by(way)
    kept = kept_in(elsewhere.store)
    meta, _, programs = FETCHING[way]
    wrong = {**elsewhere.variables, "KEYS": "offsite/erp5/local"}
    target = ready(target_of(kept.newest, kept.source.cluster), programs, wrong)

    assert target.run(elsewhere.place, "prepare", *meta).returncode != 0


def test_curl_fetches_more_manifests_than_one_list_has(
    elsewhere_by: ElsewhereBy, kept_in: KeptIn, target_of: TargetOf, a_bucket_server: ObjectServer
) -> None:
    elsewhere = elsewhere_by("curl")
    kept = kept_in(elsewhere.store)
    target = ready(target_of(kept.newest, kept.source.cluster), ("curl",), elsewhere.variables)
    client = a_bucket_server.client()
    names = {f"2026-01-01-20260101T000000Z-{number:08x}.manifest.json" for number in range(1001)}
    for name in names:
        client.put_object(Bucket=elsewhere.variables["BUCKET"], Key=f"offsite/erp4/local/meta/{name}", Body=b"{}")

    target.must(elsewhere.place, "prepare", "curl-meta")

    found = {path.name for path in (elsewhere.place / "meta").iterdir()}
    assert names < found
    assert f"{kept.newest.manifest.id}.manifest.json" in found
    assert (target.work / "curl").stat().st_mode & 0o777 == 0o600
