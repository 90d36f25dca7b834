from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.errors import SettingsError
from backup_assets.settings_loading import load_settings
from backup_assets.settings_misspelled import COMMAND_VARIABLES, refuse_misspelled
from backup_assets.settings_variables import VARIABLES


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DB_PASWORD", "DB_PASSWORD"),
        ("DB_PASS", "DB_PASSWORD"),
        ("DB_USERNAME", "DB_USER"),
        ("DB_HSOT", "DB_HOST"),
        ("DB_SSL_MODE", "DB_SSLMODE"),
        ("db_host", "DB_HOST"),
        ("BACKUP_DIRECTORY", "BACKUP_DIR"),
        ("BACKUP_SCHEDUL", "BACKUP_SCHEDULE"),
        ("BACKUP_TIME_ZONE", "BACKUP_TIMEZONE"),
        ("GPG_RECIPIENTS", "GPG_RECIPIENT"),
        ("GPG_RECEPIENT", "GPG_RECIPIENT"),
        ("AGE_RECIPIENTS", "AGE_RECIPIENT"),
        ("KEEP_PLAINS", "KEEP_PLAIN"),
        ("RETENTION_APPLIED", "RETENTION_APPLY"),
        ("RETENTON_APPLY", "RETENTION_APPLY"),
        ("RETENTION_DAYS", "RETENTION_DAILY"),
        ("REMOTE_KEEPDAYS", "REMOTE_KEEP_DAYS"),
        ("REMOTE_HOTS", "REMOTE_HOST"),
        ("FOLDER_COPY_DIRECTORY", "FOLDER_COPY_DIR"),
        ("S3_BUCKETS", "S3_BUCKET"),
        ("S3_COPY_BUKET", "S3_COPY_BUCKET"),
        ("SSE_KMS_KEY", "SSE_KMS_KEY_ID"),
        ("SECRET_FILE", "SECRET_FILES"),
        ("ASSETS_DIR", "ASSET_DIR"),
        ("ALERT_URL", "ALERT_URLS"),
        ("HEARTBEAT_URLS", "HEARTBEAT_URL"),
        ("gpg_recipient", "GPG_RECIPIENT"),
    ],
)
def test_a_misspelled_variable_is_reported_with_the_one_that_is_meant(name: str, meant: str) -> None:
    with pytest.raises(SettingsError) as error:
        refuse_misspelled({name: "hunter2"})
    assert f"{name} is unknown; did you mean {meant}?" in error.value.what
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("meant", ["", "erp"])
def test_a_variable_of_another_program_is_let_be_where_the_one_that_it_resembles_is_set_too(meant: str) -> None:
    with pytest.raises(SettingsError, match=r"set what is meant too.*: DB_USER=$"):
        refuse_misspelled({"DB_USERNAME": "app"})
    refuse_misspelled({"DB_USERNAME": "app", "DB_USER": meant})
    with pytest.raises(SettingsError, match="did you mean DB_HOST"):
        refuse_misspelled({"DB_USERNAME": "app", "DB_USER": meant, "DB_HSOT": "erp"})


@pytest.mark.parametrize(
    "name",
    [
        "DB_POOL_SIZE",
        "DB_HOST_REPLICA",
        "DB_HOST_2",
        "DB_PORT_5432_TCP",
        "AWS_ENDPOINT_URL",
        "AWS_S3_ENDPOINT_URL",
        "BACKUP_FILE",
        "BACKUP_ASSETS_FILE",
        "PATH",
        "DB_X",
        "GPG_TTY",
        "GPG_KEY",
        "GPG_AGENT_INFO",
        "GPG_PASSPHRASE",
        "REMOTE_ADDR",
        "REMOTE_CONTAINERS",
        "S3_ENDPOINT",
        "S3_ACCESS_KEY",
        "S3_BUCKET_NAME",
        "S3_BACKUP_BUCKET",
        "SECRET_KEY_BASE",
        "APP_NAME",
        "AWS_PROFILE",
        "ASSET_HOST",
        "PG_MAJOR",
        "PGHOST",
        "RETENTION_POLICY",
        "SCHEMA_REGISTRY_URL",
        "DAGSTER_HOME",
        "DAGSTER_PG_URL",
        "BACKUP_INSTANCE",
        "RESTORE_CONFIRM",
    ],
)
def test_variables_of_others_are_left_alone(name: str) -> None:
    refuse_misspelled({name: "x"})


def test_no_variable_of_ours_is_taken_for_another_one() -> None:
    refuse_misspelled(dict.fromkeys((*(variable.name for variable in VARIABLES), *COMMAND_VARIABLES), "x"))


def test_a_variable_without_a_value_is_not_reported() -> None:
    refuse_misspelled({"GPG_RECIPIENTS": ""})


def test_settings_are_not_read_beside_a_misspelling(tmp_path: Path) -> None:
    """With either of these no set would be encrypted, or retention would delete."""
    for name in ("GPG_RECIPIENTS", "RETENTION_APPLIED"):
        with pytest.raises(SettingsError, match=f"{name} is unknown"):
            load_settings({"DB_NAME": "erp4", name: "false"}, tmp_path)


def test_a_variable_that_a_file_takes_a_secret_from_may_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "backup.yaml").write_text(
        "databases: {erp4: {server: {password: {env: REMOTE_HOSTS}}}}\n", encoding="utf-8"
    )
    assert load_settings({"REMOTE_HOSTS": "words"}, tmp_path).databases[0].name == "erp4"
