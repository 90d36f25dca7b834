from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from dagster._utils.schedules import cron_string_iterator  # the scheduler's own ticks; there is no public way to them
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_assets.errors import Refused
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets.slots import Slots, has_fixed_offset

SINCE = date(2026, 1, 1)
ZONES = (
    "Asia/Tokyo",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Pacific/Apia",
    "America/Sao_Paulo",
    "America/Havana",  # clocks change at midnight
    "Africa/Cairo",
    "UTC",
)
HOURS = [datetime(2026, 1, 2, tzinfo=UTC) + timedelta(hours=step) for step in range(360 * 24)]
CHANGES = [
    (zone, hour)
    for zone in ZONES
    for hour, following in pairwise(HOURS)
    if hour.astimezone(ZoneInfo(zone)).utcoffset() != following.astimezone(ZoneInfo(zone)).utcoffset()
]


@st.composite
def slots(draw: st.DrawFn, zone: str | None = None) -> Slots:
    schedule = ScheduleSettings.model_validate(
        {
            "every": draw(st.sampled_from(["day", "12h", "8h", "6h", "4h", "3h", "2h", "1h"])),
            "at": draw(st.sampled_from(["00:00", "00:30", "01:00", "02:00", "02:15", "02:30", "12:00", "23:59"])),
            "timezone": zone or draw(st.sampled_from(ZONES)),
        }
    )
    made = Slots(schedule, SINCE)
    return made.weekly if draw(st.booleans()) else made


@st.composite
def slots_and_moment(draw: st.DrawFn) -> tuple[Slots, datetime]:
    if draw(st.booleans()):
        zone, change = draw(st.sampled_from(CHANGES))
        return draw(slots(zone)), change + timedelta(seconds=draw(st.integers(-100_000, 100_000)))
    moment = draw(st.datetimes(datetime(2026, 1, 2), datetime(2026, 12, 30)))  # noqa: DTZ001 - made aware below
    return draw(slots()), moment.replace(tzinfo=UTC)


def daily(at: str = "02:00", zone: str = "Asia/Tokyo", since: date = date(2026, 11, 1)) -> Slots:
    return Slots(ScheduleSettings(at=at, timezone=zone), since)


def six_hourly(zone: str) -> Slots:
    return Slots(ScheduleSettings(every="6h", timezone=zone), date(2026, 11, 1))


def test_the_zones_of_these_tests_do_change_their_clocks() -> None:
    assert {zone for zone, _ in CHANGES} >= {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo"}


@settings(max_examples=60, deadline=None)
@given(slots_and_moment())
def test_the_current_slot_always_exists_as_a_partition_and_is_the_newest(case: tuple[Slots, datetime]) -> None:
    made, now = case
    start, end = made.window(made.current_key(now))
    for moment in (now, start, end - timedelta(microseconds=1)):
        assert made.definition.get_partition_keys(current_time=moment)[-1] == made.current_key(moment)


@settings(max_examples=80, deadline=None)
@given(slots_and_moment())
def test_a_moment_is_in_the_window_of_its_slot_and_in_no_other(case: tuple[Slots, datetime]) -> None:
    made, now = case
    key = made.current_key(now)
    keys = made.definition.get_partition_keys(current_time=now + timedelta(days=8))[-400:]
    assert [other for other in keys if made.is_current(other, now)] == [key]
    made.require_current(key, now)


@settings(max_examples=60, deadline=None)
@given(slots_and_moment())
def test_consecutive_windows_leave_no_gap_and_do_not_overlap(case: tuple[Slots, datetime]) -> None:
    made, now = case
    keys = made.definition.get_partition_keys(current_time=now + timedelta(days=3))[-400:]
    windows = [made.window(key) for key in keys]
    assert all(before[1] == after[0] for before, after in pairwise(windows))
    assert all(start < end for start, end in windows)
    assert len(keys) == len(set(keys))


@settings(max_examples=60, deadline=None)
@given(slots_and_moment())
def test_windows_are_those_that_the_partitions_show(case: tuple[Slots, datetime]) -> None:
    made, now = case
    definition = made.definition
    for key in definition.get_partition_keys(current_time=now + timedelta(days=3))[-150:]:
        shown = definition.time_window_for_partition_key(key)
        assert made.window(key) == (shown.start.astimezone(UTC), shown.end.astimezone(UTC))


@settings(max_examples=60, deadline=None)
@given(slots())
def test_each_tick_of_the_schedule_fills_its_own_slot_and_none_is_left_out(made: Slots) -> None:
    begin = datetime(2026, 1, 5, tzinfo=UTC)
    ticks = list(islice(cron_string_iterator(begin.timestamp(), made.cron, made.cron_timezone), 250))
    year = [tick.astimezone(UTC) for tick in ticks if tick < datetime(2026, 12, 30, tzinfo=UTC)]
    keys = [made.current_key(tick) for tick in year]
    existing = made.definition.get_partition_keys(current_time=year[-1])
    assert keys == existing[existing.index(keys[0]) :]
    for tick, key in zip(year, keys, strict=True):
        assert timedelta() <= made.due_at(key) - tick <= timedelta(hours=1)


@settings(max_examples=100, deadline=None)
@given(slots_and_moment())
def test_a_backup_is_due_within_its_slot(case: tuple[Slots, datetime]) -> None:
    made, now = case
    key = made.current_key(now)
    start, end = made.window(key)
    assert start <= made.due_at(key) <= end


def test_the_night_run_of_a_day_and_a_backup_at_noon_share_the_days_slot() -> None:
    made = daily()
    night, noon = datetime(2026, 11, 21, 17, tzinfo=UTC), datetime(2026, 11, 22, 3, tzinfo=UTC)
    assert made.current_key(night) == made.current_key(noon) == "2026-11-22"
    assert made.due_at("2026-11-22") == night
    assert (made.cron, made.cron_timezone) == ("0 2 * * *", "Asia/Tokyo")


def test_a_slot_ends_the_moment_the_next_one_starts() -> None:
    made = daily()
    midnight = datetime(2026, 11, 21, 15, tzinfo=UTC)
    assert made.window("2026-11-22") == (midnight, midnight + timedelta(days=1))
    assert made.current_key(midnight - timedelta(microseconds=1)) == "2026-11-21"
    assert made.current_key(midnight) == "2026-11-22"
    assert not made.is_current("2026-11-21", midnight)


def test_a_time_that_daylight_saving_skips_is_due_the_same_day() -> None:
    made = daily("02:30", "Europe/Berlin", date(2026, 3, 1))
    assert made.due_at("2026-03-29") == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert made.window("2026-03-29")[1] - made.window("2026-03-29")[0] == timedelta(hours=23)


def test_slots_within_a_day_have_local_keys_where_clocks_never_change() -> None:
    made = six_hourly("Asia/Kolkata")
    assert made.current_key(datetime(2026, 11, 22, 0, 29, 59, tzinfo=UTC)) == "2026-11-22T0000"
    assert made.current_key(datetime(2026, 11, 22, 0, 30, tzinfo=UTC)) == "2026-11-22T0600"
    assert (made.cron, made.cron_timezone) == ("0 0,6,12,18 * * *", "Asia/Kolkata")


def test_slots_within_a_day_have_utc_keys_where_clocks_change() -> None:
    made = six_hourly("Europe/Berlin")
    assert made.current_key(datetime(2026, 11, 22, 6, tzinfo=UTC)) == "2026-11-22T0600Z"
    assert made.cron_timezone == "UTC"


@pytest.mark.parametrize(
    ("zone", "first"),
    [
        ("Asia/Tokyo", "2026-11-01T0000"),
        ("Asia/Kolkata", "2026-11-01T0000"),
        ("Europe/Berlin", "2026-10-31T1800Z"),  # the UTC slot in which the first day begins
        ("America/New_York", "2026-11-01T0000Z"),
    ],
)
def test_the_first_slot_within_a_day_is_the_one_in_which_the_first_day_begins(zone: str, first: str) -> None:
    made = six_hourly(zone)
    keys = made.definition.get_partition_keys(current_time=datetime(2026, 11, 2, tzinfo=UTC))
    assert keys[0] == first
    assert made.window(first)[0] <= datetime(2026, 11, 1, tzinfo=ZoneInfo(zone)) < made.window(first)[1]


def test_a_zone_that_gave_up_daylight_saving_counts_as_fixed_only_from_then_on() -> None:
    assert has_fixed_offset("America/Sao_Paulo", date(2026, 1, 1))
    assert not has_fixed_offset("America/Sao_Paulo", date(2018, 6, 1))
    assert not has_fixed_offset("Africa/Casablanca", date(2026, 1, 1))


def test_a_day_that_a_country_skipped_is_never_current() -> None:
    made = daily(zone="Pacific/Apia", since=date(2011, 12, 1))
    change = datetime(2011, 12, 30, 10, tzinfo=UTC)
    assert made.current_key(change - timedelta(seconds=1)) == "2011-12-29"
    assert made.current_key(change) == "2011-12-31"


def test_a_date_does_not_go_back_where_clocks_are_turned_back_across_midnight() -> None:
    made = daily(zone="America/St_Johns", since=date(2010, 11, 1))
    first_midnight = datetime(2010, 11, 7, 2, 30, tzinfo=UTC)
    assert made.current_key(first_midnight) == "2010-11-07"
    assert made.current_key(first_midnight + timedelta(minutes=30)) == "2010-11-07"


def test_weekly_slots_begin_on_sunday_and_include_the_week_of_the_first_day() -> None:
    made = daily(since=date(2026, 11, 18)).weekly
    assert made.definition.get_partition_keys(current_time=datetime(2026, 11, 22, 0, tzinfo=UTC)) == [
        "2026-11-15",
        "2026-11-22",
    ]
    assert made.cron == "0 2 * * 0"
    assert made.due_at("2026-11-22") == datetime(2026, 11, 21, 17, tzinfo=UTC)


NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)


def test_a_past_slot_is_refused_and_the_error_says_what_can_be_done() -> None:
    with pytest.raises(Refused) as refusal:
        daily().require_current("2026-11-21", NOW)
    assert "never filled with today's data" in str(refusal.value)
    assert "current slot 2026-11-22" in refusal.value.remedy
    assert "can be backfilled" in refusal.value.remedy


def test_a_future_slot_is_refused_in_other_words() -> None:
    with pytest.raises(Refused, match="has not begun") as refusal:
        daily().require_current("2026-11-23", NOW)
    assert "never filled" not in str(refusal.value)


@pytest.mark.parametrize("key", ["2026-10-31", "20261122", "2026-W47-7", "2026-11-22T0600", "2026-13-01", "", "today"])
def test_a_key_of_no_daily_slot_is_refused(key: str) -> None:
    with pytest.raises(Refused, match="there is no slot"):
        daily().require_current(key, NOW)


@pytest.mark.parametrize("key", ["2026-11-22", "2026-11-22T0700Z", "2026-11-22T0600", "2026-11-22T600Z", "x"])
def test_a_key_of_no_slot_within_the_day_is_refused(key: str) -> None:
    with pytest.raises(Refused, match="there is no slot"):
        six_hourly("Europe/Berlin").require_current(key, NOW)


def test_a_day_that_begins_no_week_is_no_weekly_slot() -> None:
    with pytest.raises(Refused, match="there is no slot"):
        daily().weekly.window("2026-11-23")


def test_before_the_first_slot_there_is_none_to_fill() -> None:
    with pytest.raises(Refused, match="there is no slot yet"):
        daily(since=date(2026, 12, 1)).current_key(NOW)


def test_a_moment_without_a_zone_is_never_guessed() -> None:
    with pytest.raises(ValueError, match="ambiguous"):
        daily().current_key(NOW.replace(tzinfo=None))
