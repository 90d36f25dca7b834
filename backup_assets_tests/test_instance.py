from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from backup_assets.errors import EnvironmentFault, Refused, SettingsError
from backup_assets.instance import KINDS, PACKAGED_CONFIG, dagster_home, dagster_instance, instance_config

TOP_LEVEL = Path(__file__).parent.parent / "dagster.yaml"


@pytest.fixture(autouse=True)
def a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # Set first, so that what the code sets is taken back with it.
    monkeypatch.setenv("DAGSTER_HOME", "")
    return tmp_path


def test_the_packaged_settings_are_those_of_the_repository() -> None:
    assert PACKAGED_CONFIG.read_bytes() == TOP_LEVEL.read_bytes()


def test_the_default_home_is_made_with_the_packaged_settings(a_directory: Path) -> None:
    home = dagster_home()
    assert home == a_directory / "var" / "dagster"
    assert (home / "dagster.yaml").read_bytes() == PACKAGED_CONFIG.read_bytes()
    assert home.stat().st_mode & 0o777 == 0o700
    assert dagster_home() == home


def test_the_settings_of_the_directory_are_followed_when_they_change(a_directory: Path) -> None:
    for text in ("telemetry: {enabled: false}\n", "telemetry: {enabled: false}\nnux: {enabled: false}\n"):
        (a_directory / "dagster.yaml").write_text(text)
        assert (dagster_home() / "dagster.yaml").read_text() == text


def test_settings_edited_in_the_home_stay_where_the_directory_has_none() -> None:
    own = dagster_home() / "dagster.yaml"
    own.write_text("nux: {enabled: false}\n")
    assert (dagster_home() / "dagster.yaml").read_text() == "nux: {enabled: false}\n"


def test_a_home_that_the_environment_names_is_left_as_it_is(a_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = a_directory / "theirs"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    assert dagster_home() == home
    assert list(home.iterdir()) == []


def test_a_named_home_that_does_not_exist_is_made_with_settings(
    a_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(a_directory / "new"))
    assert (dagster_home() / "dagster.yaml").read_bytes() == PACKAGED_CONFIG.read_bytes()


def test_a_relative_home_is_refused_with_the_absolute_one(a_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "var/home")
    with pytest.raises(Refused) as refused:
        dagster_home()
    assert str(a_directory / "var" / "home") in refused.value.remedy


def test_a_home_that_is_a_file_is_told(a_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (a_directory / "file").touch()
    monkeypatch.setenv("DAGSTER_HOME", str(a_directory / "file"))
    with pytest.raises(EnvironmentFault, match="cannot be used"):
        dagster_home()


def test_dagster_accepts_the_packaged_settings() -> None:
    with dagster_instance() as instance:
        assert instance.run_monitoring_enabled
        assert not instance.telemetry_enabled


URL = "postgresql+psycopg2://dagster@db/dagster"


class Anything(dict[str, str]):
    """An environment in which every variable is set."""

    def __missing__(self, name: str) -> str:
        return URL if name == "DAGSTER_PG_URL" else "x"

    def get(self, name: str, default: object = None) -> str:  # type: ignore[override]  # noqa: ARG002 - as the base has it
        return self[name]


def test_an_unknown_kind_of_instance_is_refused_with_the_one_that_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_INSTANCE", "postgre")
    with pytest.raises(SettingsError) as caught:
        dagster_home()
    assert "BACKUP_INSTANCE=postgres" in caught.value.remedy


@pytest.mark.parametrize("kind", KINDS[1:])
def test_no_kind_goes_on_with_a_run_in_its_middle(kind: str) -> None:
    settings = yaml.safe_load(instance_config(kind, Anything()))
    assert settings["run_monitoring"]["max_resume_run_attempts"] == 0
    assert settings["run_monitoring"]["max_runtime_seconds"] > 0
    assert settings["concurrency"]["pools"] == {"default_limit": 1, "granularity": "run"}
    assert settings["retention"]["schedule"]["purge_after_days"] > 0


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_driver_that_cannot_write_events_is_refused(kind: str) -> None:
    with pytest.raises(SettingsError) as caught:
        instance_config(kind, Anything({"DAGSTER_PG_URL": "postgresql://dagster:s3cret@db/dagster"}))
    assert "postgresql+psycopg2://" in caught.value.what
    assert "s3cret" not in str(caught.value)


def test_a_launcher_that_is_not_installed_is_told_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backup_assets.instance.find_spec", lambda _: None)
    with pytest.raises(EnvironmentFault) as caught:
        instance_config("kubernetes", Anything())
    assert "backup-assets[kubernetes]" in caught.value.remedy


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_kind_names_every_variable_that_it_needs(kind: str) -> None:
    with pytest.raises(SettingsError) as caught:
        instance_config(kind, {"DAGSTER_PG_URL": ""})
    assert "DAGSTER_PG_URL" in caught.value.what


def test_the_first_kind_is_the_default() -> None:
    assert instance_config("sqlite", {}) == PACKAGED_CONFIG.read_bytes()


def test_a_kind_keeps_the_common_settings_and_follows_the_variable(
    a_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(a_directory / "home"))
    dagster_home()
    monkeypatch.setenv("BACKUP_INSTANCE", "postgres")
    monkeypatch.setenv("DAGSTER_PG_URL", URL)

    made = (dagster_home() / "dagster.yaml").read_bytes()

    common, settings = yaml.safe_load(PACKAGED_CONFIG.read_bytes()), yaml.safe_load(made)
    assert settings == {**common, "storage": {"postgres": {"postgres_url": {"env": "DAGSTER_PG_URL"}}}}
    monkeypatch.setenv("BACKUP_INSTANCE", "sqlite")
    assert (dagster_home() / "dagster.yaml").read_bytes() == PACKAGED_CONFIG.read_bytes()


def test_a_launcher_of_its_own_takes_the_place_of_the_common_one() -> None:
    made = instance_config("docker", Anything())
    assert made.count(b"\nrun_launcher:") == 1
    settings = yaml.safe_load(made)
    assert settings["run_launcher"]["class"] == "ContainerRunLauncher"
    assert settings["run_launcher"]["config"]["container_kwargs"]["volumes_from"] == ["x"]


def test_no_url_and_no_secret_is_written_to_the_file(a_directory: Path) -> None:
    secret = {"DAGSTER_PG_URL": "postgresql+psycopg2://dagster:s3cret@db/dagster"}
    assert b"s3cret" not in instance_config("postgres", secret)


def test_a_file_of_somebody_elses_is_not_replaced(a_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = a_directory / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("nux: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("BACKUP_INSTANCE", "postgres")
    monkeypatch.setenv("DAGSTER_PG_URL", URL)
    with pytest.raises(Refused, match="may replace"):
        dagster_home()
    assert (home / "dagster.yaml").read_text() == "nux: {enabled: false}\n"
