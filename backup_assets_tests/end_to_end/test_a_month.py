"""March 2024 on a machine that backs up by itself, with everything that may go wrong in a month."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from os import geteuid
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from backup_assets.errors import BackupError
from backup_assets.local import place_of
from backup_assets.named_stores import LOCAL, catalog_in, store_named
from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.server_binaries import find_server_binaries
from backup_assets.postgres.throw_away import throw_away_cluster
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.retention_policy import is_verified, known_elsewhere
from backup_assets_tests.end_to_end.dagster_ui import DagsterUi
from backup_assets_tests.end_to_end.machine import Machine, a_machine
from backup_assets_tests.end_to_end.moved_clock import a_moved_clock
from backup_assets_tests.end_to_end.telling import Told, episodes, told_by
from backup_assets_tests.sources import make_database
from backup_assets_tests.watch.listening import Webhook, a_webhook

pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]

ZONE = ZoneInfo("Europe/Berlin")
#: The last day has no half past two.
DAYS = 31
DATABASE_DOWN, STORE_AWAY, DISK_FULL, SCRATCH_DOWN = (4, 5), (8, 9), (12, 13), (16, 17, 18)
POWER_LOST, DAEMON_KILLED, MACHINE_OFF = 21, 22, (23, 24)
MISSED = (*DATABASE_DOWN, *DISK_FULL, *MACHINE_OFF)
#: More than the margin that a capture wants to see free before it begins.
DISK_BYTES = 100 << 20
REMINDER_HOURS = 22
SECONDS = 600.0
STORES = (LOCAL, "usb")
#: What bears another title as long as it is only feared.
TITLES_OF_WARNINGS = {
    "a copy off-site is not certain": "there is no young copy off-site",
    "three copies are not certain": "there are fewer than three copies",
    "copies on two media are not certain": "the copies are not on two media",
}
_UI = """{assetNodeOrError(assetKey:{path:["erp4","metadata"]}){... on AssetNode{
  assetPartitionStatuses{... on TimePartitionStatuses{ranges{startKey endKey status}}}
  assetObservations(limit:50){partition description metadataEntries{label ... on BoolMetadataEntry{boolValue}}}}}}"""


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """Return a moment of the month, counted from its first day on."""
    return datetime(2024, 3, 1, hour, minute, tzinfo=ZONE) + timedelta(days=day - 1)


def slot(day: int) -> str:
    return f"{at(day, 12):%Y-%m-%d}"


def failed(day: int) -> str:
    return f"the run of erp4_backup_job failed for the slot {slot(day)}"


def missed(day: int) -> str:
    return f"the slot {slot(day)} has no complete set, and is over"


#: What is told, on which day, and on which day that it is over. On the first day nothing was there yet.
EXPECTED: dict[str, list[tuple[int, int | None]]] = {
    "the newest backup is older than the recovery point objective": [(1, 1), (4, 6), (12, 14), (25, 25)],
    "there is no young copy off-site": [(1, 1), (4, 6), (8, 10), (12, 14), (25, 25)],
    "there are fewer than three copies": [(1, 1), (4, 6), (8, 10), (12, 14), (25, 25)],
    "the copies are not on two media": [(1, 1), (4, 6), (8, 10), (12, 14), (25, 25)],
    "the copy in usb is late": [(1, 1), (4, 6), (9, 10), (12, 14), (25, 25)],
    "the last proof by a restore is too old": [(1, 1), (5, 6), (13, 14), (17, 19), (25, 25)],
    "a restore drill is due": [(1, 1)],
    "the store usb did not answer": [(8, 9)],
    "a store has no room for the next set": [(12, 13)],
    "the check erp4/verification within_days failed": [(8, 10)],
    "the check erp4/verification copies_are_good failed": [(16, 19)],
    "the run of erp4_verification_job failed": [(16, 19)],
    "the check erp4/retention carried_out failed": [(8, 10)],
    "the run of erp4_retention_job failed": [(8, 10)],
    **{failed(day): [(day, 6)] for day in DATABASE_DOWN},
    **{failed(day): [(day, 10)] for day in STORE_AWAY},
    **{failed(day): [(day, 14)] for day in DISK_FULL},
    **{failed(day): [(day, 19)] for day in SCRATCH_DOWN},
    **{missed(day): [(day + 1, None)] for day in (*DATABASE_DOWN, *DISK_FULL)},
    **{missed(day): [(25, None)] for day in MACHINE_OFF},
}


#: What may be told as well. The run that lost its power is begun again at once, and its success may be there before
#: anybody has looked: then both are told as one. When the machine is back, retention and verification are due before
#: the first backup: whether the retention has something to do, and so must wait for that, depends on the order of both.
MAYBE: set[tuple[str, int, int | None]] = {
    (failed(POWER_LOST), POWER_LOST, POWER_LOST),
    (f"{failed(POWER_LOST)}, and a later one succeeded", POWER_LOST, None),
    ("the check erp4/retention carried_out failed", 25, 25),
    ("the check erp4/retention carried_out failed, and has passed since", 25, None),
    ("the run of erp4_retention_job failed", 25, 25),
    ("the run of erp4_retention_job failed, and a later one succeeded", 25, None),
}


@dataclass
class Held:
    """What the stores that answer hold at a moment of the month: the ids, and those that are proven, newest last."""

    sets: dict[str, list[str]]
    proven: dict[str, list[str]]


@dataclass
class Month:
    machine: Machine
    hook: Webhook
    directory: Path
    disk: Path
    scratch: Cluster
    today: int = 1
    told: list[Told] = field(default_factory=list)
    #: Of each day before and after its retention.
    held: dict[int, tuple[Held, Held]] = field(default_factory=dict)
    messages: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)

    def until(self, moment: datetime) -> None:
        """Let it be ``moment``, and wait until what is due by then was done, and the watch has looked at it."""
        machine = self.machine
        machine.clock.set(moment)
        for name, hour, minute in (("backup", 2, 30), ("verification", 3, 30), ("retention", 6, 30)):
            due = moment.replace(hour=hour, minute=minute)
            if due <= moment:
                # Where half past two does not exist, the tick is at three.
                tick = due - timedelta(hours=1)
                machine.wait(
                    f"the tick of the {name}", lambda n=name, t=tick: machine.looked(f"erp4_{n}_schedule", t), SECONDS
                )
        self.rest()

    def rest(self) -> None:
        """Wait until nothing is at work any more and the watch has looked at it, and note what it told."""
        machine = self.machine
        machine.wait("the end of all runs", machine.is_idle, SECONDS)
        now = machine.clock.now()
        machine.wait("a look of the watch", lambda: machine.looked("watch_sensor", now), SECONDS)
        for message in self.hook.posted[self.messages :]:
            self.messages += 1
            self.told += told_by(message["message"], self.today, now, TITLES_OF_WARNINGS)

    def look(self) -> Held:
        """Return what the stores that answer hold."""
        settings = self.machine.settings
        sets: dict[str, list[BackupSet]] = {}
        proven: dict[str, list[str]] = {}
        for name in STORES:
            try:
                found = catalog_in(store_named(settings, name), place_of(settings.databases[0], settings)).sets()
            except BackupError:
                continue
            sets[name] = sorted(found, key=lambda one: (one.taken_at, one.id))
        for name in sets:
            others = {other: listed for other, listed in sets.items() if other != name}
            known = known_elsewhere(others, self.machine.clock.now()).verifications
            proven[name] = [
                one.id
                for one in sets[name]
                if is_verified(one, name, known.get(one.id, ()), now=self.machine.clock.now())
            ]
        return Held({name: [one.id for one in listed] for name, listed in sets.items()}, proven)

    def a_day(self, day: int) -> None:
        self.until(at(day, 2, 30))
        before = self.look()
        self.until(at(day, 6, 30))
        self.held[day] = (before, self.look())

    def go_on(self) -> None:
        """Live through the month."""
        machine, usb, away = self.machine, self.directory / "usb", self.directory / "away"
        machine.start()
        # Its checks say in the UI what the watch tells anyway, in four runs a day.
        machine.turn_off("erp4_watch_schedule")
        for day in range(1, DAYS + 1):
            self.today = day
            if day in MACHINE_OFF:
                machine.lose_power()
                continue
            machine.clock.set(at(day, 1))
            if day == DATABASE_DOWN[0]:
                machine.cluster.stop("immediate")
            if day == STORE_AWAY[0]:
                usb.rename(away)
            if day == DISK_FULL[0]:
                with (self.disk / "ballast").open("wb") as ballast:
                    ballast.write(bytes(shutil.disk_usage(self.disk).free - (1 << 20)))
            if day == SCRATCH_DOWN[0]:
                self.scratch.stop("immediate")
            if day == MACHINE_OFF[-1] + 1:
                machine.start()
                machine.wait("the retention", lambda: machine.looked("erp4_retention_schedule", at(24, 6)), SECONDS)
                self.rest()
            if day == POWER_LOST:
                machine.clock.set(at(day, 2, 30))
                machine.wait("a backup at work", lambda: machine.is_at_work("erp4_backup_job"), SECONDS)
                machine.lose_power()
                machine.clock.set(at(day, 2, 40))
                machine.start()
                machine.wait("the backup", lambda d=day: machine.succeeded("erp4_backup_job", slot(d)), SECONDS)
                self.rest()
                before = self.look()
                self.until(at(day, 6, 30))
                self.held[day] = (before, self.look())
            else:
                self.a_day(day)
            if day == DAEMON_KILLED:
                machine.kill_daemon()
                machine.start_daemon()
            if day == DATABASE_DOWN[-1]:
                with machine.clock.for_children():
                    machine.cluster.start()
                self.until(at(day, 12))
            if day == STORE_AWAY[-1]:
                away.rename(usb)
                self.until(at(day, 12))
            if day == DISK_FULL[-1]:
                (self.disk / "ballast").unlink()
                self.until(at(day, 12))
            if day == SCRATCH_DOWN[-1]:
                with machine.clock.for_children():
                    self.scratch.start()
                self.until(at(day, 12))
        self.metadata = DagsterUi(machine.start_webserver()).ask(_UI)["assetNodeOrError"]


@pytest.fixture(scope="module")
def a_small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    mounted = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(mounted)]
    if geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


def server(cluster: Cluster, variable: str) -> dict[str, object]:
    """Return the settings of a server whose password is in a variable."""
    host, port, user = str(cluster.socket_directory), cluster.port, cluster.superuser
    return {"host": host, "port": port, "user": user, "password": {"env": variable}}


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory, a_small_disk: Path) -> Iterator[Month]:
    directory = tmp_path_factory.mktemp("machine")
    binaries = next(one for one in find_server_binaries() if one.major == 17)
    with ExitStack() as stack:
        clock = stack.enter_context(a_moved_clock(at(1, 0, 30)))
        hook = stack.enter_context(a_webhook())
        with clock.for_children():
            cluster = stack.enter_context(throw_away_cluster(None, binaries))
            scratch = stack.enter_context(throw_away_cluster(None, binaries))
        make_database(
            cluster, "erp4",
            "CREATE TABLE invoices (id int PRIMARY KEY, total numeric(12, 2))",
            "INSERT INTO invoices SELECT n, n * 1.5 FROM generate_series(1, 500) n",
        )  # fmt: skip
        (directory / "usb").mkdir()
        erp4 = {
            "server": server(cluster, "ERP_PASSWORD"),
            "schedule": {"at": "02:30", "timezone": "Europe/Berlin", "since": at(1, 0).date()},
            "dump": {"content_hashes": "never"},
            "retention": {"daily": 7, "weekly": 2, "monthly": 1},
            "verification": {"scratch": server(scratch, "SCRATCH_PASSWORD"), "every_days": 10, "nightly_limit": 2},
        }
        tree = {
            "env": "prod",
            "backup_dir": str(a_small_disk / "backups"),
            "databases": {"erp4": erp4},
            "stores": {"usb": {"kind": "folder", "directory": "usb", "off_site": True}},
            "watch": {"channels": [{"env": "HOOK"}], "interval_minutes": 0.015, "reminder_hours": REMINDER_HOURS},
        }
        passwords = {"ERP_PASSWORD": cluster.password, "SCRATCH_PASSWORD": scratch.password}
        environment = {**passwords, "HOOK": f"json://{hook.address}"}
        machine = stack.enter_context(a_machine(directory, clock, cluster, tree, environment))
        month = Month(machine, hook, directory, a_small_disk, scratch)
        month.go_on()
        yield month


def slots_filled(month: Month) -> Counter[str]:
    """Return how many sets were ever seen of which slot, in whichever store."""
    seen = {one for held in month.held.values() for part in held for ids in part.sets.values() for one in ids}
    return Counter(one[:10] for one in seen)


def test_every_problem_is_told_once_and_its_end_once_and_nothing_else(month: Month) -> None:
    found: dict[str, list[tuple[int, int | None]]] = defaultdict(list)
    for one in episodes(month.told):
        over = None if one.over is None else one.over.astimezone(ZONE).day
        begun = one.begun.astimezone(ZONE).day
        if (one.title, begun, over) not in MAYBE:
            found[one.title].append((begun, over))

    assert dict(found) == EXPECTED


def test_what_lasts_is_told_again_and_not_sooner_than_wished(month: Month) -> None:
    reminder = timedelta(hours=REMINDER_HOURS)
    for one in episodes(month.told):
        moments = [one.begun, *one.again]
        worse = {told.at for told in month.told if told.title == one.title and told.what == "now worse"}
        early = [b for a, b in pairwise(moments) if b - a < reminder and b not in worse]
        assert not early, one
        if one.over is not None and one.over - one.begun > reminder + timedelta(hours=4):
            assert one.again, one


def test_every_slot_has_its_set_unless_it_could_not_have_one(month: Month) -> None:
    wanted = {slot(day) for day in range(1, DAYS + 1) if day not in MISSED}

    assert set(slots_filled(month)) == wanted
    assert all(number == 1 for key, number in slots_filled(month).items() if key != slot(POWER_LOST))


def test_after_an_outage_nothing_is_made_up_for_but_the_run_that_was_killed(month: Month) -> None:
    runs = Counter(run.tags["dagster/partition"] for run in month.machine.runs("erp4_backup_job"))

    days = [day for day in range(1, DAYS + 1) if day not in MACHINE_OFF]
    assert runs == {slot(day): 2 if day == POWER_LOST else 1 for day in days}


def test_the_retention_deletes_sets_and_never_the_last_good_one(month: Month) -> None:
    deleted: dict[str, set[str]] = {name: set() for name in STORES}
    for day, (before, after) in month.held.items():
        for name, ids in after.sets.items():
            gone = set(before.sets[name]) - set(ids)
            deleted[name] |= gone
            assert before.proven[name], f"nothing is proven in {name} on day {day}"
            assert before.proven[name][-1] in ids
            assert after.proven[name], f"nothing is proven any more in {name} on day {day}"
            assert max(before.sets[name]) in ids

    assert all(len(ids) > DAYS / 3 for ids in deleted.values()), deleted


def test_missed_slots_show_as_missed_in_the_ui(month: Month) -> None:
    ranges = month.metadata["assetPartitionStatuses"]["ranges"]
    filled = {
        slot(day)
        for day in range(1, DAYS + 1)
        for one in ranges
        if one["status"] == "MATERIALIZED" and one["startKey"] <= slot(day) <= one["endKey"]
    }
    assert filled == {slot(day) for day in range(1, DAYS + 1) if day not in MISSED}

    noted = {one["partition"]: one for one in month.metadata["assetObservations"]}
    assert len(noted) == len(month.metadata["assetObservations"])
    assert sorted(noted) == [slot(day) for day in MISSED]
    for day in MISSED:
        why = "no backup was started" if day in MACHINE_OFF else "1 runs of it failed"
        assert why in noted[slot(day)]["description"]
        assert {"label": "missed", "boolValue": True} in noted[slot(day)]["metadataEntries"]
