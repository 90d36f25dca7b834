from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.definitions.freshness import TimeWindowFreshnessPolicy

from backup_assets.definitions import build_definitions
from backup_assets.settings import Settings
from backup_assets.settings_loading import demo_settings
from backup_assets.settings_watch import ObjectivesSettings
from backup_assets_tests.watch.stores_at_work import a_folder, settings_of

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def windows(settings: Settings) -> dict[str, timedelta]:
    """Return after how long each asset turns red."""
    graph = build_definitions(settings, NOW).resolve_asset_graph()
    found = {}
    for key in graph.get_all_asset_keys():
        policy = graph.get(key).freshness_policy
        if isinstance(policy, TimeWindowFreshnessPolicy):
            found[key.path[-1]] = policy.fail_window.to_timedelta()
    return found


def test_every_asset_turns_red_when_its_promise_is_broken(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"), objectives=ObjectivesSettings(rpo_hours=6))
    found = windows(settings)
    assert found["db_dump"] == found["globals"] == found["metadata"] == timedelta(hours=7)
    assert found["folder_copy"] == timedelta(hours=8)
    assert "postgres" not in found


def test_the_weekly_sets_have_a_week(tmp_path: Path):
    settings = settings_of(tmp_path, a_folder(tmp_path, "usb"), important_tables=("invoices",))
    found = windows(settings)
    assert found["important_tables"] == timedelta(days=7, hours=1)
    assert found["important_tables_folder_copy"] == timedelta(days=7, hours=2)


def test_the_demo_promises_nothing(tmp_path: Path):
    assert windows(demo_settings(tmp_path / "backups", tmp_path / "demo")) == {}


def test_definitions_with_policies_can_be_loaded(tmp_path: Path):
    dg.Definitions.validate_loadable(build_definitions(settings_of(tmp_path), NOW))
