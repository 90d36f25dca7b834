from __future__ import annotations

from datetime import UTC, datetime

from backup_assets.aws.infrastructure.normalise import (
    Hidden,
    digest,
    document_bytes,
    hidden,
    keyed,
    normalised,
    rendered,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_moments_and_request_ids_and_empty_values_are_left_out() -> None:
    answer = {"ResponseMetadata": {"RequestId": "1"}, "LatestRestorableTime": NOW, "Empty": [], "None": None, "Days": 0}
    assert normalised(answer) == {"Days": 0}


def test_what_is_named_is_left_out_at_any_depth() -> None:
    assert normalised({"Groups": [{"Status": "adding", "Id": "sg-1"}]}, {"Status"}) == {"Groups": [{"Id": "sg-1"}]}


def test_the_order_of_an_answer_does_not_matter() -> None:
    one = {"b": [{"Port": 2}, {"Port": 1}], "a": False}
    two = {"a": False, "b": [{"Port": 1}, {"Port": 2}]}
    assert document_bytes(normalised(one)) == document_bytes(normalised(two))


def test_tags_become_a_mapping() -> None:
    assert normalised({"TagList": [{"Key": "b", "Value": "2"}, {"Key": "a", "Value": "1"}]}) == {
        "TagList": {"a": "1", "b": "2"}
    }


def test_a_hidden_value_is_shown_by_nothing() -> None:
    assert "secret" not in repr(hidden({"TOKEN": "secret"}))


def test_hidden_values_are_rendered_as_asked() -> None:
    tree = {"Environment": hidden({"B": "2", "A": "1"}), "list": [Hidden("3")]}
    assert rendered(tree, str) == {"Environment": {"A": "1", "B": "2"}, "list": ["3"]}
    shown = rendered(tree, keyed(b"k"))["Environment"]["A"]
    assert shown == f"hmac-sha256:{digest(b'k', '1')}"
    assert shown != rendered(tree, keyed(b"another"))["Environment"]["A"]
