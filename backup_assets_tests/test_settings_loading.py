from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.errors import SettingsError
from backup_assets.settings_loading import demo_settings, load_settings

A_DATABASE = "databases: {erp4: {server: {host: db}}}\n"


def test_without_any_setting_the_embedded_demo_is_backed_up(tmp_path: Path) -> None:
    settings = load_settings({}, tmp_path)
    assert settings.is_demo
    assert [database.name for database in settings.databases] == ["erp4"]
    assert settings.databases[0].server.embedded
    assert settings.databases[0].dump.content_hashes == "always"
    assert settings.backup_dir == tmp_path / ".backups"


def test_dev_null_in_place_of_the_file_means_that_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "backup.yaml").symlink_to("/dev/null")  # a container has it mounted there

    assert load_settings({}, tmp_path).is_demo


def test_a_directory_in_place_of_the_file_is_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / "backup.yaml").mkdir()

    with pytest.raises(SettingsError, match=r"backup\.yaml"):
        load_settings({}, tmp_path)


def test_the_demo_lives_where_its_variable_says(tmp_path: Path) -> None:
    settings = load_settings(
        {"BACKUP_DEMO_HOME": "here", "BACKUP_DIR": "/store", "APP_ENV": "try", "PG_BIN_DIR": "bin"}, tmp_path
    )
    attachments = settings.databases[0].attachments
    assert attachments is not None
    assert attachments.directory == tmp_path / "here" / "attachments"
    assert (settings.backup_dir, settings.env) == (Path("/store"), "try")
    assert settings.client_bin_dir == tmp_path / "bin"


def test_the_demos_home_comes_from_the_process_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_DEMO_HOME", "/elsewhere")
    attachments = demo_settings(Path("/store")).databases[0].attachments
    assert attachments is not None
    assert attachments.directory == Path("/elsewhere/attachments")


def test_a_file_in_the_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / "backup.yaml").write_text(A_DATABASE)
    settings = load_settings({}, tmp_path)
    assert not settings.is_demo
    assert settings.database("erp4").server.host == "db"


def test_the_named_file_wins_over_the_one_in_the_directory(tmp_path: Path) -> None:
    (tmp_path / "backup.yaml").write_text("not: read")
    (tmp_path / "other.yaml").write_text(A_DATABASE)
    assert load_settings({"BACKUP_CONFIG": "other.yaml"}, tmp_path).database("erp4").server.host == "db"


def test_a_named_file_that_is_missing_is_an_error_and_not_the_demo(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"other\.yaml cannot be read"):
        load_settings({"BACKUP_CONFIG": "other.yaml"}, tmp_path)


def test_variables_of_a_database_are_read_without_a_file(tmp_path: Path) -> None:
    assert load_settings({"DB_NAME": "crm"}, tmp_path).database("crm").database == "crm"


@pytest.mark.parametrize("name", ["DB_NAME", "DB_HOST", "DB_CONTAINER", "DB_PASSWORD", "ASSET_DIR", "BACKUP_SCHEDULE"])
def test_a_file_and_a_databases_variables_at_once_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "backup.yaml").write_text(A_DATABASE)
    with pytest.raises(SettingsError, match=f"both backup.yaml and {name}") as refusal:
        load_settings({name: "hunter2"}, tmp_path)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("name", ["DB_USER", "DB_PASSWORD", "ASSET_DIR", "IMPORTANT_TABLES", "PDF_PROVIDER"])
def test_half_of_a_configuration_does_not_start_the_demo(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} would configure a database"):
        load_settings({name: "x"}, tmp_path)


@pytest.mark.parametrize("name", ["ALERT_URLS", "HEARTBEAT_URL"])
def test_who_relies_on_being_told_gets_the_demo_only_by_asking_for_it(tmp_path: Path, name: str) -> None:
    told = {name: "https://hooks.example/a-token"}

    with pytest.raises(SettingsError, match=f"to be told .{name}., but no database") as refusal:
        load_settings(told, tmp_path)

    assert str(tmp_path) in refusal.value.why
    assert "a-token" not in str(refusal.value)
    assert load_settings({**told, "BACKUP_DEMO_HOME": "var/demo"}, tmp_path).is_demo
    assert not load_settings({**told, "DB_NAME": "erp4"}, tmp_path).is_demo
    assert load_settings({"REPORT_LANGUAGE": "ja"}, tmp_path).is_demo


def test_a_misspelled_variable_does_not_start_the_demo(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="DB_HSOT is unknown; did you mean DB_HOST"):
        load_settings({"DB_HSOT": "db"}, tmp_path)


def test_empty_variables_count_as_unset(tmp_path: Path) -> None:
    assert load_settings({"DB_NAME": "", "DB_HOST": " ", "BACKUP_DIR": "", "DB_HSOT": ""}, tmp_path).is_demo


def test_the_demo_has_a_store_for_each_of_two_regions(tmp_path: Path) -> None:
    tokyo, osaka = load_settings({}, tmp_path).stores
    assert (tokyo.name, tokyo.region, tokyo.copied_from) == ("tokyo", "ap-northeast-1", None)
    assert (osaka.name, osaka.region, osaka.copied_from) == ("osaka", "ap-northeast-3", "tokyo")
    assert tokyo.embedded == osaka.embedded == tmp_path / "var" / "demo"


def test_variables_of_stores_apply_to_the_demo_too(tmp_path: Path) -> None:
    settings = load_settings({"FOLDER_COPY_DIR": "usb"}, tmp_path)
    assert settings.is_demo
    assert [store.name for store in settings.stores] == ["tokyo", "osaka", "folder"]
    assert settings.stores[2].directory == tmp_path / "usb"
    with pytest.raises(SettingsError, match="S3_BUCKET: missing"):
        load_settings({"SSE_S3": "AES256"}, tmp_path)
