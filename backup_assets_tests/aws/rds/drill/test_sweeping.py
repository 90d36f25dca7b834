from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from moto.rds.models import rds_backends

from backup_assets.aws.rds.api import RdsApi
from backup_assets.aws.rds.drill.names import drill_name, drill_tags
from backup_assets.aws.rds.drill.servers import drill_servers, remove
from backup_assets.aws.rds.drill.sweeping import GRACE, pending_drills, servers_of_drills, sweep_drills
from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import AwsSettings, RdsCopySettings, RdsDrillSettings, RdsSettings
from backup_assets_tests.aws.conftest import ACCOUNT, CLUSTER, INSTANCE, OSAKA, TOKYO, PretendedAws
from backup_assets_tests.sources import no_log

ENV = "production"
MONTH = "2026-11"
NAME = drill_name("erp4", ENV, MONTH)
STARTED = datetime(2026, 11, 1, 20, 30, tzinfo=UTC)
DEADLINE = STARTED + timedelta(hours=3)
DRILL = RdsDrillSettings(security_groups=("sg-1",))
COPIES = RdsCopySettings(region=OSAKA)


def settings_of(aws: PretendedAws, rds: RdsSettings) -> Settings:
    database = DatabaseSettings(name="erp4", database="erp4", rds=rds)
    return Settings(env=ENV, databases=(database,), aws=AwsSettings(endpoint_url=aws.endpoint_url))


@pytest.fixture
def settings(aws: PretendedAws) -> Settings:
    return settings_of(aws, RdsSettings(instance=INSTANCE, copies=COPIES, drill=DRILL))


def left(aws: PretendedAws, settings: Settings, name: str = NAME, region: str = TOKYO, **more: str) -> None:
    """Make what a drill left in a region."""
    tags = drill_tags(settings.databases[0], ENV, MONTH, STARTED, DEADLINE, more)
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    aws.make_instance(name, region, DeletionProtection=False, KmsKeyId=None, StorageEncrypted=False, Tags=listed)


def names(aws: PretendedAws, region: str = TOKYO) -> set[str]:
    return {one["DBInstanceIdentifier"] for one in aws.client("rds", region).describe_db_instances()["DBInstances"]}


def swept(settings: Settings, at: datetime) -> tuple[str, ...]:
    return sweep_drills(settings.databases[0], settings, at, log=no_log)


def events(settings: Settings, at: datetime) -> list[str]:
    return [one.run_key.rpartition("/")[2] for one in pending_drills(settings.databases[0], settings, at)]


def test_what_is_past_its_deadline_is_deleted_in_every_region(aws: PretendedAws, settings: Settings) -> None:
    aws.make_instance()
    left(aws, settings)
    left(aws, settings, region=OSAKA)
    assert swept(settings, DEADLINE + GRACE - timedelta(seconds=1)) == ()
    assert swept(settings, DEADLINE + GRACE) == (NAME, NAME)
    assert names(aws) == {INSTANCE}
    assert names(aws, OSAKA) == set()


def test_a_drill_with_an_outcome_is_deleted_at_the_next_look(aws: PretendedAws, settings: Settings) -> None:
    left(aws, settings, **{"backup-assets:drill": "passed 2026-11-01T21:00:00Z"})
    assert events(settings, STARTED + timedelta(minutes=31)) == []
    assert swept(settings, STARTED + timedelta(minutes=31)) == (NAME,)


def test_only_what_bears_our_tags_and_our_name_is_deleted(aws: PretendedAws, settings: Settings) -> None:
    tagged_source = drill_tags(settings.databases[0], ENV, MONTH, STARTED, DEADLINE, {})
    aws.make_instance(Tags=[{"Key": key, "Value": value} for key, value in tagged_source.items()])
    aws.make_instance("backup-assets-drill-by-hand", DeletionProtection=False)
    left(aws, settings, "renamed-and-in-use")
    other = settings.model_copy(update={"env": "staging"})
    aws.make_instance(
        drill_name("erp4", "staging", MONTH),
        DeletionProtection=False,
        Tags=[
            {"Key": key, "Value": value}
            for key, value in drill_tags(other.databases[0], "staging", MONTH, STARTED, DEADLINE, {}).items()
        ],
    )
    there = names(aws)
    assert swept(settings, DEADLINE + timedelta(days=1)) == ()
    assert names(aws) == there


def test_a_source_that_is_called_and_tagged_like_a_drill_is_never_deleted(aws: PretendedAws) -> None:
    settings = settings_of(aws, RdsSettings(instance=NAME, drill=DRILL))
    left(aws, settings)
    assert swept(settings, DEADLINE + timedelta(days=1)) == ()
    assert names(aws) == {NAME}


def test_removing_anything_else_is_refused(aws: PretendedAws, settings: Settings) -> None:
    left(aws, settings)
    api = RdsApi(aws.access(), "instance")
    (server,) = drill_servers(api, settings.databases[0], ENV)
    with pytest.raises(Refused, match="it is not deleted"):
        remove(api, server, settings.databases[0], "staging")
    assert names(aws) == {NAME}


def test_what_cannot_be_deleted_is_told_after_the_others_went_and_tried_again(
    aws: PretendedAws, settings: Settings
) -> None:
    left(aws, settings)
    other = drill_name("erp4", ENV, "2026-10")
    left(aws, settings, other)
    aws.client("rds").modify_db_instance(DBInstanceIdentifier=other, DeletionProtection=True)
    with pytest.raises(EnvironmentFault, match="1 servers of drills could not be deleted") as raised:
        swept(settings, DEADLINE + GRACE)
    assert other in raised.value.why
    assert names(aws) == {other}
    aws.client("rds").modify_db_instance(DBInstanceIdentifier=other, DeletionProtection=False)
    assert swept(settings, DEADLINE + GRACE) == (other,)


def test_each_event_asks_for_one_run(aws: PretendedAws, settings: Settings) -> None:
    left(aws, settings)
    instance = rds_backends[ACCOUNT][TOKYO].databases[NAME]
    soon = STARTED + timedelta(minutes=1)
    assert events(settings, soon) == ["available"]
    assert [one.partition_key for one in pending_drills(settings.databases[0], settings, soon)] == [MONTH]
    assert events(settings, DEADLINE) == ["overdue"]
    instance.status = "creating"
    assert events(settings, soon) == []
    instance.status = "incompatible-restore"
    assert events(settings, soon) == ["incompatible-restore"]
    instance.status = "deleting"
    assert events(settings, DEADLINE) == []
    assert swept(settings, DEADLINE + GRACE) == ()


def test_a_cluster_goes_with_the_instance_that_was_made_in_it(aws: PretendedAws) -> None:
    settings = settings_of(aws, RdsSettings(cluster=CLUSTER, drill=DRILL))
    aws.make_cluster()
    tags = drill_tags(settings.databases[0], ENV, MONTH, STARTED, DEADLINE, {})
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    rds = aws.client("rds")
    rds.create_db_cluster(
        DBClusterIdentifier=NAME,
        Engine="aurora-postgresql",
        MasterUsername="postgres",
        MasterUserPassword="not-a-secret",
        Tags=listed,
    )
    assert events(settings, STARTED) == ["without an instance"]
    rds.create_db_instance(
        DBInstanceIdentifier=f"{NAME}-1",
        DBClusterIdentifier=NAME,
        DBInstanceClass="db.r6g.large",
        Engine="aurora-postgresql",
        Tags=listed,
    )
    assert events(settings, STARTED) == ["available"]
    assert swept(settings, DEADLINE + GRACE) == (NAME,)
    assert names(aws) == {f"{CLUSTER}-1"}
    assert servers_of_drills(settings.databases[0], settings) == ()
