from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from moto.rds.models import rds_backends

from backup_assets.aws.rds.api import RdsApi
from backup_assets.aws.rds.automation import rds_definitions
from backup_assets.aws.rds.naming import snapshot_name
from backup_assets.aws.rds.pruning import places_of, prune_snapshots
from backup_assets.aws.rds.tagging import HOLD, TAKEN, moment_text, tags_of
from backup_assets.cli.main import main
from backup_assets.errors import Refused
from backup_assets.retention.pruning import Pruned
from backup_assets.settings import Settings
from backup_assets.settings_retention import RetentionSettings
from backup_assets_tests.aws.conftest import ACCOUNT, INSTANCE, OSAKA, TOKYO, PretendedAws
from backup_assets_tests.aws.rds.examples import ENV, copies_of, database_of, rds_of, settings_of

NOW = datetime(2026, 11, 21, 21, 30, tzinfo=UTC)
DAY = timedelta(days=1)
KEPT = RetentionSettings(daily=2, weekly=0, monthly=0, all_for_days=0)


@pytest.fixture
def settings(aws: PretendedAws, an_instance: dict[str, Any], tmp_path: Path) -> Settings:
    """Return a database with a snapshot of each of five days, in Tokyo and in Osaka, two of which are to stay."""
    database = database_of(rds_of(aws, copies=copies_of(aws)), retention=KEPT)
    five_days(aws, NOW)
    aws.client("rds").create_db_snapshot(DBSnapshotIdentifier="by-hand", DBInstanceIdentifier=INSTANCE)
    return settings_of(aws, database, tmp_path)


def five_days(aws: PretendedAws, now: datetime) -> None:
    """Take a snapshot of each of the five days until ``now``, and copy it."""
    tokyo = RdsApi(aws.access(), "instance")
    for days in range(5):
        at = now - timedelta(hours=4) - days * DAY
        slot = f"{at + timedelta(hours=9):%Y-%m-%d}"
        name = snapshot_name("erp4", ENV, slot)
        original = tokyo.create_snapshot(INSTANCE, name, tags_of("erp4", ENV, slot, "snapshot", at))
        tags = tags_of("erp4", ENV, slot, "copy", at) | {TAKEN: moment_text(at)}
        osaka = tokyo.within(OSAKA)
        osaka.copy_snapshot(original, name, tags, from_region=TOKYO, kms_key_id=aws.osaka_key)
        for region in (TOKYO, OSAKA):
            rds_backends[ACCOUNT][region].database_snapshots[name].original_snapshot_create_time = at


def pruned(settings: Settings, **options: Any) -> dict[str, Pruned]:
    return {one.store: one for one in prune_snapshots(settings.databases[0], settings, now=NOW, **options)}


def days_in(aws: PretendedAws, region: str) -> list[str]:
    listed = aws.client("rds", region).describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    return sorted(one["DBSnapshotIdentifier"].removeprefix("backup-assets-production-erp4-")[:10] for one in listed)


def test_without_apply_nothing_is_deleted(settings: Settings, aws: PretendedAws):
    done = pruned(settings)

    assert {name: len(one.plan.deleted) for name, one in done.items() if one.plan} == {
        "rds-ap-northeast-1": 3,
        "rds-ap-northeast-3": 3,
    }
    assert len(days_in(aws, TOKYO)) == 6
    assert len(days_in(aws, OSAKA)) == 5


def test_what_may_go_goes_in_both_regions_and_nothing_of_others(settings: Settings, aws: PretendedAws):
    done = pruned(settings, apply=True)

    assert all(one.is_well and len(one.deleted) == 3 for one in done.values())
    assert days_in(aws, TOKYO) == ["2026-11-21", "2026-11-22", "by-hand"]
    assert days_in(aws, OSAKA) == ["2026-11-21", "2026-11-22"]
    again = pruned(settings, apply=True)
    assert not any(one.deleted for one in again.values())


def test_a_copy_that_somebody_made_by_hand_with_our_tags_stays(settings: Settings, aws: PretendedAws):
    name = snapshot_name("erp4", ENV, "2026-11-18")
    for region in (TOKYO, OSAKA):
        aws.client("rds", region).copy_db_snapshot(
            SourceDBSnapshotIdentifier=name, TargetDBSnapshotIdentifier="before-the-migration", CopyTags=True
        )

    pruned(settings, apply=True)

    assert days_in(aws, TOKYO) == ["2026-11-21", "2026-11-22", "before-the-migration"[:10], "by-hand"]
    assert days_in(aws, OSAKA) == ["2026-11-21", "2026-11-22", "before-the-migration"[:10]]


def test_one_region_can_be_named(settings: Settings, aws: PretendedAws):
    assert list(pruned(settings, apply=True, only="rds-ap-northeast-3")) == ["rds-ap-northeast-3"]
    assert len(days_in(aws, TOKYO)) == 6

    with pytest.raises(Refused, match="there is no rds-mars") as caught:
        pruned(settings, only="rds-mars")
    assert "rds-ap-northeast-1, rds-ap-northeast-3" in caught.value.remedy


def test_one_that_is_held_stays_and_so_does_its_copy(settings: Settings, aws: PretendedAws):
    name = snapshot_name("erp4", ENV, "2026-11-18")
    api = RdsApi(aws.access(), "instance")
    found = api.snapshot(name)
    assert found is not None
    api.tag(found.arn, {HOLD: "before release 4.2"})

    pruned(settings, apply=True)

    assert "2026-11-18" in days_in(aws, TOKYO)
    assert "2026-11-18" in days_in(aws, OSAKA)


def test_one_that_is_held_at_the_last_moment_stays(
    settings: Settings, aws: PretendedAws, monkeypatch: pytest.MonkeyPatch
):
    name = snapshot_name("erp4", ENV, "2026-11-18")
    monkeypatch.setattr(RdsApi, "snapshot", _holding_first(RdsApi.snapshot, name, aws))

    done = pruned(settings, apply=True)["rds-ap-northeast-1"]

    (failed,) = done.failed
    assert "it is held: just now" in str(failed.error)
    assert len(done.deleted) == 2
    assert days_in(aws, TOKYO) == ["2026-11-18", "2026-11-21", "2026-11-22", "by-hand"]


def _holding_first(asked: Callable[..., Any], name: str, aws: PretendedAws) -> Callable[..., Any]:
    """Let somebody hold a snapshot between the plan and the look before its deletion."""

    def snapshot(self: RdsApi, identifier: str) -> Any:
        found = asked(self, identifier)
        if found is not None and identifier == name and found.region == TOKYO:
            self.tag(found.arn, {HOLD: "just now"})
            return asked(self, identifier)
        return found

    return snapshot


def test_a_region_that_refuses_does_not_keep_the_other(settings: Settings, aws: PretendedAws):
    rds = settings.databases[0].rds
    assert rds is not None
    assert rds.copies is not None
    wrong = rds.model_copy(update={"copies": rds.copies.model_copy(update={"account_profile": "nobody"})})
    database = settings.databases[0].model_copy(update={"rds": wrong})

    done = {one.store: one for one in prune_snapshots(database, settings, apply=True, now=NOW)}

    assert "there is no AWS profile nobody" in str(done["rds-ap-northeast-3-nobody"].error)
    assert not done["rds-ap-northeast-3-nobody"].is_well
    assert len(done["rds-ap-northeast-1"].deleted) == 3


def test_the_places_are_the_regions_and_the_other_account(settings: Settings, aws: PretendedAws, other_account: str):
    rds = rds_of(aws, copies=copies_of(aws, other_account))

    assert list(places_of(settings, rds)) == ["rds-ap-northeast-1", "rds-ap-northeast-3", "rds-ap-northeast-3-vault"]
    assert list(places_of(settings, rds_of(aws, copies=None))) == ["rds-ap-northeast-1"]


def test_the_daily_retention_shows_every_decision(settings: Settings, aws: PretendedAws, tmp_path: Path):
    made = rds_definitions(settings.databases[0], settings, NOW, running=True, clock=lambda: NOW)
    definitions = dg.Definitions.merge(made, dg.Definitions(executor=dg.in_process_executor))

    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        result = definitions.resolve_job_def("erp4_rds_retention_job").execute_in_process(instance=instance)

    (event,) = result.get_asset_materialization_events()
    figures = {name: value.value for name, value in event.materialization.metadata.items()}
    assert (figures["deleted_count"], figures["kept_count"], figures["failed_count"]) == (6, 4, 0)
    assert "rds-ap-northeast-3 | delete" in str(figures["decisions"])
    assert days_in(aws, OSAKA) == ["2026-11-21", "2026-11-22"]


def test_a_retention_that_only_shows_deletes_nothing(settings: Settings, aws: PretendedAws, tmp_path: Path):
    shown = settings.databases[0].model_copy(update={"retention": KEPT.model_copy(update={"apply": False})})
    made = rds_definitions(shown, settings, NOW, running=True, clock=lambda: NOW)
    definitions = dg.Definitions.merge(made, dg.Definitions(executor=dg.in_process_executor))

    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        assert definitions.resolve_job_def("erp4_rds_retention_job").execute_in_process(instance=instance).success

    assert len(days_in(aws, OSAKA)) == 5


def test_the_command_shows_snapshots_beside_the_sets_and_prunes_them(
    aws: PretendedAws,
    an_instance: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "backup.yaml").write_text(
        f"""
env: {ENV}
aws: {{endpoint_url: "{aws.endpoint_url}"}}
databases:
  erp4:
    server: {{host: 127.0.0.1}}
    schedule: {{timezone: Asia/Tokyo}}
    retention: {{daily: 2, weekly: 0, monthly: 0, all_for_days: 0}}
    rds: {{instance: {INSTANCE}, copies: {{kms_key_id: "{aws.osaka_key}"}}}}
"""
    )
    monkeypatch.chdir(tmp_path)
    five_days(aws, datetime.now(UTC))

    assert main(["prune", "--json"]) == 0
    shown = {one["store"]: one for one in json.loads(capsys.readouterr().out)}
    assert list(shown) == ["local", "rds-ap-northeast-1", "rds-ap-northeast-3"]
    decisions = [one["decision"] for one in shown["rds-ap-northeast-3"]["sets"]]
    assert decisions == ["keep", "keep", "delete", "delete", "delete"]
    assert len(days_in(aws, OSAKA)) == 5

    assert main(["prune", "--apply", "--store", "rds-ap-northeast-3"]) == 0
    assert (len(days_in(aws, TOKYO)), len(days_in(aws, OSAKA))) == (5, 2)
