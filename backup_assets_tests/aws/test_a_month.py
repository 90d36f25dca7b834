"""March 2024 of an RDS instance and an Aurora cluster, with everything that may go wrong in AWS in a month."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from playwright.sync_api import expect
from psycopg import sql

from backup_assets.aws.rds.naming import snapshot_name
from backup_assets.aws.rds.tagging import ROLE as ROLE_OF
from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.server_binaries import find_server_binaries
from backup_assets.postgres.throw_away import throw_away_cluster
from backup_assets_tests.aws.conftest import CLUSTER, INSTANCE, OSAKA, TOKYO
from backup_assets_tests.aws.month_aws import MovedAws, a_moved_aws
from backup_assets_tests.end_to_end.browsing import PAGE_MS, see_checks, see_lineage
from backup_assets_tests.end_to_end.dagster_ui import DagsterUi, keep_picture, running_browser
from backup_assets_tests.end_to_end.machine import Machine, a_machine
from backup_assets_tests.end_to_end.moved_clock import a_moved_clock
from backup_assets_tests.end_to_end.telling import Told, episodes, told_by
from backup_assets_tests.sources import connect, listed, make_database
from backup_assets_tests.watch.listening import Webhook, a_webhook

pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]

ZONE = ZoneInfo("Asia/Tokyo")
DAYS = 31
DATABASES = ("erp4", "crm")
SLOW, DRILL_OF_INSTANCE, THROTTLED, QUOTA, SNAPSHOT_FAILED, DRILL_OF_CLUSTER = 2, 3, 5, 6, (8, 9), 11
TOKEN_EXPIRED, KEY_UNUSABLE, UNPROTECTED, GROUP_CHANGED, BACKUPS_OFF, MACHINE_OFF = 13, (15, 16), 19, 22, 24, 26
REBUILT = 30
SECONDS = 240.0
ROLE, PASSWORD = "drill_reader", "the same on both"
#: More than the sensors wait between two looks.
A_LITTLE = timedelta(minutes=21)
TABLES = (
    "CREATE TABLE invoices (id int PRIMARY KEY, total numeric(12, 2), created_at timestamptz NOT NULL)",
    (
        "INSERT INTO invoices SELECT n, n * 1.5, timestamptz '2024-02-28 12:00Z' + n * interval '1 min' "
        "FROM generate_series(1, 200) n"
    ),
)


#: Days on which the snapshot is there before the retention looks at it: after a gap, and at the end. And before the
#: machine is off: when it is back, the retention is due before a snapshot, and then has nothing to do.
EARLY = {QUOTA + 1, SNAPSHOT_FAILED[1] + 1, TOKEN_EXPIRED + 1, MACHINE_OFF - 1, MACHINE_OFF + 1, DAYS}
#: Days on which and before which nothing happens: what is told then may be told the next day.
QUIET = {4, 12, 18, 25, 29, 30}
#: Days whose slot has no snapshot: nobody could take it, or it failed and nobody repeated it.
MISSED = {
    "erp4": {QUOTA, SNAPSHOT_FAILED[1], TOKEN_EXPIRED, MACHINE_OFF},
    "crm": {TOKEN_EXPIRED, MACHINE_OFF},
}
DAILY, WEEKLY = 14, 4
RDS_ASSETS = ("rds_automated_backups", "rds_snapshot", "rds_snapshot_copy", "rds_restore_drill", "rds_retention")
OF_ERP4 = (*RDS_ASSETS, "rds_rebuild")


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """Return a moment of the month, counted from its first day on."""
    return datetime(2024, 3, 1, hour, minute, tzinfo=ZONE) + timedelta(days=day - 1)


def slot(day: int) -> str:
    return f"{at(day, 12):%Y-%m-%d}"


def run_failed(job: str, day: int | None = None) -> str:
    return f"the run of {job} failed" + (f" for the slot {slot(day)}" if day else "")


def of_aws(title: str) -> bool:
    """Whether an alert is about AWS; of the backup sets, which nobody takes here, others tell."""
    return any(word in title for word in ("rds", "aws_events", "infrastructure"))


@dataclass
class Month:
    machine: Machine
    aws: MovedAws
    hook: Webhook
    restored: Cluster
    groups: dict[str, str]
    today: int = 1
    told: list[Told] = field(default_factory=list)
    messages: int = 0
    posted: list[str] = field(default_factory=list)
    #: The states of the snapshots at the end of the month, by database and region.
    aws_says: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)

    # -- time --------------------------------------------------------------------------------------------------------

    def until(self, moment: datetime) -> None:
        """Let it be ``moment``, and wait until what is due by then was done, and the sensors have seen it."""
        machine = self.machine
        machine.clock.set(moment)
        for name in DATABASES:
            for what, hour, minute in (("snapshot", 2, 30), ("retention", 6, 30)):
                tick = moment.replace(hour=hour, minute=minute)
                if tick <= moment:
                    schedule = f"{name}_rds_{what}_schedule"
                    machine.wait(f"the tick of {schedule}", lambda s=schedule, t=tick: machine.looked(s, t), SECONDS)
        self.rest(moment)

    def pass_by(self, while_: timedelta = A_LITTLE) -> None:
        """Let time go by, and wait until the sensors have looked and what they asked for is done."""
        moment = self.machine.clock.now() + while_
        self.machine.clock.set(moment)
        self.rest(moment)

    def rest(self, since: datetime) -> None:
        """Wait until every sensor has looked and nothing is at work any more, and note what the watch told."""
        machine = self.machine
        for sensor in ("erp4_rds_sensor", "crm_rds_sensor", "erp4_rds_watch_sensor", "crm_rds_watch_sensor"):
            machine.wait(f"a look of {sensor}", lambda s=sensor: machine.looked(s, since), SECONDS)
        machine.wait("a look for events", lambda: machine.looked("aws_events_sensor", since), SECONDS)
        self.hear()

    def hear(self) -> None:
        machine = self.machine
        machine.wait("the end of all runs", machine.is_idle, SECONDS)
        now = machine.clock.now()
        machine.wait("a look of the watch", lambda: machine.looked("watch_sensor", now), SECONDS)
        for message in self.hook.posted[self.messages :]:
            self.messages += 1
            self.posted.append(f"day {self.today}, {now.astimezone(ZONE):%H:%M}\n{message['message']}")
            self.told += [one for one in told_by(message["message"], self.today, now) if of_aws(one.title)]

    # -- what happens ------------------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Live through the month."""
        machine = self.machine
        machine.start()
        for state in machine.instance.all_instigator_state():
            if state.instigator_name.endswith("_schedule") and not of_aws(state.instigator_name):
                machine.turn_off(state.instigator_name)
        machine.turn_off("crm_infrastructure_retention_schedule")
        # Nothing may be at work when the clock goes on.
        self.rest(at(1, 0))
        for day in range(1, DAYS + 1):
            self.today = day
            self.a_day(day)
        self.pass_by()
        self.aws_says = {
            (name, region): self.snapshots(name, region) for name in DATABASES for region in (TOKYO, OSAKA)
        }

    def a_day(self, day: int) -> None:
        if day == MACHINE_OFF:
            self.machine.lose_power()
            return
        if day == MACHINE_OFF + 1:
            self.machine.clock.set(at(day, 1))
            self.machine.start()
            for name in DATABASES:
                self.wait_for_tick(f"{name}_rds_retention_schedule", at(MACHINE_OFF, 6, 30))
            self.rest(at(day, 1))
        special = {
            SLOW: self.slow,
            DRILL_OF_INSTANCE: self.drill_of_instance,
            THROTTLED: self.throttled,
            QUOTA: self.quota_reached,
            SNAPSHOT_FAILED[0]: self.snapshot_fails_and_is_repeated,
            SNAPSHOT_FAILED[1]: self.snapshot_fails,
            DRILL_OF_CLUSTER: self.drill_of_cluster,
            TOKEN_EXPIRED: self.token_expired,
            KEY_UNUSABLE[0]: self.key_unusable,
            KEY_UNUSABLE[1]: self.key_unusable,
            UNPROTECTED: self.unprotected,
            UNPROTECTED + 1: self.protected_again,
            GROUP_CHANGED: self.group_changed,
            BACKUPS_OFF: self.backups_off,
            REBUILT: self.rebuild,
        }
        if day in EARLY:
            self.until(at(day, 3))
        live = special.get(day)
        if live is None:
            self.morning(day)
        else:
            live(day)

    def morning(self, day: int) -> None:
        self.until(at(day, 7))
        if day not in QUIET:
            self.pass_by()

    def slow(self, day: int) -> None:
        self.aws.behaves(minutes=20, copy_minutes=20)
        self.until(at(day, 2, 35))
        self.pass_by()
        self.pass_by()
        self.aws.behaves()
        self.morning(day)

    def drill_of_instance(self, day: int) -> None:
        """The restore fails, and the operator repeats the drill at noon."""
        self.morning_before_a_drill(day)
        self.aws.behaves(minutes=20, restores_fail=True)
        self.machine.clock.set(at(day, 5, 30))
        self.wait_for_tick("erp4_rds_drill_schedule", at(day, 5, 30))
        self.rest(at(day, 5, 30))
        self.pass_by()
        self.aws.behaves(minutes=20)
        self.until(at(day, 12))
        self.launch("erp4_rds_drill_job", "2024-03")
        self.pass_by()
        self.aws.behaves()
        self.pass_by()

    def morning_before_a_drill(self, day: int) -> None:
        self.until(at(day, 3))

    def wait_for_tick(self, schedule: str, tick: datetime) -> None:
        self.machine.wait(f"the tick of {schedule}", lambda: self.machine.looked(schedule, tick), SECONDS)

    def launch(self, job: str, partition: str) -> None:
        """Launch a job in the UI, and wait for its end."""
        machine = self.machine
        ui = DagsterUi(machine.start_webserver())
        ui.wait_until_ready()
        ui.finished(ui.launch(job, partition))
        server = machine.processes.pop()
        server.terminate()
        server.wait(60)
        self.hear()

    def rebuild(self, day: int) -> None:
        """The day on which the machine was off gets a set that shows it."""
        self.until(at(day, 7))
        self.aws.behaves(minutes=20)
        self.launch("erp4_rds_rebuild_job", slot(MACHINE_OFF))
        self.pass_by()
        self.aws.behaves()

    def throttled(self, day: int) -> None:
        text = ["Throttling", "Rate exceeded"]
        operations = ("CreateDBSnapshot", "CreateDBClusterSnapshot", "DescribeDBSnapshots")
        # Less than one run withstands, which tries four times and asks twice each time: it may meet all of them.
        self.aws.behaves(refused=dict.fromkeys(operations, text), times=7)
        # Before the retention is due, which would take its share of the refusals.
        self.until(at(day, 3))
        self.aws.behaves()
        self.morning(day)

    def quota_reached(self, day: int) -> None:
        text = ["SnapshotQuotaExceeded", "Cannot create more than 100 manual snapshots"]
        self.aws.behaves(refused={"CreateDBSnapshot": text})
        self.morning(day)
        self.aws.behaves()
        self.until(at(day, 20))

    def snapshot_fails_and_is_repeated(self, day: int) -> None:
        self.aws.behaves(minutes=20, failing=[CLUSTER])
        self.until(at(day, 3))
        self.pass_by()
        self.aws.behaves()
        self.until(at(day, 12))
        self.launch("crm_rds_snapshot_job", slot(day))
        self.pass_by()

    def snapshot_fails(self, day: int) -> None:
        self.aws.behaves(minutes=20, failing=[INSTANCE])
        self.until(at(day, 3))
        self.pass_by()
        self.aws.behaves()
        self.until(at(day, 7))
        self.until(at(day, 20))

    def drill_of_cluster(self, day: int) -> None:
        """Power is lost while the restored cluster is read; the drill goes on when the machine is back."""
        machine = self.machine
        self.morning_before_a_drill(day)
        self.aws.behaves(minutes=20)
        with connect(self.restored, "crm") as reading:
            reading.execute("BEGIN")
            reading.execute("LOCK TABLE invoices")
            machine.clock.set(at(day, 5, 30))
            self.wait_for_tick("crm_rds_drill_schedule", at(day, 5, 30))
            self.rest(at(day, 5, 30))
            # The cluster is there, and gets its instance.
            self.pass_by()
            machine.clock.set(machine.clock.now() + A_LITTLE)
            machine.wait("a drill that reads", self.is_read, SECONDS)
            machine.lose_power()
        self.aws.behaves()
        machine.clock.set(at(day, 6, 40))
        machine.start()
        self.rest(at(day, 6, 40))
        self.until(at(day, 7, 10))
        self.pass_by()

    def is_read(self) -> bool:
        """Whether somebody waits for what is locked in the restored database."""
        with connect(self.restored, "postgres") as connection:
            found = connection.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone()
        return found is not None

    def token_expired(self, day: int) -> None:
        self.aws.behaves(refused={"*": ["ExpiredToken", "The security token included in the request is expired"]})
        self.morning(day)
        self.aws.behaves()
        self.until(at(day, 20))
        self.pass_by()

    def key_unusable(self, day: int) -> None:
        text = ["KMSKeyNotAccessibleFault", "The specified KMS key is not accessible"]
        operations = ("CopyDBSnapshot", "CopyDBClusterSnapshot")
        self.aws.behaves(refused=dict.fromkeys(operations, text), region=OSAKA)
        self.morning(day)
        self.aws.behaves()

    def unprotected(self, day: int) -> None:
        self.morning(day)
        self.modify(DeletionProtection=False)
        self.pass_by()

    def protected_again(self, day: int) -> None:
        self.morning(day)
        self.modify(DeletionProtection=True)
        self.pass_by()

    def group_changed(self, day: int) -> None:
        self.morning(day)
        rule = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        self.aws.client("ec2").authorize_security_group_ingress(GroupId=self.groups["erp"], IpPermissions=[rule])

    def backups_off(self, day: int) -> None:
        self.morning(day)
        self.modify(BackupRetentionPeriod=0)
        self.pass_by()
        self.modify(BackupRetentionPeriod=14)
        self.pass_by()

    def modify(self, **changes: Any) -> None:
        rds = self.aws.client("rds")
        rds.modify_db_instance(DBInstanceIdentifier=INSTANCE, ApplyImmediately=True, **changes)

    # -- what is there -----------------------------------------------------------------------------------------------

    def snapshots(self, database: str, region: str) -> dict[str, str]:
        """Return the states of our snapshots of a database in a region, by their names."""
        rds = self.aws.client("rds", region)
        if database == "erp4":
            found = rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
            return {one["DBSnapshotIdentifier"]: one["Status"] for one in found}
        found = rds.describe_db_cluster_snapshots(SnapshotType="manual")["DBClusterSnapshots"]
        return {one["DBClusterSnapshotIdentifier"]: one["Status"] for one in found}


def a_network(aws: MovedAws, region: str, name: str) -> str:
    """Make a security group, and a subnet group of the same name, and return the id of the former."""
    ec2 = aws.client("ec2", region)
    network = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    subnets = [one["SubnetId"] for one in ec2.describe_subnets()["Subnets"]][:2]
    aws.client("rds", region).create_db_subnet_group(
        DBSubnetGroupName=name, DBSubnetGroupDescription=name, SubnetIds=subnets
    )
    return ec2.create_security_group(GroupName=name, Description=name, VpcId=network)["GroupId"]


def databases_on(cluster: Cluster) -> None:
    """Make both databases, and a role that reads them, as they are on the source and after a restore by RDS."""
    with connect(cluster, "postgres") as connection:
        role, password = sql.Identifier(ROLE), sql.Literal(PASSWORD)
        connection.execute(sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(role, password))
    for name in DATABASES:
        make_database(cluster, name, *TABLES)


def tree_of(
    aws: MovedAws, source: Cluster, restored: Cluster, groups: dict[str, str], directory: Path
) -> dict[str, Any]:
    place = {"host": str(restored.socket_directory), "port": restored.port}
    copies = {"region": OSAKA, "kms_key_id": aws.osaka_key}
    instance = {"instance": INSTANCE, "copies": copies}
    instance["drill"] = {**place, "security_groups": [groups["drills"]], "day_of_month": DRILL_OF_INSTANCE}
    instance["rebuild"] = {**place, "security_groups": [groups["drills"]]}
    cluster = {"cluster": CLUSTER, "copies": copies}
    cluster["drill"] = {
        **place, "source": "copy", "security_groups": [groups["osaka"]], "subnet_group": "osaka",
        "day_of_month": DRILL_OF_CLUSTER,
    }  # fmt: skip
    common = {
        "server": {
            "host": str(source.socket_directory), "port": source.port, "user": ROLE, "password": {"env": "PASSWORD"}
        },
        "schedule": {"at": "02:30", "timezone": "Asia/Tokyo", "since": at(1, 0).date()},
        "retention": {"daily": DAILY, "weekly": WEEKLY, "monthly": 1},
    }  # fmt: skip
    return {
        "env": "prod",
        "backup_dir": str(directory / "backups"),
        "databases": {"erp4": {**common, "rds": instance}, "crm": {**common, "rds": cluster}},
        "aws": {"endpoint_url": aws.endpoint_url, "infrastructure": {}},
        "watch": {"channels": [{"env": "HOOK"}], "interval_minutes": 0.015, "reminder_hours": 24 * 60},
    }


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Month]:
    directory = tmp_path_factory.mktemp("machine")
    binaries = next(one for one in find_server_binaries() if one.major == 17)
    with ExitStack() as stack:
        clock = stack.enter_context(a_moved_clock(at(1, 0, 30)))
        hook = stack.enter_context(a_webhook())
        aws = stack.enter_context(a_moved_aws(clock, directory))
        with clock.for_children():
            source = stack.enter_context(throw_away_cluster(None, binaries))
            restored = stack.enter_context(throw_away_cluster(None, binaries))
        for cluster in (source, restored):
            databases_on(cluster)
        groups = {"erp": a_network(aws, TOKYO, "erp"), "drills": a_network(aws, TOKYO, "drills")}
        groups["osaka"] = a_network(aws, OSAKA, "osaka")
        aws.make_instance(VpcSecurityGroupIds=[groups["erp"]], DBSubnetGroupName="erp")
        aws.make_cluster(VpcSecurityGroupIds=[groups["erp"]], DBSubnetGroupName="erp")
        environment = {
            "PASSWORD": PASSWORD,
            "HOOK": f"json://{hook.address}",
            "AWS_ACCESS_KEY_ID": "backups",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(directory / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(directory / "none"),
        }
        machine = stack.enter_context(
            a_machine(
                directory,
                clock,
                source,
                tree_of(aws, source, restored, groups, directory),
                environment,
                hurried="backup_assets_tests.aws.hurried",
            )
        )
        month = Month(machine, aws, hook, restored, groups)
        try:
            month.go_on()
        finally:
            (directory / "posted.txt").write_text("\n\n".join(month.posted))
        yield month


def both(what: str, *days: tuple[int, int | None]) -> dict[str, list[tuple[int, int | None]]]:
    """Return what is told of both databases alike; ``what`` has `{}` for the name."""
    return {what.format(name): list(days) for name in DATABASES}


def check(name: str) -> str:
    return f"the check {{}}/{name} failed"


#: What is told, on which day, and on which day that it is over. On the first day nothing was there yet.
EXPECTED: dict[str, list[tuple[int, int | None]]] = {
    "the check crm/rds_snapshot_copy newest_copy failed": [(1, 1), (13, 14), (16, 17), (27, 27)],
    "the check crm/rds_snapshot newest_snapshot failed": [(1, 1), (8, 8), (13, 14), (27, 27)],
    "the check erp4/rds_snapshot newest_snapshot failed": [(1, 1), (6, 7), (9, 10), (13, 14), (27, 27)],
    "the check erp4/rds_snapshot_copy newest_copy failed": [(1, 1), (6, 7), (9, 10), (13, 14), (16, 17), (27, 27)],
    "the check erp4/rds_automated_backups drills failed": [(1, 3)],
    "the check crm/rds_automated_backups drills failed": [(1, 11)],
    "the run of erp4_rds_drill_job failed for the slot 2024-03": [(3, 3)],
    "the check erp4/rds_restore_drill restores_within_rto failed for the slot 2024-03": [(3, 3)],
    run_failed("erp4_rds_snapshot_job", QUOTA): [(6, 7)],
    run_failed("crm_rds_snapshot_job", SNAPSHOT_FAILED[0]): [(8, 8)],
    run_failed("erp4_rds_snapshot_job", SNAPSHOT_FAILED[1]): [(9, 10)],
    "the check crm/aws_events snapshots failed": [(8, 8)],
    "the check erp4/aws_events snapshots failed": [(9, 10)],
    **{run_failed(f"{name}_rds_snapshot_job", TOKEN_EXPIRED): [(13, 14)] for name in DATABASES},
    **{run_failed(f"{name}_rds_snapshot_job", day): [(day, 17)] for name in DATABASES for day in KEY_UNUSABLE},
    **both("the run of {}_rds_watch_job failed", (13, 13)),
    **both("the run of {}_rds_retention_job failed", (13, 14)),
    **both(check("rds_retention carried_out"), (13, 14)),
    **both(check("aws_events listening"), (13, 13)),
    run_failed("crm_infrastructure_job", TOKEN_EXPIRED): [(13, 14)],
    "the check erp4/rds_automated_backups protected failed": [(19, 20), (24, 24)],
    f"the check crm/infrastructure unchanged failed for the slot {slot(20)}": [(20, 22)],
    f"the check crm/infrastructure unchanged failed for the slot {slot(21)}": [(21, 22)],
    f"the check crm/infrastructure unchanged failed for the slot {slot(23)}": [(23, 24)],
}
#: What may be told as well: the run that lost its power goes on at once, and its success may be there before anybody
#: has looked: then both are told as one.
MAYBE = {
    ("the run of crm_rds_drill_job failed for the slot 2024-03", 11, 11),
    ("the run of crm_rds_drill_job failed for the slot 2024-03, and a later one succeeded", 11, None),
}


def days_with_snapshot(database: str) -> list[int]:
    return [day for day in range(1, DAYS + 1) if day not in MISSED[database]]


def days_kept(database: str) -> set[int]:
    """Return the days of which a snapshot stays: the newest ones, and the newest of each week."""
    days = days_with_snapshot(database)
    weeks: dict[tuple[int, int], int] = {}
    for day in days:
        weeks[at(day, 12).isocalendar()[:2]] = day
    return {*days[-DAILY:], *list(weeks.values())[-WEEKLY:]}


def names(database: str, days: Iterable[int]) -> set[str]:
    return {snapshot_name(database, "prod", slot(day)) for day in days}


def test_every_problem_is_told_once_and_its_end_once_and_nothing_else(month: Month) -> None:
    found: dict[str, list[tuple[int, int | None]]] = defaultdict(list)
    for one in episodes(month.told):
        over = None if one.over is None else one.over.astimezone(ZONE).day
        begun = one.begun.astimezone(ZONE).day
        if (one.title, begun, over) not in MAYBE:
            found[one.title].append((begun, over))

    assert dict(found) == EXPECTED


@pytest.mark.parametrize(
    "reason",
    [
        "the quota of manual snapshots is used up",
        "the KMS key cannot be used",
        "the session token has expired",
        "deletion protection of erp4-prod is off",
        "automated backups of erp4-prod are off",
        "rds/erp4-prod/DeletionProtection: true → false",
        "its state is incompatible-restore",
    ],
)
def test_the_reason_is_told(month: Month, reason: str) -> None:
    assert any(reason in message for message in month.posted)


def test_a_repeated_drill_ends_the_failure_with_its_outcome_and_not_when_it_begins(month: Month) -> None:
    title = "the run of erp4_rds_drill_job failed for the slot 2024-03"
    (over,) = [one.at for one in month.told if one.title == title and one.what == "over"]

    assert over >= at(DRILL_OF_INSTANCE, 12) + A_LITTLE


@pytest.mark.parametrize("database", DATABASES)
def test_every_slot_has_its_snapshot_and_its_copy_unless_it_could_not_have_one(month: Month, database: str) -> None:
    wanted = {slot(day) for day in days_with_snapshot(database)}

    for asset in ("rds_snapshot", "rds_snapshot_copy"):
        assert month.machine.instance.get_materialized_partitions(dg.AssetKey([database, asset])) == wanted


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("region", [TOKYO, OSAKA])
def test_the_retention_leaves_what_it_promises_in_both_regions(month: Month, database: str, region: str) -> None:
    found = month.aws_says[database, region]

    assert set(found) == names(database, days_kept(database))
    assert set(found.values()) == {"available"}


@pytest.mark.parametrize("database", DATABASES)
def test_the_drill_of_the_month_is_proven(month: Month, database: str) -> None:
    key = dg.AssetKey([database, "rds_restore_drill"])
    assert month.machine.instance.get_materialized_partitions(key) == {"2024-03"}


def test_the_slot_that_nobody_could_take_has_a_proven_set_of_its_own_time(month: Month) -> None:
    key = dg.AssetKey(["erp4", "rds_rebuild"])
    assert month.machine.instance.get_materialized_partitions(key) == {slot(MACHINE_OFF)}
    settings = month.machine.settings
    (rebuilt,) = listed(settings.model_copy(update={"databases": (settings.database("erp4"),)}))
    assert (rebuilt.manifest.slot, rebuilt.taken_at) == (slot(MACHINE_OFF), at(MACHINE_OFF, 2, 30))
    assert rebuilt.manifest.fingerprints.total_rows == 200
    assert rebuilt.proof_at(month.machine.clock.now()) is not None


@pytest.mark.parametrize("region", [TOKYO, OSAKA])
def test_nothing_of_a_drill_is_left(month: Month, region: str) -> None:
    rds, ec2 = month.aws.client("rds", region), month.aws.client("ec2", region)
    instances, clusters = rds.describe_db_instances()["DBInstances"], rds.describe_db_clusters()["DBClusters"]
    there = {one["DBInstanceIdentifier"] for one in instances} | {one["DBClusterIdentifier"] for one in clusters}
    assert there == ({INSTANCE, CLUSTER, f"{CLUSTER}-1"} if region == TOKYO else set())
    drills = [{"Name": f"tag:{ROLE_OF}", "Values": ["drill"]}]
    assert not ec2.describe_security_groups(Filters=drills)["SecurityGroups"]
    groups = [
        *(one["DBParameterGroupArn"] for one in rds.describe_db_parameter_groups()["DBParameterGroups"]),
        *(one["DBSubnetGroupArn"] for one in rds.describe_db_subnet_groups()["DBSubnetGroups"]),
    ]
    for arn in groups:
        tags = rds.list_tags_for_resource(ResourceName=arn)["TagList"]
        assert {"Key": ROLE_OF, "Value": "drill"} not in tags


def test_no_run_hangs(month: Month) -> None:
    assert month.machine.is_idle()


def test_the_protection_is_examined_without_a_run_for_each_look(month: Month) -> None:
    for name in DATABASES:
        assert len(month.machine.runs(f"{name}_rds_watch_job")) < 3 * DAYS


def test_the_pages_of_a_database_on_rds_show_its_month(month: Month) -> None:
    ui = DagsterUi(month.machine.start_webserver())
    ui.wait_until_ready()
    # On the day without a machine nobody tried; on the others it failed.
    missing, failed = {MACHINE_OFF} & MISSED["erp4"], MISSED["erp4"] - {MACHINE_OFF}
    figures = (
        f"Materialized ({len(days_with_snapshot('erp4'))})",
        f"Failed ({len(failed)})",
        f"Missing ({len(missing)})",
    )

    with running_browser() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        see_lineage(page, ui, (), *OF_ERP4)
        expect(page.get_by_text("Loading...")).to_have_count(0, timeout=PAGE_MS)
        page.goto(f"{ui.url}/assets/erp4/rds_snapshot?view=partitions")
        for shown in figures:
            expect(page.get_by_text(shown)).to_be_visible(timeout=PAGE_MS)
        keep_picture(page, "rds-partitions.png")
        see_checks(page, ui, "erp4/rds_automated_backups", "protected", "restorable", "drills")
        page.goto(f"{ui.url}/assets/erp4/rds_automated_backups")
        page.get_by_role("button", name="Plots").click(timeout=PAGE_MS)
        expect(page.get_by_text("rpo_minutes").first).to_be_visible(timeout=PAGE_MS)
