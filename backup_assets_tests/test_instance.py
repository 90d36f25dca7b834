from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.instance import PACKAGED_CONFIG, dagster_home, dagster_instance

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
