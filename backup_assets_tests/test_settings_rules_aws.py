from __future__ import annotations

from typing import Any

import pytest

from backup_assets.settings_rules_aws import aws_contradictions

DRILL = {"security_groups": ["sg-1"]}


def found(aws: dict[str, Any] | None = None, *rds: dict[str, Any], **tree: object) -> list[str]:
    databases = [{"name": f"erp{number}", "rds": one} for number, one in enumerate(rds)]
    mistakes = aws_contradictions({"aws": aws or {}, "databases": databases, **tree})
    return [f"{'.'.join(str(part) for part in loc)}: {text}" for loc, text in mistakes]


def test_a_source_with_copies_and_a_drill_contradicts_nothing() -> None:
    source = {"instance": "erp4", "copies": {"region": "ap-northeast-3"}, "drill": DRILL}
    assert found({"second_region": "ap-northeast-3"}, source) == []


@pytest.mark.parametrize(
    ("rds", "place", "words"),
    [
        ({}, "databases.erp0.rds", "one of the two"),
        ({"instance": "a", "cluster": "b"}, "databases.erp0.rds", "one of the two"),
        ({"instance": "a", "copies": {"region": "ap-northeast-1"}}, "rds.copies.region", "lost with it"),
        ({"instance": "a", "copies": {"account_profile": "x"}}, "rds.copies.share_with", "names the account"),
        ({"instance": "a", "copies": {"share_with": ["1" * 12]}}, "rds.copies.kms_key_id", "default key"),
        ({"instance": "a", "drill": {}}, "rds.drill.security_groups", "reachable"),
        ({"instance": "a", "drill": {**DRILL, "source": "copy"}}, "rds.drill.source", "no copies"),
    ],
)
def test_what_cannot_be_meant_is_named(rds: dict[str, Any], place: str, words: str) -> None:
    (mistake,) = found(None, rds)
    assert place in mistake
    assert words in mistake


def test_a_container_is_not_on_rds() -> None:
    databases = [{"name": "erp", "server": {"container": {}}, "rds": {"instance": "a"}}]
    (mistake,) = found(databases=databases)
    assert "no container" in mistake


def test_two_databases_of_one_instance_are_snapshot_once() -> None:
    (mistake,) = found(None, {"instance": "a"}, {"instance": "a"})
    assert mistake.startswith("databases.erp1.rds: a is that of the database erp0")


def test_one_region_is_not_two() -> None:
    (mistake,) = found({"region": "eu-west-1", "second_region": "eu-west-1"})
    assert mistake.startswith("aws.second_region: ")


def test_values_are_never_written_down_without_encryption() -> None:
    values = {"infrastructure": {"values": True}}
    assert len(found(values)) == 1
    assert found(values, encryption={"recipients": ["A" * 40]}) == []


def test_a_database_does_not_share_the_folder_of_the_infrastructure() -> None:
    databases = [{"name": "erp4", "prefix": "Infrastructure"}]
    (mistake,) = found({"infrastructure": {}}, databases=databases)

    assert mistake.startswith("databases.erp4.prefix: the folder Infrastructure is that of `aws.infrastructure`")
    assert found({}, databases=databases) == []
