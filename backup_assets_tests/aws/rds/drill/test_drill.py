from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from backup_assets.aws.answers import Missing
from backup_assets.aws.rds.server_names import RESTORED_FROM, SHOWS
from backup_assets.aws.rds.tagging import DEADLINE, ROLE, moment_text
from backup_assets.aws.rds.work import Waiting
from backup_assets.errors import CheckFailed, Refused, SettingsError, TransientFault
from backup_assets_tests.aws.conftest import CLUSTER, INSTANCE, OSAKA
from backup_assets_tests.aws.rds.drilling import MONTH, NAME, Drill, later
from backup_assets_tests.sources import capture


def described(drill: Drill, name: str = NAME) -> dict[str, Any]:
    return drill.aws.client("rds").describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]


def test_a_drill_restores_the_newest_snapshot_compares_it_and_removes_the_server(a_drill: Drill) -> None:
    capture(a_drill.settings)
    older, newest = a_drill.snapshot("older"), a_drill.snapshot("newest")

    done = a_drill.drilled()

    assert done.problems == ()
    assert done.within_rto is True
    assert done.equal_content == 2
    assert [(one.name, one.restored, one.source) for one in done.tables] == [
        ("public.customers", 50, 50),
        ("public.invoices", 500, 500),
    ]
    assert any("integrity query invoice_total gives the same as in the source now" in one for one in done.confirmed)
    assert any("the newest time on record" in one for one in done.confirmed)
    assert a_drill.servers() == {INSTANCE}
    assert a_drill.outcome_on(newest) == "passed"
    assert a_drill.outcome_on(older) is None


def test_what_is_restored_is_apart_from_the_source_and_tagged_from_the_first_moment(a_drill: Drill) -> None:
    snapshot = a_drill.snapshot()
    a_drill.advance()
    made = described(a_drill)
    tags = {tag["Key"]: tag["Value"] for tag in made["TagList"]}
    assert [one["VpcSecurityGroupId"] for one in made["VpcSecurityGroups"]] == [a_drill.security_group]
    assert tags[ROLE] == "drill"
    assert tags[RESTORED_FROM] == snapshot
    assert tags[DEADLINE] > tags["backup-assets:started"]
    assert not made.get("PubliclyAccessible")
    assert made["DBInstanceClass"] == "db.t4g.medium"


def test_while_rds_restores_the_drill_is_waited_for_and_nothing_is_begun_twice(a_drill: Drill) -> None:
    a_drill.snapshot()
    a_drill.advance()
    a_drill.server_is("creating")
    waiting = a_drill.advance()
    assert isinstance(waiting, Waiting)
    assert NAME in waiting.what
    assert "creating" in waiting.what
    assert (waiting.deadline - waiting.since).total_seconds() == 3 * 3600
    assert a_drill.servers() == {INSTANCE, NAME}


def test_the_report_says_what_was_compared_and_lies_beside_those_of_the_sets(a_drill: Drill) -> None:
    a_drill.snapshot()
    a_drill.source.execute("INSERT INTO invoices VALUES (501, 1, now())")
    done = a_drill.drilled()
    assert done.passed
    assert done.report_path is not None
    assert done.report_path.parent.name == "drills"
    report = Path(done.report_path).read_text()
    assert "PASSED" in report
    assert "| public.invoices | 500 | 501 | -1 | not compared |" in report
    assert "no content was compared: there is no backup set with figures" in report


def test_what_was_written_since_is_told_and_is_no_failure(a_drill: Drill) -> None:
    capture(a_drill.settings)
    a_drill.snapshot()
    a_drill.restored.execute("UPDATE customers SET name = 'renamed before the snapshot' WHERE id = 1")
    a_drill.source.execute("INSERT INTO invoices VALUES (501, 7.25, now())")
    done = a_drill.drilled()
    assert done.passed
    assert done.row_difference == 1
    assert {one.name: one.content.split()[0] for one in done.tables} == {
        "public.customers": "other",
        "public.invoices": "same",
    }
    assert not any("invoice_total gives the same as in the source" in one for one in done.confirmed)
    assert any("invoice_total gives the same as in the backup set" in one for one in done.confirmed)


def test_a_table_that_lost_its_rows_fails_the_drill_and_is_told_on_the_snapshot(a_drill: Drill) -> None:
    capture(a_drill.settings)
    snapshot = a_drill.snapshot()
    a_drill.restored.execute("DELETE FROM customers")
    done = a_drill.drilled()
    assert [one.what for one in done.problems] == ["table public.customers is empty in the restored database"]
    assert a_drill.outcome_on(snapshot) == "failed"
    assert a_drill.servers() == {INSTANCE}


def test_an_unlogged_table_is_empty_after_every_restore_and_fails_nothing(a_drill: Drill) -> None:
    for database in (a_drill.source, a_drill.restored):
        database.execute("CREATE UNLOGGED TABLE cache (id int)")
    a_drill.source.execute("INSERT INTO cache VALUES (1)")
    capture(a_drill.settings)
    a_drill.snapshot()
    done = a_drill.drilled()
    assert done.passed
    assert any("unlogged table public.cache is empty" in note for note in done.notes)


def test_data_older_than_the_snapshot_fails_the_drill(a_drill: Drill) -> None:
    a_drill.snapshot()
    a_drill.restored.execute("DELETE FROM invoices WHERE created_at > now() - interval '3 hours'")
    done = a_drill.drilled()
    assert len(done.problems) == 1
    assert done.problems[0].what.startswith("the restored data is older than the moment that it should show")


@pytest.mark.parametrize(
    "change",
    [
        "DROP INDEX invoices_by_time",
        "ALTER TABLE customers ADD COLUMN note text",
        "ALTER TABLE customers DROP CONSTRAINT customers_pkey",
        "CREATE VIEW names AS SELECT name FROM customers",
        "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE invoices ALTER COLUMN total TYPE numeric(14, 2)",
    ],
)
def test_another_schema_fails_the_drill(a_drill: Drill, change: str) -> None:
    a_drill.snapshot()
    a_drill.restored.execute(change)
    done = a_drill.drilled()
    assert [one.what for one in done.problems] == ["the schema differs from that of the source"]
    assert "schema_version_query" in done.problems[0].remedy


def test_a_migration_since_the_snapshot_is_told_by_the_schema_version(a_drill: Drill) -> None:
    for database in (a_drill.source, a_drill.restored):
        database.execute("CREATE TABLE migrations (version int)", "INSERT INTO migrations VALUES (7)")
    drill = a_drill.configured(schema_version_query="SELECT max(version) FROM migrations")
    drill.snapshot()
    drill.source.execute("ALTER TABLE customers ADD COLUMN note text", "UPDATE migrations SET version = 8")
    done = drill.drilled()
    assert done.passed
    assert any("of version 7, the source's now 8; they differ in column public.customers.note" in n for n in done.notes)


def test_an_integrity_query_that_cannot_be_run_there_fails_the_drill(a_drill: Drill) -> None:
    a_drill.snapshot()
    a_drill.integrity_sql.write_text("-- name: broken\nSELECT sum(amount) FROM invoices;\n")
    done = a_drill.drilled()
    assert [one.what for one in done.problems] == ["the integrity query broken failed"]
    assert a_drill.servers() == {INSTANCE}


def test_the_source_itself_is_never_taken_for_the_restored_one(a_drill: Drill) -> None:
    a_drill.snapshot()
    source = a_drill.source.server_settings()
    with pytest.raises(Refused, match="which is the source itself"):
        a_drill.drilling(host=source.host, port=source.port).advance()
    assert a_drill.servers() == {INSTANCE}


def test_the_source_under_another_name_is_found_out(a_drill: Drill, tmp_path: Path) -> None:
    snapshot = a_drill.snapshot()
    source = a_drill.source.server_settings()
    alias = tmp_path / "s"
    alias.symlink_to(source.host)
    done = a_drill.drilling(host=str(alias), port=source.port).drilled()
    assert not done.passed
    assert done.problems[0].what.endswith("is the source itself")
    # Nothing was found out about the snapshot.
    assert a_drill.outcome_on(snapshot) is None


def test_security_groups_of_the_source_are_refused(a_drill: Drill) -> None:
    a_drill.aws.client("rds").modify_db_instance(
        DBInstanceIdentifier=INSTANCE, VpcSecurityGroupIds=[a_drill.security_group], ApplyImmediately=True
    )
    a_drill.snapshot()
    with pytest.raises(SettingsError, match=f"are those of {INSTANCE}: {a_drill.security_group}"):
        a_drill.advance()
    assert a_drill.servers() == {INSTANCE}


def test_without_security_groups_nothing_is_restored(a_drill: Drill) -> None:
    a_drill.snapshot()
    with pytest.raises(SettingsError, match="no security groups of its own"):
        a_drill.drilling(security_groups=()).advance()
    assert a_drill.servers() == {INSTANCE}


def test_without_a_snapshot_of_ours_there_is_nothing_to_drill(a_drill: Drill) -> None:
    a_drill.aws.client("rds").create_db_snapshot(DBInstanceIdentifier=INSTANCE, DBSnapshotIdentifier="by-hand")
    with pytest.raises(CheckFailed, match=f"{INSTANCE} has no available snapshot of ours in ap-northeast-1"):
        a_drill.advance()


def test_another_password_is_a_failed_drill_whose_server_is_removed(a_drill: Drill) -> None:
    snapshot = a_drill.snapshot()
    a_drill.begun()
    wrong = a_drill.source.server_settings(user="nobody_there", password=SecretStr("wrong"))
    done = a_drill.configured(server=wrong).advance()
    assert done is not None
    assert not isinstance(done, Waiting)
    assert done.problems[0].what.startswith("cannot connect to database")
    assert done.within_rto is None
    assert a_drill.outcome_on(snapshot) is None
    assert a_drill.servers() == {INSTANCE}


def test_a_server_that_does_not_answer_yet_is_kept_for_the_next_attempt_and_removed_after_the_last(
    a_drill: Drill,
) -> None:
    a_drill.snapshot()
    # Nobody listens there, and as long as it is bound nobody else can.
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        silent = a_drill.drilling(host="127.0.0.1", port=deaf.getsockname()[1]).begun()
        with pytest.raises(TransientFault):
            silent.advance(last_attempt=False)
        assert NAME in silent.servers()
        done = silent.advance(last_attempt=True)
    assert done is not None
    assert not isinstance(done, Waiting)
    assert not done.passed
    assert silent.servers() == {INSTANCE}


def test_a_run_that_is_ended_while_it_compares_removes_the_server(a_drill: Drill) -> None:
    a_drill.snapshot()
    a_drill.begun()

    def end(line: str) -> None:
        if "every row" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        a_drill.advance(log=end)
    assert a_drill.servers() == {INSTANCE}


def test_a_drill_past_its_deadline_fails_and_is_removed(a_drill: Drill) -> None:
    a_drill.snapshot()
    a_drill.begun()
    a_drill.server_is("creating")
    done = a_drill.advance(now=later(3.1))
    assert done is not None
    assert not isinstance(done, Waiting)
    assert done.problems[0].what == "the drill was not over after 3 hours"
    assert a_drill.servers() == {INSTANCE}


def test_a_server_that_rds_gives_up_fails_the_drill_at_once(a_drill: Drill) -> None:
    a_drill.snapshot()
    a_drill.begun()
    a_drill.server_is("incompatible-network")
    done = a_drill.advance()
    assert done is not None
    assert not isinstance(done, Waiting)
    assert done.problems[0].what == f"RDS could not make {NAME}: its state is incompatible-network"
    assert a_drill.servers() == {INSTANCE}


@pytest.mark.parametrize("status", ["storage-initialization", "storage-optimization"])
def test_a_server_that_can_be_used_is_not_waited_for_although_rds_still_works_on_its_storage(
    a_drill: Drill, status: str
) -> None:
    a_drill.snapshot()
    a_drill.begun()
    a_drill.server_is(status)
    done = a_drill.advance()
    assert done is not None
    assert not isinstance(done, Waiting)
    assert done.passed
    assert a_drill.servers() == {INSTANCE}


def test_a_restore_slower_than_promised_fails_and_the_snapshot_is_good_all_the_same(a_drill: Drill) -> None:
    snapshot = a_drill.snapshot()
    drill = a_drill.drilling(timeout_hours=48).begun()
    done = drill.advance(now=later(5))
    assert done is not None
    assert not isinstance(done, Waiting)
    assert [one.what for one in done.problems] == ["the restore took longer than promised"]
    assert done.within_rto is False
    assert a_drill.outcome_on(snapshot) == "passed"


def test_a_server_that_cannot_be_deleted_fails_the_drill_and_says_that_it_costs(a_drill: Drill) -> None:
    a_drill.snapshot()
    a_drill.begun()
    a_drill.aws.client("rds").modify_db_instance(DBInstanceIdentifier=NAME, DeletionProtection=True)
    done = a_drill.advance()
    assert done is not None
    assert not isinstance(done, Waiting)
    assert [one.what for one in done.problems] == [
        f"the drill's server {NAME} in ap-northeast-1 is not removed, and costs money"
    ]
    assert NAME in a_drill.servers()


def test_a_run_that_only_goes_on_begins_nothing(a_drill: Drill) -> None:
    a_drill.snapshot()
    assert a_drill.advance(begin=False) is None
    assert a_drill.servers() == {INSTANCE}


def test_while_the_last_one_is_being_removed_another_waits_its_turn(a_drill: Drill) -> None:
    a_drill.snapshot()
    a_drill.begun()
    a_drill.server_is("deleting")
    with pytest.raises(TransientFault, match="is still there"):
        a_drill.advance()
    assert a_drill.advance(begin=False) is None


def test_a_foreign_instance_of_the_same_name_is_left_alone(a_drill: Drill) -> None:
    a_drill.snapshot()
    a_drill.aws.make_instance(NAME, DeletionProtection=False)
    with pytest.raises(Refused, match="does not bear the tags of a drill"):
        a_drill.advance()
    assert a_drill.servers() == {INSTANCE, NAME}


def test_a_point_in_time_is_restored_without_a_snapshot(a_drill: Drill) -> None:
    done = a_drill.drilling(source="point_in_time").drilled()
    assert done.passed
    assert done.what == "a point in time"
    assert done.age_hours == pytest.approx(0, abs=0.05)
    assert a_drill.servers() == {INSTANCE}


def test_a_copy_is_restored_in_its_own_region(a_drill_of_copies: Drill) -> None:
    subnets = a_drill_of_copies.aws.client("ec2", OSAKA).describe_subnets()["Subnets"]
    a_drill_of_copies.aws.client("rds", OSAKA).create_db_subnet_group(
        DBSubnetGroupName="drills",
        DBSubnetGroupDescription="of drills",
        SubnetIds=[one["SubnetId"] for one in subnets[:2]],
    )
    copy = a_drill_of_copies.snapshot("copied", OSAKA, "copy")
    a_drill_of_copies.begun()
    assert a_drill_of_copies.servers() == {INSTANCE}
    assert a_drill_of_copies.servers(OSAKA) == {NAME}
    done = a_drill_of_copies.advance()
    assert done is not None
    assert not isinstance(done, Waiting)
    assert done.passed
    assert done.region == OSAKA
    assert a_drill_of_copies.servers(OSAKA) == set()
    assert a_drill_of_copies.outcome_on(copy, OSAKA) == "passed"


def test_a_copy_needs_a_subnet_group_of_its_region(a_drill_of_copies: Drill) -> None:
    a_drill_of_copies.snapshot("copied", OSAKA, "copy")
    with pytest.raises(SettingsError, match=f"no subnet group is named for the drill in {OSAKA}"):
        a_drill_of_copies.drilling(subnet_group=None).advance()
    assert a_drill_of_copies.servers(OSAKA) == set()


@pytest.mark.parametrize("source", ["snapshot", "point_in_time"])
def test_a_cluster_of_aurora_gets_one_instance_and_goes_with_it(a_drill_of_aurora: Drill, source: Any) -> None:
    drill = a_drill_of_aurora.drilling(source=source)
    snapshot = drill.snapshot()
    assert isinstance(drill.advance(), Waiting)
    assert drill.servers() == {INSTANCE, CLUSTER, f"{CLUSTER}-1", NAME}
    assert isinstance(drill.advance(), Waiting)
    member = described(drill, f"{NAME}-1")
    assert member["DBInstanceClass"] == "db.r6g.large"
    assert member["DBClusterIdentifier"] == NAME
    done = drill.advance()
    assert done is not None
    assert not isinstance(done, Waiting)
    assert done.problems == ()
    assert set(done.stages) == {"restore", "instance", "read", "source"}
    assert drill.servers() == {INSTANCE, CLUSTER, f"{CLUSTER}-1"}
    assert drill.outcome_on(snapshot) == ("passed" if source == "snapshot" else None)


def test_without_the_source_nothing_is_restored(a_drill: Drill) -> None:
    a_drill.snapshot()
    a_drill.aws.client("rds").delete_db_instance(DBInstanceIdentifier=INSTANCE, SkipFinalSnapshot=True)
    with pytest.raises(Missing):
        a_drill.advance()


def test_the_month_is_part_of_the_name(a_drill: Drill) -> None:
    assert MONTH in NAME
    assert len(NAME) + len("-1") <= 63


def test_a_server_with_rows_from_after_the_snapshot_is_not_what_was_restored(a_drill: Drill) -> None:
    a_drill.restored.execute("UPDATE invoices SET created_at = now() - interval '1 min' WHERE id = 500")
    snapshot = a_drill.snapshot()
    tags = [{"Key": SHOWS, "Value": moment_text(datetime.now(UTC) - timedelta(days=2))}]
    a_drill.begun()
    made = described(a_drill)
    a_drill.aws.client("rds").add_tags_to_resource(ResourceName=made["DBInstanceArn"], Tags=tags)

    done = a_drill.advance()

    assert done is not None
    assert not isinstance(done, Waiting)
    (problem,) = [one for one in done.problems if "newer than the moment" in one.what]
    assert "invoices.created_at" in str(problem.found)
    assert "`rds.drill.host`" in problem.remedy
    assert a_drill.outcome_on(snapshot) == "failed"
