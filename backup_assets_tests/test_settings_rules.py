from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.settings_rules import contradictions


def found(**tree: object) -> list[str]:
    return [f"{'.'.join(str(part) for part in loc)}: {text}" for loc, text in contradictions(tree)]


def database(**fields: object) -> dict[str, object]:
    return {"name": "erp4", **fields}


def test_a_plain_database_contradicts_nothing(tmp_path: Path) -> None:
    assert found(backup_dir=str(tmp_path / "new"), databases=[database(server={"host": "db"})]) == []


@pytest.mark.parametrize(
    ("attachments", "store"), [("data", "data/store"), ("data/pdf", "data"), ("data", "data"), ("link", "data/store")]
)
def test_store_and_attachments_may_not_lie_in_one_another(tmp_path: Path, attachments: str, store: str) -> None:
    (tmp_path / "data" / "pdf").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "data")
    erp4 = database(attachments={"directory": str(tmp_path / attachments)})
    (mistake,) = found(backup_dir=str(tmp_path / store), databases=[erp4])
    assert "lie in one another" in mistake


def test_neighbours_with_a_common_beginning_do_not_lie_in_one_another(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    erp4 = database(attachments={"directory": str(tmp_path / "data")})
    assert found(backup_dir=str(tmp_path / "data-store"), databases=[erp4]) == []


@pytest.mark.parametrize("prefix", ["erp4", "ERP4"])
def test_two_databases_may_not_share_a_folder_of_the_store(prefix: str) -> None:
    (mistake,) = found(databases=[database(), {"name": "crm", "prefix": prefix}])
    assert mistake.startswith("databases.crm.prefix: ")


def test_files_and_directories_that_are_missing_are_named(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    erp4 = database(integrity_sql=gone, server={"sslrootcert": gone})
    mistakes = found(client_bin_dir=gone, databases=[erp4])
    assert len(mistakes) == 3
    assert all(f"{gone} does not exist" in mistake for mistake in mistakes)


def test_what_is_backed_up_may_be_missing_on_a_host_that_only_restores(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    erp4 = database(attachments={"directory": gone}, secrets={"files": [gone]})
    assert found(databases=[erp4], encryption={"recipients": ["A" * 40]}) == []


PRIVATE = "AGE-SECRET-KEY-1QQPQQ9RWLFZ6Q0TA6H0Q4DHZ0H5QZ8YVZ5K2C2Y3L6D0N4J7Q9T8SX"


@pytest.mark.parametrize("key", [PRIVATE, PRIVATE.lower(), f" {PRIVATE}"])
@pytest.mark.parametrize("cipher", ["gpg", "age"])
def test_a_private_key_among_the_recipients_is_refused_by_name_and_never_repeated(cipher: str, key: str) -> None:
    (mistake,) = found(encryption={"cipher": cipher, "recipients": [key]})
    assert mistake.startswith("encryption.recipients: holds a private key")
    assert "age-keygen -y" in mistake
    assert key[20:40] not in mistake


@pytest.mark.parametrize("cipher", ["gpg", "age"])
@pytest.mark.parametrize(
    ("recipient", "shown"),
    [
        ("lena@example.com", "lena@example.com"),
        ("0123 4567 89AB", "0123 4567 89AB"),
        ("correct horse battery", "a text of 21 characters"),
        ("https://lena:pw@example.com", "a text of 27 characters"),
    ],
)
def test_of_a_recipient_that_is_none_only_what_anybody_may_know_is_repeated(
    cipher: str, recipient: str, shown: str
) -> None:
    mistakes = found(encryption={"cipher": cipher, "recipients": [recipient]})
    of_age = [f"encryption.recipients: {shown} is not an `age1…` key, as the cipher is age"]
    assert mistakes == (of_age if cipher == "age" else [])


@pytest.mark.parametrize("field", ["gpg_passphrase_file", "age_identity_file"])
def test_a_secret_in_the_place_of_the_file_that_holds_it_is_not_repeated(field: str, tmp_path: Path) -> None:
    (mistake,) = found(encryption={field: str(tmp_path / PRIVATE)})
    assert mistake == f"encryption.{field}: expected the path of a file; {tmp_path} holds no file of that name"


@pytest.mark.parametrize("field", ["gpg_passphrase_file", "age_identity_file"])
@pytest.mark.parametrize("secret", ["kD93/fjs82+xyz/Qa==", f"# a comment\n{PRIVATE}\n" * 10], ids=["slashes", "long"])
def test_no_part_of_a_secret_in_the_place_of_a_file_is_repeated(field: str, secret: str, tmp_path: Path) -> None:
    (mistake,) = found(encryption={field: str(tmp_path / secret)})
    assert mistake.startswith(f"encryption.{field}: expected the path of a file; ")
    assert not any(part in mistake for part in ("kD93", "AGE-SECRET-KEY"))


@pytest.mark.parametrize("lines", [1, 20])
def test_an_ssh_key_in_the_place_of_its_file_is_not_repeated(lines: int, tmp_path: Path) -> None:
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\n" + "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n" * lines
    store = {"name": "remote", "kind": "ssh", "host": "nas", "remote_dir": "/srv", "ssh_key": str(tmp_path / key)}
    (mistake,) = found(stores=[store])
    assert mistake == f"stores.remote.ssh_key: expected the path of a file; {tmp_path} holds no file of that name"


def test_a_file_where_a_directory_is_needed_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert found(backup_dir=str(tmp_path / "file")) == [f"backup_dir: {tmp_path / 'file'} is not a directory"]


def test_the_systems_certificates_are_no_file() -> None:
    assert found(databases=[database(server={"sslrootcert": "system"})]) == []


def test_a_time_of_day_goes_only_with_a_daily_schedule() -> None:
    assert found(databases=[database(schedule={"at": "02:00"})]) == []
    (mistake,) = found(databases=[database(schedule={"at": "02:00", "every": "6h"})])
    assert mistake.startswith("databases.erp4.schedule.at: only with `every: day`")


def test_a_container_goes_with_no_host_wherever_the_server_is_named() -> None:
    both = {"host": "db", "container": {"name": "pg"}}
    mistakes = found(databases=[database(server=both, verification={"scratch": both})])
    assert [mistake.split(":")[0] for mistake in mistakes] == [
        "databases.erp4.server.container",
        "databases.erp4.verification.scratch.container",
    ]


def folder(name: str, directory: Path, **fields: object) -> dict[str, object]:
    return {"name": name, "kind": "folder", "directory": str(directory), **fields}


def test_copies_may_not_lie_in_the_local_store_nor_in_the_attachments(tmp_path: Path) -> None:
    (tmp_path / "pdf").mkdir()
    erp4 = database(attachments={"directory": str(tmp_path / "pdf")})
    stores = [folder("inside", tmp_path / "store" / "copy"), folder("archived", tmp_path / "pdf" / "copy")]
    mistakes = found(backup_dir=str(tmp_path / "store"), databases=[erp4], stores=stores)
    assert [line.split(":")[0] for line in mistakes] == ["stores.inside.directory", "stores.archived.directory"]


def test_two_stores_at_one_place_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "usb")
    (mistake,) = found(stores=[folder("usb", tmp_path / "usb"), folder("disk", tmp_path / "link")])
    assert mistake.startswith("stores.disk: lies at the same place as the store usb")


def test_with_retention_tags_full_archives_are_not_too_far_apart(tmp_path: Path) -> None:
    def mistakes(days: int, **fields: object) -> list[str]:
        erp4 = database(attachments={"directory": str(tmp_path), "full_every_days": days})
        bucket = {"name": "tokyo", "kind": "s3", "bucket": "b", "sse_s3": "AES256", **fields}
        return found(databases=[erp4], stores=[bucket])

    assert mistakes(30, retention_tags=True) == mistakes(31) == []
    (mistake,) = mistakes(31, retention_tags=True)
    assert mistake.startswith("databases.erp4.attachments.full_every_days: at most 30, as the store tokyo")


def test_the_local_stores_name_is_taken(tmp_path: Path) -> None:
    (mistake,) = found(stores=[folder("local", tmp_path / "usb")])
    assert "choose another name" in mistake


@pytest.mark.parametrize(
    ("store", "field"),
    [
        ({"kind": "folder", "directory": "/usb", "sse_s3": "AES256"}, "sse_s3"),
        ({"kind": "s3", "bucket": "b", "sse_s3": "AES256", "must_be_mount": True}, "must_be_mount"),
        ({"kind": "folder"}, "directory"),
        ({"kind": "s3", "sse_s3": "AES256"}, "bucket"),
    ],
)
def test_a_store_has_the_fields_of_its_kind_and_no_other(store: dict[str, object], field: str) -> None:
    (mistake,) = found(stores=[{"name": "copy", **store}])
    assert mistake.startswith(f"stores.copy.{field}: ")


@pytest.mark.parametrize(
    ("watch", "place"),
    [
        ({"heartbeat": "hc-ping.example/secret-id"}, "watch.heartbeat"),
        ({"ui_url": "dagster.example"}, "watch.ui_url"),
        ({"channels": ["json://fine", "secret-id@example.com"]}, "watch.channels.1"),
    ],
)
def test_addresses_of_the_watch_are_addresses_and_are_not_repeated(watch: dict[str, object], place: str) -> None:
    (mistake,) = found(watch=watch)
    assert mistake.startswith(f"{place}: ")
    assert "secret-id" not in mistake
