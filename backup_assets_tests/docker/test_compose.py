"""The Compose files under a real engine: what an operator does, and what a crash of each service does to a capture.

Asked for with BACKUP_COMPOSE_TEST=1, BACKUP_IMAGE and BACKUP_POSTGRES_IMAGE; as root, for it kills processes inside
containers. COMPOSE_PICTURES and COMPOSE_LOGS name directories in which to keep pictures and logs.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser

from backup_assets_tests.docker.stack import DOCKER, Stack, a_stack, crash, require_engine, run, wait_until
from backup_assets_tests.end_to_end.browsing import (
    keep_picture,
    launch_backfill,
    launch_backup,
    see_checks,
    see_lineage,
    see_partitions,
)
from backup_assets_tests.end_to_end.dagster_ui import new_page, running_browser

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SERVICES = ("storage", "code", "webserver", "daemon")
OURS = ("code", "webserver", "daemon")
PASSWORD = "a password of the source, 7f3a"
PICTURES = Path(os.environ["COMPOSE_PICTURES"]).absolute() if "COMPOSE_PICTURES" in os.environ else None
#: Monitoring looks every minute, then the retry is queued and launched by further rounds of the daemon. A run that was
#: never launched, because the storage went away at that moment, is ended after five minutes.
NOTICED_SECONDS = 400.0
SOURCE = "host=erp user=erp dbname=erp4 passfile=/dev/null password='{}'"
_RUNS = """{runsOrError(filter:{statuses:[QUEUED,NOT_STARTED,STARTING,STARTED,CANCELING]},limit:50){
  ... on Runs{results{runId status}}}}"""
_ALL_RUNS = "{runsOrError(limit:50){... on Runs{results{runId status parentRunId}}}}"
_EVENTS = """query($i:ID!){logsForRun(runId:$i,limit:1000){... on EventConnection{events{... on MessageEvent{message}
  ... on MaterializationEvent{metadataEntries{label ... on TextMetadataEntry{text} ... on JsonMetadataEntry{jsonString}
  ... on UrlMetadataEntry{url} ... on PathMetadataEntry{path} ... on MarkdownMetadataEntry{mdStr}}}}}}}"""
_REPOSITORY = '{repositoryName:"__repository__",repositoryLocationName:"backup_assets"}'
_OLDER = """
import uuid
from datetime import UTC, datetime, timedelta
from backup_assets.capture.capture import Capture
from backup_assets.capture.request import CaptureRequest
from backup_assets.settings_loading import load_settings

settings = load_settings()
database = settings.databases[0]
for days in (3, 2, 1):
    slot = (datetime.now(UTC) + timedelta(hours=9, days=-days)).date().isoformat()
    asked = CaptureRequest(slot=slot, run_id=str(uuid.uuid4()))
    Capture(database, settings, asked, progress=lambda *_: None, log=lambda _: None).run()
"""
_MAKE_ERP = """
import sys, psycopg
with psycopg.connect(sys.argv[1]) as erp:
    erp.execute("CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL)")
    erp.execute("CREATE TABLE invoices (id int PRIMARY KEY, customer int REFERENCES customers, total numeric(12, 2))")
    erp.execute("INSERT INTO customers SELECT n, 'customer ' || n FROM generate_series(1, 50) n")
    erp.execute("INSERT INTO invoices SELECT n, n % 50 + 1, n * 1.5 FROM generate_series(1, 20000) n")
"""
_WAITING = """
import sys, psycopg
with psycopg.connect(sys.argv[1]) as erp:
    print(erp.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone()[0])
"""


def users_in(container: str) -> set[str]:
    """Return the numbers of the users whose processes run in a container."""
    return {line.split()[0] for line in run("docker", "top", container, "-eo", "uid,pid").splitlines()[1:]}


def slot_now() -> str:
    return datetime.now(ZoneInfo("Asia/Tokyo")).date().isoformat()


@pytest.fixture(scope="module")
def a_browser() -> Iterator[Browser]:
    require_engine()
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def demo() -> Iterator[Stack]:
    """The demo, started by the one command of the documentation."""
    with a_stack(DOCKER / "compose.demo.yaml") as stack:
        yield stack


@pytest.fixture(scope="module")
def a_backup(demo: Stack, a_browser: Browser) -> str:
    """A backup launched in the browser; returns the id of its set."""
    page = new_page(a_browser, 1500, 900)
    started = launch_backup(page, demo.ui)
    assert demo.ui.finished(started) == "SUCCESS"
    page.close()
    return next(iter(demo.sets()))


def test_a_backup_launched_in_the_browser_is_proven_and_in_both_regions(demo: Stack, a_backup: str) -> None:
    found = demo.sets()[a_backup]

    assert found["state"] == "complete"
    assert found["verified"]
    assert set(found["copies"]) == {"tokyo", "osaka"}


def test_partitions_checks_and_lineage_show_it(demo: Stack, a_backup: str, a_browser: Browser) -> None:
    page = new_page(a_browser, 2000, 860)
    see_lineage(page, demo.ui, [(2, 2)], "postgres", "db_dump", "globals", "pdf_archive", "metadata", "s3_upload")
    keep_picture(page, PICTURES, "compose-lineage.png")
    page.set_viewport_size({"width": 1400, "height": 700})
    see_checks(page, demo.ui, "erp4/db_dump", "readable", "restored")
    keep_picture(page, PICTURES, "compose-checks.png")
    page.close()


def test_a_backfill_of_a_copy_over_several_slots_is_finished_by_the_daemon(
    demo: Stack, a_backup: str, a_browser: Browser
) -> None:
    demo.exec("code", "python3", "-", stdin=_OLDER)
    demo.compose("restart", "code")  # the first slot follows the oldest set, as the settings are read at its start
    demo.ui.wait_until_ready()
    page = new_page(a_browser, 1400, 700)

    def shows_four() -> bool:
        answer = demo.ui.ask(
            '{assetNodeOrError(assetKey:{path:["erp4","s3_upload"]}){... on AssetNode{partitionKeys}}}'
        )
        return len(answer["assetNodeOrError"].get("partitionKeys", ())) == 4

    wait_until("the older slots", shows_four, 60)
    runs = launch_backfill(page, demo.ui, "erp4/s3_upload")

    assert len(runs) == 4
    assert set(runs.values()) == {"SUCCESS"}
    see_partitions(page, demo.ui, "erp4/s3_upload", 4)
    keep_picture(page, PICTURES, "compose-backfill.png")
    page.close()
    assert all("tokyo" in one["copies"] for one in demo.sets().values())
    assert len(demo.sets()) == 4


def test_nothing_runs_as_root_or_may_become_it(demo: Stack) -> None:
    for service in SERVICES:
        users = users_in(demo.container(service))
        host = demo.inspected(service)["HostConfig"]

        assert users == ({"999"} if service == "storage" else {"10001"}), service
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert not host["CapAdd"], service
        assert not host["Privileged"], service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        status = demo.exec(service, "cat", "/proc/1/status")
        assert re.search(r"CapEff:\s+0{16}", status), service
        assert re.search(r"NoNewPrivs:\s+1", status), service


def test_the_ui_alone_is_reached_from_the_host_and_from_nowhere_else(demo: Stack) -> None:
    published = {service: demo.inspected(service)["HostConfig"]["PortBindings"] or {} for service in SERVICES}

    assert {service for service, ports in published.items() if ports} == {"webserver"}
    assert {binding["HostIp"] for bindings in published["webserver"].values() for binding in bindings} == {"127.0.0.1"}


def test_every_service_says_that_it_is_healthy(demo: Stack) -> None:
    for service in SERVICES:
        wait_until(f"{service} to be healthy", partial(is_healthy, demo, service), 120)


def is_healthy(stack: Stack, service: str) -> bool:
    return stack.inspected(service)["State"]["Health"]["Status"] == "healthy"


def test_only_the_code_location_has_the_sets_and_the_databases(demo: Stack) -> None:
    places = {
        service: {mount["Destination"] for mount in demo.inspected(service)["Mounts"]}
        for service in ("webserver", "daemon")
    }

    for mounted in places.values():
        assert mounted == {"/srv/backup/var", "/srv/storage-secret"}


def test_no_secret_is_in_an_image_a_variable_or_the_ui(demo: Stack, a_backup: str, tmp_path: Path) -> None:
    secrets = [
        demo.exec("code", "cat", "/srv/storage-secret/password").strip(),
        demo.exec("code", "cat", "/srv/backup/var/demo/postgres/password").strip(),
        json.loads(demo.exec("code", "cat", "/srv/backup/var/demo/objects/server.json"))["keys"]["secret"],
    ]
    assert all(len(secret) > 15 for secret in secrets)

    for service in SERVICES:
        told = json.dumps(demo.inspected(service))
        assert not [secret for secret in secrets if secret in told], service
    seen = in_the_ui(demo)
    assert len(seen) > 10_000
    assert not [secret for secret in secrets if secret in seen]
    logs = demo.compose("logs", "--no-color")
    assert not [secret for secret in secrets if secret in logs]


def test_the_image_holds_no_settings_secrets_or_keys(tmp_path: Path) -> None:
    require_engine()
    image = os.environ["BACKUP_IMAGE"]
    archive = tmp_path / "image.tar"
    run("docker", "save", "-o", archive, image)
    history = run("docker", "history", "--no-trunc", image)

    assert not re.search(r"(?i)(password|secret|token)=\S", history)
    forbidden = re.compile(r"(^|/)(\.env|backup\.yaml|\.pgpass|pgpass|id_rsa|id_ed25519|.*\.partial)$")
    found, counted = [], 0
    with tarfile.open(archive) as layers:
        for member in layers:
            if not member.name.endswith(".tar"):
                continue
            with tarfile.open(fileobj=layers.extractfile(member)) as layer:
                for entry in layer:
                    counted += 1
                    if forbidden.search(entry.name):
                        found.append(entry.name)
                    # Tests of libraries have keys of their own, and no more of our own are welcome.
                    if entry.isfile() and entry.name.startswith("srv/") and entry.size < 1_000_000:
                        content = layer.extractfile(entry)
                        assert content is not None
                        assert b"PRIVATE KEY" not in content.read(), entry.name
    assert counted > 1000
    assert not found


def in_the_ui(stack: Stack) -> str:
    """Return what the UI can show of its instance, its runs, their events and their configuration."""
    asked = (
        "{instance{info daemonHealth{allDaemonStatuses{daemonType}}}}",
        "{workspaceOrError{... on Workspace{locationEntries{displayMetadata{key value}}}}}",
        "{runsOrError{... on Runs{results{runId runConfigYaml tags{key value}}}}}",
        """{assetNodes{assetKey{path} description metadataEntries{label ... on TextMetadataEntry{text}
         ... on JsonMetadataEntry{jsonString} ... on UrlMetadataEntry{url} ... on PathMetadataEntry{path}}}}""",
    )
    answers = [json.dumps(stack.ui.ask(query)) for query in asked]
    runs = stack.ui.ask(_ALL_RUNS)["runsOrError"]["results"]
    answers += [json.dumps(stack.ui.ask(_EVENTS, i=one["runId"])) for one in runs]
    with urllib.request.urlopen(f"{stack.ui.url}/config", timeout=60) as page:  # noqa: S310
        answers.append(page.read().decode(errors="replace"))
    return "\n".join(answers)


def settings_of_source(directory: Path) -> dict[str, str]:
    """Write what an operator writes; return the variables that name it."""
    settings = directory / "backup.yaml"
    settings.write_text(
        "env: production\n"
        "backup_dir: .backups\n"
        "databases:\n"
        "  erp4:\n"
        "    server: {host: erp, user: erp, password: {file: /run/secrets/db_password}}\n"
        "stores:\n"
        "  usb: {kind: folder, directory: /srv/backup/var/usb}\n"
    )
    password = directory / "db_password"
    password.write_text(PASSWORD)
    for path in (directory, settings, password):
        path.chmod(0o755 if path.is_dir() else 0o444)
    return {"BACKUP_YAML": str(settings), "DB_PASSWORD_FILE": str(password)}


@pytest.fixture(scope="module", params=["postgres", "docker"])
def production(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Somebody else's database, with settings and a password by file; runs in `code`, or in their own containers."""
    require_engine()
    directory = tmp_path_factory.mktemp("settings")
    environment = settings_of_source(directory)
    files = [Path(__file__).with_name("compose.source.yaml")]
    if request.param == "docker":
        files.insert(0, DOCKER / "compose.docker.yaml")
        place = Path(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://"))
        environment |= {
            "DOCKER_SOCKET": str(place), "DOCKER_GID": str(place.stat().st_gid),
            "BACKUP_CODE_CONTAINER": f"{directory.name}-code",
        }  # fmt: skip
    with a_stack(*files, **environment) as stack:
        stack.exec("code", "mkdir", "/srv/backup/var/usb")  # a medium that is not there is never made
        stack.exec("code", "python3", "-c", _MAKE_ERP, SOURCE.format(PASSWORD))
        started = stack.ui.launch("erp4_backup_job", slot_now())
        assert stack.ui.finished(started) == "SUCCESS"
        yield stack


@contextmanager
def a_capture_in_its_middle(stack: Stack) -> Iterator[str]:
    """Yield a run whose pg_dump is at work, and goes on when the block ends."""
    address = SOURCE.format(PASSWORD)
    with stack.lock(address, "invoices"):
        started = stack.ui.launch("erp4_backup_job", slot_now())
        wait_until("pg_dump", lambda: stack.exec("code", "python3", "-c", _WAITING, address).strip() != "0", 120)
        yield started


def quiet(stack: Stack) -> bool:
    """Whether no run is waiting or at work."""
    return not stack.ui.ask(_RUNS)["runsOrError"]["results"]


def settled(stack: Stack) -> None:
    """Wait until the UI works: after a crash of the storage an old connection of each of its parts fails once."""
    stack.ui.wait_until_ready()

    def answers() -> bool:
        try:
            runs = stack.ui.ask(_ALL_RUNS)["runsOrError"]["results"]
            stack.ui.ask(_EVENTS, i=runs[0]["runId"])
            stack.ui.ask("{schedulesOrError(repositorySelector:$r){__typename}}".replace("$r", _REPOSITORY))
        except urllib.error.HTTPError:
            return False
        return True

    for _ in range(5):
        wait_until("the UI", answers, 120)


def ends_of(stack: Stack, started: str) -> list[str]:
    """Return how a run and the runs that repeat it ended."""
    runs: list[dict[str, Any]] = stack.ui.ask(_ALL_RUNS)["runsOrError"]["results"]
    family = [one for one in runs if started in (one["runId"], one["parentRunId"])]
    return [one["status"] for one in reversed(family)]


def made_up_for(stack: Stack, started: str) -> tuple[list[str], float]:
    """Wait until a run, or the one that repeats it, has succeeded and none is left; return how they ended, and when."""
    took = wait_until("a success", lambda: ends_of(stack, started)[-1] == "SUCCESS" and quiet(stack), NOTICED_SECONDS)
    return ends_of(stack, started), took


def measured(stack: Stack, text: str) -> None:
    if directory := os.environ.get("COMPOSE_LOGS"):
        kind = stack.exec("code", "printenv", "BACKUP_INSTANCE").strip()
        with Path(directory, "measured.txt").open("a") as log:
            log.write(f"{datetime.now(UTC):%H:%M:%S} {kind} {text}\n")


@pytest.mark.parametrize("service", ["webserver", "daemon", "storage", "code"])
def test_a_service_that_crashes_in_the_middle_of_a_capture_costs_no_set_and_leaves_no_run(
    production: Stack, service: str
) -> None:
    before = production.sets()
    with a_capture_in_its_middle(production) as started:
        production.crash(service)
        took = wait_until(f"{service} to be healthy", partial(is_healthy, production, service), 120)
    settled(production)
    ends, until_quiet = made_up_for(production, started)
    measured(production, f"{service} back after {took:.0f} s; {ends} after {until_quiet:.0f} s more")

    after = production.sets()
    assert set(before) < set(after)
    assert all(one["state"] == "complete" for one in after.values())
    assert production.sets()[next(iter(after))]["verified"]


def test_a_storage_that_is_away_while_a_capture_goes_on_costs_no_set_and_leaves_no_run(production: Stack) -> None:
    before = production.sets()
    with a_capture_in_its_middle(production) as started:
        production.compose("stop", "storage")
    # The capture has its table now, and nowhere to write what it does.
    wait_until("the end of the capture", lambda: not is_at_work(production, started), 300)
    production.compose("start", "storage")
    settled(production)
    ends, until_quiet = made_up_for(production, started)
    measured(production, f"storage away; {ends} after {until_quiet:.0f} s more")

    after = production.sets()
    assert set(before) < set(after)
    assert all(one["state"] == "complete" for one in after.values())


def is_at_work(stack: Stack, started: str) -> bool:
    """Whether a process of a run lives, in the code location or in a container of its own."""
    if run("docker", "ps", "-q", "--filter", f"label=dagster/run_id={started}").strip():
        return True
    return "multiprocessing.spawn" in run("docker", "top", stack.container("code"), "-eo", "pid,args")


def test_the_source_s_password_is_in_no_variable_label_or_page(production: Stack) -> None:
    told = "".join(json.dumps(production.inspected(service)) for service in SERVICES)

    assert PASSWORD not in told
    assert PASSWORD not in in_the_ui(production)
    for service in ("webserver", "daemon"):
        assert production.exec(service, "ls", "/run/secrets", check=False) == ""


def test_the_container_of_a_run_that_is_killed_is_noticed_and_the_backup_taken_again(production: Stack) -> None:
    if "BACKUP_CODE_CONTAINER" not in production.environment:
        pytest.skip("runs are children of the code location here")
    before = production.sets()
    with a_capture_in_its_middle(production) as started:
        container = run("docker", "ps", "-q", "--filter", f"label=dagster/run_id={started}").strip()
        users = users_in(container)
        crash(container)
    assert users == {"10001"}
    ends, until_quiet = made_up_for(production, started)
    measured(production, f"container of the run; {ends} after {until_quiet:.0f} s")

    assert ends == ["FAILURE", "SUCCESS"]
    assert set(before) < set(production.sets())
