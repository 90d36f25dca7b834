from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from backup_assets.demo.object_server import stop_demo_object_server
from backup_assets.demo.server import stop_demo_server
from backup_assets.local import local_store, place_of
from backup_assets.named_stores import catalog_in, store_named
from backup_assets.sets.catalog import Catalog
from backup_assets.settings import Settings
from backup_assets.settings_loading import load_settings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets.slots import Slots
from backup_assets_tests.end_to_end.dagster_ui import (
    LOCATION,
    DagsterUi,
    keep_picture,
    new_page,
    running_browser,
    running_ui,
)
from backup_assets_tests.end_to_end.noon import noon_by_default
from backup_assets_tests.midday import TODAY, ZONE
from backup_assets_tests.sets.examples import proof_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

_CHECKS = """query($k:[AssetKeyInput!]){assetNodes(assetKeys:$k){assetChecksOrError{... on AssetChecks{checks{name
  executionForLatestMaterialization{status partition}}}}}}"""


#: What the launchpad shows at first, and what a person makes of it.
EMPTY = """ops:
  erp4_capture:
    config:
      hold: ''
      hold_until: ''
      label: ''
"""
FILLED_IN = EMPTY.replace("hold: ''", "hold: release 4.2").replace("label: ''", "label: before release 4.2")


@dataclass(frozen=True)
class Installation:
    directory: Path
    settings: Settings
    ui: DagsterUi

    @property
    def slots(self) -> Slots:
        return Slots(ScheduleSettings(timezone=ZONE), TODAY)

    @property
    def slot(self) -> str:
        return self.slots.current_key(datetime.now(UTC))

    @property
    def catalog(self) -> Catalog:
        return Catalog(local_store(self.settings), place_of(self.settings.databases[0], self.settings))


@pytest.fixture(scope="module")
def an_installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The demo as a new user starts it: no settings, `backup-assets dev`, nothing captured yet."""
    directory = tmp_path_factory.mktemp("installation")
    environment = {"DAGSTER_HOME": "", **noon_by_default(directory / "zones")}
    settings = load_settings({}, directory)
    with running_ui(directory, environment) as ui:
        yield Installation(directory, settings, ui)
    stop_demo_server(directory / "var" / "demo")
    stop_demo_object_server(directory / "var" / "demo")


@pytest.fixture(scope="module")
def a_browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def a_backup(an_installation: Installation, a_browser: Browser) -> str:
    """A backup launched in its launchpad with a label and a hold; returns the id of its set."""
    page = new_page(a_browser, 1280, 800)
    run = an_installation.ui.launch_by_hand(page, "erp4_backup_job", an_installation.slot, FILLED_IN)
    assert an_installation.ui.finished(run) == "SUCCESS"
    expect(page.get_by_text("RUN_SUCCESS").first).to_be_visible(timeout=60_000)
    page.close()
    return an_installation.catalog.resolve().id


@pytest.fixture(scope="module")
def a_weekly_set(an_installation: Installation, a_backup: str) -> str:
    slot = an_installation.slots.weekly.current_key(datetime.now(UTC))
    run = an_installation.ui.launch("erp4_important_tables_job", slot)
    assert an_installation.ui.finished(run) == "SUCCESS"
    return an_installation.catalog.resolve(kind="important_tables").id


def test_the_launchpad_of_a_backup_shows_what_can_be_said_of_it(an_installation: Installation) -> None:
    shown = """query($s:PipelineSelector!){runConfigSchemaOrError(selector:$s,mode:"default"){
      ... on RunConfigSchema{rootDefaultYaml}}}"""
    answer = an_installation.ui.ask(shown, s={**LOCATION, "pipelineName": "erp4_backup_job"})
    assert answer["runConfigSchemaOrError"]["rootDefaultYaml"] == EMPTY


def test_a_backup_launched_in_the_ui_leaves_a_proven_set_with_its_label_and_hold(
    an_installation: Installation, a_backup: str
) -> None:
    found = an_installation.catalog.find(a_backup)

    assert found is not None
    assert found.state == "complete"
    assert found.manifest.label == "before release 4.2"
    assert found.manifest.hold is not None
    assert found.manifest.hold.reason == "release 4.2"
    proof = proof_of(found)
    assert proof is not None
    assert proof.content


def test_a_backup_launched_in_the_ui_is_in_both_regions_when_it_ends(
    an_installation: Installation, a_backup: str
) -> None:
    place = place_of(an_installation.settings.databases[0], an_installation.settings)
    for name in ("tokyo", "osaka"):
        found = catalog_in(store_named(an_installation.settings, name), place).find(a_backup)
        assert found is not None
        assert found.state == "complete"


def test_every_check_shows_its_result_in_the_slot(an_installation: Installation, a_backup: str) -> None:
    keys = [{"path": ["erp4", name]} for name in ("db_dump", "globals", "pdf_archive")]
    nodes = an_installation.ui.ask(_CHECKS, k=keys)["assetNodes"]
    shown = {
        check["name"]: check["executionForLatestMaterialization"]
        for node in nodes
        for check in node["assetChecksOrError"]["checks"]
    }

    assert set(shown) == {"readable", "restored", "roles_present", "matches_index", "rows_and_files_agree"}
    assert all(one == {"status": "SUCCEEDED", "partition": an_installation.slot} for one in shown.values()), shown


def test_the_weekly_set_holds_the_rows_of_the_important_tables_only(
    an_installation: Installation, a_weekly_set: str
) -> None:
    found = an_installation.catalog.find(a_weekly_set)

    assert found is not None
    assert proof_of(found) is not None
    tables = {table.name for table in found.manifest.fingerprints.tables}
    assert {"invoices", "invoice_lines"} < tables
    assert "customers" not in tables


def test_the_lineage_view_shows_the_set_as_one_picture(
    an_installation: Installation, a_backup: str, a_weekly_set: str, a_browser: Browser
) -> None:
    page = new_page(a_browser, 2000, 860)
    page.goto(f"{an_installation.ui.url}/locations/backup_assets/asset-groups/erp4/lineage")

    captured = ("postgres", "attachments", "db_dump", "globals", "pdf_archive", "metadata", "important_tables")
    for name in (*captured, "s3_upload", "cross_region_copy", "restore_drill"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible(timeout=60_000)
    # globals and the four copies; db_dump and pdf_archive; important_tables
    for checks, assets in ((1, 5), (2, 2), (3, 1)):
        expect(page.get_by_text(re.compile(f"{checks} / {checks} Passed"))).to_have_count(assets)
    keep_picture(page, "lineage.png")
    page.close()


def test_the_dump_s_page_explains_itself_and_plots_its_size(
    an_installation: Installation, a_backup: str, a_browser: Browser
) -> None:
    page = new_page(a_browser, 1600, 1200)
    page.goto(f"{an_installation.ui.url}/assets/erp4/db_dump?view=overview")

    expect(page.get_by_text("of one exported snapshot").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text(a_backup).first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("size_bytes").first).to_be_visible(timeout=60_000)
    page.close()


def test_a_restore_launched_as_the_launchpad_shows_it_changes_nothing_and_its_page_says_what_it_would_replace(
    an_installation: Installation, a_backup: str, a_browser: Browser
) -> None:
    page = new_page(a_browser, 1600, 1200)
    run = an_installation.ui.launch_by_hand(page, "erp4_restore_job")

    assert an_installation.ui.finished(run) == "FAILURE"
    expect(page.get_by_text("nothing was changed: a restore needs restore_confirm: 1").first).to_be_visible()
    expect(page.get_by_text("would replace: database erp4").first).to_be_visible()
    expect(page.get_by_role("link", name="Open in Launchpad")).to_be_visible()
    page.close()
