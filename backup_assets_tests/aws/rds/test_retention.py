from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backup_assets.aws.rds.api import Snapshot
from backup_assets.aws.rds.naming import snapshot_name
from backup_assets.aws.rds.retention import hold_reason, policy_of_snapshots, set_of, translated
from backup_assets.aws.rds.tagging import DRILL, HOLD, HOLD_UNTIL, SLOT, drill_text, tags_of
from backup_assets.errors import Refused
from backup_assets.sets.retention import plan
from backup_assets.sets.retention_plan import RetentionPlan
from backup_assets.settings import DatabaseSettings
from backup_assets.settings_aws import RdsSettings
from backup_assets.settings_retention import RetentionSettings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets_tests.sets.examples import proof_of

ENV = "production"
PLACE = "rds-ap-northeast-1"
#: 06:30 in Tokyo, four hours after a snapshot.
NOW = datetime(2026, 11, 21, 21, 30, tzinfo=UTC)
DAY = timedelta(days=1)
RDS = RdsSettings(instance="erp4-prod")
DATABASE = DatabaseSettings(
    name="erp4",
    database="erp4",
    rds=RDS,
    schedule=ScheduleSettings(timezone="Asia/Tokyo"),
    retention=RetentionSettings(daily=3, weekly=0, monthly=0, all_for_days=0),
)


def taken(days_ago: int, status: str = "available", tags: dict[str, str] | None = None, **changes: Any) -> Snapshot:
    """Return the snapshot of 02:30 in Tokyo, so many days ago."""
    at = NOW - timedelta(hours=4) - days_ago * DAY
    slot = f"{at + timedelta(hours=9):%Y-%m-%d}"
    name = snapshot_name("erp4", ENV, slot)
    given = {
        "kind": "instance",
        "identifier": name,
        "arn": f"arn:aws:rds:ap-northeast-1:123456789012:snapshot:{name}",
        "source": "erp4-prod",
        "status": status,
        "taken_at": at,
        "encrypted": True,
        "kms_key_id": None,
        "size_gib": 20,
        "copy_of": None,
        "tags": tags_of("erp4", ENV, slot, "snapshot", at) | (tags or {}),
        "raw": {"EngineVersion": "17.6"},
    }
    return Snapshot(**{**given, **changes})


def planned(*snapshots: Snapshot, now: datetime = NOW) -> RetentionPlan:
    made = translated(snapshots, DATABASE, ENV, PLACE, now)
    return plan(made.sets, policy_of_snapshots(DATABASE, RDS), now, store=PLACE, damaged=made.damaged)


def slots_of(made: RetentionPlan, decision: str) -> list[str]:
    return [line.set.manifest.slot for line in made.lines if line.decision == decision]


def test_the_same_snapshot_is_the_same_set_in_every_place():
    original = taken(0)
    copy = taken(0, arn=f"arn:aws:rds:ap-northeast-3:123456789012:snapshot:{original.identifier}")

    assert set_of(original, DATABASE, ENV, PLACE, NOW).id == set_of(copy, DATABASE, ENV, "rds-osaka", NOW).id
    assert set_of(original, DATABASE, ENV, PLACE, NOW).id != set_of(taken(1), DATABASE, ENV, PLACE, NOW).id


def test_a_set_shows_slot_moment_and_size_of_its_snapshot():
    made = set_of(taken(0), DATABASE, ENV, PLACE, NOW)

    assert (made.manifest.slot, made.taken_at) == ("2026-11-22", NOW - timedelta(hours=4))
    assert made.manifest.size_bytes == 20 << 30
    assert made.id.startswith("2026-11-22-20261121T173000Z-")


def test_a_whole_snapshot_counts_as_proven():
    assert proof_of(set_of(taken(0), DATABASE, ENV, PLACE, NOW)) is not None


@pytest.mark.parametrize("status", ["creating", "failed"])
def test_one_that_is_not_whole_is_incomplete(status: str):
    made = set_of(taken(0, status), DATABASE, ENV, PLACE, NOW)

    assert made.faults == (f"RDS says that it is {status}",)
    assert proof_of(made) is None


def test_a_failed_drill_takes_the_proof_back_and_a_passed_one_is_the_better_proof():
    failed = taken(0, tags={DRILL: drill_text(passed=False, at=NOW)})
    passed = taken(0, tags={DRILL: drill_text(passed=True, at=NOW)})

    assert proof_of(set_of(failed, DATABASE, ENV, PLACE, NOW)) is None
    best = proof_of(set_of(passed, DATABASE, ENV, PLACE, NOW))
    assert best is not None
    assert best.level == "drilled"


def test_those_of_others_are_left_out():
    others = (
        taken(0, tags={"backup-assets:database": "erp5"}),
        taken(1, tags={"backup-assets:env": "staging"}),
        taken(2, tags={"backup-assets:role": "drill"}),
        replace(taken(3), tags={}),
    )

    assert translated(others, DATABASE, ENV, PLACE, NOW).sets == ()


def test_a_copy_that_somebody_made_of_ours_is_left_out_although_it_took_our_tags_along():
    made = planned(*(taken(days) for days in range(6)), taken(5, identifier="erp4-before-the-migration"))

    assert slots_of(made, "delete") == ["2026-11-19", "2026-11-18", "2026-11-17"]
    assert len(made.lines) == 6


def test_old_ones_go_and_each_says_why():
    made = planned(*(taken(days) for days in range(6)))

    assert slots_of(made, "keep") == ["2026-11-22", "2026-11-21", "2026-11-20"]
    assert slots_of(made, "delete") == ["2026-11-19", "2026-11-18", "2026-11-17"]
    assert all(line.reasons for line in made.lines)


def test_the_newest_is_never_deleted():
    made = planned(taken(0, "failed"), *(taken(days) for days in range(1, 5)))

    assert slots_of(made, "keep")[0] == "2026-11-22"


def test_days_whose_snapshot_failed_its_drill_do_not_count():
    failed = {DRILL: drill_text(passed=False, at=NOW)}

    made = planned(taken(0), taken(1), taken(2, tags=failed), taken(3), taken(4))

    assert slots_of(made, "delete") == ["2026-11-18"]


def test_nothing_goes_when_the_newest_failed_its_drill():
    made = planned(taken(0, tags={DRILL: drill_text(passed=False, at=NOW)}), *(taken(days) for days in range(1, 6)))

    assert slots_of(made, "delete") == []
    assert [reason.code for reason in made.blocked] == ["verification_failed"]


def test_nothing_goes_when_no_new_ones_come():
    made = planned(*(taken(days) for days in range(6)), now=NOW + 2 * DAY)

    assert slots_of(made, "delete") == []
    assert [reason.code for reason in made.blocked] == ["older_than_rpo"]


def test_an_rpo_of_hours_does_not_stop_what_is_daily():
    important = DATABASE.model_copy(update={"tier": "important"})

    assert important.rpo_hours < 24
    assert policy_of_snapshots(important, RDS).rpo == timedelta(hours=24 + 2 * 6)


@pytest.mark.parametrize(
    ("tags", "held"),
    [
        ({HOLD: "release 4.2"}, "release 4.2"),
        ({HOLD: "release 4.2", HOLD_UNTIL: "2026-12-31"}, "release 4.2"),
        ({HOLD: "release 4.2", HOLD_UNTIL: "2026-11-01"}, None),
        ({HOLD: "release 4.2", HOLD_UNTIL: "2026-11-22"}, "release 4.2"),
        ({HOLD: "release 4.2", HOLD_UNTIL: "2026-11-21"}, None),
        ({HOLD: "release 4.2", HOLD_UNTIL: "until Christmas"}, "release 4.2"),
        ({HOLD_UNTIL: "2026-12-31"}, "no reason given"),
        ({HOLD: ""}, "no reason given"),
        ({}, None),
    ],
)
def test_a_tag_holds_a_snapshot(tags: dict[str, str], held: str | None):
    made = planned(*(taken(days) for days in range(5)), taken(5, tags=tags))

    assert ("2026-11-17" in slots_of(made, "keep")) is (held is not None)
    assert hold_reason(taken(5, tags=tags), DATABASE, NOW) == held


def test_a_tag_that_names_no_slot_decides_nothing():
    made = planned(*(taken(days) for days in range(3)), taken(9, tags={SLOT: "yesterday"}))

    assert len(made.lines) == 3
    assert made.damaged == (taken(9).identifier,)
    with pytest.raises(Refused):
        set_of(taken(9, tags={SLOT: "yesterday"}), DATABASE, ENV, PLACE, NOW)


def test_one_without_a_moment_yet_is_as_old_as_our_wish():
    made = set_of(taken(0, "creating", taken_at=None), DATABASE, ENV, PLACE, NOW)

    assert made.taken_at == NOW - timedelta(hours=4)
