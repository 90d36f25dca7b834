from __future__ import annotations

import stat
from pathlib import Path

import pytest

from backup_assets.errors import EnvironmentFault
from backup_assets.settings_watch import WatchSettings
from backup_assets.watch.reporting import write_report
from backup_assets_tests.watch.months import MONTH, NOW, Place, an_october


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return an_october(tmp_path)


def test_a_report_lies_below_the_local_store_and_is_private(place: Place):
    written = write_report(place.database, place.settings, MONTH, NOW)

    assert written.path == place.local / "reports" / "prod" / "erp4" / "2026-10.en.html"
    assert stat.S_IMODE(written.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(written.path.parent.stat().st_mode) == 0o700
    assert written.path.read_text(encoding="utf-8") == written.page.html


def test_a_report_that_is_made_again_replaces_the_earlier_one_and_leaves_nothing_else(place: Place):
    first = write_report(place.database, place.settings, MONTH, NOW)
    first.path.write_text("an earlier one")

    again = write_report(place.database, place.settings, MONTH, NOW)

    assert again.path.read_text(encoding="utf-8") == again.page.html
    assert list(first.path.parent.iterdir()) == [first.path]


def test_the_language_is_that_of_the_settings_unless_another_is_asked_for(place: Place):
    japanese = place.settings.model_copy(update={"watch": WatchSettings(language="ja")})

    assert write_report(place.database, japanese, MONTH, NOW).path.name == "2026-10.ja.html"
    assert write_report(place.database, japanese, MONTH, NOW, language="en").path.name == "2026-10.en.html"


def test_reports_are_no_part_of_any_listing(place: Place):
    write_report(place.database, place.settings, MONTH, NOW)

    assert place.report().count("verified") == 31


def test_a_file_that_cannot_be_written_is_one_clear_message(place: Place, tmp_path: Path):
    with pytest.raises(EnvironmentFault) as raised:
        write_report(place.database, place.settings, MONTH, NOW, output=tmp_path / "nowhere" / "report.html")

    assert "nowhere" in raised.value.what
    assert "--output" in raised.value.remedy
