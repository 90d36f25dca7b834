from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from backup_assets.aws.rds.drill.names import PREFIX, drill_name, member_name

RDS_NAME = re.compile(r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")
NAME = st.from_regex(r"\A[a-z][a-z0-9_]{0,62}\Z")
ENV = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,80}\Z")


@given(NAME, ENV)
def test_every_name_is_one_that_rds_takes_also_that_of_the_member(database: str, env: str) -> None:
    name = drill_name(database, env, "2026-11")
    assert RDS_NAME.match(name)
    assert len(member_name(name)) <= 63
    assert name.startswith(f"{PREFIX}2026-11-")


def test_what_is_written_alike_has_another_name() -> None:
    assert drill_name("erp_4", "a", "2026-11") != drill_name("erp4", "a", "2026-11")
    assert drill_name("a", "b_c", "2026-11") != drill_name("a", "b-c", "2026-11")
    assert drill_name("a", "b", "2026-11") != drill_name("a", "b", "2026-12")
