"""A running `backup-assets dev`, asked over GraphQL as its own pages do, and looked at in a real browser."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as TooLate

from backup_assets_tests.ports import free_port

REPOSITORY = Path(__file__).parents[2]
READY_SECONDS = 400.0
RUN_SECONDS = 600.0
#: How long a page may take to show something, and a browser to do something.
PAGE_MS = 120_000.0
_LOCATIONS = """{workspaceOrError{... on Workspace{locationEntries{loadStatus locationOrLoadError{
  __typename ... on PythonError{message}}}}} instance{daemonHealth{allDaemonStatuses{required healthy}}}}"""
_LAUNCH = """mutation($p:ExecutionParams!){launchRun(executionParams:$p){__typename
  ... on LaunchRunSuccess{run{runId}} ... on PythonError{message} ... on InvalidSubsetError{message}
  ... on RunConfigValidationInvalid{errors{message}}}}"""
LOCATION = {"repositoryLocationName": "backup_assets", "repositoryName": "__repository__"}
_RUN = "query($i:ID!){runOrError(runId:$i){... on Run{status}}}"
Value = TypeVar("Value")


def wait_for(what: str, ask: Callable[[], Value | None], seconds: float) -> Value:
    """Return the first answer that is not None; fails the test when none comes in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = ask()
        if answer is not None:
            return answer
        time.sleep(0.3)
    pytest.fail(f"{what}: not within {seconds:.0f} s")


@dataclass(frozen=True)
class DagsterUi:
    """The address of a webserver that is ready."""

    url: str

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """Return the data of a GraphQL answer."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310 - our own server on loopback
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310
            return json.load(answer)["data"]

    def launch(
        self,
        job: str,
        partition: str = "",
        config: Mapping[str, object] | None = None,
        more: Mapping[str, str] | None = None,
    ) -> str:
        """Launch a job, if need be for one slot and with ``more`` tags, as the launchpad does; return the run's id."""
        return self._launch({**LOCATION, "pipelineName": job}, partition, config, more)

    def materialize(self, partition: str, *assets: str, checks: Sequence[tuple[str, str]] = ()) -> str:
        """Launch assets (``erp4/db_dump``) and ``checks`` (asset and name) for a slot, as their pages do."""
        selector = {
            **LOCATION,
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": asset.split("/")} for asset in assets],
            "assetCheckSelection": [{"assetKey": {"path": asset.split("/")}, "name": name} for asset, name in checks],
        }
        return self._launch(selector, partition)

    def _launch(
        self,
        selector: Mapping[str, object],
        partition: str,
        config: Mapping[str, object] | None = None,
        more: Mapping[str, str] | None = None,
    ) -> str:
        tags = [{"key": "dagster/partition", "value": partition}] if partition else []
        tags += [{"key": key, "value": value} for key, value in (more or {}).items()]
        parameters = {
            "selector": selector,
            "mode": "default",
            "runConfigData": config or {},
            "executionMetadata": {"tags": tags},
        }
        answer = self.ask(_LAUNCH, p=parameters)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return answer["run"]["runId"]

    def finished(self, run_id: str) -> str:
        """Return the status in which a run ends."""

        def ask() -> str | None:
            status = self.ask(_RUN, i=run_id)["runOrError"]["status"]
            return status if status in ("SUCCESS", "FAILURE", "CANCELED") else None

        return wait_for(f"the end of run {run_id}", ask, RUN_SECONDS)

    def _ready(self) -> bool | None:
        try:
            data = self.ask(_LOCATIONS)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None
        entries = data["workspaceOrError"]["locationEntries"]
        if any(entry["loadStatus"] != "LOADED" for entry in entries):
            return None
        loaded = [entry["locationOrLoadError"] for entry in entries]
        assert all(one["__typename"] == "RepositoryLocation" for one in loaded), loaded
        daemons = data["instance"]["daemonHealth"]["allDaemonStatuses"]
        return True if all(one["healthy"] for one in daemons if one["required"]) else None

    def launch_by_hand(self, page: Page, job: str, partition: str = "", config: str = "") -> str:
        """Launch a job in its launchpad, ``config`` (YAML) in the place of what it shows; return the run's id."""
        page.goto(f"{self.url}/locations/backup_assets/jobs/{job}/playground")
        page.get_by_text("No errors").wait_for(timeout=PAGE_MS)
        if partition:
            wait_for(f"the slot {partition} in the launchpad", lambda: _chosen(page, partition), 240.0)
        if config:
            page.locator(".CodeMirror").first.click()
            page.keyboard.press("Control+A")
            page.keyboard.insert_text(config)
            keep_picture(page, "ui-launchpad.png")
        page.get_by_role("button", name="Launch Run").click()
        page.wait_for_url("**/runs/*", timeout=PAGE_MS)
        return page.url.rpartition("/")[2]

    def wait_until_ready(self) -> None:
        """Wait until the code location is loaded and all daemons are healthy."""
        wait_for("the Dagster UI", self._ready, READY_SECONDS)


def keep_picture(page: Page, name: str) -> None:
    """Keep what is seen as a picture of the documentation; only `make picture` does, which sets PICTURES."""
    directory = os.environ.get("PICTURES")
    if directory:
        page.wait_for_load_state("networkidle")
        page.screenshot(path=Path(directory) / name)


def _chosen(page: Page, partition: str) -> bool | None:
    # The page closes the list of slots when it has loaded more of itself: then it is opened again.
    page.get_by_placeholder("Partition").fill("")
    page.get_by_placeholder("Partition").fill(partition)
    try:
        page.get_by_text(partition, exact=True).click(timeout=10_000)
    except TooLate:
        return None
    return True


@contextmanager
def running_ui(directory: Path, environment: dict[str, str]) -> Iterator[DagsterUi]:
    """Run `backup-assets dev` in ``directory`` until the block ends."""
    for name in ("workspace.yaml", "dagster.yaml"):
        shutil.copy(REPOSITORY / name, directory / name)
    port = free_port()
    program = Path(sys.executable).with_name("backup-assets")
    log = (directory / "dev.log").open("wb")
    process = subprocess.Popen(
        [program, "dev", "--port", str(port)],
        cwd=directory,
        env={**os.environ, **environment},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        ui = DagsterUi(f"http://127.0.0.1:{port}")
        ui.wait_until_ready()
        yield ui
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()


def new_page(browser: Browser, width: int, height: int) -> Page:
    """Open a page in which everything may take as long as on a machine that is busy."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(PAGE_MS)
    return page


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Yield the machine's Chromium, headless."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        if "CI" in os.environ:
            pytest.fail("no Chromium is installed")
        pytest.skip("no Chromium is installed")
    expect.set_options(timeout=PAGE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"],
        )
        try:
            yield browser
        finally:
            browser.close()
