"""A source on one PostgreSQL server, a second server that stands for what RDS restores, and both in a pretended RDS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from moto.rds.models import rds_backends
from psycopg import sql
from pydantic import SecretStr

from backup_assets.aws.rds.drill.drill import advance_drill
from backup_assets.aws.rds.drill.report import RdsDrilled
from backup_assets.aws.rds.server_names import server_name
from backup_assets.aws.rds.tagging import DRILL, tags_of
from backup_assets.aws.rds.work import Waiting
from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.throw_away import throw_away_cluster
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import AwsSettings, RdsDrillSettings, RdsSettings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets_tests.aws.conftest import ACCOUNT, CLUSTER, INSTANCE, TOKYO, PretendedAws
from backup_assets_tests.sources import Source, connect, drop_database, make_database

ENV = "production"
MONTH = "2026-11"
NAME = server_name("drill", "erp4", ENV, MONTH)
ROLE, PASSWORD = "drill_reader", "the same on both"


def tables_at(moment: datetime) -> tuple[str, ...]:
    """Return the statements that make two tables: an invoice a minute until twenty minutes before ``moment``."""
    invoice = f"SELECT n, n * 1.5, timestamptz '{moment}' - (520 - n) * interval '1 min'"
    return (
        "CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL)",
        "CREATE TABLE invoices (id int PRIMARY KEY, total numeric(12, 2), created_at timestamptz NOT NULL)",
        "CREATE INDEX invoices_by_time ON invoices (created_at)",
        "INSERT INTO customers SELECT n, 'customer ' || n FROM generate_series(1, 50) n",
        f"INSERT INTO invoices {invoice} FROM generate_series(1, 500) n",
    )


@pytest.fixture(scope="session")
def second_server(cluster_of: Any) -> Iterator[Cluster]:
    """Return a server of the same version as the source's, which is not that one."""
    first: Cluster = cluster_of(17)
    with throw_away_cluster(None, first.binaries) as cluster:
        yield cluster


@dataclass(frozen=True)
class Drill:
    """A database on RDS, what a restore of it would bring back, and how it is drilled."""

    aws: PretendedAws
    source: Source
    restored: Source
    security_group: str
    integrity_sql: Path
    drill: RdsDrillSettings
    rds: RdsSettings
    cluster: bool = False
    changes: Any = ()

    @property
    def database(self) -> DatabaseSettings:
        """The settings of the database."""
        given = {
            "name": "erp4",
            "database": self.source.name,
            "server": self.source.server_settings(user=ROLE, password=SecretStr(PASSWORD)),
            "schedule": ScheduleSettings(timezone="Asia/Tokyo", since=date(2026, 11, 1)),
            "integrity_sql": self.integrity_sql,
            "rds": self.rds.model_copy(update={"drill": self.drill}),
        }
        return DatabaseSettings(**{**given, **dict(self.changes)})

    @property
    def settings(self) -> Settings:
        """All settings, with this database alone."""
        return Settings(
            env=ENV,
            backup_dir=self.source.backup_dir,
            databases=(self.database,),
            aws=AwsSettings(endpoint_url=self.aws.endpoint_url),
        )

    def drilling(self, **changes: Any) -> Drill:
        """Return the same with other settings of the drill."""
        return replace(self, drill=self.drill.model_copy(update=changes))

    def configured(self, **changes: Any) -> Drill:
        """Return the same with other settings of the database."""
        return replace(self, changes={**dict(self.changes), **changes})

    def advance(self, **request: Any) -> RdsDrilled | Waiting | None:
        """Go on with the drill of the month."""
        request.setdefault("log", lambda _: None)
        return advance_drill(self.database, self.settings, MONTH, **request)

    def begun(self) -> Drill:
        """Begin it, until the server can be connected to."""
        assert isinstance(self.advance(), Waiting)
        if self.cluster:
            assert isinstance(self.advance(), Waiting)
        return self

    def drilled(self, **request: Any) -> RdsDrilled:
        """Begin and end it."""
        done = self.begun().advance(**request)
        assert isinstance(done, RdsDrilled)
        return done

    def snapshot(self, name: str = "daily", region: str = TOKYO, role: Any = "snapshot") -> str:
        """Take a snapshot that is one of ours, and return its ARN."""
        tags = tags_of("erp4", ENV, "2026-11-22", role, datetime.now(UTC))
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        rds = self.aws.client("rds")
        if self.cluster:
            made = rds.create_db_cluster_snapshot(
                DBClusterIdentifier=CLUSTER, DBClusterSnapshotIdentifier=name, Tags=listed
            )["DBClusterSnapshot"]
            return made["DBClusterSnapshotArn"]
        made = rds.create_db_snapshot(DBInstanceIdentifier=INSTANCE, DBSnapshotIdentifier=name, Tags=listed)
        arn = made["DBSnapshot"]["DBSnapshotArn"]
        if region == TOKYO:
            return arn
        copied = self.aws.client("rds", region).copy_db_snapshot(
            SourceDBSnapshotIdentifier=arn, TargetDBSnapshotIdentifier=name, KmsKeyId=self.aws.osaka_key, Tags=listed
        )
        return copied["DBSnapshot"]["DBSnapshotArn"]

    def outcome_on(self, arn: str, region: str = TOKYO) -> str | None:
        """Return the word that the drill wrote on a snapshot."""
        tags = self.aws.client("rds", region).list_tags_for_resource(ResourceName=arn)["TagList"]
        return next((tag["Value"].split()[0] for tag in tags if tag["Key"] == DRILL), None)

    def servers(self, region: str = TOKYO) -> set[str]:
        """Return the names of all instances and clusters in a region."""
        rds = self.aws.client("rds", region)
        found = {one["DBInstanceIdentifier"] for one in rds.describe_db_instances()["DBInstances"]}
        return found | {one["DBClusterIdentifier"] for one in rds.describe_db_clusters()["DBClusters"]}

    def server_is(self, status: str, name: str = NAME, region: str = TOKYO) -> None:
        """Give an instance a status, as time does in AWS."""
        rds_backends[ACCOUNT][region].databases[name].status = status

    def security_group_in(self, region: str) -> str:
        """Make a security group, and return its id."""
        return make_security_group(self.aws, region)


def make_security_group(aws: PretendedAws, region: str = TOKYO, name: str = "drill") -> str:
    ec2 = aws.client("ec2", region)
    network = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    return ec2.create_security_group(GroupName=name, Description="of drills", VpcId=network)["GroupId"]


@pytest.fixture
def readers(a_cluster: Cluster, second_server: Cluster) -> Iterator[None]:
    """Let one role, with one password, read everything on both servers, as it is after a restore by RDS."""
    make = sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(sql.Identifier(ROLE), sql.Literal(PASSWORD))
    for cluster in (a_cluster, second_server):
        with connect(cluster, "postgres") as connection:
            connection.execute(make)
    yield
    for cluster in (a_cluster, second_server):
        with connect(cluster, "postgres") as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(ROLE)))


@pytest.fixture
def a_drill(
    aws: PretendedAws, a_cluster: Cluster, second_server: Cluster, source_of: Any, readers: None, tmp_path: Path
) -> Iterator[Drill]:
    """Return a database on an instance in Tokyo, and a restored one that holds the same."""
    tables = tables_at(datetime.now(UTC))
    source = source_of(a_cluster, *tables)
    restored = Source(second_server, source.name, source.backup_dir)
    make_database(second_server, restored.name, *tables)
    group = make_security_group(aws)
    # moto lets a restored instance inherit the protection from deletion, which RDS does not.
    aws.make_instance(DeletionProtection=False)
    integrity = tmp_path / "integrity.sql"
    integrity.write_text("-- name: invoice_total\nSELECT sum(total) FROM invoices;\n")
    there = second_server.server_settings()
    yield Drill(
        aws,
        source,
        restored,
        group,
        integrity,
        drill=RdsDrillSettings(security_groups=(group,), host=there.host, port=there.port),
        rds=RdsSettings(instance=INSTANCE),
    )
    drop_database(second_server, restored.name)


def later(hours: float) -> Any:
    """Return a clock that is ahead."""
    return lambda: datetime.now(UTC) + timedelta(hours=hours)
