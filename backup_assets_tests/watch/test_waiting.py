from __future__ import annotations

from datetime import datetime, timedelta

from backup_assets.watch.conditions import Condition, Found
from backup_assets.watch.waiting import told_in_time
from backup_assets_tests.watch.stores_at_work import DAY, HOUR, NOW


def a_condition(patience: timedelta = HOUR) -> Condition:
    return Condition("erp4", "rds_unwatched", "", "error", "nobody looks", patience=patience)


def look(
    at: datetime, since: dict[str, datetime], *conditions: Condition, undecided: tuple[str, ...] = ()
) -> tuple[Found, dict[str, datetime]]:
    return told_in_time(Found(conditions, undecided), since, at)


def test_what_has_no_patience_is_told_at_once() -> None:
    found, since = look(NOW, {}, a_condition(timedelta()))

    assert (len(found.conditions), since) == (1, {})


def test_what_has_patience_is_told_once_it_was_found_for_as_long_and_with_its_begin() -> None:
    first, since = look(NOW, {}, a_condition())
    early, since = look(NOW + HOUR - timedelta(seconds=1), since, a_condition())
    found, _ = look(NOW + HOUR, since, a_condition())

    assert (first.conditions, early.conditions) == ((), ())
    assert [one.since for one in found.conditions] == [NOW]


def test_what_is_waited_with_is_not_over() -> None:
    found, _ = look(NOW, {}, a_condition())

    assert found.is_undecided("erp4:rds_unwatched:")


def test_what_was_not_found_in_between_begins_anew_and_what_could_not_be_judged_does_not() -> None:
    _, since = look(NOW, {}, a_condition())

    _, gone = look(NOW + HOUR / 2, since)
    _, unknown = look(NOW + HOUR / 2, since, undecided=("erp4:rds_unwatched:",))

    assert look(NOW + HOUR, gone, a_condition())[0].conditions == ()
    assert len(look(NOW + HOUR, unknown, a_condition())[0].conditions) == 1


def test_a_clock_that_was_ahead_makes_nothing_wait_until_then() -> None:
    _, since = look(NOW + 365 * DAY, {}, a_condition())
    _, since = look(NOW, since, a_condition())

    assert len(look(NOW + HOUR, since, a_condition())[0].conditions) == 1
