from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from backup_assets.local import place_of
from backup_assets.named_stores import catalog_in, store_named
from backup_assets_tests.conftest import ClusterOf
from backup_assets_tests.end_to_end.dagster_ui import (
    LOCATION,
    DagsterUi,
    keep_picture,
    new_page,
    running_browser,
    wait_for,
)
from backup_assets_tests.end_to_end.troubled import DAYS, Troubled, a_troubled_installation
from backup_assets_tests.sources import drop_database, make_database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

BACKFILL_SECONDS = 900.0
SECONDS = 300.0
DATABASE = "the_one_in_trouble"
#: Everything that the pages ask of what is defined, of a run, and of sensors.
_METADATA = """metadataEntries{__typename label description ... on TextMetadataEntry{text} ... on MarkdownMetadataEntry{
  mdStr} ... on JsonMetadataEntry{jsonString} ... on PathMetadataEntry{path} ... on UrlMetadataEntry{url}}"""
_ERROR = "error{message stack causes{message stack}}"
DEFINED = """{assetNodes{assetKey{path} description owners{__typename} METADATA
    configField{configType{recursiveConfigTypes{key description
      ... on CompositeConfigType{fields{name description defaultValueAsJson}}}}}
    assetMaterializations(limit:50){partition description METADATA}
    assetObservations(limit:50){description METADATA}
    assetChecksOrError{... on AssetChecks{checks{name description
      executionForLatestMaterialization{evaluation{description METADATA}}}}}}
  repositoriesOrError{... on RepositoryConnection{nodes{
    jobs{name description METADATA tags{key value} presets{runConfigYaml}}
    schedules{name description scheduleState{ticks(limit:20){skipReason ERROR}}}}}}
  instance{info runLauncher{name}} version}""".replace("METADATA", _METADATA).replace("ERROR", _ERROR)
RUN = """query($i:ID!){runOrError(runId:$i){... on Run{runConfigYaml tags{key value}}}
  logsForRun(runId:$i,limit:1000){... on EventConnection{events{__typename
    ... on MessageEvent{message level stepKey}
    ... on ExecutionStepFailureEvent{ERROR failureMetadata{description METADATA}}
    ... on RunFailureEvent{ERROR}
    ... on DisplayableEvent{label description METADATA}}}}}""".replace("METADATA", _METADATA).replace("ERROR", _ERROR)
SENSORS = """query($r:RepositorySelector!){sensorsOrError(repositorySelector:$r){... on Sensors{results{
  name description sensorState{status ticks(limit:20){
    status skipReason cursor logKey ERROR logEvents{events{message level}}}}}}}}""".replace("ERROR", _ERROR)


@pytest.fixture(scope="module")
def an_installation(tmp_path_factory: pytest.TempPathFactory, cluster_of: ClusterOf) -> Iterator[Troubled]:
    cluster = cluster_of(17)
    make_database(cluster, DATABASE, "CREATE TABLE customers AS SELECT generate_series(1, 100) AS id")
    yield a_troubled_installation(tmp_path_factory.mktemp("troubled"), cluster, DATABASE)
    drop_database(cluster, DATABASE)


@pytest.fixture(scope="module")
def the_ui(an_installation: Troubled) -> Iterator[DagsterUi]:
    with an_installation.running() as ui:
        yield ui


@dataclass(frozen=True)
class Runs:
    """Ids of the runs that are launched at once, because a machine may well look at pages while they work."""

    of_a_damaged_set: str
    of_the_watch: str
    of_a_backup: str
    to_a_bucket_that_is_away: str


@pytest.fixture(scope="module")
def the_runs(the_ui: DagsterUi, an_installation: Troubled) -> Runs:
    slot, old = an_installation.slot(0), an_installation.slot(2)
    return Runs(
        the_ui.materialize(old, checks=[("erp4/db_dump", "restored")]),
        the_ui.launch("erp4_watch_job", slot),
        the_ui.materialize(
            slot,
            "crm/db_dump",
            "crm/globals",
            "crm/metadata",
            checks=[("crm/db_dump", "readable"), ("crm/globals", "roles_present"), ("crm/db_dump", "restored")],
        ),
        the_ui.materialize(old, "erp4/s3_upload", checks=[("erp4/s3_upload", "stored")]),
    )


@pytest.fixture(scope="module")
def a_browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture
def a_page(a_browser: Browser) -> Iterator[Page]:
    page = new_page(a_browser, 1280, 800)
    yield page
    page.close()


def test_a_backfill_of_a_copy_is_launched_on_its_page(
    the_ui: DagsterUi, an_installation: Troubled, a_page: Page
) -> None:
    a_page.goto(f"{the_ui.url}/assets/erp4/folder_copy?view=overview")
    a_page.get_by_role("button", name="Materialize").first.click()
    dialog = a_page.get_by_role("dialog")
    slots = dialog.get_by_role("textbox").first
    slots.fill(f"[{an_installation.slot(max(DAYS))}...{an_installation.slot(min(DAYS))}]")
    slots.press("Enter")
    expect(dialog.get_by_text(f"{len(DAYS)} partitions")).to_be_visible()
    dialog.get_by_role("button", name="Launch").click()

    expect(a_page.get_by_text("Created backfill")).to_be_visible()


@pytest.mark.usefixtures("the_runs")
def test_an_asset_is_red_whose_newest_set_is_older_than_promised(the_ui: DagsterUi, a_page: Page) -> None:
    a_page.goto(f"{the_ui.url}/assets/erp4/metadata?view=overview")

    expect(a_page.get_by_text("Fails if more than 25 hours since last materialization")).to_be_visible()
    expect(a_page.get_by_text("Last materialized 2 days ago")).to_be_visible()
    expect(a_page.get_by_text("Failed", exact=True)).to_have_count(2)


def test_a_missed_slot_is_told_among_the_events_of_the_set(
    the_ui: DagsterUi, an_installation: Troubled, a_page: Page
) -> None:
    missed = an_installation.slot(1)

    def told() -> bool | None:
        a_page.goto(f"{the_ui.url}/assets/erp4/metadata?view=events")
        a_page.get_by_text("Reported").first.wait_for()
        return a_page.get_by_text(f"the slot {missed} was missed").first.is_visible() or None

    wait_for("the sensor's first look", told, SECONDS)
    expect(a_page.get_by_text("a past slot is never filled with today's data").first).to_be_visible()
    keep_picture(a_page, "ui-missed-slot.png")


def test_a_check_is_red_when_a_set_does_not_restore_and_when_a_promise_is_broken(
    the_ui: DagsterUi, the_runs: Runs, a_page: Page
) -> None:
    assert the_ui.finished(the_runs.of_a_damaged_set) == "FAILURE"
    assert the_ui.finished(the_runs.of_the_watch) == "SUCCESS"

    a_page.goto(f"{the_ui.url}/assets/erp4/db_dump?view=checks&checkDetail=restored")
    expect(a_page.get_by_text("1 of 1 sets do not restore").first).to_be_visible()
    expect(a_page.get_by_text("Failed", exact=True).first).to_be_visible()
    a_page.goto(f"{the_ui.url}/assets/erp4/metadata?view=checks&checkDetail=rpo_met")
    expect(a_page.get_by_text("rpo broken").first).to_be_visible()
    a_page.goto(f"{the_ui.url}/assets/erp4/metadata?view=overview")
    expect(a_page.get_by_text("Last materialized 2 days ago")).to_be_visible()
    keep_picture(a_page, "ui-too-old.png")


def test_the_lineage_shows_what_failed(the_ui: DagsterUi, a_page: Page) -> None:
    a_page.set_viewport_size({"width": 2000, "height": 1100})
    a_page.goto(f"{the_ui.url}/locations/backup_assets/asset-groups/erp4/lineage")

    # Dagster's pages give no words to the colour: it is that of the icon beside the checks of a box.
    for name, times in (("db_dump", 1), ("metadata", 1), ("globals", 0)):
        box = a_page.locator("div", has=a_page.get_by_text(name, exact=True)).filter(has_text="Asset checks").last
        expect(box.get_by_text("Passed")).to_be_visible()
        expect(box.locator("[aria-label=close], [aria-label=cancel]")).to_have_count(times)


def test_no_page_shows_a_secret(the_ui: DagsterUi, the_runs: Runs, an_installation: Troubled) -> None:
    captured = the_runs.of_a_backup
    assert the_ui.finished(captured) == "SUCCESS"
    ticks = wait_for("a look of the watch", lambda: _looked(the_ui), SECONDS)
    tried = wait_for("an attempt at the bucket", lambda: _tried(the_ui, the_runs.to_a_bucket_that_is_away), SECONDS)

    shown = [json.dumps(one) for one in (the_ui.ask(DEFINED), the_ui.ask(RUN, i=captured), tried, ticks)]
    kept = _contents(an_installation.home) | {"dev.log": (an_installation.directory / "dev.log").read_bytes()}
    assert "one exported snapshot" in shown[0]
    assert "committed the set" in shown[1]
    for name, secret in an_installation.secrets.items():
        assert [text for text in shown if secret in text] == [], name
        assert [path for path, content in kept.items() if secret.encode() in content] == [], name


def _tried(ui: DagsterUi, run: str) -> dict[str, object] | None:
    """Return everything about a run once it was told what the bucket answers."""
    found = ui.ask(RUN, i=run)
    return found if "this is tried again" in json.dumps(found) else None


def _looked(ui: DagsterUi) -> dict[str, object] | None:
    """Return everything about the sensors once the watch has told its channel, which does not answer."""
    found = ui.ask(SENSORS, r=LOCATION)
    return found if "watch could not do everything" in json.dumps(found) else None


def _contents(directory: Path) -> dict[str, bytes]:
    """Return what is in every file, those of Dagster's own database included; some come and go meanwhile."""
    found = {}
    for place, _, names in os.walk(directory):
        for path in (Path(place) / name for name in names):
            with suppress(FileNotFoundError):
                found[str(path)] = path.read_bytes()
    assert any(name.endswith(".db") for name in found)
    return found


def test_the_backfill_is_finished_by_the_daemon(the_ui: DagsterUi, an_installation: Troubled) -> None:
    asked = """{partitionBackfillsOrError(limit:5){... on PartitionBackfills{results{status assetBackfillData{
      assetBackfillStatuses{... on AssetPartitionsStatusCounts{assetKey{path} numPartitionsTargeted
      numPartitionsMaterialized}}}}}}}"""

    def finished() -> dict[str, object] | None:
        (one,) = the_ui.ask(asked)["partitionBackfillsOrError"]["results"]
        return one if one["status"] not in ("REQUESTED", "COMPLETING") else None

    done = wait_for("the backfill", finished, BACKFILL_SECONDS)

    assert done["status"] == "COMPLETED_SUCCESS"
    counts = {"assetKey": {"path": ["erp4", "folder_copy"]}, "numPartitionsTargeted": 3, "numPartitionsMaterialized": 3}
    assert done["assetBackfillData"] == {"assetBackfillStatuses": [counts]}
    settings = an_installation.settings
    copies = catalog_in(store_named(settings, "usb"), place_of(settings.database("erp4"), settings)).sets()
    assert sorted(one.manifest.slot for one in copies) == sorted(an_installation.slot(days) for days in DAYS)
