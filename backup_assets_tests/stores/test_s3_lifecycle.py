from __future__ import annotations

from typing import Any

import pytest

from backup_assets.stores.s3_lifecycle import RuleLine, covers, merged, wanted_rules
from backup_assets.stores.s3_location import S3Location

PLAIN = S3Location("backups", "ap-northeast-1", sse_s3=True, prefix="offsite")
TAGGED = S3Location("backups", "ap-northeast-1", sse_s3=True, prefix="offsite", retention_tags=True)


def ours(location: S3Location = TAGGED) -> list[dict[str, Any]]:
    return list(wanted_rules(location).values())


def altered(name: str, **values: Any) -> list[dict[str, Any]]:
    """Return our rules, the one of that name changed by hand."""
    return [{**rule, **values} if key == name else rule for key, rule in wanted_rules(TAGGED).items()]


def states(lines: tuple[RuleLine, ...]) -> dict[str, str]:
    return {line.name: line.state for line in lines}


def test_an_empty_bucket_gets_every_rule_below_its_prefix() -> None:
    rules, lines = merged([], TAGGED)

    assert set(states(lines).values()) == {"to change"}
    found = {rule["ID"]: rule for rule in rules}
    assert found["backup-assets: daily sets of offsite"] == {
        "ID": "backup-assets: daily sets of offsite",
        "Status": "Enabled",
        "Filter": {"And": {"Prefix": "offsite/", "Tags": [{"Key": "retention", "Value": "daily"}]}},
        "Expiration": {"Days": 14},
    }
    days = {rule["ID"].split()[1]: rule["Expiration"]["Days"] for rule in rules if "Days" in rule.get("Expiration", {})}
    assert days == {"daily": 14, "weekly": 56, "monthly": 365}
    uploads = found["backup-assets: abandoned uploads of offsite"]
    assert uploads["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert found["backup-assets: old versions of offsite"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}


def test_without_tags_no_current_object_expires() -> None:
    rules, _ = merged([], PLAIN)

    assert [rule for rule in rules if rule.keys() & {"Expiration"}] == [
        rule for rule in rules if rule.get("Expiration") == {"ExpiredObjectDeleteMarker": True}
    ]
    assert len(rules) == 2


def test_what_is_as_wanted_stays_and_nothing_is_to_change() -> None:
    rules, lines = merged(ours(), TAGGED)

    assert rules == ours()
    assert set(states(lines).values()) == {"as wanted"}


def test_rules_of_others_are_kept_as_they_are() -> None:
    foreign = {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 1}}
    elsewhere = wanted_rules(S3Location("backups", "ap-northeast-1", sse_s3=True, prefix="other", retention_tags=True))

    rules, lines = merged([foreign, *elsewhere.values()], TAGGED)

    assert rules[: 1 + len(elsewhere)] == [foreign, *elsewhere.values()]
    assert rules[1 + len(elsewhere) :] == ours()
    assert set(states(lines)) == set(wanted_rules(TAGGED))


def test_a_rule_of_ours_that_removes_too_soon_is_set_right() -> None:
    rules, lines = merged(altered("weekly sets", Expiration={"Days": 5}), TAGGED)

    assert states(lines)["weekly sets"] == "to change"
    assert rules == ours()


def test_a_rule_of_ours_that_somebody_lengthened_stays_so() -> None:
    found = altered("daily sets", Expiration={"Days": 90})

    rules, lines = merged(found, TAGGED)

    assert rules == found
    assert states(lines)["daily sets"] == "as wanted"
    assert "after 90 days" in next(line.found for line in lines if line.name == "daily sets")


@pytest.mark.parametrize(
    "by_hand",
    [
        {"Status": "Disabled"},
        {"Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]},
        {"Filter": {"Prefix": "offsite/"}},
        {"Expiration": {"Date": "2030-01-01T00:00:00Z"}},
    ],
)
def test_a_rule_of_ours_that_was_altered_by_hand_is_left_and_told(by_hand: dict[str, Any]) -> None:
    found = altered("monthly sets", **by_hand)

    rules, lines = merged(found, TAGGED)

    assert rules == found
    line = next(line for line in lines if line.name == "monthly sets")
    assert line.state == "left"
    assert "backup-assets: monthly sets of offsite" in line.remedy


@pytest.mark.parametrize(
    ("chosen", "actions", "is_told"),
    [
        ({"Prefix": ""}, {"Expiration": {"Days": 30}}, True),
        ({"Prefix": "offsite/erp4/"}, {"Expiration": {"Days": 364}}, True),
        ({"Prefix": ""}, {"Expiration": {"Days": 365}}, False),
        ({"Prefix": ""}, {"Expiration": {"Date": "2030-01-01T00:00:00Z"}}, True),
        ({"Prefix": ""}, {"NoncurrentVersionExpiration": {"NoncurrentDays": 1}}, True),
        ({"Tag": {"Key": "retention", "Value": "weekly"}}, {"Expiration": {"Days": 55}}, True),
        ({"Tag": {"Key": "retention", "Value": "weekly"}}, {"Expiration": {"Days": 56}}, False),
        ({"Tag": {"Key": "project", "Value": "x"}}, {"Expiration": {"Days": 1}}, False),
        ({"Prefix": "offsite2/"}, {"Expiration": {"Days": 1}}, False),
    ],
)
def test_somebody_elses_rule_that_removes_backups_too_soon_is_told(
    chosen: dict[str, Any], actions: dict[str, Any], is_told: bool
) -> None:
    rule = {"ID": "tidy", "Status": "Enabled", "Filter": chosen, **actions}

    rules, lines = merged([rule, *ours()], TAGGED)

    assert rules == [rule, *ours()]
    assert (states(lines).get("the rule tidy") == "left") is is_told
    assert "the rule tidy" not in states(merged([{**rule, "Status": "Disabled"}, *ours()], TAGGED)[1])


@pytest.mark.parametrize(
    ("chosen", "storage_class", "told"),
    [
        ({"Prefix": ""}, "DEEP_ARCHIVE", True),
        ({"Prefix": "offsite/"}, "GLACIER", True),
        ({"Tag": {"Key": "retention", "Value": "monthly"}}, "GLACIER", True),
        ({"Prefix": ""}, "GLACIER_IR", False),
        ({"Prefix": ""}, "STANDARD_IA", False),
        ({"Prefix": "elsewhere/"}, "GLACIER", False),
        ({"Tag": {"Key": "project", "Value": "x"}}, "GLACIER", False),
    ],
)
def test_somebody_elses_rule_that_puts_backups_into_an_archive_is_told(
    chosen: dict[str, Any], storage_class: str, told: bool
) -> None:
    rule = {
        "ID": "save costs",
        "Status": "Enabled",
        "Filter": chosen,
        "Transitions": [{"Days": 1, "StorageClass": storage_class}],
    }

    rules, lines = merged([*ours(), rule], TAGGED)

    assert rule in rules
    line = next((line for line in lines if line.name == "the rule save costs"), None)
    assert (line is not None) == told
    if line is not None:
        assert line.state == "left"
        assert storage_class in line.found
        assert "restore-object" in line.remedy


def test_a_rule_without_a_filter_covers_everything() -> None:
    assert covers({"Status": "Enabled"}, PLAIN)
    assert covers({"Prefix": "off"}, PLAIN)
    assert not covers({"Filter": {"And": {"Prefix": "db/", "Tags": []}}}, PLAIN)
