from __future__ import annotations

from itertools import pairwise

from backup_assets.queueing import job_tags, pool_of, priority, time_limit_hours
from backup_assets.settings import DatabaseSettings
from backup_assets.settings_capture import DumpSettings
from backup_assets.settings_restore import VerificationSettings
from backup_assets.settings_server import ServerSettings

ORDINARY = DatabaseSettings(name="erp4", database="erp4")
IMPORTANT = ORDINARY.model_copy(update={"tier": "important"})


def test_runs_wait_in_the_order_of_who_waits_for_them() -> None:
    order = [
        priority("restore", ORDINARY, by_hand=True),
        priority("release", IMPORTANT, by_hand=True),
        priority("release", ORDINARY, by_hand=True),
        priority("backup", ORDINARY, by_hand=True),
        priority("retention", ORDINARY, by_hand=True),
        priority("backup", IMPORTANT, by_hand=False),
        priority("backup", ORDINARY, by_hand=False),
        priority("drill", IMPORTANT, by_hand=False),
        priority("verification", IMPORTANT, by_hand=False),
    ]
    assert all(first > second for first, second in pairwise(order)), order


def test_a_restore_that_was_interrupted_is_never_started_again_by_itself() -> None:
    assert job_tags("restore", ORDINARY)["dagster/max_retries"] == "0"
    assert "dagster/max_retries" not in job_tags("backup", ORDINARY)


def test_a_run_may_take_as_long_as_what_it_does() -> None:
    slow = ORDINARY.model_copy(
        update={
            "dump": DumpSettings(timeout_hours=2),
            "verification": VerificationSettings(timeout_hours=3, nightly_limit=4),
        }
    )
    assert job_tags("backup", slow)["dagster/max_runtime"] == str(5 * 3600)
    assert time_limit_hours("verification", slow) == 12
    assert time_limit_hours("restore", slow) > 24


def test_databases_of_one_server_share_a_pool_and_others_do_not() -> None:
    elsewhere = ORDINARY.model_copy(update={"server": ServerSettings(host="elsewhere")})

    assert pool_of(ORDINARY) == pool_of(ORDINARY.model_copy(update={"name": "other", "database": "other"}))
    assert pool_of(ORDINARY) != pool_of(elsewhere)
