from __future__ import annotations

from typing import Any

from backup_assets.aws.infrastructure.diff import Change, changes, changes_by_leaves, leaves, markdown
from backup_assets.aws.infrastructure.normalise import HIDDEN_PREFIX


def told(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [str(change) for change in changes(old, new)]


def test_equal_documents_have_no_changes() -> None:
    assert told({"rds": {"erp4": {"Days": 14}}}, {"rds": {"erp4": {"Days": 14}}}) == []


def test_a_changed_setting_is_told_with_both_values() -> None:
    old = {"rds": {"erp4-prod": {"BackupRetentionPeriod": 14, "MultiAZ": True}}}
    new = {"rds": {"erp4-prod": {"BackupRetentionPeriod": 1, "MultiAZ": True}}}
    assert told(old, new) == ["rds/erp4-prod/BackupRetentionPeriod: 14 → 1"]


def test_settings_that_came_and_went_are_told() -> None:
    old = {"rds": {"erp4": {"a": 1, "b": {"c": "x"}}}}
    assert told(old, {"rds": {"erp4": {"a": 1, "d": True}}}) == ["rds/erp4/b/c: removed: x", "rds/erp4/d: added: true"]


def test_a_whole_resource_is_one_change() -> None:
    old = {"lambda": {"mailer": {"a": 1, "b": 2}}}
    assert told(old, {}) == ["lambda/mailer: removed: 2 settings"]
    assert told({}, old) == ["lambda/mailer: added: 2 settings"]


def test_of_a_list_the_elements_that_came_and_went_are_told() -> None:
    old = {"security_groups": {"sg-1": {"Ip": ["10.0.0.0/16", "192.168.0.0/24"]}}}
    new = {"security_groups": {"sg-1": {"Ip": ["0.0.0.0/0", "10.0.0.0/16"]}}}
    assert told(old, new) == [
        'security_groups/sg-1/Ip: added: "0.0.0.0/0"',
        'security_groups/sg-1/Ip: removed: "192.168.0.0/24"',
    ]


def test_a_hidden_value_that_changed_is_told_without_a_hash() -> None:
    old = {"lambda": {"f": {"Environment": {"TOKEN": f"{HIDDEN_PREFIX}aa"}}}}
    new = {"lambda": {"f": {"Environment": {"TOKEN": f"{HIDDEN_PREFIX}bb"}}}}
    assert told(old, new) == ["lambda/f/Environment/TOKEN: (a value) → (another value)"]


def test_what_cannot_be_captured_any_more_is_one_change_with_its_reason() -> None:
    old = {"lambda": {"mailer": {"a": 1, "b": 2}}, "not_captured": {}}
    new = {"not_captured": {"lambda/mailer": "denied"}}
    assert told(old, new) == ["not_captured/lambda/mailer: added: denied"]
    assert told(new, old) == ["not_captured/lambda/mailer: removed: denied"]


def test_what_was_never_captured_is_no_change() -> None:
    document = {"not_captured": {"lambda/mailer": "denied"}}
    assert told(document, document) == []


def test_hashes_tell_which_settings_changed_and_no_value() -> None:
    key = b"k"
    old = {"lambda": {"f": {"A": "1", "B": "2", "D": "4"}}}
    found = changes_by_leaves(leaves(old, key), {"lambda": {"f": {"A": "1", "B": "3", "C": "x"}}}, key)
    assert set(found) == {
        Change("changed", "lambda/f/B", "(a value)", "(another value)"),
        Change("added", "lambda/f/C"),
        Change("removed", "1 settings"),
    }
    assert changes_by_leaves(leaves(old, key), old, key) == ()


def test_the_table_is_bounded_and_its_cells_do_not_break_it() -> None:
    found = [Change("changed", f"a/{number}", "x|y", "z\nz") for number in range(300)]
    text = markdown(found)
    assert "x\\|y" in text
    assert "z z" in text
    assert text.endswith("… and 100 more.")
    assert markdown([]) == "Nothing changed."
