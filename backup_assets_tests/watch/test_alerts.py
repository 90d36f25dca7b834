from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from backup_assets.watch.alerts import UNDELIVERED_FOR, Alert, decide, delivered, due, remembered
from backup_assets.watch.channels import Channel
from backup_assets.watch.conditions import THE_WATCH, Condition, Found, key_of
from backup_assets.watch.kinds import Severity

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
JSON, MAIL = Channel("1-json", "json://h/a"), Channel("2-mailto", "mailto://h")
BOTH = (JSON, MAIL)


def a_condition(severity: Severity = "error", *, lasting: bool = True, subject: str = "") -> Condition:
    return Condition("erp4", "rpo", subject, severity, "too old", cause="no run", remedy="run one", lasting=lasting)


def found(*conditions: Condition, undecided: tuple[str, ...] = (), dropped: tuple[str, ...] = ()) -> Found:
    return Found(conditions, undecided, dropped)


class Watched:
    """A watch whose channels take everything, except those named."""

    def __init__(self) -> None:
        self.alerts: tuple[Alert, ...] = ()
        self.told: list[tuple[str, str]] = []

    def look(self, at: datetime, what: Found, *, down: Sequence[Channel] = ()) -> list[tuple[str, str]]:
        self.alerts = decide(self.alerts, what, at, DAY)
        told = []
        for channel in BOTH:
            if channel not in down:
                some = due(self.alerts, channel)
                told += [(channel.name, one.occasion) for one in some]
                self.alerts = delivered(self.alerts, channel, some)
        self.alerts = remembered(self.alerts, BOTH, at)
        return told


def both(occasion: str) -> list[tuple[str, str]]:
    return [(channel.name, occasion) for channel in BOTH]


def test_what_holds_is_told_once_on_every_channel() -> None:
    watched = Watched()

    assert watched.look(NOW, found(a_condition())) == both("new")
    assert watched.look(NOW + 5 * MINUTE, found(a_condition())) == []


def test_what_still_holds_is_told_again_after_the_reminder() -> None:
    watched = Watched()
    watched.look(NOW, found(a_condition()))

    assert watched.look(NOW + DAY - MINUTE, found(a_condition())) == []
    assert watched.look(NOW + DAY, found(a_condition())) == both("reminder")
    assert watched.look(NOW + DAY + MINUTE, found(a_condition())) == []


def test_a_clock_that_was_years_ahead_does_not_silence_an_alert() -> None:
    watched = Watched()
    watched.look(NOW + 3000 * DAY, found(a_condition()))

    assert watched.look(NOW, found(a_condition())) == both("reminder")


def test_what_is_over_is_told_once_and_forgotten() -> None:
    watched = Watched()
    watched.look(NOW, found(a_condition()))

    assert watched.look(NOW + 90 * MINUTE, found()) == both("over")
    assert watched.alerts == ()
    assert watched.look(NOW + 95 * MINUTE, found()) == []


def test_what_comes_back_is_told_again() -> None:
    watched = Watched()
    watched.look(NOW, found(a_condition()))
    watched.look(NOW + MINUTE, found())

    assert watched.look(NOW + 2 * MINUTE, found(a_condition())) == both("new")
    assert watched.alerts[0].since == NOW + 2 * MINUTE


def test_a_warning_that_becomes_an_error_is_told_at_once_and_not_the_other_way_round() -> None:
    watched = Watched()
    watched.look(NOW, found(a_condition("warn")))

    assert watched.look(NOW + MINUTE, found(a_condition("error"))) == both("worse")
    assert watched.look(NOW + 2 * MINUTE, found(a_condition("warn"))) == []


def test_what_cannot_be_judged_is_not_over() -> None:
    watched = Watched()
    watched.look(NOW, found(a_condition(subject="usb")))
    unknown = found(undecided=(key_of("erp4", "rpo"),))

    assert watched.look(NOW + MINUTE, unknown) == []
    assert watched.look(NOW + DAY, unknown) == both("reminder")
    assert watched.look(NOW + DAY + MINUTE, found()) == both("over")


def test_what_is_dropped_is_not_called_over() -> None:
    watched = Watched()
    watched.look(NOW, found(a_condition()))

    assert watched.look(NOW + MINUTE, found(dropped=(key_of("erp4", "rpo"),))) == []
    assert watched.alerts == ()


def test_an_event_is_told_once_without_reminder_or_end() -> None:
    watched = Watched()

    assert watched.look(NOW, found(a_condition(lasting=False))) == both("new")
    assert watched.look(NOW + 2 * DAY, found(a_condition(lasting=False))) == []
    assert watched.look(NOW + 3 * DAY, found()) == []
    assert watched.alerts == ()


def test_a_channel_that_was_down_is_told_later_and_the_other_not_again() -> None:
    watched = Watched()

    assert watched.look(NOW, found(a_condition()), down=[MAIL]) == [("1-json", "new")]
    assert watched.look(NOW + MINUTE, found(a_condition()), down=[MAIL]) == []
    assert watched.look(NOW + 2 * MINUTE, found(a_condition())) == [("2-mailto", "new")]


def test_a_channel_that_was_down_all_the_while_hears_what_was() -> None:
    watched = Watched()
    watched.look(NOW, found(a_condition()), down=[MAIL])

    assert watched.look(NOW + MINUTE, found(), down=[MAIL]) == [("1-json", "over")]
    assert watched.look(NOW + 2 * MINUTE, found()) == [("2-mailto", "over")]
    assert watched.alerts == ()


def test_an_event_that_is_past_still_reaches_a_channel_that_was_down() -> None:
    watched = Watched()
    watched.look(NOW, found(a_condition(lasting=False)), down=[MAIL])

    assert watched.look(NOW + MINUTE, found()) == [("2-mailto", "new")]


def test_what_nobody_takes_is_not_kept_for_ever() -> None:
    watched = Watched()
    watched.look(NOW, found(a_condition()), down=BOTH)
    watched.look(NOW + MINUTE, found(), down=BOTH)

    assert len(watched.alerts) == 1
    watched.look(NOW + MINUTE + UNDELIVERED_FOR, found(), down=BOTH)
    assert watched.alerts == ()


def test_a_new_channel_hears_what_holds() -> None:
    watched = Watched()
    watched.look(NOW, found(a_condition()))

    assert [one.occasion for one in due(watched.alerts, Channel("3-slack", "slack://T"))] == ["new"]


def test_a_channel_in_the_place_of_another_of_its_kind_hears_what_holds_and_the_other_not_again() -> None:
    watched = Watched()
    watched.look(NOW, found(a_condition()))
    put_first, moved = Channel("1-json", "json://h/other"), Channel("2-json", JSON.url)

    assert [one.occasion for one in due(watched.alerts, put_first)] == ["new"]
    assert due(watched.alerts, moved) == ()


def test_what_was_remembered_by_places_is_told_once_more_and_not_twice() -> None:
    watched = Watched()
    watched.look(NOW, found(a_condition()))
    watched.alerts = tuple(one.model_copy(update={"told": {"1-json": NOW, "2-mailto": NOW}}) for one in watched.alerts)

    assert watched.look(NOW + MINUTE, found(a_condition())) == both("new")
    assert watched.look(NOW + 2 * MINUTE, found(a_condition())) == []


def test_a_channel_is_not_told_that_it_fails() -> None:
    failing = Condition(THE_WATCH, "channel_failed", "1-json", "error", "it fails")
    alerts = decide((), found(failing), NOW, DAY)

    assert due(alerts, JSON) == ()
    assert len(due(alerts, MAIL)) == 1


def test_the_worst_comes_first() -> None:
    what = found(a_condition("warn", subject="a"), a_condition("error", subject="b"))

    assert [one.subject for one in due(decide((), what, NOW, DAY), JSON)] == ["b", "a"]
