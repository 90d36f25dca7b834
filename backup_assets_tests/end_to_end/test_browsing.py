"""A day's work in the browser against `backup-assets dev`; docker/test_compose.py does the same against containers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from playwright.sync_api import Browser

from backup_assets.capture.capture import Capture
from backup_assets.capture.request import CaptureRequest
from backup_assets.demo.erp import ensure_erp
from backup_assets.demo.object_server import stop_demo_object_server
from backup_assets.demo.server import stop_demo_server
from backup_assets.settings_loading import load_settings
from backup_assets_tests.end_to_end.browsing import (
    launch_backfill,
    launch_backup,
    see_checks,
    see_lineage,
    see_partitions,
)
from backup_assets_tests.end_to_end.dagster_ui import DagsterUi, new_page, running_browser, running_ui
from backup_assets_tests.end_to_end.noon import noon_by_default
from backup_assets_tests.midday import TODAY
from backup_assets_tests.sources import no_log, no_progress

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterUi]:
    """The demo with a set of yesterday's slot, which no store but the local one has."""
    directory = tmp_path_factory.mktemp("installation")
    home = directory / "var" / "demo"
    settings = load_settings({}, directory)
    ensure_erp(home, None)
    asked = CaptureRequest(slot=f"{TODAY - timedelta(days=1)}", run_id=str(uuid.uuid4()))
    Capture(settings.databases[0], settings, asked, progress=no_progress, log=no_log).run()
    with running_ui(directory, {"DAGSTER_HOME": "", **noon_by_default(directory / "zones")}) as running:
        yield running
    stop_demo_server(home)
    stop_demo_object_server(home)


@pytest.fixture(scope="module")
def a_browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


def test_a_backup_is_launched_seen_and_its_copies_of_every_slot_are_made_up_for(
    ui: DagsterUi, a_browser: Browser
) -> None:
    page = new_page(a_browser, 2000, 860)

    assert ui.finished(launch_backup(page, ui)) == "SUCCESS"
    see_lineage(page, ui, [(2, 2)], "postgres", "db_dump", "globals", "pdf_archive", "metadata", "s3_upload")
    see_checks(page, ui, "erp4/db_dump", "readable", "restored")
    runs = launch_backfill(page, ui, "erp4/s3_upload")

    assert len(runs) == 2
    assert set(runs.values()) == {"SUCCESS"}
    see_partitions(page, ui, "erp4/s3_upload", 2)
    page.close()
