from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.errors import SettingsError
from backup_assets.restore.drill_choice import drill_store
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_restore import DrillSettings
from backup_assets.settings_stores import StoreSettings

USB = StoreSettings(name="usb", kind="folder", directory=Path("/usb"))
HOST = StoreSettings(name="host", kind="ssh", host="backup", remote_dir="/srv/backups")
TOKYO = StoreSettings(name="tokyo", kind="s3", bucket="tokyo", sse_s3="AES256")
OSAKA = StoreSettings(name="osaka", kind="s3", bucket="osaka", sse_s3="AES256", copied_from="tokyo")


def chosen(*stores: StoreSettings, configured: str | None = None, asked: str | None = None) -> tuple[str, str]:
    database = DatabaseSettings(name="erp4", database="erp4", drill=DrillSettings(store=configured))
    settings = Settings(databases=(database,), stores=stores)
    found = drill_store(database, settings, asked)
    return found.name, found.reason


def test_the_farthest_store_is_drilled_whatever_the_order_of_the_settings():
    nearest_last = [OSAKA, TOKYO, HOST, USB]
    while nearest_last:
        name, reason = chosen(*reversed(nearest_last))
        assert name == nearest_last[0].name
        assert "it is the farthest" in reason
        assert all(store.name in reason for store in nearest_last[1:])
        nearest_last.pop(0)


def test_without_a_further_store_it_is_the_local_one_and_the_reason_says_what_that_means():
    name, reason = chosen()
    assert name == "local"
    assert "a loss of this machine is not rehearsed" in reason


def test_a_configured_store_comes_before_the_farthest_and_what_is_asked_for_before_both():
    assert chosen(USB, TOKYO, configured="usb") == ("usb", "drill.store (DRILL_STORE) names it")
    assert chosen(USB, TOKYO, configured="usb", asked="local") == ("local", "it was asked for")


def test_an_unknown_store_is_refused():
    with pytest.raises(SettingsError, match="there is no store moon"):
        chosen(USB, asked="moon")
