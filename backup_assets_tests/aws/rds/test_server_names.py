from __future__ import annotations

import re
from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backup_assets.aws.rds.server_names import PREFIXES, is_made_by_us, member_name, server_name, server_tags
from backup_assets.settings import DatabaseSettings
from backup_assets.settings_aws import RdsSettings

RDS_NAME = re.compile(r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")
NAME = st.from_regex(r"\A[a-z][a-z0-9_]{0,62}\Z")
ENV = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,80}\Z")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(NAME, ENV)
def test_every_name_is_one_that_rds_takes_also_that_of_the_member(database: str, env: str) -> None:
    name = server_name("drill", database, env, "2026-11")
    assert RDS_NAME.match(name)
    assert len(member_name(name)) <= 63
    assert name.startswith(f"{PREFIXES['drill']}2026-11-")


def test_what_is_written_alike_has_another_name() -> None:
    assert server_name("drill", "erp_4", "a", "2026-11") != server_name("drill", "erp4", "a", "2026-11")
    assert server_name("drill", "a", "b_c", "2026-11") != server_name("drill", "a", "b-c", "2026-11")
    assert server_name("drill", "a", "b", "2026-11") != server_name("drill", "a", "b", "2026-12")


def test_the_source_is_never_one_that_was_restored_however_it_is_spelled() -> None:
    name = server_name("drill", "erp4", "prod", "2026-11")
    at = datetime(2026, 11, 23, tzinfo=UTC)

    def made_by_us(instance: str) -> bool:
        database = DatabaseSettings(name="erp4", database="erp4", rds=RdsSettings(instance=instance))
        tags = server_tags("drill", database, "prod", "2026-11", at, at, {})
        return is_made_by_us(name, tags, database, "prod")

    assert made_by_us("erp4-prod")
    assert not made_by_us(name)
    assert not made_by_us(name.upper())
