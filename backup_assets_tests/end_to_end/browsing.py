"""What an operator does in the browser, step by step, whatever serves the UI."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from playwright.sync_api import Page, expect

from backup_assets_tests.end_to_end.dagster_ui import PAGE_MS, DagsterUi, wait_for

BACKFILL_SECONDS = 900.0
_RUNS = "{runsOrError(limit:20){... on Runs{results{runId}}}}"
_BACKFILLS = """{partitionBackfillsOrError(limit:1){... on PartitionBackfills{results{
  id status numPartitions runs(limit:50){id status}}}}}"""


def launch_backup(page: Page, ui: DagsterUi, job: str = "erp4_backup_job") -> str:
    """Take a backup into the current slot from the page of its job; return the id of the run."""
    page.goto(f"{ui.url}/locations/backup_assets/jobs/{job}")
    page.get_by_role("button", name="Materialize all").click(timeout=PAGE_MS)
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Latest", exact=True).click(timeout=PAGE_MS)
    dialog.get_by_role("button", name="Launch 1 run").click(timeout=PAGE_MS)
    said = page.get_by_text(re.compile("Launched run [0-9a-f]{8}"))
    # It is shown for seconds only: found and read in one go.
    begin = said.inner_text(timeout=PAGE_MS).split()[2]
    return next(run["runId"] for run in ui.ask(_RUNS)["runsOrError"]["results"] if run["runId"].startswith(begin))


def launch_backfill(page: Page, ui: DagsterUi, asset: str) -> dict[str, str]:
    """Materialize every slot of an asset from its page, and return how its runs ended when the daemon is done."""
    page.goto(f"{ui.url}/assets/{asset}?view=partitions")
    page.get_by_role("button", name="Materialize").first.click(timeout=PAGE_MS)
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="All", exact=True).click(timeout=PAGE_MS)
    dialog.get_by_role("button", name="Launch backfill").click(timeout=PAGE_MS)
    expect(dialog).to_be_hidden(timeout=PAGE_MS)

    def ended() -> dict[str, str] | None:
        found = ui.ask(_BACKFILLS)["partitionBackfillsOrError"]["results"]
        if not found or found[0]["status"] in ("REQUESTED", "CANCELING", "FAILING", "COMPLETED"):
            return None
        assert found[0]["status"] == "COMPLETED_SUCCESS", found
        return {run["id"]: run["status"] for run in found[0]["runs"]}

    return wait_for("the end of the backfill", ended, BACKFILL_SECONDS)


def see_lineage(page: Page, ui: DagsterUi, passed: Collection[tuple[int, int]], *assets: str) -> None:
    """Look at the group's lineage until every asset is there; ``passed``: that many checks on so many assets."""
    page.goto(f"{ui.url}/locations/backup_assets/asset-groups/erp4/lineage")
    for name in assets:
        expect(page.get_by_text(name, exact=True).first).to_be_visible(timeout=PAGE_MS)
    for checks, count in passed:
        expect(page.get_by_text(re.compile(f"{checks} / {checks} Passed"))).to_have_count(count, timeout=PAGE_MS)


def see_partitions(page: Page, ui: DagsterUi, asset: str, materialized: int) -> None:
    """Look at an asset's slots until as many as said are filled and none is missing or failed."""
    page.goto(f"{ui.url}/assets/{asset}?view=partitions")
    page.get_by_role("button", name="All", exact=True).click(timeout=PAGE_MS)
    for shown in (f"Materialized ({materialized})", "Missing (0)", "Failed (0)"):
        expect(page.get_by_text(shown)).to_be_visible(timeout=PAGE_MS)


def see_checks(page: Page, ui: DagsterUi, asset: str, *checks: str) -> None:
    """Look at an asset's checks until all are there and passed."""
    page.goto(f"{ui.url}/assets/{asset}?view=checks")
    for name in checks:
        expect(page.get_by_text(name, exact=True).first).to_be_visible(timeout=PAGE_MS)
    expect(page.get_by_text("Succeeded", exact=True)).to_have_count(len(checks), timeout=PAGE_MS)


def keep_picture(page: Page, directory: Path | None, name: str) -> None:
    """Keep what is seen, where a directory for it is given."""
    if directory is not None:
        page.wait_for_load_state("networkidle")
        page.screenshot(path=directory / name)
