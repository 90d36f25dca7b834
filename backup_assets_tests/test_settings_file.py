from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from backup_assets.errors import SettingsError
from backup_assets.settings import Settings
from backup_assets.settings_file import LARGEST_FILE_BYTES, read_settings_file


def read(directory: Path, text: str, environment: dict[str, str] | None = None) -> Settings:
    path = directory / "backup.yaml"
    path.write_text(text)
    return read_settings_file(path, environment or {}, directory)


def mistakes(directory: Path, text: str, environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as error:
        read(directory, text, environment)
    return error.value.what.splitlines()


def test_every_mistake_is_reported_with_its_line(tmp_path: Path) -> None:
    text = """\
env: pro duction
databases:
  erp4:
    tier: importent
    server:
      prot: 5432
      port: many
  crm:
    schedule: {timezone: Asia/Tokio}
    dump:
      jobs: 0
"""
    found = mistakes(tmp_path, text)
    assert found[0] == "6 mistakes in backup.yaml:"
    assert [line.split(": ", 2)[:2] for line in found[1:]] == [
        ["backup.yaml:1", "env"],
        ["backup.yaml:4", "databases.erp4.tier"],
        ["backup.yaml:6", "databases.erp4.server.prot"],
        ["backup.yaml:7", "databases.erp4.server.port"],
        ["backup.yaml:9", "databases.crm.schedule.timezone"],
        ["backup.yaml:11", "databases.crm.dump.jobs"],
    ]
    assert "found 'importent'; expected one of important, ordinary; did you mean important?" in found[2]
    assert "unknown field; did you mean port?" in found[3]
    assert "did you mean Asia/Tokyo?" in found[5]


def test_relative_paths_count_from_the_files_directory(tmp_path: Path) -> None:
    (tmp_path / "pdf").mkdir()
    (tmp_path / "check.sql").touch()
    settings = read(tmp_path, "databases: {erp4: {attachments: {directory: pdf}, integrity_sql: check.sql}}")
    erp4 = settings.database("erp4")
    assert erp4.attachments is not None
    assert erp4.attachments.directory == tmp_path / "pdf"
    assert erp4.integrity_sql == tmp_path / "check.sql"
    assert settings.backup_dir == tmp_path / ".backups"


@pytest.mark.parametrize("at", ["12:30", "02:00", "'23:59'"])
def test_a_time_of_day_needs_no_quotes(tmp_path: Path, at: str) -> None:
    settings = read(tmp_path, f"databases: {{erp4: {{schedule: {{at: {at}}}}}}}")
    assert settings.database("erp4").schedule.at == at.strip("'")


def test_words_and_dates_are_what_they_look_like(tmp_path: Path) -> None:
    settings = read(tmp_path, "databases: {erp4: {database: no, schedule: {since: 2026-11-22}}}")
    assert settings.database("erp4").database == "no"
    assert settings.database("erp4").schedule.since == date(2026, 11, 22)


def test_a_number_is_no_name_and_no_day(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "databases: {erp4: {database: 12, schedule: {since: 20261122}}}")
    assert "found 12; expected text: put it in quotes" in found[1]
    assert "expected a day such as 2026-11-22" in found[2]


def test_a_field_written_twice_is_an_error(tmp_path: Path) -> None:
    text = "databases:\n  erp4:\n    tier: ordinary\n    tier: important\n"
    assert mistakes(tmp_path, text) == ["backup.yaml:4: databases.erp4.tier: written twice; first on line 3"]


def test_a_database_written_twice_is_an_error(tmp_path: Path) -> None:
    assert "erp4: written twice; first on line 2" in mistakes(tmp_path, "databases:\n  erp4: {}\n  erp4: {}\n")[0]


def test_an_alias_repeats_a_part(tmp_path: Path) -> None:
    settings = read(tmp_path, "databases: {erp4: {schedule: &night {every: 6h}}, crm: {schedule: *night}}")
    assert settings.database("crm").schedule.every == "6h"


@pytest.mark.parametrize(
    "text",
    [
        "databases: &a {erp4: *a}",
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcde", "bcdef", strict=True)),
    ],
    ids=["contains_itself", "grows_exponentially"],
)
def test_a_file_that_unfolds_without_end_is_refused(tmp_path: Path, text: str) -> None:
    assert mistakes(tmp_path, text) == ["the settings unfold without end"]


@pytest.mark.parametrize(
    "text",
    [
        "password: hunter2hunter2",
        "password: [hunter2hunter2]",
        "password: {env: hunter2hunter2}",
        "password: {env: MISSING, file: hunter2hunter2}",
        "password: {value: hunter2hunter2}",
        "password: *hunter2hunter2",
        "password: !hunter2hunter2 x",
        "password: !!hunter2hunter2 x",
        "password: &hunter2hunter2",
        "password: %hunter2hunter2",
        "password: 'hunter2hunter2",
        "password: hunter2hunter2: x",
        "passwort: hunter2hunter2",
        "host: postgres://u:hunter2hunter2@db/x",
        "sslmode: postgres://u:hunter2hunter2@db/x",
    ],
)
def test_a_password_in_the_file_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError) as error:
        read(tmp_path, f"databases:\n  erp4:\n    server:\n      {text}\n")
    assert "hunter2" not in str(error.value)
    assert error.value.what.startswith("backup.yaml:") or "mistakes" in error.value.what


def test_a_connection_string_in_place_of_a_part_is_not_repeated(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "databases: {erp4: {server: 'postgres://u:hunter2@db/x', database: 'password=hunter2'}}")
    assert len(found) == 3
    assert "hunter2" not in "".join(found)


def test_a_password_comes_from_a_variable(tmp_path: Path) -> None:
    text = "databases: {erp4: {server: {password: {env: DB_PASSWORD}}}}"
    settings = read(tmp_path, text, {"DB_PASSWORD": " hunter2 "})
    password = settings.database("erp4").server.password
    assert password is not None
    assert password.get_secret_value() == " hunter2 "
    assert "hunter2" not in repr(settings) + settings.model_dump_json()


def test_a_password_comes_from_the_one_line_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("hunter2\n")
    settings = read(tmp_path, "databases: {erp4: {verification: {scratch: {password: {file: pw}}}}}")
    scratch = settings.database("erp4").verification.scratch
    assert scratch is not None
    assert scratch.password is not None
    assert scratch.password.get_secret_value() == "hunter2"


def test_a_variable_that_should_hold_a_password_but_is_not_set_is_named(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "databases: {erp4: {server: {password: {env: ERP4_PASSWORD}}}}")
    (mistake,) = found
    assert mistake.startswith("backup.yaml:1: databases.erp4.server.password: ")
    assert "ERP4_PASSWORD" in mistake


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), (b"", "one line"), (b"a\nb\n", "one line"), (b"\xff\xfe", "not UTF-8")],
)
def test_a_file_that_holds_no_password_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "pw").write_bytes(content)
    found = mistakes(tmp_path, "databases: {erp4: {server: {password: {file: pw}}}}")
    assert said in found[0]
    assert str(tmp_path / "pw") in found[0]


@pytest.mark.parametrize("text", ["", "# nothing\n", "databases:\n", "databases: {}\n", "databases: []\n"])
def test_a_file_without_a_database_is_an_error(tmp_path: Path, text: str) -> None:
    assert "databases: " in mistakes(tmp_path, text)[-1]


@pytest.mark.parametrize(
    ("text", "line"), [("- a\n", 1), ("a: [1\nb: 2\n", 2), ("a: 1\n---\nb: 1\n", 2), ("a: b\n\tc: d\n", 2)]
)
def test_what_is_no_mapping_in_yaml_is_an_error_with_a_line(tmp_path: Path, text: str, line: int) -> None:
    assert mistakes(tmp_path, text)[0].startswith(f"backup.yaml:{line}: ")


def test_bytes_that_are_no_text_are_an_error_with_a_line(tmp_path: Path) -> None:
    path = tmp_path / "backup.yaml"
    path.write_bytes(b"env: x\nname: \xff\n")
    with pytest.raises(SettingsError, match=r"backup\.yaml:2: not UTF-8"):
        read_settings_file(path, {}, tmp_path)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    assert "larger than" in mistakes(tmp_path, "#" * (LARGEST_FILE_BYTES + 1))[0]


def test_a_directory_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings_file(tmp_path, {}, tmp_path)


@pytest.mark.parametrize("field", ["is_demo: true", "databases: {erp4: {server: {embedded: true}}}"])
def test_only_the_demo_is_embedded(tmp_path: Path, field: str) -> None:
    assert any("only the demo sets this" in line for line in mistakes(tmp_path, field))


def test_a_name_below_the_database_is_refused(tmp_path: Path) -> None:
    assert "the name is the key" in mistakes(tmp_path, "databases: {erp4: {name: crm}}")[0]


def test_a_name_that_makes_no_asset_key_is_refused(tmp_path: Path) -> None:
    assert "databases.Erp-4: found 'Erp-4'" in mistakes(tmp_path, "databases:\n  Erp-4: {}\n")[0]


def test_variables_of_everything_complete_a_silent_file(tmp_path: Path) -> None:
    settings = read(tmp_path, "databases: {erp4: {}}", {"BACKUP_DIR": "/store", "APP_ENV": "production"})
    assert (settings.backup_dir, settings.env) == (Path("/store"), "production")


def test_a_variable_that_contradicts_the_file_is_refused(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "env: staging\ndatabases: {erp4: {}}", {"APP_ENV": "production"})
    assert found == ["backup.yaml:1: env: the environment variable APP_ENV sets this too; unset it or remove the field"]


def test_a_wrong_variable_is_named_and_not_a_line_of_the_file(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "databases: {erp4: {}}", {"APP_ENV": "a b"})[0].startswith("APP_ENV: found 'a b'")


def test_stores_are_read_by_name_with_paths_from_the_files_directory(tmp_path: Path) -> None:
    text = "databases: {erp4: {}}\nstores:\n  usb: {kind: folder, directory: usb}\n"
    (store,) = read(tmp_path, text).stores
    assert (store.name, store.kind, store.directory) == ("usb", "folder", tmp_path / "usb")


def test_every_mistake_of_a_store_has_its_line(tmp_path: Path) -> None:
    text = """\
databases: {erp4: {}}
stores:
  Usb: {kind: folder, directory: /usb}
  far:
    kind: s4
  bucket:
    kind: s3
    bukket: x
    sse_s3: AES256
"""
    found = mistakes(tmp_path, text)[1:]
    assert [line.split(": ", 2)[:2] for line in found] == [
        ["backup.yaml:3", "stores.Usb"],
        ["backup.yaml:5", "stores.far.kind"],
        ["backup.yaml:6", "stores.bucket.bucket"],
        ["backup.yaml:8", "stores.bucket.bukket"],
    ]
    assert "did you mean bucket?" in found[3]


def test_variables_of_stores_complete_a_file_that_is_silent_about_them(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "backup.yaml").write_text("databases: {erp4: {}}")
    settings = read_settings_file(tmp_path / "etc" / "backup.yaml", {"FOLDER_COPY_DIR": "usb"}, tmp_path)
    assert [(store.name, store.directory) for store in settings.stores] == [("folder", tmp_path / "usb")]


def test_stores_in_the_file_and_in_variables_are_refused(tmp_path: Path) -> None:
    text = "databases: {erp4: {}}\nstores: {usb: {kind: folder, directory: /usb}}\n"
    (mistake,) = mistakes(tmp_path, text, {"S3_BUCKET": "b", "SSE_S3": "AES256"})
    assert mistake.startswith("backup.yaml:2: stores: the environment sets stores too (S3_BUCKET, SSE_S3)")
