from __future__ import annotations

import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backup_assets.aws.rds.naming import snapshot_name
from backup_assets_tests.aws.rds.examples import NAME

NAMES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,80}\Z")


def test_a_name_says_what_it_is_of():
    assert snapshot_name("erp4", "production", "2026-11-22") == NAME


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(NAMES, NAMES)
def test_rds_takes_every_name(database: str, env: str):
    name = snapshot_name(database, env, "2026-11-22")

    assert len(name) <= 63
    assert re.fullmatch(r"[a-z](-?[a-z0-9])*", name)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(NAMES, NAMES, NAMES, NAMES)
def test_two_databases_never_share_a_name(database: str, env: str, other: str, other_env: str):
    if (database, env) != (other, other_env):
        assert snapshot_name(database, env, "2026-11-22") != snapshot_name(other, other_env, "2026-11-22")


def test_what_is_written_alike_there_is_told_apart():
    names = {snapshot_name(database, env, "2026-11-22") for database, env in (("a-b", "c"), ("a_b", "c"), ("b", "c-a"))}

    assert len(names) == 3


def test_every_slot_has_its_own_name():
    assert snapshot_name("e" * 80, "p" * 80, "2026-11-22") != snapshot_name("e" * 80, "p" * 80, "2026-11-23")
