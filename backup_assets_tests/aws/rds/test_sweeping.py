from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from moto.rds.exceptions import RDSClientError
from moto.rds.models import rds_backends

from backup_assets.aws.answers import Denied
from backup_assets.aws.rds.api import RdsApi
from backup_assets.aws.rds.restored_regions import DIRECTORY, note_region
from backup_assets.aws.rds.server_names import server_name, server_tags
from backup_assets.aws.rds.servers import remove, restored_servers
from backup_assets.aws.rds.sweeping import GRACE, all_restored, pending_servers, sweep_servers
from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import AwsSettings, RdsCopySettings, RdsDrillSettings, RdsSettings
from backup_assets_tests.aws.conftest import ACCOUNT, CLUSTER, INSTANCE, OSAKA, TOKYO, PretendedAws
from backup_assets_tests.sources import no_log

ENV = "production"
MONTH = "2026-11"
NAME = server_name("drill", "erp4", ENV, MONTH)
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
    tags = server_tags("drill", settings.databases[0], ENV, MONTH, STARTED, DEADLINE, more)
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    aws.make_instance(name, region, DeletionProtection=False, KmsKeyId=None, StorageEncrypted=False, Tags=listed)


def names(aws: PretendedAws, region: str = TOKYO) -> set[str]:
    return {one["DBInstanceIdentifier"] for one in aws.client("rds", region).describe_db_instances()["DBInstances"]}


def swept(settings: Settings, at: datetime) -> tuple[str, ...]:
    return sweep_servers(settings.databases[0], settings, at, log=no_log)


def events(settings: Settings, at: datetime) -> list[str]:
    return [one.run_key.rpartition("/")[2] for one in pending_servers("drill", settings.databases[0], settings, at)]


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
    tagged_source = server_tags("drill", settings.databases[0], ENV, MONTH, STARTED, DEADLINE, {})
    aws.make_instance(Tags=[{"Key": key, "Value": value} for key, value in tagged_source.items()])
    aws.make_instance("backup-assets-drill-by-hand", DeletionProtection=False)
    left(aws, settings, "renamed-and-in-use")
    other = settings.model_copy(update={"env": "staging"})
    aws.make_instance(
        server_name("drill", "erp4", "staging", MONTH),
        DeletionProtection=False,
        Tags=[
            {"Key": key, "Value": value}
            for key, value in server_tags("drill", other.databases[0], "staging", MONTH, STARTED, DEADLINE, {}).items()
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
    (server,) = restored_servers(api, settings.databases[0], ENV)
    with pytest.raises(Refused, match="it is not deleted"):
        remove(api, server, settings.databases[0], "staging")
    assert names(aws) == {NAME}


def test_what_cannot_be_deleted_is_told_after_the_others_went_and_tried_again(
    aws: PretendedAws, settings: Settings
) -> None:
    left(aws, settings)
    other = server_name("drill", "erp4", ENV, "2026-10")
    left(aws, settings, other)
    aws.client("rds").modify_db_instance(DBInstanceIdentifier=other, DeletionProtection=True)
    with pytest.raises(EnvironmentFault, match="could not be deleted, and cost money: 1") as raised:
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
    assert [one.partition_key for one in pending_servers("drill", settings.databases[0], settings, soon)] == [MONTH]
    assert events(settings, DEADLINE) == ["overdue"]
    instance.status = "creating"
    assert events(settings, soon) == []
    # RDS: "it remains available for operations", for as many hours as it loads what was restored.
    instance.status = "storage-initialization"
    assert events(settings, soon) == ["available"]
    instance.status = "incompatible-restore"
    assert events(settings, soon) == ["incompatible-restore"]
    instance.status = "deleting"
    assert events(settings, DEADLINE) == []
    assert swept(settings, DEADLINE + GRACE) == ()


def test_a_cluster_goes_with_the_instance_that_was_made_in_it(aws: PretendedAws) -> None:
    settings = settings_of(aws, RdsSettings(cluster=CLUSTER, drill=DRILL))
    aws.make_cluster()
    tags = server_tags("drill", settings.databases[0], ENV, MONTH, STARTED, DEADLINE, {})
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
    assert all_restored(settings.databases[0], settings) == ()


def test_what_was_restored_is_removed_after_the_settings_name_another_region_or_kind(
    aws: PretendedAws, settings: Settings, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"backup_dir": tmp_path})
    aws.make_instance()
    left(aws, settings)
    left(aws, settings, region=OSAKA)
    note_region(settings, OSAKA)
    (database,) = settings.databases
    moved = settings.model_copy(
        update={"databases": (database.model_copy(update={"rds": RdsSettings(cluster=CLUSTER)}),)}
    )

    assert swept(moved, DEADLINE + GRACE) == (NAME, NAME)
    assert names(aws) == {INSTANCE}
    assert names(aws, OSAKA) == set()


def test_a_region_that_may_not_be_looked_into_any_more_keeps_nothing_elsewhere_from_going_on(
    aws: PretendedAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(aws, RdsSettings(instance=INSTANCE, drill=DRILL)).model_copy(update={"backup_dir": tmp_path})
    left(aws, settings)
    note_region(settings, OSAKA)

    def denied(*_: object, **__: object) -> None:
        raise RDSClientError("AccessDenied", "not authorized to perform: rds:DescribeDBInstances")

    monkeypatch.setattr(rds_backends[ACCOUNT][OSAKA], "describe_db_instances", denied)

    assert events(settings, STARTED + timedelta(minutes=1)) == ["available"]
    with pytest.raises(Denied, match=OSAKA) as raised:
        swept(settings, DEADLINE + GRACE)
    assert names(aws) == set()
    # Where the settings do not name it any more, who knows that nothing is left there can say so.
    forgotten = tmp_path / DIRECTORY / OSAKA
    assert f"delete {forgotten}" in raised.value.remedy
    forgotten.unlink()
    assert swept(settings, DEADLINE + GRACE) == ()
